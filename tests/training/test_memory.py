"""A large tensor that comes and goes must not be fetched from the kernel page by page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PROGRAM = """
import resource
import training
import torch

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

torch.zeros(4_000_000)
before = faults()
for _ in range(10):
    torch.zeros(4_000_000)
print(faults() - before)
"""
PAGES = 10 * 16_000_000 // 4096
"""Of ten tensors of 16 MB in small pages."""


def page_faults(**environment: str) -> int:
    """How often a process of its own asks the kernel for a page."""
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )
    return int(answer.stdout)


@pytest.mark.skipif(
    not _SWITCH.exists() or "[never]" in _SWITCH.read_text(), reason="this kernel has no transparent huge pages"
)
def test_training_asks_for_large_pages_unless_told_not_to() -> None:
    assert page_faults(THP_MEM_ALLOC_ENABLE="0") > PAGES / 2
    assert page_faults() < PAGES / 2
