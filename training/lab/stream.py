"""The experiment `stream`: a tagger that answers word by word, and may look a few words ahead."""

import time
from collections import deque
from collections.abc import Sequence
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
    """An encoder of one direction that gives the states at a word and `n_ahead` words later.

    Behind the last word of a sentence it reads zeros. (With the later state alone, 200 updates did
    not teach it to look back over five words.)
    """

    def __init__(self, config: NetworkConfig, n_ahead: int) -> None:
        super().__init__(replace(config, bidirectional=False))
        self.n_ahead = n_ahead

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Shape: [B, T, embedding width], int64 [B] -> [B, T, output width]; padding is void."""
        inside = torch.arange(values.shape[1]) < lengths.unsqueeze(1)
        shown = functional.pad(values * inside.unsqueeze(2), (0, 0, 0, self.n_ahead))
        states = super().forward(shown, lengths + self.n_ahead)
        return torch.cat((states[:, : values.shape[1]], states[:, self.n_ahead :]), dim=2)


def look_ahead(network: Network, config: NetworkConfig, n_ahead: int) -> None:
    """Let a network choose each tag by the states at the word and `n_ahead` words later."""
    network.encoder = Lookahead(config, n_ahead)
    emission = network.emission
    network.emission = nn.Linear(2 * network.encoder.output_width, emission.out_features)


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
    """The states at words whose tags are due later."""

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
        both = torch.cat((self._waiting.popleft(), values), dim=1)
        return self._greedy.add(self.network.emission(both)[0])


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
    return Page(
        name="stream",
        title="Stream: an answer at each word, and what it costs to look ahead",
        about=(
            "A tagger of one layer that reads from the left and chooses the tag of a word for good "
            "once it has read 0, 1, 2 or 5 words more: for speech, which has no end to wait for. "
            f"Beside it, one that reads the whole sentence both ways. {material.about()}"
        ),
        findings=_findings(found, milliseconds),
        figures=[("F1 by the words that the tagger looks ahead", _draw(found))],
        tables=[
            f1_table(found),
            Table(
                "Milliseconds of work for each word, and how long an answer waits for speech at "
                f"{60 / _SECONDS_A_WORD:.0f} words a minute",
                ["words ahead", "milliseconds of work", "seconds of waiting"],
                [
                    [str(n), each.number(2), f"{n * _SECONDS_A_WORD:.1f}"]
                    for n, each in milliseconds.items()
                ],
            ),
        ],
        notes=[
            "No CRF, whose best path is known only at the end: each tag is the best that may "
            "follow the one before. Behind the last word the tagger reads zeros."
        ],
        data={
            "milliseconds": {str(n): each for n, each in milliseconds.items()},
            "taggers": {name: each.as_dict() for name, each in found.items()},
        },
    )


def _trial(material: Material, config: NetworkConfig, seed: int, n_ahead: int | None) -> Trial:
    def change(network: Network) -> None:
        if n_ahead is not None:
            look_ahead(network, config, n_ahead)

    trial = train_tagger(material, config, seed, change=change)
    network, tag_set = trial.network, TagSet(material.labels)

    def predict(sentences: Sequence[Sequence[str]]) -> list[list[Span]]:
        return tag_greedily(network, material.features, tag_set, sentences)

    return replace(trial, predict=predict)


@torch.inference_mode()
def tag_greedily(
    network: Network, features: WordFeatures, tag_set: TagSet, sentences: Sequence[Sequence[str]]
) -> list[list[Span]]:
    """Tag sentences that are all there, as a `LiveTagger` does word by word."""
    found: list[list[Span]] = [[] for _ in sentences]
    for members in group_by_length([len(words) for words in sentences], 2048):
        batch = make_batch([sentences[place] for place in members], features)
        scores = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        for place, row, n_words in zip(members, scores, batch.lengths.tolist(), strict=True):
            greedy = Greedy(tag_set)
            found[place] = tag_set.decode([greedy.add(word) for word in row[:n_words]])
    return found


def _latency(material: Material, network: Network, n_ahead: int) -> float:
    """Return the median of the milliseconds that one word takes."""
    tag_set, times = TagSet(material.labels), []
    for sentence in material.dev:
        live = LiveTagger(network, material.features, tag_set, n_ahead)
        for word in sentence.words:
            started = time.perf_counter()
            live.add(word)
            times.append(1000 * (time.perf_counter() - started))
        if len(times) > _TIMED_WORDS:
            break
    return median(times)


def _findings(found: dict[str, Variant], milliseconds: dict[int, Measured]) -> list[str]:
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
    return [
        f"F1 by the words ahead: {listed}; {best.percent()} with the whole sentence.",
        f"F1 falls {' and '.join(falls)} words."
        if falls
        else "F1 does not fall with more words ahead, by more than seeds explain.",
        f"With {enough} ahead it is as good as the whole sentence, as far as three seeds can tell."
        if enough is not None
        else f"Even {_AHEAD[-1]} words ahead are worse than the whole sentence.",
        f"A word takes {milliseconds[0].mean:.2g} milliseconds of work; looking ahead costs the "
        f"time of the words waited for, {_SECONDS_A_WORD:g} seconds each in speech.",
    ]


def _draw(found: dict[str, Variant]) -> "Figure":
    figure = new_figure(6.4, 2.6)
    axes = figure.subplots()
    kinds = list(dict.fromkeys(kind for each in found.values() for kind in each.f1))
    for number, kind in enumerate(kinds):
        steps = [found[str(n)].f1.get(kind) for n in _AHEAD]
        percent = [Measured(tuple(100 * v for v in each.values)) for each in steps if each]
        if len(percent) == len(_AHEAD):
            draw_measured(axes, _AHEAD, percent, kind, number, (0, 100))
    best = 100 * found["whole sentence"].whole.mean
    axes.axhline(best, color=GREY, linewidth=0.8, linestyle="--", label="all, whole sentence")
    axes.set_xticks(_AHEAD, [str(n) for n in _AHEAD])
    finish(axes, "words ahead", "F1, %")
    return figure
