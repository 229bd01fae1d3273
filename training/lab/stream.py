"""The experiment `stream`: a tagger that answers word by word, and may look a few words ahead."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.features.batching import group_by_length, make_batch
from teddy.model.features.rows import WordFeatures
from teddy.model.network.cells import Recurrence
from teddy.model.network.encoder import Encoder
from teddy.model.network.tagger_network import Network
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.training.lab.corpus import Material, Trial, train_tagger
from teddy.training.lab.page import (
    SEEDS,
    Measured,
    Page,
    Plan,
    Table,
    differs,
    draw_measured,
    finish,
)
from teddy.training.lab.steps import step_of
from teddy.training.lab.tagging import Variant, f1_table, summed_up
from teddy.training.report.figures import GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_AHEAD = (0, 1, 2, 5)
_SECONDS_A_WORD = 0.4
"""Of speech: 150 words a minute."""
_TIMED_WORDS = 400


class Lookahead(Encoder):
    """An encoder of one direction that gives the states at a word and at `n_ahead` words behind it.

    Behind the last word of a sentence it reads zeros. (With the last of these states alone, it
    takes long to learn which word the answer is about, and longer the further it looks ahead.)
    """

    def __init__(self, config: NetworkConfig, n_ahead: int) -> None:
        super().__init__(replace(config, bidirectional=False))
        self.n_ahead = n_ahead

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Shape: [B, T, embedding width], int64 [B] -> [B, T, output width]; padding is void."""
        inside = torch.arange(values.shape[1]) < lengths.unsqueeze(1)
        shown = functional.pad(values * inside.unsqueeze(2), (0, 0, 0, self.n_ahead))
        states = super().forward(shown, lengths + self.n_ahead)
        n_words = values.shape[1]
        return torch.cat([states[:, k : n_words + k] for k in range(self.n_ahead + 1)], dim=2)


def look_ahead(network: Network, config: NetworkConfig, n_ahead: int) -> None:
    """Let a network choose each tag by the states at the word and at `n_ahead` words behind it."""
    network.encoder = Lookahead(config, n_ahead)
    width = (n_ahead + 1) * network.encoder.output_width
    network.emission = nn.Linear(width, network.emission.out_features)


class Greedy:
    """Chooses the best tag of a word that may follow the one before; it never looks back."""

    def __init__(self, tag_set: TagSet) -> None:
        self._first = torch.tensor(tag_set.allowed_first())
        self._next = torch.tensor(tag_set.allowed_transitions())
        self._last: int | None = None

    def add(self, scores: Tensor) -> int:
        """Take the scores of the next word's tags, float [K]; return its tag."""
        allowed = self._first if self._last is None else self._next[self._last]
        self._last = int(scores.masked_fill(~allowed, -torch.inf).argmax())
        return self._last


@dataclass(slots=True)
class LiveTagger:
    """Tags one sentence while it is spoken: `add` a word, get the tag of the one `n_ahead` back."""

    network: Network
    features: WordFeatures
    tag_set: TagSet
    n_ahead: int
    _states: list[tuple[Tensor, Tensor]] = field(init=False)
    _layers: list[Recurrence] = field(init=False)
    _greedy: Greedy = field(init=False)
    _waiting: deque[Tensor] = field(default_factory=deque)
    """The states at the word whose tag is due next and at those behind it."""

    def __post_init__(self) -> None:
        onwards = (layer.get_submodule("forwards") for layer in self.network.encoder.recurrent)
        self._layers = [layer for layer in onwards if isinstance(layer, Recurrence)]
        zeros = [torch.zeros(1, layer.hidden_width) for layer in self._layers]
        self._states = [(each, each) for each in zeros]
        self._greedy = Greedy(self.tag_set)

    @torch.inference_mode()
    def add(self, word: str) -> int | None:
        """Read a word; return the tag that is due, if any."""
        rows, starts = self.features.bag([word])
        vectors = self.network.word_vectors(torch.from_numpy(rows), torch.from_numpy(starts))
        return self._read(vectors)

    @torch.inference_mode()
    def finish(self) -> list[int]:
        """Return the tags that are still due once the sentence is over."""
        zeros = torch.zeros(1, self.network.embedding.shape[1])
        tags = [self._read(zeros) for _ in range(self.n_ahead)]
        # a sentence of fewer words than it looks ahead has fewer answers
        return [tag for tag in tags if tag is not None]

    def _read(self, values: Tensor) -> int | None:
        for place, layer in enumerate(self._layers):
            hidden, cell, _ = step_of(layer)(values, *self._states[place])
            self._states[place], values = (hidden, cell), hidden
        for dense in self.network.encoder.dense:
            values = dense(values)
        self._waiting.append(values)
        if len(self._waiting) <= self.n_ahead:
            return None
        scores = self.network.emission(torch.cat([*self._waiting], dim=1))[0]
        self._waiting.popleft()
        return self._greedy.add(scores)


