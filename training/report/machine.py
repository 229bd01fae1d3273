"""The machine that a report was made on: what one has to know to compare its figures with those of another."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

_NUMBER_FORMATS = (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16"))


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
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
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
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
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
