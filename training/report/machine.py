"""The machine of a run or a report, and what a run cost there: time, memory and energy."""

import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from teddy.model.system.processes import available_cores

_NUMBER_FORMATS = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16"))

POWERCAP = Path("/sys/class/powercap")
_MOST_WATTS = 1000
"""Of one package. A counter that could have run round since it was last read says nothing any
more."""
_LOOK_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Attributes: `cores` are those that this process may use, `memory_bytes` is 0 where the system does not tell."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    torch: str
    threads: int

    def as_dict(self) -> dict[str, str | int]:
        """Give everything ready for JSON."""
        return {
            "processor": self.processor,
            "cores": self.cores,
            "memory_bytes": self.memory_bytes,
            "system": self.system,
            "python": self.python,
            "torch": self.torch,
            "threads": self.threads,
        }


def this_machine() -> Machine:
    """Describe the machine that this process runs on, with the threads that torch has now."""
    return Machine(
        processor=_processor(),
        cores=available_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
    )


def _processor() -> str:
    if torch.cuda.is_available():
        return f"{_cpu()}; {torch.cuda.get_device_name()}"
    return _cpu()


def _cpu() -> str:
    """Name the processor, and what it has for multiplying in bf16."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    flags = fields.get("flags", "").split()
    return ", ".join(
        [
            fields.get("model name", platform.machine()),
            *(title for flag, title in _NUMBER_FORMATS if flag in flags),
        ]
    )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return 0


@dataclass(slots=True)
class _Counter:
    """A package's counter: microjoules, from 0 again at `end`."""

    path: Path
    end: int
    value: int
    read_seconds: float


class EnergyMeter:
    """Adds up the energy of all packages, whoever used it, from the moment that the meter is made.

    The counters run round in some ten minutes at full load, so `read` must be called every few
    minutes.
    """

    def __init__(
        self, powercap: Path = POWERCAP, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._joules: float | None = 0.0
        try:
            self._counters = [
                _open(zone, clock())
                for zone in sorted(powercap.glob("*-rapl:*"))
                if _is_package(zone)
            ]
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
        """Sum up what it cost so far; `timings` are the rows of timings.jsonl (see training/job/record.py)."""
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
