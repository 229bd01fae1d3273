import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

Shell = Callable[..., tuple[int, str, str]]


class TestTrain:
    def test_it_ends_with_the_path_of_a_model_file(
        self, shell: Shell, tiny_data: Path, tmp_path: Path
    ) -> None:
        options = ("--data", tiny_data, "--output", tmp_path / "run", "--set", "training.epochs=1")
        code, output, _ = shell("train", tiny_data / "tiny.toml", *options)
        assert code == 0
        assert output == f"{tmp_path / 'run' / 'tiny.teddy'}\n"
        assert "epochs = 1\n" in (tmp_path / "run" / "recipe.toml").read_text()

    def test_what_cannot_show_a_run_on_ray_is_refused_and_not_left_out(
        self, shell: Shell, tiny_data: Path
    ) -> None:
        code, output, told = shell(
            "train", tiny_data / "tiny.toml", "--ray", "2", "--metrics-port", "0"
        )
        assert (code, output) == (2, "")
        assert "--metrics-port" in told
        assert told.count("\n") == 1

    @pytest.mark.skipif(find_spec("ray") is not None, reason="the extra `ray` is installed")
    def test_without_ray_the_extra_is_named(self, shell: Shell, tiny_data: Path) -> None:
        code, output, told = shell("train", tiny_data / "tiny.toml", "--ray", "2")
        assert (code, output) == (2, "")
        assert told == "teddy: error: --ray needs the extra `ray`: pip install 'teddy[ray]'\n"

    def test_a_run_is_not_overwritten(
        self, shell: Shell, tiny_data: Path, tiny_run: Path, tmp_path: Path
    ) -> None:
        stopped = shutil.copytree(
            tiny_run, tmp_path / "stopped", ignore=shutil.ignore_patterns("*.teddy")
        )
        code, _, told = shell(
            "train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", stopped
        )
        assert code == 2
        assert "--resume" in told

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("training.epoch=3", "--set training.epoch=3"),
            ("training.epochs=-1", "training.epochs"),
            ("x", "key=value"),
        ],
    )
    def test_an_override_that_makes_no_sense_is_refused(
        self, shell: Shell, tiny_data: Path, tmp_path: Path, override: str, message: str
    ) -> None:
        run = ("train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", tmp_path / "run")
        code, output, told = shell(*run, "--set", override)
        assert (code, output, told.count("\n")) == (2, "", 1)
        assert message in told
        assert not (tmp_path / "run").exists()

    def test_a_broken_line_is_named(self, shell: Shell, tiny_data: Path, tmp_path: Path) -> None:
        shutil.copytree(tiny_data, tmp_path / "data")
        with (tmp_path / "data" / "dev.conll").open("a") as file:
            file.write("alone\n")
        options = ("--data", tmp_path / "data", "--output", tmp_path / "run")
        code, _, told = shell("train", tiny_data / "tiny.toml", *options)
        n_lines = (tmp_path / "data" / "dev.conll").read_text().count("\n")
        assert code == 2
        assert f"dev.conll:{n_lines}: " in told
        assert told.count("\n") == 1


