"""What may be asked for beyond the best path: probable spans, and readings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LEAST_THRESHOLD = 0.0001
"""The lowest threshold: a word is in at most ten thousand spans of such a probability."""
MOST_READINGS = 32
UNNAMED_THRESHOLD = 0.5
"""The threshold of labels that a mapping does not name. From a half on, no two spans overlap."""
Threshold = float | Mapping[str, float]
"""The probability from which on a span is taken: of all labels, or by label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for beyond the best path: see `teddy.model.network.alternatives`.

    `thresholds` are those of the labels in their order, None to look for no other spans; `n_best`
    is the number of readings, 0 for none.
    """

    thresholds: tuple[float, ...] | None = None
    n_best: int = 0

    @classmethod
    def of(
        cls, labels: Sequence[str], threshold: Threshold | None = None, n_best: int = 0
    ) -> "Search | None":
        """Return what is asked of a model with these labels; None where it is the best path alone.

        Raises ValueError for an unknown label, and for numbers out of their range.
        """
        if threshold is None and not n_best:
            return None
        if not 0 <= n_best <= MOST_READINGS:
            raise ValueError(f"n_best must be at most {MOST_READINGS}, not {n_best}")
        by_label = threshold if isinstance(threshold, Mapping) else {}
        default = UNNAMED_THRESHOLD if isinstance(threshold, Mapping | None) else threshold
        if unknown := sorted(by_label.keys() - set(labels)):
            raise ValueError(f"the model has {', '.join(labels)}, not {', '.join(unknown)}")
        for value in (default, *by_label.values()):
            if not LEAST_THRESHOLD <= value <= 1:
                raise ValueError(f"a threshold must be {LEAST_THRESHOLD} to 1, not {value}")
        chosen = tuple(float(by_label.get(label, default)) for label in labels)
        return cls(thresholds=None if threshold is None else chosen, n_best=n_best)
