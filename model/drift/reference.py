"""The texts that a model was measured on, as counts, and how far live counts lie from them.

Every feature counts something over bins that never change, so that counts of different times and
places compare; what is counted is said in `teddy.model.drift.profile`. Live counts are compared
with a reference where both have the same bins.

With p and q the shares of a bin, and m = (p + q) / 2:

    population stability index   sum of (p - q) ln(p / q)                 0 or more
    Jensen-Shannon distance      root of the mean of KL(p, m), KL(q, m)   0 to 1

Both take counts and make shares of them, with half a count more in each bin (Krichevsky & Trofimov
1981), so that a bin that is empty on one side says that it is rare there and not that it is
impossible.

J. Lin (1991), Divergence measures based on the Shannon entropy, IEEE Transactions on Information
Theory 37(1). D. Endres, J. Schindelin (2003), A new metric for probability distributions, the same
49(7): the root is a distance. B. Yurdakul (2018), Statistical properties of population stability
index, dissertation, Western Michigan University.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log, log2, sqrt
from typing import Annotated, Any

from pydantic import BeforeValidator

SCORE_BINS = 10
PIECE_BINS = 8
WORD_LENGTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 13, 17)
"""In characters: where the bins begin."""
SENTENCE_LENGTHS = (1, 2, 4, 8, 16, 32, 64)
"""In words."""
SCRIPTS = {
    "LATIN": "latin",
    "CYRILLIC": "cyrillic",
    "GREEK": "greek",
    "ARABIC": "arabic",
    "HEBREW": "hebrew",
    "DEVANAGARI": "devanagari",
    "CJK": "han",
    "HIRAGANA": "kana",
    "KATAKANA": "kana",
    "HANGUL": "hangul",
    "THAI": "thai",
}
"""By the first word of a letter's Unicode name."""

SMOOTHING = 0.5
"""Added to the count of each bin."""


def _ranges(starts: Sequence[int]) -> tuple[str, ...]:
    """Return the names of the bins that begin at `starts`: `1`, `2-3`, `4+`."""
    inner = [f"{a}" if a + 1 == b else f"{a}-{b - 1}" for a, b in pairwise(starts)]
    return (*inner, f"{starts[-1]}+")


_BINS: dict[str, tuple[str, ...]] = {
    "score": tuple(f"{i / SCORE_BINS:.1f}-{(i + 1) / SCORE_BINS:.1f}" for i in range(SCORE_BINS)),
    "entity_rate": ("outside", "inside"),
    "pieces": _ranges(range(1, PIECE_BINS + 1)),
    "piece_kind": ("vocabulary", "byte", "none"),
    "word_length": _ranges(WORD_LENGTHS),
    "shape": ("lower", "title", "upper", "mixed", "uncased", "number", "punctuation", "symbol"),
    "script": (*dict.fromkeys(SCRIPTS.values()), "other", "none"),
    "sentence_length": _ranges(SENTENCE_LENGTHS),
    "case": ("lower", "mixed", "upper", "uncased"),
}


def feature_bins(labels: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the names of every feature's bins, in order, for a model of these labels."""
    return {"label": tuple(labels), **_BINS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReference:
    """The counts of each bin of a feature, and how unequal the texts were: see `spread`."""

    counts: dict[str, int]
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How dev data look to a model: what drift is measured against."""

    features: dict[str, FeatureReference]


def _upgraded(plain: Any) -> Any:
    """Return a reference in today's form, with the features that one of format 3 had."""
    if not isinstance(plain, Mapping) or "entities_per_word" not in plain:
        return plain
    try:
        rates = plain["entities_per_word"].items()
        counts = {
            "label": {label: round(rate * plain["n_words"]) for label, rate in rates},
            "score": dict(zip(_BINS["score"], plain["score_histogram"], strict=True)),
            "pieces": dict(zip(_BINS["pieces"], plain["pieces_per_word_histogram"], strict=True)),
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a reference without all of its parts ({error})") from error
    # As if every observation had been made by itself: nothing is known of the texts.
    return {
        "features": {
            name: {"counts": each, "spread": len(each) - 1} for name, each in counts.items()
        }
    }


AnyReference = Annotated[Reference, BeforeValidator(_upgraded)]
"""For pydantic, which then reads what files of format 3 and their checkpoints have too."""


def shares(counts: Sequence[float]) -> list[float]:
    """Return the share of each bin, none of them 0; equal ones where nothing was counted."""
    total = sum(counts) + SMOOTHING * len(counts)
    return [(count + SMOOTHING) / total for count in counts]


def population_stability_index(live: Sequence[float], reference: Sequence[float]) -> float:
    """PSI of two lists of counts, one for each bin.

    Raises ValueError for lists of different lengths.
    """
    return sum((p - q) * log(p / q) for p, q in zip(shares(live), shares(reference), strict=True))


def jensen_shannon_distance(live: Sequence[float], reference: Sequence[float]) -> float:
    """Return the distance, 0 to 1, of two lists of counts.

    Raises ValueError for lists of different lengths.
    """
    divergence = 0.0
    for p, q in zip(shares(live), shares(reference), strict=True):
        middle = (p + q) / 2
        divergence += p * log2(p / middle) + q * log2(q / middle)
    return sqrt(min(max(divergence / 2, 0.0), 1.0))  # rounding may pass either end


def spread(
    counts: Sequence[float],
    squares: Sequence[float],
    crosses: Sequence[float],
    totals: Sequence[float],
) -> float:
    """Return how unequal the texts of `counts` are; divided by the sum, the PSI due to chance.

    PSI between a sample of N and its source is about the sum of var(p) / p over the bins: (bins -
    1) / N, if every observation is drawn by itself (Yurdakul 2018). The words of one text are not,
    they go together; so the variance is taken from the texts, as that of a ratio of their sums,
    after J. Rao and A. Scott (1981), The analysis of categorical data from complex sample surveys,
    Journal of the American Statistical Association 76. Where each text is a single observation,
    that is bins - 1 again.

    With c the count of a bin in a text and n that of all bins together, for each bin the sums over
    texts of c, of c * c (`squares`), of c * n (`crosses`), and of n * n (`totals`). 0 where nothing
    was counted.
    """
    total = sum(counts)
    found = 0.0
    for count, square, cross, whole in zip(counts, squares, crosses, totals, strict=True):
        if count:
            share = count / total
            found += (square - 2 * share * cross + share * share * whole) / count
    return max(found, 0.0)
