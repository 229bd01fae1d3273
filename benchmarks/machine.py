"""What a process takes of the machine, and what the machine is.

Memory and cores are known on Linux only.
"""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "numpy", "onnxruntime", "spacy", "transformers")


def cores() -> list[int]:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return sorted(os.sched_getaffinity(0))
    else:
        return list(range(os.cpu_count() or 1))


def pin(wanted: list[int]) -> None:
    """Keeps this process, and those that it will start, on these cores."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, wanted)


def environment(n_threads: int) -> dict[str, str]:
    """Return the environment of a process that computes on `threads` threads that sleep to wait."""
    counts = (
        "OMP_NUM_THREADS",
        "MKL_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "RAYON_NUM_THREADS",
    )
    return {
        **os.environ,
        **dict.fromkeys(counts, str(n_threads)),
        "OMP_WAIT_POLICY": "passive",
        "TOKENIZERS_PARALLELISM": "true" if n_threads > 1 else "false",
        "HF_HUB_OFFLINE": "1",
    }


def memory_bytes(process: int | str = "self") -> dict[str, int]:
    """Memory `resident` now and at its `peak`; None where the system does not say."""
    try:
        lines = Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    # Not `getrusage`: its peak is that of the parent until the process has passed it.
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {"resident": "VmRSS", "peak": "VmHWM"}
    return {
        name: int(fields[field].split()[0]) * 1024
        for name, field in names.items()
        if field in fields
    }


def describe() -> dict[str, str]:
    """Processor, cores, system and versions."""
    found = {
        "processor": _processor(),
        "cores": str(len(cores())),
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    names = {key.strip(): value.strip() for key, value in fields.items()}
    return names.get("model name", platform.machine()) + "".join(
        f", {title}"
        for flag, title in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX-512 bf16"))
        if flag in names.get("flags", "").split()
    )
