"""The reliability of scores: the share of right entities by score, and the calibration error."""

from collections.abc import Iterable
from dataclasses import dataclass

N_BINS = 10
"""Equal bins of scores, from 0 to 1."""


@dataclass(frozen=True, slots=True)
class Bin:
    """The predicted entities whose scores lie in one bin. A mean of none is 0.0."""

    n: int = 0
    score_sum: float = 0.0
    n_right: int = 0

    def __add__(self, other: "Bin") -> "Bin":
        return Bin(self.n + other.n, self.score_sum + other.score_sum, self.n_right + other.n_right)

    @property
    def mean_score(self) -> float:
        """How many of them should be right, as a share."""
        return self.score_sum / self.n if self.n else 0.0

    @property
    def share_right(self) -> float:
        """How many of them are right, as a share."""
        return self.n_right / self.n if self.n else 0.0

    @property
    def gap(self) -> float:
        """By how much the scores promise too much; below zero, too little."""
        return self.mean_score - self.share_right

    def as_dict(self) -> dict[str, float | int]:
        """Give the count and the means, ready for JSON."""
        means = {"mean_score": self.mean_score, "share_right": self.share_right}
        return {"predicted": self.n, **means}


@dataclass(frozen=True, slots=True)
class Reliability:
    """Counts by equal bins of scores, which add up over batches, labels and corpora."""

    bins: tuple[Bin, ...] = (Bin(),) * N_BINS

    @classmethod
    def of(cls, outcomes: Iterable[tuple[float, bool]], n_bins: int = N_BINS) -> "Reliability":
        """Count entities by their score, 0 to 1, and whether they were right.

        A score of 1 is in the last bin.
        """
        members: list[list[tuple[float, bool]]] = [[] for _ in range(n_bins)]
        for score, right in outcomes:
            members[min(int(score * n_bins), n_bins - 1)].append((score, right))
        bins = [Bin(len(m), sum(score for score, _ in m), sum(r for _, r in m)) for m in members]
        return cls(tuple(bins))

    def __add__(self, other: "Reliability") -> "Reliability":
        both = zip(self.bins, other.bins, strict=True)
        return Reliability(tuple(mine + theirs for mine, theirs in both))

    @property
    def total(self) -> Bin:
        """All bins in one."""
        return sum(self.bins, Bin())

    @property
    def error(self) -> float:
        """The expected calibration error (Naeini et al. 2015), the mean gap weighted by sizes."""
        return sum(each.n * abs(each.gap) for each in self.bins) / max(self.total.n, 1)

    def summary(self) -> dict[str, float | int]:
        """Give the error and the totals, ready for JSON; ratios are 0 to 1."""
        return {"error": self.error, **self.total.as_dict()}

    def as_dict(self) -> dict[str, object]:
        """Give the summary and all bins, ready for JSON."""
        n_bins = len(self.bins)
        bins = [
            {"from": place / n_bins, "to": (place + 1) / n_bins, **each.as_dict()}
            for place, each in enumerate(self.bins)
        ]
        return {**self.summary(), "bins": bins}