def stream(plan: Plan, material: Material) -> Page:
    """Train taggers that look so many words ahead, and time them word by word."""
    config = replace(material.network, bidirectional=False, decoder="softmax")
    found: dict[str, Variant] = {}
    milliseconds: dict[int, Measured] = {}
    for n_ahead in _AHEAD:
        plan.say(f"{n_ahead} words ahead: {len(SEEDS)} taggers")
        trials = [_trial(material, config, seed, n_ahead) for seed in SEEDS]
        found[str(n_ahead)] = summed_up(material, trials)
        timed = [_latency(material, trial.network, n_ahead) for trial in trials]
        milliseconds[n_ahead] = Measured(tuple(timed))
    plan.say(f"whole sentences: {len(SEEDS)} taggers")
    both = replace(config, bidirectional=True)
    whole = [_trial(material, both, seed, None) for seed in SEEDS]
    found["whole sentence"] = summed_up(material, whole)
    for n_ahead in _AHEAD:
        again = [_with_predict(material, trial, n_ahead) for trial in whole]
        found[f"read again, {n_ahead}"] = summed_up(material, again)
    again_takes = Measured(tuple(_time_of_reading(material, trial.network) for trial in whole))
    return Page(
        name="stream",
        title="Stream: an answer at each word, and what it costs to look ahead",
        about=(
            "A tagger of one layer that reads from the left and chooses the tag of a word for good "
            "once it has read 0, 1, 2 or 5 words more: for speech, which has no end to wait for. "
            "Beside it, one that reads the whole sentence both ways, and what that one answers "
            "when it reads the sentence so far once more at each word (“read again”). "
            f"{material.about()}"
        ),
        findings=_findings(found, milliseconds, again_takes),
        figures=[("F1 by the words that the tagger looks ahead", _draw(found))],
        tables=[
            f1_table(found),
            Table(
                "Milliseconds of work for each word, and how long an answer waits for speech at "
                f"{60 / _SECONDS_A_WORD:.0f} words a minute",
                ["words ahead", "milliseconds of work", "seconds of waiting"],
                [
                    *(
                        [str(n), each.number(2), f"{n * _SECONDS_A_WORD:.1f}"]
                        for n, each in milliseconds.items()
                    ),
                    ["any, read again", again_takes.number(2), "the same"],
                ],
            ),
        ],
        notes=[
            "No CRF, whose best path is known only at the end: each tag is the best that may "
            "follow the one before. Behind the last word the tagger reads zeros."
        ],
        data={
            "milliseconds": {str(n): each for n, each in milliseconds.items()}
            | {"read again": again_takes},
            "taggers": found,
        },
    )


def _trial(material: Material, config: NetworkConfig, seed: int, n_ahead: int | None) -> Trial:
    def change(network: Network) -> None:
        if n_ahead is not None:
            look_ahead(network, config, n_ahead)

    return _with_predict(material, train_tagger(material, config, seed, change=change), None)


def _with_predict(material: Material, trial: Trial, again: int | None) -> Trial:
    tag_set = TagSet(material.labels)

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        return tag_greedily(trial.network, material.features, tag_set, sentences, again)

    return replace(trial, predict=predict)


def tag_greedily(
    network: Network,
    features: WordFeatures,
    tag_set: TagSet,
    sentences: Sequence[Sequence[str]],
    again: int | None = None,
) -> list[list[Span]]:
    """Tag sentences that are all there, as a `LiveTagger` does word by word.

    With `again`, a word is tagged as the end, or so many words before the end, of what was said.
    """
    if again is None:
        rows = _scores(network, features, sentences)
    else:
        heads = [words[: place + 1 + again] for words in sentences for place in range(len(words))]
        each = iter(_scores(network, features, heads))
        rows = [torch.stack([next(each)[place] for place in range(len(w))]) for w in sentences]
    found = []
    for row in rows:
        greedy = Greedy(tag_set)
        found.append(tag_set.decode([greedy.add(word) for word in row]))
    return found


