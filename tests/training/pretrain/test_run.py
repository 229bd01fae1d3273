"""Whole pre-training runs: what they leave, how they resume, and a tagger that starts from one."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from teddy.model.errors import DataError, RecipeError, TrainingError
from teddy.training.job.record import Record
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.start import load_weights
from teddy.training.pretrain import run as pretrain_run
from teddy.training.pretrain.pretrainer import Pretrainer
from teddy.training.pretrain.run import load_pretrain_checkpoint, pretrain
from teddy.training.recipe.recipe import Recipe, load_recipe
from tests.training.runs import differences

Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def whole_run(
    text_recipe: Recipe, text_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    output = tmp_path_factory.mktemp("pretrained")
    pretrain(text_recipe, text_data, output)
    return output


def rows(output: Path) -> list[dict[str, Any]]:
    return Record(output).rows()


def assert_same_run(one: Path, other: Path) -> None:
    assert differences(one, other) == []


def test_the_encoder_file_has_the_weights_of_the_last_checkpoint_and_credits_the_text(
    whole_run: Path, text_recipe: Recipe
) -> None:
    start = load_weights(whole_run / "tiny-encoder.encoder")
    checkpoint = load_pretrain_checkpoint(whole_run / "last.checkpoint")
    trained = checkpoint.state["network"]
    assert set(start.weights) == {name for name in trained if not name.startswith("objective.")}
    for name, tensor in start.weights.items():
        assert torch.equal(tensor, trained[name].half().float())
    assert (start.features, start.network) == (text_recipe.features, text_recipe.network)
    (credit,) = start.training_data
    assert (credit.name, credit.licence, credit.source) == ("animals", "CC0", "the tests")
    assert credit.n_words == checkpoint.total
    assert start.words == checkpoint.words


def test_a_run_leaves_its_record(whole_run: Path, text_recipe: Recipe) -> None:
    assert load_recipe(whole_run / "recipe.toml", purpose="pretrain") == text_recipe
    held_out = [row for row in rows(whole_run) if row["kind"] == "held_out"]
    assert [row["step"] for row in held_out][:2] == [20, 40]
    assert held_out[-1]["perplexity"] < held_out[0]["perplexity"]
    assert (whole_run / "curves.png").is_file()
    assert [path.name for path in whole_run.iterdir() if path.name.startswith(".")] == []


class Killed(BaseException):
    """Not caught by anything."""


@pytest.mark.parametrize("step", [3, 30])
def test_a_stopped_run_ends_as_an_unstopped_one(
    whole_run: Path,
    text_recipe: Recipe,
    text_data: Path,
    tmp_path: Path,
    step: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At step 3 before the first checkpoint; at 30 six steps after one."""
    update = Pretrainer._update

    def stop(pretrainer: Pretrainer) -> Any:
        if pretrainer.position.step == step:
            raise Killed
        return update(pretrainer)

    with monkeypatch.context() as patch:
        patch.setattr(Pretrainer, "_update", stop)
        with pytest.raises(Killed):
            pretrain(text_recipe, text_data, tmp_path)
    assert not (tmp_path / "tiny-encoder.encoder").exists()
    monkeypatch.setattr(pretrain_run, "prepare", None)  # what is prepared is not prepared again
    pretrain(text_recipe, text_data, tmp_path, resume=True)
    assert_same_run(tmp_path, whole_run)


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_that_has_finished_is_left_as_it_is(
    resume: bool,
    whole_run: Path,
    text_recipe: Recipe,
    text_data: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    encoder = whole_run / "tiny-encoder.encoder"
    before = encoder.stat()
    assert pretrain(text_recipe, text_data, whole_run, resume=resume) == encoder
    assert encoder.stat() == before
    assert "it has finished: nothing to do" in capsys.readouterr().err


def test_a_killed_preparation_leaves_nothing_that_looks_whole(
    whole_run: Path,
    text_recipe: Recipe,
    text_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("teddy.training.pretrain.prepare._write_text", stop)
        patch.setattr("shutil.rmtree", lambda *_, **__: None)  # as if the machine had died
        with pytest.raises(Killed):
            pretrain(text_recipe, text_data, tmp_path)
    assert not (tmp_path / "corpus").exists()
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".corpus.")]
    pretrain(text_recipe, text_data, tmp_path, resume=True)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".corpus.")]
    assert_same_run(tmp_path, whole_run)


