"""A model that learns on: its beginning, its completed recipe, and what it forgets by itself."""

import json
import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from teddy.model.errors import ModelFileError, RecipeError, TrainingError
from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import read_manifest
from teddy.model.network.tagger_network import Network
from teddy.model.predictor import load
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.measurements import evaluate_dev
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.start import Update, load_weights, open_update, rehearsed
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train
from tests.conftest import write_corpus

PETS = ("Rex Brown", "Bella", "Felix Gray", "Minka")
PATTERNS = (
    "{pet} barked at the vet .",
    "At the vet , {pet} and {other} bit nobody .",
    "The vet likes {pet} .",
)
SENTENCES = [("Anna", "Berg", "sleeps"), ("Oslo",), ("Who", "saw", "Mira", "?")]
SECOND = """
name = "pets"
language = "en"
labels = ["PET"]
seed = 5

[[corpus]]
name = "pets"
licence = "CC0"
train = ["pets.conll"]
holdout = 0.2

[network]
embedding_dropout = 0.1
layer_dropout = 0.1

[training]
epochs = 4
batch_words = 120
learning_rate = 0.02
feature_dropout = 0.1
average_decay = 0.9
mixed_precision = "fp32"

[update]
model = "tiny.teddy"
"""
REHEARSAL = """
[[update.rehearsal]]
name = "made-up"
licence = "CC0"
train = ["train.conll"]
"""
TEXT = """
[distill]
text = ["old.txt"]
name = "old text"
licence = "CC0"
words = 1500
"""
NAIVE = "predictions = false\n"
Shell = Callable[..., tuple[int, str, str]]


