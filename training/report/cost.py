"""What a run cost: time, words, memory, and energy where the processor counts it and lets this process read it."""

import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teddy.training.report.energy import EnergyMeter

_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is None was not measured.

    Attributes:
        training_seconds, evaluation_seconds: spent in updates and evaluations, in all processes of the run.
        words: read in those updates, padding not counted. Work that a kill undid was paid for twice, and counts so.
        n_processes: that worked on the run.
        seconds: from the start of each process to its end, or to this report; without those that were killed outright.
        cpu_seconds: of the last process, over all its threads.
        peak_bytes: the most memory that the last process had.
        energy_joules: of the whole processor during the last process, whoever used it.
    """

    training_seconds: float | None
    evaluation_seconds: float | None
    words: int | None
    n_processes: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    energy_joules: float | None

    @property
    def words_per_second(self) -> float | None:
        """Speed of the updates alone."""
        return self.words / self.training_seconds if self.words and self.training_seconds else None


class CostMeter:
    """Measures a process from the moment that the meter is made."""

    def __init__(self) -> None:
        self._started = self._looked = time.monotonic()
        self._cpu_started = _cpu_seconds()
        self._energy = EnergyMeter()

    def look(self) -> None:
        """Be called often: looks at what would be lost if nobody looked every few minutes, the counters of energy."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            self._energy.read()

    def cost(self, timings: Sequence[Mapping[str, object]]) -> Cost:
        """Sum up what it cost so far; `timings` are the rows of timings.jsonl (see training/job/timings.py)."""
        words = _total(timings, "words")
        return Cost(
            training_seconds=_total(timings, "seconds"),
            evaluation_seconds=_total(timings, "evaluation_seconds"),
            words=None if words is None else round(words),
            n_processes=max(1, sum(row.get("kind") == "start" for row in timings)),
            seconds=(_total(timings, "process_seconds") or 0.0) + time.monotonic() - self._started,
            cpu_seconds=_cpu_seconds() - self._cpu_started,
            peak_bytes=_peak_bytes(),
            energy_joules=self._energy.read(),
        )


def _total(rows: Sequence[Mapping[str, object]], key: str) -> float | None:
    values = [value for row in rows if isinstance(value := row.get(key), int | float)]
    return float(sum(values)) if values else None


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