def test_a_run_is_not_overwritten_nor_gone_on_with_by_another_recipe(
    whole_run: Path, text_recipe: Recipe, text_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(whole_run, tmp_path / "stopped", ignore=shutil.ignore_patterns("*.encoder"))
    with pytest.raises(TrainingError, match="holds a run already"):
        pretrain(text_recipe, text_data, tmp_path / "stopped")
    other = load_recipe(
        text_data / "tiny-encoder.toml", ["pretrain.masked_share=0.3"], purpose="pretrain"
    )
    with pytest.raises(TrainingError, match="a run of another recipe"):
        pretrain(other, text_data, whole_run, resume=True)
    shutil.copytree(whole_run / "corpus", tmp_path / "corpus")
    longer = load_recipe(
        text_data / "tiny-encoder.toml", ["pretrain.longest_sentence=9"], purpose="pretrain"
    )
    with pytest.raises(TrainingError, match="corpus was made with another recipe"):
        pretrain(longer, text_data, tmp_path, resume=True)


def test_missing_text_is_a_data_error(text_recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        pretrain(text_recipe, tmp_path, tmp_path / "run")


TAGGER = """
[start]
weights = "tiny-encoder.encoder"
learning_rate_share = 0.3
"""


def test_from_text_to_a_tagger_that_starts_from_it(
    text_data: Path, tiny_data: Path, tmp_path: Path, shell: Shell
) -> None:
    """Pre-train, start a tagger from it, and find the text in the tagger's credits."""
    recipe_file = text_data / "tiny-encoder.toml"
    output = tmp_path / "encoder"
    code, out, err = shell(
        "pretrain",
        recipe_file,
        "--data",
        text_data,
        "--output",
        output,
        "--set",
        "pretrain.words=3000",
    )
    assert (code, out) == (0, f"{output / 'tiny-encoder.encoder'}\n"), err
    assert '"event": "held_out"' in err
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    shutil.copy(output / "tiny-encoder.encoder", data)
    encoder_recipe = recipe_file.read_text()
    tables = "[features]" + encoder_recipe.partition("[features]")[2].partition("[network]")[0]
    plain = (data / "tiny.toml").read_text()
    head, _, rest = plain.partition("[features]")
    tail = rest.partition("[network]")[2]
    (data / "tagger.toml").write_text(f"{head}{tables}[network]\nnormalise = true{tail}{TAGGER}")
    few = ("--set", "training.epochs=2", "--set", "training.learning_rate=1e-9")
    code, out, err = shell(
        "train", data / "tagger.toml", "--data", data, "--output", tmp_path / "tagger", *few
    )
    assert code == 0, err
    start = load_weights(data / "tiny-encoder.encoder")
    checkpoint = load_checkpoint(tmp_path / "tagger" / "best.checkpoint")
    for name, tensor in start.weights.items():
        torch.testing.assert_close(checkpoint.weights[name], tensor, rtol=0, atol=1e-6)
    code, out, _ = shell("inspect", tmp_path / "tagger" / "tiny.teddy", "--json")
    credits_of_model = json.loads(out)["training_data"]
    assert [(each["name"], each["licence"]) for each in credits_of_model] == [
        ("animals", "CC0"),
        ("made-up", "CC0"),
    ]
    # A run that starts from the tagger, or is resumed, owes the same.
    names = [
        each.name for each in load_weights(tmp_path / "tagger" / "best.checkpoint").training_data
    ]
    assert names == ["animals", "made-up"]


def test_a_recipe_must_have_what_the_command_needs(
    tiny_data: Path, text_data: Path, shell: Shell
) -> None:
    code, _, err = shell("pretrain", tiny_data / "tiny.toml", "--data", tiny_data)
    assert (code, err.count("\n")) == (2, 1)
    assert "tiny.toml: pretrain: missing" in err
    for command in ("train", "check"):
        code, _, err = shell(command, text_data / "tiny-encoder.toml", "--data", text_data)
        assert (code, err.count("\n")) == (2, 1)
        assert "tiny-encoder.toml: corpus: missing: this recipe is for `teddy pretrain` only" in err


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.wordz=3", "pretrain.wordz: unknown key; did you mean words?"),
        (
            "pretrain.objective=guess",
            "pretrain.objective: should be 'masked' or 'causal'",
        ),
        ("pretrain.objective=both", "pretrain.objective: should be 'masked' or 'causal'"),
        (
            "pretrain.shortest_sentence=101",
            "pretrain.shortest_sentence: must not be greater than longest_sentence",
        ),
        ('labels=["PER"]', "corpus: missing"),
    ],
)
def test_a_bad_value_is_a_recipe_error(text_data: Path, override: str, message: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        load_recipe(text_data / "tiny-encoder.toml", [override], purpose="pretrain")
    assert message in str(refusal.value)


def test_a_recipe_that_an_older_version_resolved_is_read(text_data: Path) -> None:
    path = text_data / "tiny-encoder.toml"
    old = ["pretrain.replaced_share=0.1", "pretrain.detection_weight=5.0"]
    now = load_recipe(path, purpose="pretrain")
    assert load_recipe(path, old, purpose="pretrain") == now


@pytest.mark.parametrize("override", ["network.bidirectional=false", "network.dense_widths=[8]"])
def test_two_language_models_need_two_directions_kept_apart(text_data: Path, override: str) -> None:
    load_recipe(text_data / "tiny-encoder.toml", [override], purpose="pretrain")
    with pytest.raises(RecipeError, match=r"pretrain\.objective: 'causal'"):
        load_recipe(
            text_data / "tiny-encoder.toml",
            [override, "pretrain.objective=causal"],
            purpose="pretrain",
        )
