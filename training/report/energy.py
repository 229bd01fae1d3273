"""The energy that the processor used, where it counts it (Intel's RAPL) and lets this process read the counter."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
_MOST_WATTS = 1000
"""Of one package. A counter that could have run round since it was last read says nothing any more."""


@dataclass(slots=True)
class _Counter:
    """A package's counter: microjoules, from 0 again at `end`."""

    path: Path
    end: int
    value: int
    read_seconds: float


class EnergyMeter:
    """Adds up the energy of all packages, whoever used it, from the moment that the meter is made.

    The counters run round in some ten minutes at full load, so `read` must be called every few minutes.
    """

    def __init__(self, powercap: Path = POWERCAP, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._joules: float | None = 0.0
        try:
            self._counters = [_open(zone, clock()) for zone in sorted(powercap.glob("*-rapl:*")) if _is_package(zone)]
        except (OSError, ValueError):
            self._counters = []

    def read(self) -> float | None:
        """Return the joules until now; None where they cannot be read, or were not for too long."""
        for counter in self._counters:
            self._add(counter)
        return self._joules if self._counters else None

    def _add(self, counter: _Counter) -> None:
        now = self._clock()
        missed = (now - counter.read_seconds) * _MOST_WATTS * 1e6 >= counter.end
        try:
            value = _number(counter.path)
        except (OSError, ValueError):
            missed = True
        if missed or self._joules is None:
            self._joules = None
            return
        self._joules += (value - counter.value) % counter.end / 1e6
        counter.value, counter.read_seconds = value, now


def _is_package(zone: Path) -> bool:
    """Leave out the parts of a package, which its own counter has counted, and the second way to the same counter."""
    return zone.name.count(":") == 1 and zone.name.startswith("intel-rapl:")


def _open(zone: Path, now: float) -> _Counter:
    path = zone / "energy_uj"
    return _Counter(path, _number(zone / "max_energy_range_uj"), _number(path), now)


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
