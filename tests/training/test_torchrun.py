"""`torchrun -m teddy.training`, with the launcher itself: slow, so `make distributed`."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest
import torch

from benchmarks.load.processes import descendants, is_alive
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.recipe.recipe import load_recipe
from teddy.training.run import train
from tests.training.processes import tensors

if "TEDDY_TEST_LAUNCHERS" not in os.environ:
    pytest.skip("`make distributed` runs it", allow_module_level=True)

pytestmark = pytest.mark.slow

PATIENCE_SECONDS = 240.0
CHANGES = ("training.parts=2", "training.epochs=3")


@pytest.fixture(scope="module")
def alone(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one process that nobody disturbed."""
    output = tmp_path_factory.mktemp("alone")
    train(load_recipe(tiny_data / "tiny.toml", CHANGES), tiny_data, output)
    return output


@contextmanager
def launched(
    data: Path, output: Path, *options: str, restarts: int = 0
) -> Iterator[subprocess.Popen[str]]:
    """Two processes that train, and the launcher above them; gone in the end."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    settings = [word for change in CHANGES for word in ("--set", change)]
    arguments = [
        str(data / "tiny.toml"),
        "--data",
        str(data),
        "--output",
        str(output),
        *settings,
        *options,
    ]
    command = [*launcher, f"--max-restarts={restarts}", "-m", "teddy.training", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            for pid in descendants(process.pid):
                if is_alive(pid):
                    os.kill(pid, signal.SIGKILL)


def ranks(launcher: subprocess.Popen[str]) -> list[int]:
    """The processes that train, in order."""
    command = b"-m\0teddy.training\0"
    pids = descendants(launcher.pid)[1:]
    return sorted(pid for pid in pids if command in Path(f"/proc/{pid}/cmdline").read_bytes())


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.05)


def n_rows(output: Path) -> int:
    path = output / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def assert_same_end(output: Path, other: Path) -> None:
    ends = [load_checkpoint(each / "best.checkpoint") for each in (output, other)]
    ours, theirs = (tensors({"weights": each.weights, "progress": each.progress}) for each in ends)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("victim", [0, 1])
def test_a_run_with_a_killed_rank_ends_with_the_weights_of_an_undisturbed_one(
    tiny_data: Path, alone: Path, tmp_path: Path, victim: int
) -> None:
    with launched(tiny_data, tmp_path, restarts=1) as launcher:
        wait_for(lambda: n_rows(tmp_path) > 15)  # an evaluation and its checkpoint are behind it
        os.kill(ranks(launcher)[victim], signal.SIGKILL)
        output, _ = launcher.communicate(timeout=PATIENCE_SECONDS)
        print(output)
    assert launcher.returncode == 0
    assert output.splitlines()[-1] == str(tmp_path / "tiny.teddy")
    assert_same_end(tmp_path, alone)


def test_a_signal_to_one_rank_stops_all_and_they_go_on_with_resume(
    tiny_data: Path, alone: Path, tmp_path: Path
) -> None:
    with launched(tiny_data, tmp_path) as launcher:
        wait_for(lambda: n_rows(tmp_path) > 3)
        os.kill(ranks(launcher)[1], signal.SIGTERM)
        output, _ = launcher.communicate(timeout=PATIENCE_SECONDS)
        print(output)
    assert launcher.returncode == 1, "torchrun's own"
    assert output.count("exitcode  : 75") == 2
    assert (tmp_path / "last.checkpoint").exists()
    with launched(tiny_data, tmp_path, "--resume") as launcher:
        print(launcher.communicate(timeout=PATIENCE_SECONDS)[0])
    assert launcher.returncode == 0
    assert_same_end(tmp_path, alone)


def test_a_mistake_in_the_recipe_is_one_line_of_each_rank(tiny_data: Path, tmp_path: Path) -> None:
    with launched(tiny_data, tmp_path, "--set", "training.epochs=0") as launcher:
        output, _ = launcher.communicate(timeout=PATIENCE_SECONDS)
    assert launcher.returncode == 1
    errors = [line for line in output.splitlines() if line.startswith("teddy: error:")]
    assert len(errors) in (1, 2), "the launcher ends the second when the first has failed"
    assert all("training.epochs" in line for line in errors)
    assert "exitcode  : 2" in output
