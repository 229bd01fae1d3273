"""Free memory goes back to the system, and few kernels are kept: each in its own process."""

import gc
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from teddy.model.system.memory import _malloc_trim, collector_paused, resident_bytes, trim_malloc

RESIDENT = """
from teddy.model.system import memory
def resident():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096
"""


def run(program: str, **environment: str) -> str:
    """What a program prints."""
    variables = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=variables
    ).stdout


@pytest.mark.skipif(
    _malloc_trim() is None or not Path("/proc/self/statm").exists(), reason="no glibc to ask"
)
def test_holes_between_blocks_that_are_kept_go_back_to_the_system() -> None:
    blocks = "blocks = [bytearray(50_000) for _ in range(2000)]\ndel blocks[::2]\n"
    measured = "before = resident()\nmemory.trim_malloc()\nprint(before - resident())"
    assert int(run(RESIDENT + blocks + measured)) > 20_000_000


def test_where_there_is_nothing_to_ask_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teddy.model.system.memory._malloc_trim", lambda: None)
    trim_malloc()


@pytest.mark.parametrize(
    ("given", "expected"), [({}, "32"), ({"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "5"}, "5")]
)
def test_few_kernels_are_kept_unless_another_number_is_asked_for(
    given: dict[str, str], expected: str
) -> None:
    monitored = (
        "import os; from teddy.model.system.memory import bound_kernel_cache\n"
        "bound_kernel_cache(); print(os.environ['ONEDNN_PRIMITIVE_CACHE_CAPACITY'])"
    )
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    }
    found = subprocess.run(
        [sys.executable, "-c", monitored],
        capture_output=True,
        text=True,
        check=True,
        env={**inherited, **given},
    )
    assert found.stdout.strip() == expected


def test_what_was_there_when_a_program_settled_is_not_gone_through_again() -> None:
    settled = "import gc, torch\nfrom teddy.model.system.memory import freeze_gc\nfreeze_gc()\n"
    assert int(run(settled + "print(gc.get_freeze_count())")) > 10_000
    assert int(run(settled + "print(len(gc.get_objects()))")) < 1_000


@pytest.mark.parametrize("is_on", [True, False])
def test_the_collector_pauses_in_a_block_and_is_as_it_was_behind_it(is_on: bool) -> None:
    before = gc.isenabled()
    try:
        gc.enable() if is_on else gc.disable()
        with suppress(KeyError), collector_paused():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is is_on
    finally:
        gc.enable() if before else gc.disable()


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads a process's memory as Linux shows it"
)
def test_the_memory_of_this_process_is_what_the_system_says() -> None:
    told = next(
        line
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    assert resident_bytes() == pytest.approx(int(told.split()[1]) * 1024, rel=0.2)