@torch.inference_mode()
def _scores(
    network: Network, features: WordFeatures, sentences: Sequence[Sequence[str]]
) -> list[Tensor]:
    """Return the scores of each word's tags, float [n_words, K] for each sentence."""
    found: dict[int, Tensor] = {}
    for members in group_by_length([len(words) for words in sentences], 2048):
        batch = make_batch([sentences[place] for place in members], features)
        scores = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        for place, row, n_words in zip(members, scores, batch.lengths.tolist(), strict=True):
            found[place] = row[:n_words]
    return [found[place] for place in range(len(sentences))]


def _latency(material: Material, network: Network, n_ahead: int) -> float:
    """Return the median of the milliseconds that one word takes."""
    tag_set = TagSet(material.labels)

    def listen(words: Sequence[str]) -> Iterator[object]:
        live = LiveTagger(network, material.features, tag_set, n_ahead)
        return map(live.add, words)

    return _timed(material, listen)


def _time_of_reading(material: Material, network: Network) -> float:
    """Return the same where all words so far are read once more at each word."""

    def listen(words: Sequence[str]) -> Iterator[object]:
        heads = (words[:end] for end in range(1, len(words) + 1))
        return (_scores(network, material.features, [head]) for head in heads)

    return _timed(material, listen)


def _timed(material: Material, listen: Callable[[Sequence[str]], Iterator[object]]) -> float:
    times: list[float] = []
    for sentence in material.dev:
        answers = listen(sentence.words)
        for _ in sentence.words:
            started = time.perf_counter()
            next(answers)
            times.append(1000 * (time.perf_counter() - started))
        if len(times) > _TIMED_WORDS:
            break
    return median(times)


def _findings(
    found: dict[str, Variant], milliseconds: dict[int, Measured], again_takes: Measured
) -> list[str]:
    steps = [found[str(n)].whole for n in _AHEAD]
    falls = [
        f"from {a} to {b}"
        for a, b, low, high in zip(_AHEAD, _AHEAD[1:], steps, steps[1:], strict=False)
        if low.mean > high.mean and differs(low, high)
    ]
    best = found["whole sentence"].whole
    enough = next(
        (
            n
            for n, each in zip(_AHEAD, steps, strict=True)
            if not differs(each, best) or each.mean > best.mean
        ),
        None,
    )
    listed = ", ".join(f"{each.percent()} with {n}" for n, each in zip(_AHEAD, steps, strict=True))
    again = ", ".join(f"{found[f'read again, {n}'].whole.percent()} with {n}" for n in _AHEAD)
    return [
        f"F1 by the words ahead: {listed}; {best.percent()} with the whole sentence.",
        f"F1 falls {' and '.join(falls)} words."
        if falls
        else "F1 does not fall with more words ahead, by more than seeds explain.",
        f"With {enough} ahead it is as good as the whole sentence, as far as three seeds can tell."
        if enough is not None
        else f"Even {_AHEAD[-1]} words ahead are worse than the whole sentence.",
        f"The tagger of whole sentences, reading again at each word, has {again}.",
        f"A word takes {milliseconds[0].mean:.2g} milliseconds of work, {again_takes.mean:.2g} "
        "where the sentence is read again; looking ahead costs the time of the words waited for, "
        f"{_SECONDS_A_WORD:g} seconds each in speech.",
    ]


def _draw(found: dict[str, Variant]) -> "Figure":
    figure = new_figure(6.4, 2.6)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for each in found.values() for kind in each.f1))
    ahead = [found[str(n)] for n in _AHEAD]
    lines = {
        kind: [each.f1[kind] for each in ahead]
        for kind in kinds
        if all(kind in each.f1 for each in ahead)
    }
    lines["all, read again"] = [found[f"read again, {n}"].whole for n in _AHEAD]
    for number, (name, steps) in enumerate(lines.items()):
        draw_measured(axes, _AHEAD, steps, name, number, (0, 1), 100)
    best = 100 * found["whole sentence"].whole.mean
    axes.axhline(best, color=GREY, linewidth=0.8, linestyle="--", label="all, whole sentence")
    axes.set_xticks(_AHEAD, [str(n) for n in _AHEAD])
    finish(axes, "words ahead", "F1, %")
    return figure