def pets() -> str:
    """A hundred sentences of animals with names like people's, in two columns."""
    draw = random.Random(7)  # noqa: S311
    lines: list[str] = []
    for _ in range(100):
        for slot in draw.choice(PATTERNS).split():
            words = draw.choice(PETS).split() if slot.startswith("{") else [slot]
            lines += [
                f"{word} {'BI'[i > 0]}-PET" if slot.startswith("{") else f"{word} O"
                for i, word in enumerate(words)
            ]
        lines.append("")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def data(tiny_data: Path, tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first corpus, also as plain text, its model, and a corpus of other labels."""
    directory = tmp_path_factory.mktemp("update-data")
    for name in ("train.conll", "dev.conll", "tiny.toml"):
        shutil.copy(tiny_data / name, directory / name)
    shutil.copy(tiny_run / "tiny.teddy", directory / "tiny.teddy")
    shutil.copy(tiny_run / "best.checkpoint", directory / "tiny.checkpoint")
    sentences = (tiny_data / "train.conll").read_text().split("\n\n")
    words = ([line.split()[0] for line in sentence.splitlines()] for sentence in sentences)
    (directory / "old.txt").write_text("".join(" ".join(each) + "\n" for each in words))
    (directory / "pets.conll").write_text(pets())
    # Of 40 sentences an entity weighs 0.016, and three fall by how a processor rounds.
    write_corpus(directory / "large.conll", 400, seed=3)
    recipe = (directory / "tiny.toml").read_text().replace("dev.conll", "large.conll")
    (directory / "first.toml").write_text(recipe)
    return directory


def recipe_of(data: Path, more: str = "", *changes: str) -> Recipe:
    path = data / "second.toml"
    path.write_text(SECOND + more)
    return load_recipe(path, changes)


def opened(data: Path, more: str = "", *changes: str) -> Update:
    return updated(recipe_of(data, more, *changes), data)


def updated(recipe: Recipe, data: Path) -> Update:
    assert recipe.update is not None
    return open_update(recipe, recipe.update, data)


# What it begins as.


@pytest.mark.parametrize("name", ["tiny.teddy", "tiny.checkpoint"])
def test_a_model_with_more_labels_scores_the_old_ones_as_before(data: Path, name: str) -> None:
    start, (old, features, _) = (
        load_weights(data / name),
        load_checkpoint(data / "tiny.checkpoint").build(),
    )
    labels = ("LOC", "PET", "PER")
    network = Network(start.network, features.n_rows, TagSet(labels)).eval()
    start.put_into(network, TagSet(labels))
    batch = make_batch(SENTENCES, WordFeatures(Pieces(start.pieces), start.features, start.words))
    places = [TagSet(labels).index(tag) for tag in TagSet(start.labels).tags]
    found, expected = (
        each.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        for each in (network, old)
    )
    torch.testing.assert_close(found[:, :, places], expected)
    torch.testing.assert_close(network.crf.transition[places][:, places], old.crf.transition)
    torch.testing.assert_close(network.crf.first[places], old.crf.first)
    torch.testing.assert_close(network.crf.last[places], old.crf.last)
    assert network.crf.temperature == 1.0


def test_an_encoder_is_no_model_to_update(data: Path) -> None:
    start = load_weights(data / "tiny.teddy")
    start.save(data / "reader.encoder")
    with pytest.raises(ModelFileError, match=r"reader\.encoder: an encoder knows no labels"):
        opened(data, "", "update.model=reader.encoder")


# What its recipe becomes.


def test_the_models_labels_come_first_and_each_corpus_speaks_of_those_it_was_written_for(
    data: Path,
) -> None:
    completed = opened(data, REHEARSAL, 'labels=["PET", "LOC"]').recipe
    assert completed.labels == ("PER", "LOC", "PET")
    assert {each.name: each.annotates for each in completed.corpus} == {
        "pets": ("PET", "LOC"),
        "made-up": ("PER", "LOC"),
    }
    assert completed.update is not None
    assert completed.update.rehearse == ("made-up",)
    assert completed.distill is not None
    assert completed.distill.teachers == ("tiny.teddy",)


def test_the_models_shape_is_taken_and_what_it_overrides_is_said(data: Path) -> None:
    update = opened(
        data, "", "network.hidden_width=99", "network.layer_dropout=0.2", "start.weights=en"
    )
    assert (update.recipe.network.hidden_width, update.recipe.network.layer_dropout) == (12, 0.2)
    assert update.recipe.features == load_recipe(data / "tiny.toml").features
    assert [
        note.split(" is ")[0] for note in update.notes if "hidden" in note or "start" in note
    ] == [
        "network.hidden_width",
        "start.weights",
    ]


def test_a_completed_recipe_is_complete(data: Path, tmp_path: Path) -> None:
    """It is read back as it was saved, and completing it changes nothing."""
    completed = opened(data, REHEARSAL + TEXT).recipe
    (tmp_path / "recipe.toml").write_text(completed.dump_toml())
    again = load_recipe(tmp_path / "recipe.toml")
    assert again == completed
    assert updated(again, data).recipe == completed


def test_another_file_under_the_models_name_is_not_gone_on_with(data: Path, tmp_path: Path) -> None:
    completed = opened(data).recipe
    shutil.copy(data / "tiny.checkpoint", tmp_path / "tiny.teddy")
    (tmp_path / "tiny.teddy").write_bytes((data / "tiny.teddy").read_bytes()[:-1])
    with pytest.raises(ModelFileError):
        updated(completed, tmp_path)


@pytest.mark.parametrize(
    ("more", "error", "expected"),
    [
        (
            'rehearse = ["pet"]',
            RecipeError,
            "update.rehearse.0: there is no corpus 'pet'; did you mean pets?",
        ),
        ('rehearse = ["pets"]', RecipeError, "update.rehearse: every corpus is old"),
        (
            REHEARSAL + 'map = { LOC = "TOWN" }',
            TrainingError,
            "corpus.1.map.LOC: 'TOWN' is not in labels",
        ),
        (
            REHEARSAL.replace("made-up", "pets"),
            RecipeError,
            "update.rehearsal.0.name: 'pets' is the name of two",
        ),
    ],
    ids=["no such corpus", "nothing new", "no such label", "two of one name"],
)
def test_what_does_not_go_together_is_refused_by_its_key(
    more: str, error: type[Exception], expected: str, data: Path
) -> None:
    with pytest.raises(error) as refused:
        opened(data, more)
    assert expected in str(refused.value)


def test_only_an_update_may_do_without_teachers(tmp_path: Path) -> None:
    path = tmp_path / "alone.toml"
    path.write_text(SECOND.replace('[update]\nmodel = "tiny.teddy"', "[distill]"))
    with pytest.raises(RecipeError, match=r"distill.*teachers: missing"):
        load_recipe(path)


# How much is old.


@pytest.mark.parametrize(("share", "old_words"), [(0.5, 800), (0.25, 800), (0.5, 90)])
def test_old_corpora_have_their_share_of_the_words_but_no_sentence_comes_twice(
    share: float, old_words: int, data: Path
) -> None:
    (first,) = load_corpora(load_recipe(data / "tiny.toml"), data)
    sentences: list[Sentence] = []
    total = 0
    while total < old_words:
        sentences.append(first.train[len(sentences)])
        total += len(sentences[-1].words)
    corpora = [corpus(first, "old", sentences), corpus(first, "new", sentences[:20])]
    found = {each.name: each for each in rehearsed(corpora, ["old"], share)}
    words = {
        name: each.weight * sum(len(one.words) for one in each.train)
        for name, each in found.items()
    }
    assert found["new"].weight == 1.0
    if words["old"] < old_words:
        assert words["old"] / sum(words.values()) == pytest.approx(share)
    else:
        assert found["old"].weight == 1.0
        assert words["old"] / sum(words.values()) <= share


def corpus(like: Corpus, name: str, sentences: list[Sentence]) -> Corpus:
    return replace(like, name=name, train=sentences, weight=1.0)


# Two corpora, one after the other.


@pytest.fixture(scope="module")
def f1(
    data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], tuple[float, float]]:
    """Update the model in a way; gives its F1 on the first corpus and on the second."""
    first = load_corpora(load_recipe(data / "first.toml"), data)

    def update(way: str) -> tuple[float, float]:
        recipe = recipe_of(data, way)
        output = tmp_path_factory.mktemp("updated")
        predictor = load(train(recipe, data, output), precision="fp32")
        second = load_corpora(recipe, data)
        scores = [
            evaluate_dev(predictor.tagger, each, worst=0).scores.micro.f1
            for each in (first, second)
        ]
        return scores[0], scores[1]

    return update


@pytest.fixture(scope="module")
def before(data: Path) -> float:
    first = load_corpora(load_recipe(data / "first.toml"), data)
    return evaluate_dev(
        load(data / "tiny.teddy", precision="fp32").tagger, first, worst=0
    ).scores.micro.f1


def test_a_model_that_only_sees_what_is_new_forgets(
    f1: Callable[[str], tuple[float, float]], before: float
) -> None:
    old, new = f1(NAIVE)
    assert new > 0.8
    assert old < before - 0.3


@pytest.mark.parametrize("way", [NAIVE + REHEARSAL, TEXT], ids=["old data", "own predictions"])
def test_a_model_that_rehearses_learns_what_is_new_and_forgets_nothing(
    way: str, f1: Callable[[str], tuple[float, float]], before: float
) -> None:
    old, new = f1(way)
    assert new > 0.9
    assert old > before - 0.05


def test_the_command_credits_what_the_model_was_made_from(
    data: Path, tmp_path: Path, shell: Shell
) -> None:
    path = tmp_path / "second.toml"
    path.write_text(SECOND.partition("[update]")[0])
    arguments = ["--data", data, "--update", data / "tiny.teddy", "--output", tmp_path / "run"]
    code, output, _ = shell("train", path, *arguments, "--set", "training.epochs=1")
    assert code == 0
    manifest = read_manifest(Path(output.strip()))
    assert manifest.labels == ("PER", "LOC", "PET")
    assert [each.name for each in manifest.training_data] == ["made-up", "pets"]
    assert "made-up" in json.dumps(shell("inspect", "--card", output.strip())[1])
