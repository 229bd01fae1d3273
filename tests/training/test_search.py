"""Searches: trials, results, and that no interruption loses or repeats anything."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from optuna.trial import TrialState

from teddy.model.errors import JobInterrupted, RecipeError, TrainingError
from teddy.model.system.processes import Interruption
from teddy.training.job.record import Record
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.search.jobs import run_search, search
from teddy.training.search.study import Study
from tests.conftest import RECIPE, write_corpus

Shell = Callable[..., tuple[int, str, str]]

# A good trial, one that is pruned, and a good one.
SEARCH = """
[search]
trials = 3
seed = 6
unpruned_trials = 1
warmup_evaluations = 2
random_trials = 3

[search.ranges]
"training.learning_rate" = [0.04, 0.0002]
"network.hidden_width" = {low = 8, high = 16, step = 4}
"training.word_dropout" = {low = 0.0, high = 0.2}
"""
KILLED = """
import os, signal, sys
from teddy.training.job.record import Record

sys.modules["matplotlib.figure"] = None  # as on a machine without it, which is quicker
append = Record.append

def append_and_die(record, row):
    append(record, row)
    if row["kind"] == "evaluation":
        os.kill(os.getpid(), signal.SIGKILL)

Record.append = append_and_die
from teddy.cli import main
main()
"""
"""Runs a command that is killed when it has recorded its first evaluation."""


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data for runs of half a second, with a recipe to search."""
    directory = tmp_path_factory.mktemp("search-data")
    write_corpus(directory / "train.conll", 160, seed=1)
    write_corpus(directory / "dev.conll", 20, seed=2)
    recipe = RECIPE.replace("epochs = 6", "epochs = 3").replace("layers = 2", "layers = 1")
    (directory / "tiny.toml").write_text(recipe + SEARCH)
    return directory


@pytest.fixture(scope="module")
def recipe(data: Path) -> Recipe:
    return load_recipe(data / "tiny.toml")


