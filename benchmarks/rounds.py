"""Who is measured when, for how long, and what the figures of several rounds come to."""

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

MORE_THAN_BEFORE = 1.2
"""A round may take this much longer than the longest before it; where that is too long, it is not
begun."""


@dataclass(slots=True)
class Clock:
    """The time of the whole benchmark: `total_seconds` from when it was made."""

    total_seconds: float
    started: float = field(default_factory=time.monotonic)

    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def left(self) -> float:
        """Seconds until the end; below zero after it."""
        return self.total_seconds - self.elapsed()

    def rounds(self, at_most: int, share: float) -> Iterator[int]:
        """Yield rounds, from 0, while the next will probably end within `share` of the time left.

        The first is always begun: one figure is better than none.
        """
        end = self.elapsed() + share * self.left()
        longest = 0.0
        for number in range(at_most):
            begun = self.elapsed()
            if number and begun + longest * MORE_THAN_BEFORE > end:
                return
            yield number
            longest = max(longest, self.elapsed() - begun)


def paired_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios within rounds: a slow spell of the machine slows both."""
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], percent: int) -> float:
    """The value that `percent` of a hundred do not exceed, interpolated; one value is its own."""
    if len(values) < 2:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def texts_for(
    seconds: float, measured_texts: int, measured_seconds: float, *, least: int, most: int
) -> int:
    """Return how many texts take about `seconds`: a multiple of `least`, up to `most`."""
    wanted = int(measured_texts * seconds / max(measured_seconds, 1e-6))
    return max(min(least, most), min(wanted, most) // least * least)
