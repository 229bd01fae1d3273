"""From a checkpoint to a model file: it behaves alike, names its origin, and is whole."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.file.bundle import read_bundle
from teddy.model.predictor import Predictor, load
from teddy.model.system import files
from teddy.model.tagger import Tagger
from teddy.model.text.words import READABLE_VERSIONS, Tokeniser
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.measurements import evaluate_dev, read_measurements
from teddy.training.evaluation.model_comparison import compare_models
from teddy.training.export import publish
from teddy.training.export.publish import export, measure, recipe_of, write_model
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint
from teddy.training.recipe.recipe import Recipe

TEXTS = [
    "Anna Berg went to Port Ellen.",
    "Nobody was there.",
    "",
    "Who saw Ida Holm in New Haven today? " * 8,
]


@pytest.fixture(scope="module")
def corpora(tiny_recipe: Recipe, tiny_data: Path) -> list[Corpus]:
    return load_corpora(tiny_recipe, tiny_data)


@pytest.fixture
def best(tiny_run: Path) -> Checkpoint:
    return load_checkpoint(tiny_run / "best.checkpoint")


def without_time(predictor: Predictor) -> dict[str, Any]:
    return {
        name: value for name, value in predictor.manifest.as_dict().items() if name != "created"
    }


def dev_f1(predictor: Predictor, corpora: list[Corpus]) -> float:
    return evaluate_dev(predictor.tagger, corpora).scores.micro.f1


def test_the_best_checkpoint_of_an_ended_run_gives_the_model_file_of_the_run_again(
    tiny_run: Path, tiny_predictor: Predictor, tmp_path: Path
) -> None:
    path = tmp_path / "a new directory" / "again.teddy"
    export(tiny_run / "best.checkpoint", path)
    again = load(path, precision="fp32")
    assert again.tag(TEXTS) == tiny_predictor.tag(TEXTS)
    assert without_time(again) == without_time(tiny_predictor)


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_a_model_reads_the_words_of_its_recipe(
    best: Checkpoint, tmp_path: Path, version: int
) -> None:
    changes = {"tokeniser_version": version, "language": "fr"}
    recipe = recipe_of(best).model_copy(update=changes)
    write_model(replace(best, recipe=recipe.dump_toml()), tmp_path / "french.teddy")
    model = load(tmp_path / "french.teddy", precision="fp32")
    assert model.tokeniser == Tokeniser(version, "fr")
    (tagged,) = model.tag_documents(["l'Oise, Acme Inc."])
    expected = (
        ["l'Oise", ",", "Acme", "Inc."] if version == 1 else ["l'", "Oise", ",", "Acme", "Inc", "."]
    )
    assert ["l'Oise, Acme Inc."[token.start : token.end] for token in tagged.tokens] == expected


def test_a_checkpoint_from_before_there_were_two_tokenisers_gives_a_model_of_the_first(
    best: Checkpoint, tmp_path: Path
) -> None:
    lines = best.recipe.splitlines(keepends=True)
    older = "".join(line for line in lines if not line.startswith("tokeniser_version"))
    assert older != best.recipe
    write_model(replace(best, recipe=older), tmp_path / "older.teddy")
    assert load(tmp_path / "older.teddy", precision="fp32").tokeniser.version == 1


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_a_model_is_compared_on_the_words_of_another_as_it_reads_the_text(
    tiny_run: Path, best: Checkpoint, corpora: list[Corpus], tmp_path: Path, version: int
) -> None:
    """Here no word is cut otherwise, so that the models find the same."""
    recipe = recipe_of(best).model_copy(update={"tokeniser_version": version})
    other = tmp_path / "other.teddy"
    write_model(replace(best, recipe=recipe.dump_toml()), other)
    compared = compare_models(
        (other, tiny_run / "tiny.teddy"),
        lambda *_: corpora,
        precision="fp32",
        n_draws=10,
        seed=1,
        most=10,
        speed=False,
    )
    overall = compared.comparison.overall
    assert overall.first == overall.second
    assert overall.first.gold > 0


def test_a_checkpoint_without_measurements_is_refused_without_data(
    tiny_stopped_run: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        TrainingError, match=r"last\.checkpoint is of a run that has not ended.*give --data"
    ):
        export(tiny_stopped_run / "last.checkpoint", tmp_path / "early.teddy")
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_without_measurements_is_measured_on_the_data(
    tiny_stopped_run: Path, tiny_data: Path, tmp_path: Path, corpora: list[Corpus]
) -> None:
    path = tmp_path / "early.teddy"
    export(tiny_stopped_run / "last.checkpoint", path, tiny_data)
    early = load(path, precision="fp32")
    assert early.manifest.scores["dev"]["micro"]["f1"] == dev_f1(early, corpora)


def test_the_manifest_says_what_the_model_is_and_what_it_learned_from(
    tiny_predictor: Predictor, tiny_recipe: Recipe, corpora: list[Corpus], best: Checkpoint
) -> None:
    manifest = tiny_predictor.manifest
    assert (manifest.name, manifest.language, manifest.labels) == ("tiny", "en", ("PER", "LOC"))
    (credit,) = manifest.training_data
    assert (credit.name, credit.licence, credit.source) == ("made-up", "CC0", "the tests")
    assert credit.n_sentences == len(corpora[0].train) == 200
    assert credit.n_words == sum(len(sentence.words) for sentence in corpora[0].train)
    assert manifest.n_parameters == sum(each.numel() for each in best.build()[0].parameters())
    assert manifest.recipe == tiny_recipe.dump_toml()
    assert manifest.scores["dev"]["micro"]["f1"] == dev_f1(tiny_predictor, corpora)


def test_the_canary_holds_what_the_model_finds(
    tiny_predictor: Predictor, tiny_recipe: Recipe
) -> None:
    canary = tiny_predictor.manifest.canary
    assert tuple(each.text for each in canary) == tiny_recipe.export.canary
    for each in canary:
        found = [
            (entity.start, entity.end, entity.label)
            for entity in tiny_predictor.tag([each.text])[0]
        ]
        assert found == [(entity.start, entity.end, entity.label) for entity in each.entities]


def test_the_recipe_in_a_checkpoint_is_the_recipe(best: Checkpoint, tiny_recipe: Recipe) -> None:
    assert recipe_of(best) == tiny_recipe


def test_measuring_again_changes_nothing(best: Checkpoint, corpora: list[Corpus]) -> None:
    again, _ = measure(best, corpora)
    assert read_measurements(again.card) == read_measurements(best.card)
    assert [
        name for name in best.weights if not torch.equal(best.weights[name], again.weights[name])
    ] == []


# Storing in 16 bits.


def test_weights_are_rounded_when_that_keeps_the_score(
    tiny_stopped_run: Path, corpora: list[Corpus]
) -> None:
    exact = load_checkpoint(tiny_stopped_run / "last.checkpoint")
    measured, evaluation = measure(exact, corpora)
    assert read_measurements(measured.card).halved
    floats = [
        name
        for name, tensor in measured.weights.items()
        if tensor.is_floating_point() and "temp" not in name
    ]
    for name in floats:
        assert torch.equal(measured.weights[name], exact.weights[name].half().float())
    assert evaluation.scores.micro.f1 == evaluate_dev(_tagger(measured), corpora).scores.micro.f1


def test_weights_that_16_bits_cannot_hold_are_kept_whole_in_checkpoint_and_file(
    tiny_stopped_run: Path, tmp_path: Path, corpora: list[Corpus]
) -> None:
    exact = load_checkpoint(tiny_stopped_run / "last.checkpoint")
    # The same number added to the score of every tag changes nothing but the size of the numbers.
    exact.weights["emission.bias"] += 1e5
    before = evaluate_dev(_tagger(exact), corpora).scores.micro.f1
    measured, evaluation = measure(exact, corpora)
    assert not read_measurements(measured.card).halved
    assert evaluation.scores.micro.f1 == before > 0.9
    write_model(measured, tmp_path / "whole.teddy")
    assert dev_f1(load(tmp_path / "whole.teddy", precision="fp32"), corpora) == before


def test_rounded_weights_take_half_the_room_in_the_file(
    best: Checkpoint, tiny_model: Path, tmp_path: Path
) -> None:
    path = tmp_path / "unrounded.teddy"
    write_model(
        replace(best, card=replace(read_measurements(best.card), halved=False).as_json()), path
    )
    n_bytes = 2 * sum(each.numel() for each in best.build()[0].parameters())
    assert path.stat().st_size - tiny_model.stat().st_size == pytest.approx(n_bytes, rel=0.1)
    assert load(path, precision="fp32").tag(TEXTS) == load(tiny_model, precision="fp32").tag(TEXTS)


def _tagger(checkpoint: Checkpoint) -> Tagger:
    return Tagger(*checkpoint.build())


# Whole or not at all.


def test_a_file_that_does_not_load_never_gets_its_name_and_leaves_an_older_one_alone(
    best: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: object) -> None:
        assert read_bundle(path).manifest.name == "tiny"
        raise ModelFileError(path, "fails its canary")

    monkeypatch.setattr(publish, "load", refuse)
    with pytest.raises(ModelFileError, match="canary"):
        write_model(best, tmp_path / "new.teddy")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old.teddy").write_text("the older model")
    with pytest.raises(ModelFileError, match="canary"):
        write_model(best, tmp_path / "old.teddy")
    assert [each.name for each in tmp_path.iterdir()] == ["old.teddy"]
    assert (tmp_path / "old.teddy").read_text() == "the older model"


def test_a_model_file_is_written_whole_or_not_at_all(
    best: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "m.teddy"
    path.write_bytes(b"the old one")

    def fails(*_: object) -> NoReturn:
        raise OSError("the disk is full")

    monkeypatch.setattr(files, "flush_to_disk", fails)
    with pytest.raises(OSError, match="the disk is full"):
        write_model(best, path)
    assert path.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign.checkpoint").write_text("hello")
    with pytest.raises(ModelFileError, match=r"foreign\.checkpoint: not a whole checkpoint"):
        export(tmp_path / "foreign.checkpoint", tmp_path / "model.teddy")
    assert not (tmp_path / "model.teddy").exists()
