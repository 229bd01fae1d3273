"""The confidence of scores and differences: bootstrap over sentences, approximate randomisation.

Counts of spans are drawn sentence by sentence, since the spans of one sentence depend on each
other. A table of counts is of shape (sentences, labels, 3): gold, predicted and correct spans;
scores are worked out from its sums.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from teddy.training.evaluation.scores import Counts
from teddy.training.learning.torch_setup import generator

Array = NDArray[np.float64]

_CELLS_AT_ONCE = 1_000_000
"""Draws are made in blocks of so many (draws x sentences), which bounds the memory to some 30
MB."""
_LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """Where 95 % of the resampled values lie."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreIntervals:
    """The intervals of three scores, ratios 0 to 1."""

    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """Of all labels together, and of each; over `n_draws` draws."""

    micro: ScoreIntervals
    by_label: dict[str, ScoreIntervals]
    n_draws: int

    def as_dict(self) -> dict[str, object]:
        """Give all intervals ready for JSON."""
        by_label = {label: asdict(each) for label, each in self.by_label.items()}
        return {"draws": self.n_draws, "micro": asdict(self.micro), "labels": by_label}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The difference in F1 (-1 to 1) of the second tagger from the first, and its confidence.

    Attributes:
        first, second: the counts of each.
        interval: of `second.f1 - first.f1`, by the paired bootstrap.
        p_bootstrap: the probability of a difference at least as large, in either direction, if
            there were none: the resampled differences are centred at 0 (Berg-Kirkpatrick et al.
            2012, two-sided).
        p_randomisation: the same by exchanging the two taggers' answers to sentences at random.
        share_better: the share of draws in which the second is better (Koehn 2004); a tie is half.
    """

    first: Counts
    second: Counts
    interval: Interval
    p_bootstrap: float
    p_randomisation: float
    share_better: float

    @property
    def f1(self) -> float:
        """The difference itself."""
        return self.second.f1 - self.first.f1

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON."""
        return {
            "first": self.first.as_dict(),
            "second": self.second.as_dict(),
            "difference": self.f1,
            "interval": asdict(self.interval),
            "p_bootstrap": self.p_bootstrap,
            "p_randomisation": self.p_randomisation,
            "share_better": self.share_better,
        }


def count_table(by_sentence: Sequence[Mapping[str, Counts]], labels: Sequence[str]) -> Array:
    """Write the counts of each sentence as an array of shape (sentences, labels, 3)."""
    places = {label: place for place, label in enumerate(labels)}
    table = np.zeros((len(by_sentence), len(labels), 3))
    for row, by_label in zip(table, by_sentence, strict=True):
        for label, counts in by_label.items():
            row[places[label]] = counts.gold, counts.predicted, counts.correct
    return table


def score_intervals(
    table: Array, labels: Sequence[str], *, n_draws: int = 1000, seed: int = 1
) -> Intervals:
    """Return intervals of precision, recall and F1: percentiles (Efron & Tibshirani 1993, 13.3).

    The sentences are drawn with replacement, and scored, `n_draws` times. Few entities give wide
    intervals; without entities they are [0, 0].
    """
    sums = np.concatenate(
        [np.tensordot(weights, table, axes=1) for weights in draws(len(table), n_draws, seed)]
    )
    return Intervals(
        micro=_score_intervals(sums.sum(axis=1)),
        by_label={label: _score_intervals(sums[:, place]) for place, label in enumerate(labels)},
        n_draws=n_draws,
    )


