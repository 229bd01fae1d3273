"""The experiment `language`: a language model by characters and by pieces, and what it writes."""

import math
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from teddy.model.features.pieces import Pieces
from teddy.model.network.cells import make_recurrence
from teddy.training.data.vocabulary import train_pieces
from teddy.training.lab.agreement import FILLERS, NOUNS, VERBS
from teddy.training.lab.page import (
    SEEDS,
    Measured,
    Page,
    Plan,
    SizeName,
    Table,
    differs,
    draw_bars,
    draw_measured,
    finish,
    over_seeds,
)
from teddy.training.lab.steps import step_of
from teddy.training.recipe.words import PiecesConfig
from teddy.training.report.figures import GREY, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UnitName = Literal["characters", "pieces"]
_UNITS: tuple[UnitName, ...] = ("characters", "pieces")
_TEMPERATURES = (0.5, 1.0, 1.5)
_ENDS = ("asleep", "here", "happy", "seen in Lund", "called Zoë", "fed by Jürgen", "known to Ğ")
"""The last of them have characters that are rare."""
END, UNKNOWN = 0, 1
_UNK = "<UNK>"
_FEWEST = 40
"""A unit that occurs less often in the training text is <UNK>."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    gaps: tuple[int, ...]
    n_train: int
    n_updates: int
    n_test: int
    n_samples: int
    width: int


_SIZES: dict[SizeName, _Size] = {
    "tiny": _Size(gaps=(1, 2), n_train=60, n_updates=2, n_test=4, n_samples=2, width=8),
    "quick": _Size(gaps=(1, 4, 8), n_train=600, n_updates=120, n_test=40, n_samples=20, width=48),
    "full": _Size(
        gaps=(1, 2, 4, 8, 16), n_train=1500, n_updates=1500, n_test=60, n_samples=40, width=64
    ),
}


def write_sentence(gap: int, draw: random.Random) -> tuple[str, str, str]:
    """Return a sentence in three parts: up to the verb, the verb, and the rest."""
    number = draw.randrange(2)
    clause = " ".join(draw.choice(FILLERS) for _ in range(gap))
    # the rare ends are rare
    end = draw.choices(_ENDS, weights=[*[8] * (len(_ENDS) - 3), 1, 1, 1])[0]
    noun = draw.choice(NOUNS)[number]
    return f"The {noun} , which {clause} ,", VERBS[number], f"{end} ."


class Units:
    """The units of a text: characters, or the pieces of its words."""

    def __init__(self, kind: UnitName, texts: Sequence[str]) -> None:
        self._pieces: Pieces | None = None
        if kind == "pieces":
            words = Counter(word for text in texts for word in text.split())
            self._pieces = Pieces(train_pieces(words, PiecesConfig(vocabulary=400)))
        counts = Counter(unit for text in texts for unit in self.cut(text))
        common = sorted(unit for unit, n in counts.items() if n >= _FEWEST)
        self.names = ["\n", _UNK, *common]
        self.rare = {unit: n for unit, n in counts.items() if n < _FEWEST}
        """What stands behind <UNK>, and how often."""
        self._place = {unit: place for place, unit in enumerate(self.names)}

    def cut(self, text: str) -> list[str]:
        """Cut a text into units. That of pieces begins with a space, as that of characters."""
        if self._pieces is None:
            return [*text]
        words = text.split()
        return [name for ids in self._pieces.ids_of_each(words) for name in self._pieces.names(ids)]

    def encode(self, text: str) -> list[int]:
        """Return the places of a text's units in `names`."""
        return [self._place.get(unit, UNKNOWN) for unit in self.cut(text)]

    def decode(self, places: Iterable[int], draw: random.Random) -> str:
        """Write units as text; <UNK> becomes one of the rare units, drawn by how often each is."""
        rare = [*self.rare] or [_UNK]
        weights = [*self.rare.values()] or [1]
        units = (
            draw.choices(rare, weights)[0] if place == UNKNOWN else self.names[place]
            for place in places
        )
        return "".join(units).replace("▁", " ").strip()