class TestEvaluate:
    def test_a_file_and_a_recipe_with_that_file_give_the_same_scores(
        self, shell: Shell, tiny_data: Path, tiny_model: Path
    ) -> None:
        _, of_file, _ = shell("evaluate", "--json", tiny_model, tiny_data / "dev.conll")
        _, of_recipe, _ = shell(
            "evaluate", "--json", tiny_model, tiny_data / "tiny.toml", "--data", tiny_data
        )
        assert json.loads(of_file)["strict"] == json.loads(of_recipe)["strict"]
        assert json.loads(of_file)["strict"]["micro"]["f1"] > 0.8

    def test_the_scores_are_a_table(self, shell: Shell, tiny_data: Path, tiny_model: Path) -> None:
        code, output, told = shell("evaluate", tiny_model, tiny_data / "dev.conll")
        rows = [line.split() for line in output.splitlines()]
        assert (code, told) == (0, "")
        assert [row[0] for row in rows[1:4]] == ["PER", "LOC", "all"]
        assert [len(row) for row in rows[:4]] == [6, 7, 7, 7]

    def test_a_report_is_written(
        self, shell: Shell, tiny_data: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        shell("evaluate", tiny_model, tiny_data / "dev.conll", "--report", tmp_path / "report")
        names = sorted(path.name for path in (tmp_path / "report").iterdir())
        assert names == [
            "calibration.png",
            "confusion.png",
            "report.html",
            "report.json",
            "report.md",
        ]
        report = json.loads((tmp_path / "report" / "report.json").read_text())
        assert report["by_surface"] == {}  # a file alone does not say what was seen in training
        assert report["calibration"]["predicted"] == report["strict"]["micro"]["predicted"]

    def test_entities_are_told_apart_by_whether_a_recipe_has_them_in_training(
        self, shell: Shell, tiny_data: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "new.conll").write_text(
            "Anna B-PER\nBerg I-PER\nmet O\nZebulon B-PER\nQuist I-PER\n"
        )
        options = ("--trained-on", tiny_data / "tiny.toml", "--data", tiny_data)
        _, output, _ = shell("evaluate", "--json", tiny_model, tmp_path / "new.conll", *options)
        by_surface = json.loads(output)["by_surface"]
        assert (by_surface["seen"]["gold"], by_surface["unseen"]["gold"]) == (1, 1)

    def test_labels_are_read_as_told(self, shell: Shell, tiny_model: Path, tmp_path: Path) -> None:
        (tmp_path / "other.conll").write_text("Anna B-person\nBerg I-person\nsleeps B-verb\n")
        refused = shell("evaluate", tiny_model, tmp_path / "other.conll")
        assert refused[0] == 2
        assert "other.conll:1: label 'person'" in refused[2]
        mapped = ("--map", "person=PER", "--map", "verb=O")
        _, output, _ = shell("evaluate", "--json", tiny_model, tmp_path / "other.conll", *mapped)
        assert json.loads(output)["strict"]["micro"]["gold"] == 1

    def test_a_mapping_without_two_sides_is_refused(
        self, shell: Shell, tiny_model: Path, tiny_data: Path
    ) -> None:
        code, _, told = shell("evaluate", tiny_model, tiny_data / "dev.conll", "--map", "person")
        assert code == 2
        assert "'person' is not FROM=TO" in told


class TestExport:
    def test_the_best_checkpoint_becomes_the_model_of_its_run(
        self, shell: Shell, tiny_run: Path, tiny_model: Path, tmp_path: Path
    ) -> None:
        assert shell("export", tiny_run / "best.checkpoint", tmp_path / "again.teddy") == (
            0,
            "",
            "",
        )
        ours, theirs = (
            json.loads(shell("inspect", "--json", file)[1])
            for file in (tmp_path / "again.teddy", tiny_model)
        )
        for varying in ("created", "version", "digest", "size_bytes"):
            del ours[varying], theirs[varying]
        assert ours == theirs

    def test_a_card_is_written_when_more_is_known(
        self, shell: Shell, tiny_data: Path, tiny_run: Path, tmp_path: Path
    ) -> None:
        recipe = (tiny_data / "tiny.toml").read_text()
        (tmp_path / "known.toml").write_text(
            f'{recipe}\n[card]\nlimits = "Only six people."\nseeds = [0.5]\n'
        )
        options = ("--card", tmp_path / "known.toml")
        assert shell(
            "export", tiny_run / "best.checkpoint", tmp_path / "known.teddy", *options
        ) == (0, "", "")
        code, card, _ = shell("inspect", "--card", tmp_path / "known.teddy")
        assert code == 0
        assert "Only six people." in card
        assert "other seeds: 50.00%." in card

    def test_a_card_of_other_labels_is_refused(
        self, shell: Shell, tiny_data: Path, tiny_run: Path, tmp_path: Path
    ) -> None:
        recipe = (tiny_data / "tiny.toml").read_text().replace('"LOC"]', '"LOC", "ORG"]')
        (tmp_path / "other.toml").write_text(f'{recipe}\n[card.labels]\nORG = "organisations"\n')
        options = ("--card", tmp_path / "other.toml")
        code, _, told = shell(
            "export", tiny_run / "best.checkpoint", tmp_path / "other.teddy", *options
        )
        assert (code, told.count("\n")) == (2, 1)
        assert "card.labels.ORG: 'ORG' is not in labels" in told
        assert not (tmp_path / "other.teddy").exists()

    def test_what_is_no_checkpoint_is_refused(
        self, shell: Shell, tiny_data: Path, tmp_path: Path
    ) -> None:
        code, _, told = shell("export", tiny_data / "dev.conll", tmp_path / "x.teddy")
        assert (code, told.count("\n")) == (2, 1)
        assert "dev.conll" in told
        assert not (tmp_path / "x.teddy").exists()