def differences(
    first: Array, second: Array, labels: Sequence[str], *, n_draws: int = 10_000, seed: int = 1
) -> tuple[Difference, dict[str, Difference]]:
    """Compare two taggers on the same sentences: on all labels together, and on each.

    Args:
        first: the table of one.
        second: the table of the other; row by row the same sentences.
        labels: of the tables' second axis.
        n_draws: of bootstrap and randomisation; no p value can be below 1 / (n_draws + 1).
        seed: the same one gives the same result.
    """
    resampled = [
        _all_f1(np.tensordot(weights, second, axes=1))
        - _all_f1(np.tensordot(weights, first, axes=1))
        for weights in draws(len(first), n_draws, seed)
    ]
    exchanged = []
    for sides in exchanges(len(first), n_draws, seed):
        moved = np.tensordot(sides, second - first, axes=1)
        exchanged.append(_all_f1(second.sum(axis=0) - moved) - _all_f1(first.sum(axis=0) + moved))
    drawn, swapped = np.concatenate(resampled).T, np.concatenate(exchanged).T
    # The first column of both is of all labels together.
    counts = [np.vstack((table.sum(axis=(0, 1)), table.sum(axis=0))) for table in (first, second)]
    overall, *each = map(_difference, *counts, drawn, swapped)
    return overall, dict(zip(labels, each, strict=True))


def draws(n_sentences: int, n_draws: int, seed: int) -> Iterator[Array]:
    """Draw sentences with replacement; yield counts in blocks of shape (draws, sentences)."""
    random = generator(seed, 0)
    for n in _blocks(n_sentences, n_draws):
        drawn = random.integers(0, max(n_sentences, 1), size=(n, n_sentences))
        cells = drawn + n_sentences * np.arange(n)[:, None]
        counts = np.bincount(cells.ravel(), minlength=n * n_sentences)
        yield counts.reshape(n, n_sentences).astype(np.float64)


def exchanges(n_sentences: int, n_draws: int, seed: int) -> Iterator[Array]:
    """Toss a coin for each sentence, 1 to exchange the taggers' answers; blocks as of `draws`.

    This is approximate randomisation (Noreen 1989; for F1: Yeh 2000).
    """
    random = generator(seed, 1)
    for n in _blocks(n_sentences, n_draws):
        yield random.integers(0, 2, size=(n, n_sentences)).astype(np.float64)


def _blocks(n_sentences: int, n_draws: int) -> Iterator[int]:
    most = max(1, _CELLS_AT_ONCE // max(n_sentences, 1))
    for begin in range(0, n_draws, most):
        yield min(most, n_draws - begin)


def _ratio(part: Array, whole: Array) -> Array:
    """Divide; what has no whole is 0.0, as everywhere in `teddy.training.evaluation.scores`."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _f1(sums: Array) -> Array:
    gold, predicted, correct = np.moveaxis(sums, -1, 0)
    return _ratio(2 * correct, gold + predicted)


def _all_f1(sums: Array) -> Array:
    """Return F1 of all labels and then of each: (draws, labels, 3) gives (draws, 1 + labels)."""
    return np.concatenate([_f1(sums.sum(axis=1, keepdims=True)), _f1(sums)], axis=1)


def _interval(values: Array) -> Interval:
    tail = (1 - _LEVEL) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _score_intervals(sums: Array) -> ScoreIntervals:
    gold, predicted, correct = np.moveaxis(sums, -1, 0)
    return ScoreIntervals(
        precision=_interval(_ratio(correct, predicted)),
        recall=_interval(_ratio(correct, gold)),
        f1=_interval(_f1(sums)),
    )


def _difference(first: Array, second: Array, resampled: Array, exchanged: Array) -> Difference:
    """Summarise the draws; `first` and `second` are gold, predicted, correct."""
    difference = float(_f1(second) - _f1(first))
    return Difference(
        first=Counts(*map(int, first)),
        second=Counts(*map(int, second)),
        interval=_interval(resampled),
        p_bootstrap=_share_as_large(resampled - difference, difference),
        p_randomisation=_share_as_large(exchanged, difference),
        share_better=float((resampled > 0).mean() + (resampled == 0).mean() / 2),
    )


def _share_as_large(values: Array, difference: float) -> float:
    """Count the values, and the observed one, that are at least as far from 0 as that one."""
    # A value that differs in its last bit alone is as large.
    n = np.count_nonzero(np.abs(values) >= abs(difference) - 1e-12)
    return float((n + 1) / (len(values) + 1))