class LanguageModel(nn.Module):
    """Vectors of units, an LSTM, and how probable each unit is as the next."""

    def __init__(self, n_units: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n_units, width)
        self.recurrence = make_recurrence("lstm", width, width)
        self.next = nn.Linear(width, n_units)

    def losses(self, sentences: Sequence[Sequence[int]]) -> Tensor:
        """Return the nats of each unit after END, and of END behind it; 0 at padding.

        Shape: [time, n].
        """
        rows = [torch.tensor([END, *units, END]) for units in sentences]
        padded = pad_sequence(rows, padding_value=-1)
        logits = self.next(self.recurrence(self.embedding(padded[:-1].clamp(min=0))))
        flat = functional.cross_entropy(
            logits.flatten(0, 1), padded[1:].flatten(), ignore_index=-1, reduction="none"
        )
        return flat.view(padded.shape[0] - 1, len(rows))

    @torch.no_grad()
    def sample(self, n: int, most: int, temperature: float, seed: int) -> list[list[int]]:
        """Write `n` sentences of at most `most` units, each drawn by its probability.

        At a low temperature the probable ones are drawn more often than they should.
        """
        generator = torch.Generator().manual_seed(seed)
        step = step_of(self.recurrence)
        hidden = cell = torch.zeros(n, self.recurrence.hidden_width)
        unit = torch.full((n,), END)
        written = []
        for _ in range(most):
            hidden, cell, _ = step(self.embedding(unit), hidden, cell)
            chances = functional.softmax(self.next(hidden) / temperature, dim=1)
            unit = torch.multinomial(chances, 1, generator=generator)[:, 0]
            written.append(unit)
        rows = torch.stack(written, dim=1).tolist()
        return [row[: row.index(END)] if END in row else row for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    bits: float
    """For each character of new sentences."""
    verbs: list[float]
    """The perplexity of the verb at each gap."""
    known: list[float]
    """Of the words written at each temperature, the share that the training text has."""
    samples: list[str]
    """A sentence of each temperature."""


def language(plan: Plan) -> Page:
    """Train language models on made-up sentences, by characters and by pieces."""
    size = _SIZES[plan.size]
    runs: dict[UnitName, list[_Run]] = {}
    for kind in _UNITS:
        plan.say(f"{kind}: {len(SEEDS)} models")
        runs[kind] = [_run(kind, size, seed) for seed in SEEDS]
    bits = {kind: Measured(tuple(run.bits for run in each)) for kind, each in runs.items()}
    verbs = {kind: over_seeds([run.verbs for run in each]) for kind, each in runs.items()}
    known = {kind: over_seeds([run.known for run in each]) for kind, each in runs.items()}
    samples = [
        [f"{kind}, {temperature:g}", runs[kind][0].samples[place]]
        for kind in _UNITS
        for place, temperature in enumerate(_TEMPERATURES)
    ]
    return Page(
        name="language",
        title="Language: a model by characters and by pieces",
        about=(
            "An LSTM learns to guess the next unit of made-up sentences such as “The cats , which "
            "saw the old river , were happy .”: characters, or sentencepiece pieces. Only the noun "
            "tells the verb; a model that forgets it has a perplexity of 2 there."
        ),
        findings=_findings(size, bits, verbs, known),
        figures=[
            (
                "The perplexity of the verb, by the words between; and the words written at each "
                "temperature that the training text has",
                _draw(size, verbs, known),
            )
        ],
        tables=[
            Table(
                "Perplexity of the verb by the words of the clause, and bits for each character",
                ["units", *(f"gap {gap}" for gap in size.gaps), "bits a character"],
                [
                    [kind, *(each.number() for each in verbs[kind]), bits[kind].number()]
                    for kind in _UNITS
                ],
            ),
            Table(
                "Written at each temperature, first seed, <UNK> replaced by a rare unit",
                ["units, temperature", "sentence"],
                samples,
            ),
        ],
        notes=[
            f"A unit that the training text has fewer than {_FEWEST} times is <UNK>. Bits are for "
            "each character, so that the two kinds of unit can be compared."
        ],
        data={
            "gaps": size.gaps,
            "bits": bits,
            "verbs": verbs,
            "known": known,
            "samples": samples,
        },
    )


def _run(kind: UnitName, size: _Size, seed: int) -> _Run:
    draw = random.Random(seed)  # noqa: S311
    texts = [" ".join(write_sentence(draw.choice(size.gaps), draw)) for _ in range(size.n_train)]
    units = Units(kind, texts)
    torch.manual_seed(seed)
    model = LanguageModel(len(units.names), size.width)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    encoded = [units.encode(text) for text in texts]
    for _ in range(size.n_updates):
        losses = model.losses(draw.sample(encoded, 16))
        optimiser.zero_grad()
        (losses.sum() / losses.count_nonzero()).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
    words = {word for text in texts for word in text.split()}
    known, samples = [], []
    for temperature in _TEMPERATURES:
        rows = model.sample(size.n_samples, 200, temperature, seed)
        written = [units.decode(row, draw) for row in rows]
        every = [word for text in written for word in text.split()]
        known.append(sum(word in words for word in every) / max(len(every), 1))
        samples.append(written[0])
    bits, verbs = _perplexities(model, units, size, draw)
    return _Run(bits=bits, verbs=verbs, known=known, samples=samples)


@torch.no_grad()
def _perplexities(
    model: LanguageModel, units: Units, size: _Size, draw: random.Random
) -> tuple[float, list[float]]:
    """Return the bits of a character, and the perplexity of the verb at each gap."""
    nats, n_characters, verbs = 0.0, 0, []
    for gap in size.gaps:
        parts = [write_sentence(gap, draw) for _ in range(size.n_test)]
        texts = [" ".join(each) for each in parts]
        losses = model.losses([units.encode(text) for text in texts])
        nats += losses.sum().item()
        n_characters += sum(map(len, texts))
        of_verbs = 0.0
        for row, (before, verb, _) in enumerate(parts):
            start = len(units.encode(before))
            end = len(units.encode(f"{before} {verb}"))
            of_verbs += losses[start:end, row].sum().item()
        verbs.append(math.exp(of_verbs / len(parts)))
    return nats / math.log(2) / n_characters, verbs


def _findings(
    size: _Size,
    bits: dict[UnitName, Measured],
    verbs: dict[UnitName, list[Measured]],
    known: dict[UnitName, list[Measured]],
) -> list[str]:
    first, second = (bits[kind] for kind in _UNITS)
    better = "characters" if first.mean < second.mean else "pieces"
    sentences = [
        f"A character of new text costs {first.number()} bits by characters, {second.number()} by "
        + (f"pieces: {better} are better." if differs(first, second) else "pieces: no difference.")
    ]
    for kind in _UNITS:
        knowing = [gap for gap, each in zip(size.gaps, verbs[kind], strict=True) if each.high < 2]
        last = max(knowing, default=0)
        sentences.append(
            f"By {kind}, the verb's perplexity is {verbs[kind][0].number()} at a gap of "
            f"{size.gaps[0]} and {verbs[kind][-1].number()} at {size.gaps[-1]}; "
            + (
                f"its interval is below 2, so the noun is remembered, up to {last}."
                if last
                else "at no gap is its interval below 2, that of a noun forgotten."
            )
        )
    low, high = known["characters"][0], known["characters"][-1]
    sentences.append(
        f"At a temperature of {_TEMPERATURES[0]:g}, {low.percent()} % of the words written by "
        f"characters are words of the training text; at {_TEMPERATURES[-1]:g}, {high.percent()} %."
    )
    return sentences


def _draw(
    size: _Size, verbs: dict[UnitName, list[Measured]], known: dict[UnitName, list[Measured]]
) -> "Figure":
    figure = new_figure(7, 2.8)
    perplexity, words = figure.subplots(1, 2)
    for number, kind in enumerate(_UNITS):
        draw_measured(perplexity, size.gaps, verbs[kind], kind, number, (1, math.inf))
    perplexity.axhline(2, color=GREY, linewidth=0.8, linestyle="--", label="the noun forgotten")
    perplexity.set_xticks(size.gaps, [str(gap) for gap in size.gaps])
    finish(perplexity, "words of the clause", "perplexity of the verb")
    draw_bars(
        words,
        [f"{each:g}" for each in _TEMPERATURES],
        {str(kind): each for kind, each in known.items()},
    )
    finish(words, "temperature", "words of the training text, %", legend=False)
    return figure
