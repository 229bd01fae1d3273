"""A large tensor that comes and goes must not be fetched from the kernel page by page."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SWITCH = Path("/sys/kernel/mm/transparent_hugepage/enabled")

PROGRAM = """
from teddy.training.learning.torch_setup import set_up_memory
set_up_memory()
import torch

tensor = torch.zeros(4_000_000)
with open("/proc/self/smaps") as mappings:
    print(sum(line.startswith("VmFlags:") and "hg" in line.split() for line in mappings))
"""
"""Prints for how many mappings the process has asked for large pages; whether it gets them is the
kernel's business."""


def mappings_of_large_pages(**environment: str) -> int:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )
    return int(answer.stdout)


@pytest.mark.skipif(not SWITCH.exists(), reason="this kernel knows no large pages")
def test_training_asks_for_large_pages_unless_told_not_to() -> None:
    assert mappings_of_large_pages(THP_MEM_ALLOC_ENABLE="0") == 0
    assert mappings_of_large_pages() > 0
