"""What became of requests: counted by status, timed, and what was wrong kept."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil

KEPT_FAULTS = 10
OK = 200


@dataclass(frozen=True, slots=True)
class Broken:
    """A request without an answer."""

    port: int
    """Of the client's end."""
    sent: float
    """When, on the monotonic clock."""
    why: str
    partial: bool
    """Whether a part of an answer had come."""


@dataclass(slots=True)
class Tally:
    """Outcomes of requests."""

    sent: int = 0
    seconds: float = 0.0
    latencies: dict[int, list[float]] = field(default_factory=dict)
    """Seconds, by status."""
    words: int = 0
    """Of the texts in requests that were answered by a result."""
    n_faults: int = 0
    faults: list[str] = field(default_factory=list)
    """The first of the answers that were wrong."""
    broken: list[Broken] = field(default_factory=list)
    unreachable: int = 0
    """Requests for which no connection could be made."""
    last_ok: float = 0.0
    """When the last result came, on the monotonic clock."""

    def answered(self, status: int, seconds: float) -> None:
        """Count an answer."""
        self.latencies.setdefault(status, []).append(seconds)

    def wrong(self, fault: str) -> None:
        """Count a wrong answer."""
        self.n_faults += 1
        if len(self.faults) < KEPT_FAULTS:
            self.faults.append(fault)

    @property
    def statuses(self) -> Counter[int]:
        """Answers by status."""
        return Counter({status: len(each) for status, each in self.latencies.items()})

    @property
    def ok(self) -> int:
        """Requests that were answered by a result."""
        return len(self.latencies.get(OK, ()))

    @property
    def ok_per_second(self) -> float:
        """The goodput, if all of these were right."""
        return self.ok / self.seconds if self.seconds else 0.0

    def percentile(self, percent: float, status: int = OK) -> float:
        """Return the latency that `percent` of answers with this status did not exceed."""
        return percentile(self.latencies.get(status, ()), percent)

    def add(self, other: "Tally") -> None:
        """Put another one's outcomes to these; the times add up."""
        for status, latencies in other.latencies.items():
            self.latencies.setdefault(status, []).extend(latencies)
        for fault in other.faults:
            self.wrong(fault)
        self.n_faults += other.n_faults - len(other.faults)
        self.broken += other.broken
        self.sent += other.sent
        self.words += other.words
        self.seconds += other.seconds
        self.unreachable += other.unreachable
        self.last_ok = max(self.last_ok, other.last_ok)

    def __str__(self) -> str:
        outcomes = [f"{n} x {status}" for status, n in sorted(self.statuses.items())]
        outcomes += [f"{n} {what}" for what, n in self._failures() if n]
        faults = "; ".join(dict.fromkeys(self.faults)) or "all right"
        return f"{self.sent} requests: {', '.join(outcomes)}; {faults}"

    def _failures(self) -> Iterable[tuple[str, int]]:
        yield "broken off", len(self.broken)
        yield "unreachable", self.unreachable
        yield "wrong", self.n_faults


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the least value that `percent` of a hundred do not exceed; NaN without values."""
    ordered = sorted(values)
    return ordered[max(0, ceil(len(ordered) * percent / 100) - 1)] if ordered else float("nan")
