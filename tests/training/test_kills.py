"""Real processes that are killed, and runs that end as if none had been: to the last bit."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train
from tests.training.runs import differences

Shell = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
SETTINGS = (
    "training.epochs=2",
    "training.evaluations_per_epoch=2",
    "training.checkpoint_seconds=0.05",
)
"""A checkpoint after every few updates."""

DYING = """
import os, signal, sys
from pathlib import Path

step, where = int(sys.argv[1]), sys.argv[2]
from teddy.training.job.record import Record

append, write_bytes, replace = Record.append, Path.write_bytes, Path.replace

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def half(path, data):
    write_bytes(path, data[: len(data) // 2])
    die()

def first_of_two(path, target):
    replace(path, target)
    if path.name == "last.checkpoint":
        die()

def remember(record, row):
    append(record, row)
    if row["step"] >= step:
        Path.write_bytes = half if where == "writing" else write_bytes
        Path.replace = first_of_two if where == "renaming" else replace

Record.append = remember
sys.argv = ["teddy", *sys.argv[3:]]
from teddy.cli import main
main()
"""
"""Runs a command that is killed in the first checkpoint after a step, half written, or with one of
two renames done."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture(scope="module")
def recipe(tiny_data: Path) -> Recipe:
    return load_recipe(tiny_data / "tiny.toml", SETTINGS)


@pytest.fixture(scope="module")
def whole_run(recipe: Recipe, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("whole")
    train(recipe, tiny_data, output)
    return output


def command(data: Path, output: Path) -> list[str]:
    settings = [word for each in SETTINGS for word in ("--set", each)]
    return [
        "train",
        str(data / "tiny.toml"),
        "--data",
        str(data),
        "--output",
        str(output),
        "--resume",
        *settings,
    ]


def started(*arguments: str) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments], stderr=subprocess.DEVNULL, env=environment, cwd=ROOT
    )


def test_a_run_killed_at_the_worst_moments_ends_as_one_that_was_not(
    whole_run: Path, recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    """With half of a checkpoint on disk, or between renames; `make kills`: at random moments."""
    arguments = command(tiny_data, tmp_path)
    for step, where in ((14, "writing"), (20, "renaming")):
        process = started("-c", DYING, str(step), where, *arguments)
        try:
            assert process.wait(timeout=600) == -signal.SIGKILL, where
        finally:
            process.kill()
            process.wait()
        assert (tmp_path / "last.checkpoint").exists() == (where == "writing")
    assert train(recipe, tiny_data, tmp_path, resume=True).exists()
    assert differences(tmp_path, whole_run) == []
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
