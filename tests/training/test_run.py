"""Whole runs: what they leave, that a stopped one ends as an unstopped one, and what is refused."""

import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from teddy.model.errors import TrainingError
from teddy.model.predictor import load
from teddy.training.data.corpora import load_corpora
from teddy.training.job.progress import JsonProgress
from teddy.training.job.record import Record, Row
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.loop import Trainer
from teddy.training.recipe.fitting import fit_to_data
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train
from tests.training.runs import differences

SHORT = ("training.epochs=2", "training.evaluations_per_epoch=2", "training.batch_words=150")
TEXTS = [
    "Anna Berg went to Port Ellen.",
    "Nobody was there.",
    "Who saw Ida Holm in New Haven today?",
]


@pytest.fixture(scope="module")
def short_recipe(tiny_data: Path) -> Recipe:
    """Two epochs with two evaluations each."""
    return load_recipe(tiny_data / "tiny.toml", SHORT)


@pytest.fixture(scope="module")
def whole_run(
    short_recipe: Recipe, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What the short recipe gives when nothing stops it."""
    output = tmp_path_factory.mktemp("whole")
    train(short_recipe, tiny_data, output)
    return output


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs as on a machine without matplotlib, which is also quicker."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def rows(output: Path) -> list[dict[str, Any]]:
    return Record(output).rows()


def evaluation_steps(output: Path) -> list[int]:
    return [row["step"] for row in rows(output) if row["kind"] == "evaluation"]


def assert_same_run(one: Path, other: Path) -> None:
    assert differences(one, other) == []
    models = [load(output / "tiny.teddy", precision="fp32") for output in (one, other)]
    assert models[0].tag(TEXTS) == models[1].tag(TEXTS)


def stop_at(step: int, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Showing the progress of that update raises."""

    def show(_: JsonProgress, row: Any) -> None:
        if row["step"] == step and row["kind"] == "update":
            raise error

    monkeypatch.setattr(JsonProgress, "show", show)


# One seed fixes everything.


@pytest.mark.usefixtures("no_pictures")
def test_the_same_recipe_gives_the_same_run_again(
    whole_run: Path, short_recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    train(short_recipe, tiny_data, tmp_path)
    assert_same_run(tmp_path, whole_run)


# What a run leaves.


def test_a_run_leaves_what_it_promises_and_nothing_else(whole_run: Path) -> None:
    names = {
        each.relative_to(whole_run).as_posix() for each in whole_run.rglob("*") if each.is_file()
    }
    assert names == {
        "recipe.toml",
        "metrics.jsonl",
        "timings.jsonl",
        "lock",
        "curves.png",
        "misaligned.txt",
        "best.checkpoint",
        "tiny.teddy",
        "report/report.json",
        "report/report.md",
        "report/report.html",
        "report/confusion.png",
        "report/calibration.png",
    }


def test_the_saved_recipe_is_the_one_of_the_run(whole_run: Path, short_recipe: Recipe) -> None:
    assert load_recipe(whole_run / "recipe.toml") == short_recipe


@pytest.mark.usefixtures("no_pictures")
def test_defaults_that_fit_the_data_are_saved_with_their_reasons_and_taken_up_again(
    tiny_data: Path, tmp_path: Path
) -> None:
    text = (tiny_data / "tiny.toml").read_text().replace("patience = 8", "")
    (tmp_path / "bare.toml").write_text(text)
    bare, run = load_recipe(tmp_path / "bare.toml", ["training.epochs=1"]), tmp_path / "run"

    with pytest.MonkeyPatch.context() as patch:
        stop_at(3, KeyboardInterrupt(), patch)
        with pytest.raises(KeyboardInterrupt):
            train(bare, tiny_data, run)
    n_words = sum(corpus.n_train_words for corpus in load_corpora(bare, tiny_data))
    fitted, changes = fit_to_data(bare, n_words)
    assert [each.key for each in changes] == ["training.patience"]
    assert load_recipe(run / "recipe.toml") == fitted
    for _ in range(2):  # resumed, and then finished
        model_file = train(bare, tiny_data, run, resume=True)
        assert load(model_file, precision="fp32").manifest.recipe == fitted.dump_toml()
        assert (run / "recipe.toml").read_text() == f"# {changes[0]}\n{fitted.dump_toml()}"


def test_a_useless_model_is_told_so_in_the_last_line_with_its_reason(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["training.epochs=1", "training.batch_words=5000", "training.warmup_share=0"]
    recipe = load_recipe(
        tiny_data / "tiny.toml", [*changes, 'labels=["PER", "LOC", "SHIP"]', "export.canary=[]"]
    )
    train(recipe, tiny_data, tmp_path)
    notes = [
        json.loads(line)["message"]
        for line in capsys.readouterr().err.splitlines()
        if '"event": "note"' in line
    ]
    assert any("label 'SHIP' has no example in the training data" in note for note in notes)
    assert any("an epoch is one update" in note for note in notes)
    assert notes[-1].startswith("dev F1 0.00% (strict spans); model file ")
    assert "Warning: that is next to nothing: 1 update is too few to learn from" in notes[-1]


def test_a_holdout_that_leaves_next_to_nothing_is_told_before_training(
    tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["training.epochs=1", "corpus.0.dev=[]", "corpus.0.holdout=0.99", "export.canary=[]"]
    train(load_recipe(tiny_data / "tiny.toml", changes), tiny_data, tmp_path)
    said = capsys.readouterr().err
    assert "holdout = 0.99 leaves 2 sentences to train on, and holds out 198: 0.1" in said


def test_the_best_checkpoint_is_of_the_best_evaluation_and_holds_nothing_to_resume_from(
    whole_run: Path,
) -> None:
    evaluations = [row for row in rows(whole_run) if row["kind"] == "evaluation"]
    best = [row for row in evaluations if row["best"]][-1]
    assert best["f1"] == max(row["f1"] for row in evaluations)
    progress = load_checkpoint(whole_run / "best.checkpoint").progress
    assert progress.keys() == {"position"}
    found = progress["position"]
    assert (found["step"], found["best_f1"]) == (best["step"], best["f1"])


def test_the_report_and_the_model_file_state_the_same_scores(whole_run: Path) -> None:
    report = json.loads((whole_run / "report" / "report.json").read_text())
    manifest = load(whole_run / "tiny.teddy", precision="fp32").manifest
    assert manifest.scores["dev"]["micro"] == report["strict"]["micro"]


# Stopped and resumed.


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("after_evaluations", [1, 3])
def test_a_run_stopped_between_evaluations_and_resumed_ends_as_if_it_had_not_been_stopped(
    after_evaluations: int,
    whole_run: Path,
    short_recipe: Recipe,
    tiny_data: Path,
    tmp_path: Path,
) -> None:
    step = evaluation_steps(whole_run)[after_evaluations - 1] + 2
    with pytest.MonkeyPatch.context() as patch:
        stop_at(step, KeyboardInterrupt(), patch)
        with pytest.raises(KeyboardInterrupt):
            train(short_recipe, tiny_data, tmp_path)
    assert rows(tmp_path)[-1]["step"] == step
    assert not (tmp_path / "tiny.teddy").exists()
    train(short_recipe, tiny_data, tmp_path, resume=True)
    assert_same_run(tmp_path, whole_run)


@pytest.mark.usefixtures("no_pictures")
def test_a_run_stopped_before_its_first_checkpoint_begins_anew_resumed_or_not(
    whole_run: Path, short_recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    for step in (3, 2):
        with pytest.MonkeyPatch.context() as patch:
            stop_at(step, RuntimeError("the machine is on fire"), patch)
            with pytest.raises(RuntimeError, match="fire"):
                train(short_recipe, tiny_data, tmp_path)
        assert len(rows(tmp_path)) == step
    train(short_recipe, tiny_data, tmp_path, resume=True)
    assert_same_run(tmp_path, whole_run)


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_has_finished_is_left_as_it_is(
    resume: bool,
    whole_run: Path,
    short_recipe: Recipe,
    tiny_data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = files(whole_run)
    assert train(short_recipe, tiny_data, whole_run, resume=resume) == whole_run / "tiny.teddy"
    assert files(whole_run) == before
    assert "it has finished: nothing to do" in capsys.readouterr().err


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("moment", ["write_model", "write_report"])
def test_a_run_stopped_over_its_model_file_or_its_report_makes_both_again(
    moment: str,
    tiny_run: Path,
    tiny_recipe: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"teddy.training.run.{moment}", stop)
        with pytest.raises(MemoryError):
            train(tiny_recipe, tiny_data, tmp_path)
    assert (tmp_path / "tiny.teddy").exists() == (moment == "write_report")
    monkeypatch.setattr(Trainer, "_update", None)  # there is nothing left to learn
    train(tiny_recipe, tiny_data, tmp_path, resume=True)
    assert (tmp_path / "report" / "report.json").exists()
    assert_same_run(tmp_path, tiny_run)


@pytest.mark.usefixtures("no_pictures")
def test_every_row_goes_to_the_watchers_which_may_end_the_run(
    whole_run: Path, short_recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    seen: list[int] = []

    def watch(row: Row) -> None:
        seen.append(row["step"])
        if len(seen) == 5:
            raise TrainingError("enough")

    with pytest.raises(TrainingError, match="enough"):
        train(short_recipe, tiny_data, tmp_path, watchers=[watch])
    train(short_recipe, tiny_data, tmp_path, watchers=[watch])
    assert seen == [1, 2, 3, 4, 5, *(row["step"] for row in rows(whole_run))]


# What is refused.


def files(directory: Path) -> dict[str, bytes]:
    """All but the lock, which says who looked last."""
    return {
        each.name: each.read_bytes()
        for each in directory.iterdir()
        if each.is_file() and each.name != "lock"
    }


def test_a_second_run_in_the_place_of_one_that_was_stopped_is_refused_and_leaves_the_first_alone(
    tiny_stopped_run: Path, tiny_recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(tiny_stopped_run, stopped, ignore=shutil.ignore_patterns("timings.jsonl"))
    before = files(stopped)
    with pytest.raises(TrainingError, match="holds a run already: --resume"):
        train(tiny_recipe, tiny_data, stopped)
    assert files(stopped) == before


def test_resuming_with_another_recipe_is_refused_and_leaves_the_first_alone(
    whole_run: Path, tiny_data: Path
) -> None:
    before = files(whole_run)
    with pytest.raises(TrainingError, match="another recipe"):
        train(
            load_recipe(tiny_data / "tiny.toml", [*SHORT, "seed=4"]),
            tiny_data,
            whole_run,
            resume=True,
        )
    assert files(whole_run) == before


def test_data_without_dev_sentences_are_refused_before_training(
    tiny_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "two.conll").write_text("Anna B-PER\nsleeps O\n\nOslo B-LOC\nsleeps O\n")
    changes = ['corpus.0.train=["two.conll"]', "corpus.0.dev=[]", "corpus.0.holdout=0.1"]
    recipe = load_recipe(tiny_data / "tiny.toml", changes)
    with pytest.raises(TrainingError, match="no dev sentences"):
        train(recipe, tmp_path, tmp_path / "run")


# What goes wrong on the way.


def poison_after(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    exact = Trainer._losses

    def losses(self: Trainer, *arguments: Any) -> tuple[Tensor, Tensor]:
        loss, distilled = exact(self, *arguments)
        return loss * (math.nan if self.position.step >= step else 1.0), distilled

    monkeypatch.setattr(Trainer, "_losses", losses)


def test_a_loss_that_is_no_number_ends_the_run_with_its_last_checkpoint_whole_and_its_curves_drawn(
    whole_run: Path, short_recipe: Recipe, tiny_data: Path, tmp_path: Path
) -> None:
    first = evaluation_steps(whole_run)[0]
    with pytest.MonkeyPatch.context() as patch:
        poison_after(first + 1, patch)
        with pytest.raises(
            TrainingError, match=f"step {first + 2}: the loss is not finite.*train\\.conll:"
        ):
            train(short_recipe, tiny_data, tmp_path)
    assert (tmp_path / "curves.png").stat().st_size > 0
    assert not (tmp_path / "tiny.teddy").exists()
    for name in ("last.checkpoint", "best.checkpoint"):
        checkpoint = load_checkpoint(tmp_path / name)
        assert checkpoint.progress["position"]["step"] == first
        assert all(tensor.isfinite().all() for tensor in checkpoint.weights.values())


def test_a_run_that_fails_at_its_first_update_says_why(
    short_recipe: Recipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_after(0, monkeypatch)
    with pytest.raises(TrainingError, match="step 1: the loss is not finite"):
        train(short_recipe, tiny_data, tmp_path)
    assert not (tmp_path / "last.checkpoint").exists()


@pytest.mark.usefixtures("no_pictures")
def test_without_matplotlib_a_run_says_so_and_goes_on(
    whole_run: Path,
    short_recipe: Recipe,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train(short_recipe, tiny_data, tmp_path)
    said = capsys.readouterr().err
    assert "no curves.png: plots need matplotlib" in said
    assert "no complete report/: plots need matplotlib" in said
    assert not list(tmp_path.rglob("*.png"))
    assert {"report.md", "report.html"} <= {each.name for each in (tmp_path / "report").iterdir()}
    assert_same_run(tmp_path, whole_run)


@pytest.mark.usefixtures("no_pictures")
def test_without_matplotlib_what_stopped_a_run_is_still_told(
    short_recipe: Recipe, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(2, KeyboardInterrupt(), monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        train(short_recipe, tiny_data, tmp_path)
