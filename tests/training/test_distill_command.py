"""`teddy distill`: from teachers and a text to a student and a report."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from teddy.model.predictor import load
from teddy.training.data.corpora import load_corpora
from teddy.training.distillation.teachers import TeacherReport, found_by
from teddy.training.evaluation.measurements import dev_sentences, prediction
from teddy.training.learning.distill import open_distillation
from teddy.training.recipe.recipe import load_recipe

Shell = Callable[..., tuple[int, str, str]]
RAW = (
    "Jonas Falk met Otto Lind in Lund. The bears of Oslo sleep.\n"
    "Ida Holm and Mira like New Haven. Nobody was there.\n"
    "Teddy Marsh went to Ghent today. Who saw Anna Berg? Nobody was in Port Ellen.\n"
)
SMALL = (
    "start.weights=''",
    "pieces.vocabulary=300",
    "network.hidden_width=8",
    "network.embedding_width=8",
    "features.affix_rows=64",
    "features.word_rows=0",
    "training.epochs=1",
    "training.batch_words=120",
    "training.threads=1",
)


@pytest.fixture
def data(tiny_data: Path, tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copy(tiny_model, tmp_path / "teacher.teddy")
    shutil.copy(tiny_data / "dev.conll", tmp_path / "dev.conll")
    (tmp_path / "raw.txt").write_text(RAW * 12)
    return tmp_path


def test_teachers_find_what_they_find_when_they_tag(tiny_data: Path, tiny_model: Path) -> None:
    """All marginals of the best path are large here, so that the two ways to decode agree."""
    recipe = load_recipe(tiny_data / "tiny.toml", [f'distill.teachers=["{tiny_model}"]'])
    assert recipe.distill is not None
    teaching = open_distillation(recipe, recipe.distill, tiny_data, torch.device("cpu"))
    sentences = [each.words for each in dev_sentences(load_corpora(recipe, tiny_data))]
    tagger = prediction(load(tiny_model, precision="fp32").tagger)
    expected = [[each.span for each in found] for found in tagger(sentences)]
    found = [
        [each.span for each in spans] for spans in found_by(teaching, recipe.labels)(sentences)
    ]
    assert sum(a == b for a, b in zip(found, expected, strict=True)) >= 0.95 * len(sentences)
    assert any(expected)


def test_a_student_is_made_in_one_command_which_reports_on_both(
    data: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    settings = [each for change in SMALL for each in ("--set", change)]
    common = ["teacher.teddy", "--text", "raw.txt", "--words", "300", "--name", "pupil"]
    code, out, err = shell("distill", *common, "--read-only", *settings)
    assert code == 0, err
    assert out == "runs/teachers\n"
    kept = {
        path: path.read_bytes()
        for path in (data / "runs" / "teachers").rglob("*.*")
        if path.is_file()
    }
    assert any(path.suffix == ".reading" for path in kept)
    code, out, err = shell("distill", *common, *settings)
    assert code == 0, err
    lines = out.splitlines()
    assert lines[-1] == "runs/pupil/pupil.teddy"
    assert lines[1].startswith("teacher  teacher.teddy")
    assert "agree" in lines[-2]
    after = {
        path: path.read_bytes()
        for path in (data / "runs" / "teachers").rglob("*.*")
        if path.is_file()
    }
    assert after == kept, "the reading was done"
    report = json.loads((data / "runs" / "pupil" / "distill.json").read_text())
    assert report["f1"][0] > 0.95, "teachers agree with themselves"
    assert report["n_bytes"][0] == (data / "teacher.teddy").stat().st_size
    assert min(report["words_per_second"]) > 0
    recipe = load_recipe(data / "runs" / "pupil.toml")
    assert recipe.labels == ("PER", "LOC")
    assert recipe.distill is not None
    assert recipe.distill.keep == "runs/teachers"
    code, _, err = shell("distill", *common, "--labels", "PER", *settings)
    assert (code, "another recipe" in err) == (2, True)


def test_what_is_wrong_in_annotations_is_said_before_teachers_read_and_leaves_nothing(
    data: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data)
    gold = (data / "dev.conll").read_text()
    (data / "dev.conll").write_text(gold.replace("-PER", "-PERSON").replace("-LOC", "-TOWN"))
    common = ["teacher.teddy", "--text", "raw.txt", "--words", "300", "--dev", "dev.conll"]
    code, _, err = shell("distill", *common, "--read-only")
    assert code == 2
    assert "the student's are PER, LOC: see --map and --labels" in err
    assert "nor are" in err, "all labels at once"
    assert not (data / "runs").exists()
    # The same command with what was missing.
    mapped = ["--map", "PERSON=PER", "--map", "TOWN=LOC"]
    settings = [each for change in SMALL for each in ("--set", change)]
    code, _, err = shell("distill", *common, *mapped, "--read-only", *settings)
    assert code == 0, err
    (corpus, tagged) = load_corpora(load_recipe(data / "runs" / "student.toml"), data)
    assert {span.label for each in corpus.dev for span in each.spans} == {"PER", "LOC"}
    assert tagged.n_train_words


def test_tagged_sentences_are_those_of_the_recipe(
    data: Path, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a command that was stopped before it wrote its recipe are made again."""
    monkeypatch.chdir(data)
    folder = data / "runs" / "student-tagged"
    folder.mkdir(parents=True)
    for part in ("train", "dev"):
        (folder / f"{part}.conll").write_text("Otto B-OLD\n\n")
    code, _, err = shell("distill", "teacher.teddy", "--text", "raw.txt", "--read-only")
    assert code == 0, err
    for part in ("train", "dev"):
        assert "OLD" not in (folder / f"{part}.conll").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["teacher.teddy"], "--text"),
        (["nobody.teddy", "--text", "raw.txt"], "nobody.teddy"),
        (["teacher.teddy", "--text", "nothing.txt"], "nothing.txt"),
        (["teacher.teddy", "--text", "raw.txt", "--map", "A"], "not FROM=TO"),
        (["teacher.teddy", "--text", "raw.txt", "--map", "PER=P"], "labels are PER, LOC"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    data: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    expected: str,
) -> None:
    monkeypatch.chdir(data)
    code, _, err = shell("distill", *arguments)
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1


def test_a_report_is_a_table_with_the_share_that_the_student_keeps(tmp_path: Path) -> None:
    report = TeacherReport(
        teachers=("hf:bert", "b.teddy"),
        student="pupil.teddy",
        n_sentences=10,
        n_words=100,
        is_gold=True,
        f1=(0.8, 0.76),
        words_per_second=(500.0, 20_000.0),
        n_bytes=(260_000_000, 13_000_000),
    )
    assert [*report.lines()] == [
        "                              F1 on dev    words/s       size",
        "teacher  hf:bert and b.teddy     80.00%        500   260.0 MB",
        "student  pupil.teddy             76.00%     20,000    13.0 MB",
        "the student keeps 95.0% of the F1, 40.0 times as fast, 20.0 times as small",
    ]
    report.write(tmp_path / "distill.json")
    assert json.loads((tmp_path / "distill.json").read_text())["f1_kept"] == pytest.approx(0.95)
