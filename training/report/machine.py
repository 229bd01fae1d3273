"""The machine of a run or a report, and the time and memory that a run took."""

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from teddy.model.system.processes import available_cores

_NUMBER_FORMATS = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine; `cores` are those of this process, `memory_bytes` is 0 where unknown."""

    processor: str
    cores: int
    memory_bytes: int
    system: str
    python: str
    torch: str
    threads: int

    def as_dict(self) -> dict[str, str | int]:
        """Return the fields for JSON."""
        return asdict(self)


def this_machine() -> Machine:
    """Return the machine of this process, with the threads that torch has now."""
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    return Machine(
        processor=_cpu() + gpu,
        cores=available_cores(),
        memory_bytes=_memory_bytes(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        torch=torch.__version__,
        threads=torch.get_num_threads(),
    )


def _cpu() -> str:
    """Return the name of the processor, and its instructions for bf16."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    pairs = (line.partition(":") for line in lines)
    fields = {key.strip(): value.strip() for key, _, value in pairs}
    flags = fields.get("flags", "").split()
    formats = [title for flag, title in _NUMBER_FORMATS if flag in flags]
    return ", ".join([fields.get("model name", platform.machine()), *formats])


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a run; None where it was not measured."""

    training_seconds: float | None
    """The time of updates, in all processes."""
    evaluation_seconds: float | None
    """The time of evaluations, in all processes."""
    words: int | None
    """The words of those updates, without padding. Work that a kill undid counts twice."""
    n_processes: int
    seconds: float
    """The time from the start of each process to its end, or to now, unless it was killed."""
    cpu_seconds: float
    """The time of all threads of the last process."""
    peak_bytes: int
    """The peak memory of the last process."""

    @property
    def words_per_second(self) -> float | None:
        """The speed of updates alone."""
        return self.words / self.training_seconds if self.words and self.training_seconds else None


class CostMeter:
    """A meter of this process, from when it is made."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._cpu_started = _cpu_seconds()

    def cost(self, timings: Sequence[Mapping[str, object]]) -> Cost:
        """Return the cost so far; `timings` are the rows of timings.jsonl (`job/record.py`)."""
        words = _total(timings, "words")
        return Cost(
            training_seconds=_total(timings, "seconds"),
            evaluation_seconds=_total(timings, "evaluation_seconds"),
            words=None if words is None else round(words),
            n_processes=max(1, sum(row.get("kind") == "start" for row in timings)),
            seconds=(_total(timings, "process_seconds") or 0.0) + time.monotonic() - self._started,
            cpu_seconds=_cpu_seconds() - self._cpu_started,
            peak_bytes=_peak_bytes(),
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
