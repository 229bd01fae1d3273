"""Laws of `teddy tag --ray`, on a real cluster of this machine: `make ray` runs this file."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest

from benchmarks.load.processes import descendants

if find_spec("ray") is None:
    pytest.skip("the extra `ray` is not installed: `make ray` does it", allow_module_level=True)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 120.0
Shell = Callable[..., tuple[int, str, str]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def actors(pid: int) -> list[int]:
    """The processes that tag."""
    found = []
    for each in descendants(pid):
        try:
            title = Path(f"/proc/{each}/cmdline").read_text()
        except OSError:
            continue
        if title.startswith("ray::MapWorker"):
            found.append(each)
    return found


def test_a_cluster_writes_what_one_process_writes_though_a_worker_is_killed_midway(
    tmp_path: Path, shell: Shell, tiny_model: Path
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(30):
        (tmp_path / "in" / f"{number}.txt").write_text(
            "Anna Berg went to Oslo .\n" * 3000 + "\udcff\n", errors="surrogateescape"
        )
    options = ("tag", "--input", tmp_path / "in", "--model", tiny_model, "--precision", "fp32")
    assert shell(*options, "--output", tmp_path / "whole", "--processes", "1")[0] == 1
    arguments = [
        *map(str, options),
        "--output",
        str(tmp_path / "out"),
        "--processes",
        "2",
        "--ray",
        "local",
    ]
    job = subprocess.Popen([sys.executable, "-m", "teddy", *arguments], cwd=ROOT)
    try:
        deadline = monotonic() + PATIENCE_SECONDS
        while not any((tmp_path / "out").glob("*.jsonl")):
            assert monotonic() < deadline
            assert job.poll() is None
            sleep(0.02)
        os.kill(actors(job.pid)[0], signal.SIGKILL)
        assert job.wait(PATIENCE_SECONDS) == 1  # as there are lines that cannot be tagged
    finally:
        job.kill()
        job.wait()
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
