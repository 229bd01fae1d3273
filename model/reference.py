"""What a model file remembers of the texts that its model was measured on, for live texts to be compared with.

Every feature counts something over bins that never change, so that counts of different times and places compare; what
is counted is said in `teddy.model.profile`. Live counts are compared with a reference where both have the same bins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
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


def _ranges(starts: Sequence[int]) -> tuple[str, ...]:
    """Names of the bins that begin at `starts`: `1`, `2-3`, `4+`."""
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
    """The names of every feature's bins, in order, for a model of these labels."""
    return {"label": tuple(labels), **_BINS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureReference:
    """How often each bin of a feature was met, and how unequal the texts were: see `teddy.model.divergence.spread`."""

    counts: dict[str, int]
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """How dev data look to a model: what drift is measured against."""

    features: dict[str, FeatureReference]


def _upgraded(plain: Any) -> Any:
    """A reference in plain values as it is written today: of one as format 3 had it, the features that it had."""
    if not isinstance(plain, Mapping) or "entities_per_word" not in plain:
        return plain
    try:
        counts = _counts_of_format_3(plain)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a reference without all of its parts ({error})") from error
    # As if every observation had been made by itself: nothing is known of the texts.
    return {"features": {name: {"counts": each, "spread": len(each) - 1} for name, each in counts.items()}}


def _counts_of_format_3(plain: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    rates = plain["entities_per_word"].items()
    return {
        "label": {label: round(rate * plain["n_words"]) for label, rate in rates},
        "score": dict(zip(_BINS["score"], plain["score_histogram"], strict=True)),
        "pieces": dict(zip(_BINS["pieces"], plain["pieces_per_word_histogram"], strict=True)),
    }


AnyReference = Annotated[Reference, BeforeValidator(_upgraded)]
"""For pydantic, which then reads what files of format 3 and their checkpoints have too."""