@pytest.fixture(scope="module")
def whole_search(recipe: Recipe, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the search gives when nothing stops it."""
    output = tmp_path_factory.mktemp("whole-search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        run_search(recipe, data, output)
    return output


def findings(output: Path) -> list[dict[str, Any]]:
    """The trials, less the one number that a clock decides."""
    trials = json.loads((output / "search.json").read_text())["trials"]
    return [{key: value for key, value in trial.items() if key != "seconds"} for trial in trials]


def assert_same_search(one: Path, other: Path) -> None:
    assert findings(one) == findings(other)
    assert (one / "best.toml").read_bytes() == (other / "best.toml").read_bytes()
    for trial in findings(one):
        places = [
            output / "trials" / f"{trial['trial']:04}" / "metrics.jsonl" for output in (one, other)
        ]
        if places[0].exists() or places[1].exists():
            assert places[0].read_bytes() == places[1].read_bytes()


def f1_of(run: Path) -> list[float]:
    return [float(row["f1"] or 0) for row in Record(run).rows() if row["kind"] == "evaluation"]


# What a search finds.


def test_each_trial_is_an_ordinary_run_and_its_score_is_that_of_its_record(
    whole_search: Path,
) -> None:
    trials = findings(whole_search)
    assert [trial["state"] for trial in trials] == ["complete", "pruned", "complete"]
    for trial in trials:
        run = whole_search / "trials" / f"{trial['trial']:04}"
        scores = f1_of(run)
        assert (trial["f1"], trial["evaluations"]) == (max(scores), len(scores))
        assert (run / "tiny.teddy").exists() == (trial["state"] == "complete")
        values = load_recipe(run / "recipe.toml").model_dump()
        for key, value in trial["values"].items():
            table, name = key.split(".")
            assert values[table][name] == value


def test_the_best_recipe_is_that_of_the_best_run_and_stands_alone(whole_search: Path) -> None:
    best = load_recipe(whole_search / "best.toml")
    assert best.search is None
    complete = [trial for trial in findings(whole_search) if trial["state"] == "complete"]
    found = max(complete, key=lambda trial: trial["f1"])
    assert load_recipe(whole_search / "trials" / f"{found['trial']:04}" / "recipe.toml") == best


def test_a_pruned_trial_was_below_the_median_of_those_that_were_complete(
    whole_search: Path,
) -> None:
    complete: list[list[float]] = []
    for trial in findings(whole_search):
        scores = f1_of(whole_search / "trials" / f"{trial['trial']:04}")
        reasons = [
            n_done >= 2
            and bool(complete)
            and max(scores[:n_done]) < median(each[n_done - 1] for each in complete)
            for n_done in range(1, len(scores) + 1)
        ]
        assert reasons == [False] * (len(scores) - 1) + [trial["state"] == "pruned"]
        if trial["state"] == "complete":
            complete.append(scores)


def test_only_the_best_trial_keeps_its_checkpoints(whole_search: Path) -> None:
    best = json.loads((whole_search / "search.json").read_text())["best"]
    assert {path.parent.name for path in whole_search.glob("trials/*/*.checkpoint")} == {
        f"{best:04}"
    }


def test_a_finished_search_does_nothing(shell: Shell, whole_search: Path, data: Path) -> None:
    files = {path: path.stat().st_mtime_ns for path in whole_search.rglob("trials/*/*")}
    command = ("search", data / "tiny.toml", "--data", data, "--output", whole_search)
    code, output, _ = shell(*command)
    assert (code, output) == (0, f"{whole_search / 'best.toml'}\n")
    assert {path: path.stat().st_mtime_ns for path in whole_search.rglob("trials/*/*")} == files


# Stopped and begun again.


def test_a_search_that_is_killed_and_begun_again_ends_as_if_it_had_not_been(
    whole_search: Path, recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "search"
    command = (
        sys.executable,
        "-c",
        KILLED,
        "search",
        data / "tiny.toml",
        "--data",
        data,
        "--output",
        output,
    )
    killed = subprocess.run([str(part) for part in command], stderr=subprocess.PIPE, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in (output / "trials").iterdir()] == ["0000"]
    run_search(recipe, data, output)
    assert_same_search(output, whole_search)


def test_a_trial_that_is_interrupted_is_resumed_with_the_same_values(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    interruption = Interruption()

    def note(_: str) -> None:
        interruption.receive(signal.SIGTERM)

    with pytest.raises(JobInterrupted, match="at trial 0; the same command goes on"):
        search(recipe, data, tmp_path, until=None, note=note, interruption=interruption)
    study = Study(recipe, tmp_path)
    ((number, values),) = [(trial.number, trial.params) for trial in study.unfinished()]
    assert begin(study) == (number, values)


def test_no_trial_is_begun_when_the_time_is_over(
    recipe: Recipe, data: Path, tmp_path: Path
) -> None:
    search(recipe, data, tmp_path, until=time.time(), note=print, interruption=Interruption())
    assert Study(recipe, tmp_path).all() == []


# Several processes.

HOLD = """
import fcntl, os, sys
fcntl.flock(os.open(sys.argv[1], 0), fcntl.LOCK_EX)
print("held", flush=True)
input()
"""


@contextmanager
def held_elsewhere(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the lock on a directory, until it is killed."""
    command = [sys.executable, "-c", HOLD, str(directory)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()


def begin(study: Study) -> tuple[int, dict[str, Any]]:
    """Claim a trial, and leave it as a process does that is killed."""
    with study.claimed() as claim:
        assert claim is not None
        return claim.trial.number, claim.trial.params


def test_a_trial_belongs_to_one_process_until_that_has_ended(
    recipe: Recipe, tmp_path: Path
) -> None:
    study = Study(recipe, tmp_path)
    first = begin(study)
    with held_elsewhere(study.directory_of(0)):
        assert begin(study)[0] == 1
    assert begin(study) == first


def test_a_trial_that_always_brings_its_process_down_is_given_up(
    recipe: Recipe, tmp_path: Path
) -> None:
    study = Study(recipe, tmp_path)
    assert [begin(study)[0] for _ in range(4)] == [0, 0, 0, 1]
    assert "3 times" in study.ended()[0].user_attrs["error"]


# Trials that need no training, or come to nothing.


def searching(data: Path, *overrides: str) -> Recipe:
    return load_recipe(data / "tiny.toml", overrides)


def test_values_that_were_tried_before_are_not_tried_again(data: Path, tmp_path: Path) -> None:
    study = Study(
        searching(data, 'search.ranges={"network.cell"=["lstm", "gru"]}', "search.trials=8"),
        tmp_path,
    )
    trained = 0
    while True:
        with study.claimed() as claim:
            if claim is None:
                break
            study.complete(claim, 0.5 + 0.1 * trained)
            trained += 1
    assert (trained, len(study.ended())) == (2, 8)
    best = study.best()
    assert best is not None
    assert (best.value, "same_as" in best.user_attrs) == (0.6, False)


def test_values_that_do_not_go_together_fail(data: Path, tmp_path: Path) -> None:
    ranges = '{"export.window_overlap"={low=2, high=20}, "export.window_words"={low=10, high=24}}'
    study = Study(searching(data, f"search.ranges={ranges}", "search.trials=12"), tmp_path)
    while True:
        with study.claimed() as claim:
            if claim is None:
                break
            study.complete(claim, 0.5)
    for trial in study.ended():
        fits = trial.params["export.window_overlap"] < trial.params["export.window_words"]
        assert fits == (trial.state == TrialState.COMPLETE)
    assert any(
        "window_overlap: must be smaller" in trial.user_attrs.get("error", "")
        for trial in study.ended()
    )


def test_trials_that_diverge_have_failed_and_two_processes_share_them(
    shell: Shell, data: Path, tmp_path: Path
) -> None:
    ranges = 'search.ranges={"training.learning_rate"=[1e30, 1e31]}'
    options = ("--output", tmp_path, "--set", ranges, "--trials", 3, "--jobs", 2)
    code, output, told = shell("search", data / "tiny.toml", "--data", data, *options)
    assert (code, output) == (3, "")
    assert "no trial came to its end" in told
    trials = findings(tmp_path)
    assert [(trial["trial"], trial["state"]) for trial in trials] == [
        (0, "failed"),
        (1, "failed"),
        (2, "failed"),
    ]
    logs = [log.read_text() for log in tmp_path.glob("job-*.log")]
    n_trained = sum(trial["same_as"] is None for trial in trials)
    assert (len(logs), sum(log.count('"state": "diverged"') for log in logs)) == (2, n_trained)


# What is refused.


def test_another_recipe_is_refused(whole_search: Path, data: Path) -> None:
    Study(searching(data, "search.trials=7"), whole_search)
    with pytest.raises(TrainingError, match="another recipe"):
        Study(searching(data, "training.epochs=4"), whole_search)


def test_a_recipe_without_ranges_is_refused(tiny_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"no \[search\] table"):
        Study(tiny_recipe, tmp_path)


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        pytest.param(
            '"training.lr" = {low = 1, high = 2}', "training.lr: unknown key", id="unknown key"
        ),
        pytest.param(
            '"training.learning_rate" = {low = 0.0, high = 1.0}',
            "greater than 0, not 0",
            id="bad low end",
        ),
        pytest.param(
            '"training.word_dropout" = {low = 0, high = 1}',
            "high: with 1, training.word",
            id="bad high end",
        ),
        pytest.param('"network.layers" = {low = 0.5, high = 2.5}', "valid integer", id="not whole"),
        pytest.param(
            '"network.cell" = ["lstm", "gur"]', "1: with 'gur', network.cell", id="bad choice"
        ),
        pytest.param('"network.cell" = ["lstm"]', "two values or more", id="one choice"),
        pytest.param('"network.cell" = ["lstm", "lstm"]', "a value twice", id="a choice twice"),
        pytest.param(
            '"network.cell" = "lstm"', "{low = ..., high = ...} or an array", id="no range"
        ),
        pytest.param(
            '"network.layers" = {low = 3, high = 1}', "high: must be above low", id="upside down"
        ),
        pytest.param('"network.layers" = {low = 1, hihg = 3}', "did you mean high?", id="misspelt"),
        pytest.param(
            '"network.layers" = {low = 1, high = 4, step = 2}',
            "does not lead from 1 to 4",
            id="bad step",
        ),
        pytest.param(
            '"training.weight_decay" = {low = 0.0, high = 0.1, log = true}',
            "above 0",
            id="log of 0",
        ),
        pytest.param(
            "training.learning_rate = {low = 1, high = 2}",
            "quotation marks",
            id="no quotation marks",
        ),
        pytest.param('"name" = ["a", "b"]', "cannot be searched", id="name"),
        pytest.param(
            '"corpus.3.weight" = {low = 1, high = 2}',
            "there is no corpus.3.weight",
            id="no such table",
        ),
        pytest.param("", "at least 1", id="empty"),
    ],
)
def test_a_range_that_makes_no_valid_recipe_is_refused_with_its_line(
    ranges: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(f"{RECIPE}\n[search.ranges]\n{ranges}\n")
    with pytest.raises(RecipeError, match=re.escape(message)) as refused:
        load_recipe(path)
    assert refused.value.line is not None
    assert "search.ranges" in str(refused.value)


def test_a_searched_recipe_can_be_saved_and_read_back(recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "again.toml").write_text(recipe.dump_toml())
    assert load_recipe(tmp_path / "again.toml") == recipe
