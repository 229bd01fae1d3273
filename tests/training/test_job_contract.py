"""What a scheduler may rely on: exit codes, signals, the lock, the log."""

import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from teddy.model.errors import TrainingError
from teddy.training import loop, run, run_setup
from teddy.training.job.progress import JsonProgress
from teddy.training.job.record import Record
from teddy.training.job.run_directory import RunDirectory
from teddy.training.pretrain import pretrainer as pretrain_evaluate
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train
from tests.training.pretraining import PRETRAINING
from tests.training.runs import differences

Shell = Callable[..., tuple[int, str, str]]

SETTINGS = ("training.epochs=2", "training.evaluations_per_epoch=2")


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


@pytest.fixture
def teddy_train(
    shell: Shell, tiny_data: Path, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Runs `teddy train` of the recipe, with `--resume` or more."""
    settings = [word for each in SETTINGS for word in ("--set", each)]

    def run(*arguments: object) -> tuple[int, str, str]:
        return shell(
            "train",
            tiny_data / "tiny.toml",
            "--data",
            tiny_data,
            "--output",
            tmp_path,
            *settings,
            *arguments,
        )

    return run


def signalled_when(
    monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int = signal.SIGTERM
) -> None:
    """Send the process a signal each time that something is called, before it does its work."""
    original = getattr(owner, name)

    def call(*arguments: Any, **options: Any) -> Any:
        os.kill(os.getpid(), number)
        return original(*arguments, **options)

    monkeypatch.setattr(owner, name, call)


def events(log: str, *, but_last: int = 0) -> list[dict[str, Any]]:
    lines = log.splitlines()
    return [json.loads(line) for line in lines[: len(lines) - but_last]]


# Interrupted.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_training_leaves_a_checkpoint_and_75_and_the_resumed_run_is_the_same(
    number: int,
    whole_run: Path,
    teddy_train: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        signalled_when(patch, JsonProgress, "show", number)  # at the first update
        code, out, err = teddy_train()
    assert (code, out) == (75, "")
    name = signal.Signals(number).name
    assert (
        err.splitlines()[-1]
        == f"teddy: interrupted by {name} after step 1; --resume goes on from there"
    )
    assert (events(err, but_last=1)[-1]["event"], events(err, but_last=1)[-1]["state"]) == (
        "end",
        "interrupted",
    )
    assert teddy_train("--resume")[:2] == (0, f"{tmp_path / 'tiny.teddy'}\n")
    assert differences(tmp_path, whole_run) == []


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end_and_it_is_made_again(
    whole_run: Path, teddy_train: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        signalled_when(patch, loop, "score_dev")
        code, _, err = teddy_train()
    assert (code, "after step 6; --resume" in err) == (75, True)
    assert [row["step"] for row in Record(tmp_path).rows()] == [1, 2, 3, 4, 5, 6]
    assert teddy_train("--resume")[0] == 0
    assert differences(tmp_path, whole_run) == []


@pytest.mark.parametrize(
    ("module", "name"),
    [(run, "set_up_memory"), (run_setup, "train_pieces")],
    ids=["before it", "during it"],
)
def test_a_signal_before_or_during_the_preparation_ends_the_job_there_with_75(
    module: ModuleType,
    name: str,
    teddy_train: Shell,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    signalled_when(monkeypatch, module, name)
    code, _, err = teddy_train()
    assert (code, err.splitlines()[-1]) == (75, "teddy: interrupted by SIGTERM")
    assert not (tmp_path / "metrics.jsonl").exists()


def test_a_signal_during_the_last_measurements_ends_the_job_and_they_are_made_again(
    whole_run: Path, teddy_train: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = tmp_path / "stopped"
    with monkeypatch.context() as patch:
        signalled_when(patch, run, "measure")
        assert teddy_train("--output", stopped)[0] == 75
    assert teddy_train("--resume", "--output", stopped)[0] == 0
    assert differences(stopped, whole_run) == []


def test_pretraining_is_interrupted_in_the_same_way(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("The bear sleeps near the river all day long.\n" * 60)
    (tmp_path / "encoder.toml").write_text(PRETRAINING)

    def pretrain(output: str, *arguments: str) -> tuple[int, str, str]:
        options = ("--data", tmp_path, "--output", tmp_path / output, *arguments)
        return shell("pretrain", tmp_path / "encoder.toml", *options)

    assert pretrain("whole")[0] == 0
    for owner, name in ((JsonProgress, "show"), (pretrain_evaluate.HeldOutText, "measure")):
        with monkeypatch.context() as patch:
            signalled_when(patch, owner, name)
            code, _, err = pretrain("stopped", "--resume")
        assert (code, "; --resume goes on from there" in err) == (75, True)
    assert pretrain("stopped", "--resume")[0] == 0
    assert differences(tmp_path / "stopped", tmp_path / "whole") == []


def test_a_second_signal_does_not_wait_for_anything(
    teddy_train: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(JsonProgress, "show", twice)
    assert teddy_train()[0] == 130
    assert not (tmp_path / "last.checkpoint").exists()


# Exit codes.


def test_a_run_that_diverges_exits_with_3(
    teddy_train: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = (torch.full((), math.nan, dtype=torch.float64, requires_grad=True), torch.zeros(()))
    monkeypatch.setattr(loop.Trainer, "_losses", lambda *_: losses)
    code, _, err = teddy_train()
    assert code == 3
    assert err.splitlines()[-1].startswith("teddy: error: step 1: the loss is not finite")
    end = events(err, but_last=1)[-1]
    assert (end["event"], end["state"], end["level"]) == ("end", "diverged", "error")


def test_a_finished_run_begun_again_says_so_and_prints_its_model_file(
    whole_run: Path, teddy_train: Shell
) -> None:
    for arguments in ((), ("--resume",)):
        code, out, err = teddy_train("--output", whole_run, *arguments)
        assert (code, out) == (0, f"{whole_run / 'tiny.teddy'}\n")
        assert "it has finished: nothing to do" in err
    code, _, err = teddy_train("--output", whole_run, "--resume", "--set", "seed=9")
    assert (code, "holds a run of another recipe" in err) == (2, True)


# The environment.


def test_what_a_scheduler_sets_once_may_stand_in_the_environment(
    whole_run: Path, shell: Shell, tiny_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEDDY_TRAIN_DATA", str(tiny_data))
    monkeypatch.setenv("TEDDY_TRAIN_OUTPUT", str(whole_run))
    monkeypatch.setenv("TEDDY_TRAIN_RESUME", "1")
    settings = [word for each in SETTINGS for word in ("--set", each)]
    assert shell("train", tiny_data / "tiny.toml", *settings)[:2] == (
        0,
        f"{whole_run / 'tiny.teddy'}\n",
    )


# The lock.

HOLDING = """
import sys, time
from pathlib import Path
from types import ModuleType
from teddy.training.job.run_directory import RunDirectory
with RunDirectory(Path(sys.argv[1])).locked():
    print("locked", flush=True)
    time.sleep(600)
"""


def test_two_jobs_cannot_work_in_one_directory_and_a_killed_one_leaves_it_free(
    teddy_train: Shell, tmp_path: Path
) -> None:
    root = Path(__file__).parents[2]
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(tmp_path)], stdout=subprocess.PIPE, cwd=root
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"locked\n"
        code, _, err = teddy_train("--resume")
        assert (code, f"is in use by another job: process {holder.pid} on " in err) == (2, True)
    finally:
        holder.kill()
        holder.communicate()
    with (
        RunDirectory(tmp_path).locked(),
        pytest.raises(TrainingError),
        RunDirectory(tmp_path).locked(),
    ):
        pass


# The log.


def test_without_a_terminal_every_line_of_the_log_is_a_json_object(
    whole_run: Path,
    recipe: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(recipe, tiny_data, tmp_path)
    told = events(capsys.readouterr().err)
    assert all({"time", "level", "event"} <= each.keys() for each in told)
    recorded = [row for row in Record(whole_run).rows() if row["kind"] == "evaluation"]
    evaluations = [each for each in told if each["event"] == "evaluation"]
    assert [(each["step"], each["f1"]) for each in evaluations] == [
        (row["step"], row["f1"]) for row in recorded
    ]
    assert told[-1]["event"] == "end"
    assert "Anna" not in json.dumps(told)


# What it took.


def test_timings_add_up_over_all_processes_of_a_run(teddy_train: Shell, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        signalled_when(patch, loop, "score_dev")
        teddy_train()
    teddy_train("--resume")
    timings = [json.loads(line) for line in (tmp_path / "timings.jsonl").read_text().splitlines()]
    rows = [row for row in Record(tmp_path).rows() if row["kind"] == "update"]
    assert sum(row["updates"] for row in timings if row["kind"] == "updates") == len(rows)
    words = sum(row["words"] for row in timings if row["kind"] == "updates")
    assert words == sum(int(str(row["n_words"])) for row in rows)
    ends = [row for row in timings if row["kind"] in ("start", "end")]
    assert [(row["kind"], row["step"], row.get("end")) for row in ends] == [
        ("start", 0, None),
        ("end", 6, "interrupted"),
        ("start", 6, None),
        ("end", rows[-1]["step"], "finished"),
    ]
    spent = sum(row.get("seconds", 0) + row.get("evaluation_seconds", 0) for row in timings)
    assert spent <= sum(row["process_seconds"] for row in ends if row["kind"] == "end")
