"""Starting from trained weights: they come as they were, arrive in their place, and fit or not."""

import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import ModelFileError, TeddyError, TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData, read_manifest, read_version
from teddy.model.file.shipped import shipped_models
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import load_corpora
from teddy.training.job.record import Record
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.start import (
    PretrainedWeights,
    find_weights,
    load_weights,
    open_start,
)
from teddy.training.learning.torch_setup import seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train

CREDIT = TrainingData(name="a library", licence="CC BY-SA 4.0", source="made up", n_words=5)
SHAPE = (
    "features.word_rows=3",
    "network.normalise=true",
    "training.epochs=2",
    "training.batch_words=150",
    "training.average_decay=0",
)
LEARNT = ("embedding", "normalisation", "encoder")
Shell = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def recipe(tiny_data: Path) -> Recipe:
    """A recipe of the shape of `start`."""
    return load_recipe(tiny_data / "tiny.toml", SHAPE)


@pytest.fixture(scope="module")
def start(recipe: Recipe, tiny_run: Path) -> PretrainedWeights:
    """Weights with three words of their own and a normalisation."""
    pieces = load_checkpoint(tiny_run / "best.checkpoint").pieces
    words = ("oslo", "été", "bears")
    torch.manual_seed(4)
    network = Network(
        recipe.network, WordFeatures(Pieces(pieces), recipe.features, words).n_rows, TagSet(("X",))
    )
    return PretrainedWeights(
        features=recipe.features,
        network=recipe.network,
        pieces=pieces,
        words=words,
        weights={
            name: each for name, each in network.state_dict().items() if name.startswith(LEARNT)
        },
        training_data=(CREDIT,),
    )


@pytest.fixture(scope="module")
def folder(
    start: PretrainedWeights, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The made-up corpus with `library.encoder` beside it."""
    directory = tmp_path_factory.mktemp("started")
    for name in ("train.conll", "dev.conll", "tiny.toml"):
        (directory / name).write_bytes((tiny_data / name).read_bytes())
    start.save(directory / "library.encoder")
    return directory


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


# Files.


def test_an_encoder_file_comes_back_with_its_weights_rounded_to_16_bits(
    start: PretrainedWeights, folder: Path
) -> None:
    found = load_weights(folder / "library.encoder")
    assert replace(found, weights={}) == replace(start, weights={})
    assert_same(
        found.weights, {name: tensor.half().float() for name, tensor in start.weights.items()}
    )


def test_saving_what_was_read_changes_nothing(folder: Path, tmp_path: Path) -> None:
    once = load_weights(folder / "library.encoder")
    once.save(tmp_path / "again.encoder")
    assert_same(load_weights(tmp_path / "again.encoder").weights, once.weights)


def test_a_start_without_words_of_its_own_has_none_when_it_comes_back(
    start: PretrainedWeights, tmp_path: Path
) -> None:
    replace(start, words=()).save(tmp_path / "wordless.encoder")
    assert load_weights(tmp_path / "wordless.encoder").words == ()


@pytest.mark.parametrize("name", ["tiny.teddy", "best.checkpoint"])
def test_a_model_file_and_a_checkpoint_give_their_own_embedding_and_encoder(
    tiny_run: Path, name: str
) -> None:
    found, checkpoint = load_weights(tiny_run / name), load_checkpoint(tiny_run / "best.checkpoint")
    assert (found.features, found.network) == (checkpoint.features, checkpoint.network)
    assert (found.pieces, found.words) == (checkpoint.pieces, checkpoint.words)
    # The measured checkpoint of an ended run holds the very weights that its model file does.
    assert_same(
        found.weights,
        {name: each for name, each in checkpoint.weights.items() if name.startswith(LEARNT)},
    )


@pytest.mark.parametrize("name", ["tiny.teddy", "best.checkpoint"])
def test_what_weights_were_learnt_from_is_credited_wherever_they_are_taken_from(
    tiny_run: Path, name: str
) -> None:
    found = [
        (each.name, each.licence, each.source)
        for each in load_weights(tiny_run / name).training_data
    ]
    assert found == [("made-up", "CC0", "the tests")]


def test_the_file_is_below_the_data_or_here_and_the_model_that_ships_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_weights("sub/a.encoder", tmp_path) == tmp_path / "sub" / "a.encoder"
    for name, path in shipped_models().items():
        assert find_weights(name, tmp_path) == path
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    Path("made.encoder").touch()
    assert find_weights("made.encoder", tmp_path) == Path("made.encoder")
    (tmp_path / "made.encoder").touch()
    assert find_weights("made.encoder", tmp_path) == tmp_path / "made.encoder"
    (tmp_path / "en").touch()
    assert find_weights("en", tmp_path) == tmp_path / "en"


# In the network.


def test_weights_arrive_in_the_network_and_nothing_else_is_touched(
    start: PretrainedWeights, recipe: Recipe
) -> None:
    network = Network(recipe.network, len(start.weights["embedding"]), TagSet(recipe.labels))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    start.put_into(network)
    assert_same(network.state_dict(), {**before, **start.weights})
    assert {name.partition(".")[0] for name in before.keys() - start.weights.keys()} == {
        "emission",
        "crf",
    }


def test_weights_of_another_number_of_rows_are_refused_in_one_line(
    start: PretrainedWeights, recipe: Recipe
) -> None:
    network = Network(recipe.network, len(start.weights["embedding"]) + 1, TagSet(recipe.labels))
    with pytest.raises(TrainingError, match=r"do not fit .*embedding") as caught:
        start.put_into(network)
    assert "\n" not in str(caught.value)


def make_trainer(
    start: PretrainedWeights, recipe: Recipe, data: Path, share: float, **changes: Any
) -> Trainer:
    features = WordFeatures(Pieces(start.pieces), recipe.features, start.words)
    tag_set = TagSet(recipe.labels)
    seed_torch(1)
    network = Network(recipe.network, features.n_rows, tag_set)
    start.put_into(network)
    corpora = load_corpora(recipe, data)
    config = recipe.training.model_copy(update=changes)
    return Trainer(
        network,
        features,
        tag_set,
        corpora,
        config,
        seed=1,
        device=torch.device("cpu"),
        started_share=share,
    )


def moved(trainer: Trainer, n_updates: int) -> dict[str, Tensor]:
    """How far each weight is from where it was after so many updates."""
    before = {name: each.detach().clone() for name, each in trainer.network.named_parameters()}
    for row in islice(trainer.run(), n_updates):
        assert row["kind"] == "update"
    return {name: each.detach() - before[name] for name, each in trainer.network.named_parameters()}


def test_at_a_share_of_zero_what_was_learnt_before_stays_to_the_last_bit(
    start: PretrainedWeights, recipe: Recipe, tiny_data: Path
) -> None:
    for name, change in moved(make_trainer(start, recipe, tiny_data, 0.0), 4).items():
        assert bool(change.any()) != name.startswith(LEARNT), name


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_at_a_share_of_the_learning_rate_the_first_step_is_that_share_as_long(
    start: PretrainedWeights, recipe: Recipe, tiny_data: Path, share: float
) -> None:
    # The gradient of the first update is the same for both, and a step of AdamW is in proportion to
    # its rate.
    fast, slow = (moved(make_trainer(start, recipe, tiny_data, each), 1) for each in (1.0, share))
    for name, change in fast.items():
        expected = change * (share if name.startswith(LEARNT) else 1.0)
        torch.testing.assert_close(slow[name], expected, rtol=1e-2, atol=1e-7, msg=name)


# Runs.


def started(data: Path, *changes: str) -> Recipe:
    return load_recipe(data / "tiny.toml", [*SHAPE, "start.weights=library.encoder", *changes])


@pytest.fixture(scope="module")
def started_run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "matplotlib.figure", None)
        output = tmp_path_factory.mktemp("started-run")
        train(started(folder, "start.learning_rate_share=0"), folder, output)
    return output


def test_a_run_keeps_the_pieces_the_words_and_at_a_share_of_zero_the_weights_that_it_started_with(
    started_run: Path, folder: Path
) -> None:
    given, found = (
        load_weights(folder / "library.encoder"),
        load_weights(started_run / "best.checkpoint"),
    )
    assert (found.pieces, found.words) == (given.pieces, given.words)
    assert_same(found.weights, given.weights)


def test_a_model_credits_what_its_start_was_learnt_from_before_what_it_was_trained_on(
    started_run: Path,
) -> None:
    first, second = read_manifest(started_run / "tiny.teddy").training_data
    assert first == CREDIT
    assert (second.name, second.n_sentences) == ("made-up", 200)


def test_a_started_run_that_is_resumed_ends_as_an_unstopped_one_and_needs_the_file_no_more(
    started_run: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = started(folder, "start.learning_rate_share=0")
    evaluated = int(str(Record(started_run).rows()[-1]["step"])) // 2

    def stop(row: Any) -> None:
        if row["step"] == evaluated + 1:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(KeyboardInterrupt):
        train(recipe, folder, tmp_path / "run", watchers=[stop])
    elsewhere = tmp_path / "data"
    elsewhere.mkdir()
    for name in ("train.conll", "dev.conll"):
        (elsewhere / name).write_bytes((folder / name).read_bytes())
    train(recipe, elsewhere, tmp_path / "run", resume=True)
    for name in ("best.checkpoint",):
        mine, theirs = load_checkpoint(tmp_path / "run" / name), load_checkpoint(started_run / name)
        assert_same(mine.weights, theirs.weights)
        assert mine.inherited == theirs.inherited == (CREDIT,)
    manifests = [read_manifest(output / "tiny.teddy") for output in (tmp_path / "run", started_run)]
    assert replace(manifests[0], created="") == replace(manifests[1], created="")
    digests = {read_version(output / "tiny.teddy") for output in (tmp_path / "run", started_run)}
    assert len(digests) == 1


def test_a_run_may_start_from_a_model_of_other_labels(
    folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (folder / "tiny.teddy").write_bytes(tiny_model.read_bytes())
    changes = (
        "start.weights=tiny.teddy",
        "training.epochs=1",
        "export.canary=[]",
        'labels=["PER"]',
    )
    recipe = load_recipe(folder / "tiny.toml", [*changes, 'corpus.0.map={LOC="O"}'])
    train(recipe, folder, tmp_path / "run")
    assert read_manifest(tmp_path / "run" / "tiny.teddy").labels == ("PER",)


# What does not fit.

MISFITS = [
    "features.shape_rows=33",
    "features.affix_rows=255",
    "features.affix_lengths=[1, 2]",
    "features.word_rows=4",
    "network.embedding_width=17",
    "network.cell=gru",
    "network.layers=1",
    "network.hidden_width=13",
    "network.bidirectional=false",
    "network.combine=sum",
    "network.dense_widths=[5]",
]


@pytest.mark.parametrize("change", MISFITS)
def test_a_recipe_of_another_shape_is_told_the_key_and_both_values(
    start: PretrainedWeights, folder: Path, change: str, shell: Shell, tmp_path: Path
) -> None:
    recipe = started(folder, change)
    with pytest.raises(TrainingError) as caught:
        open_start(recipe, folder)
    table, _, name = change.partition("=")[0].partition(".")
    ours, theirs = (getattr(getattr(each, table), name) for each in (recipe, start))
    said = f"library.encoder: its {table}.{name} is {theirs}, the recipe says {ours}"
    assert said in str(caught.value)
    assert "leave the key out" in str(caught.value)
    settings = [
        word
        for each in (*SHAPE, "start.weights=library.encoder", change)
        for word in ("--set", each)
    ]
    code, said, error = shell(
        "train", folder / "tiny.toml", "--data", folder, "--output", tmp_path / "run", *settings
    )
    assert (code, said) == (2, "")
    assert error == f"teddy: error: {caught.value}\n"


@pytest.mark.parametrize(
    "change", ["network.decoder=softmax", "network.layer_dropout=0.4", "seed=5"]
)
def test_what_does_not_shape_the_weights_is_free(
    start: PretrainedWeights, folder: Path, change: str
) -> None:
    recipe = started(folder, change)
    assert open_start(recipe, folder)[1].features == start.features


# Files that are none.


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.9999])
def test_a_file_cut_short_is_refused(folder: Path, tmp_path: Path, share: float) -> None:
    content = (folder / "library.encoder").read_bytes()
    (tmp_path / "cut.encoder").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"cut\.encoder: not a whole encoder file"):
        load_weights(tmp_path / "cut.encoder")


def test_a_changed_weight_is_noticed(
    start: PretrainedWeights, folder: Path, tmp_path: Path
) -> None:
    content = bytearray((folder / "library.encoder").read_bytes())
    weights = start.weights["embedding"].half().numpy().tobytes()
    content[content.index(weights) + len(weights) // 2] ^= 1
    (tmp_path / "changed.encoder").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a whole encoder file"):
        load_weights(tmp_path / "changed.encoder")


@pytest.mark.parametrize(
    "content", [[1, 2], {"format": "teddy-encoder-99"}, {"weights": {}}, torch.zeros(3)]
)
def test_what_torch_can_read_but_is_no_encoder_file_is_refused(
    tmp_path: Path, content: object
) -> None:
    torch.save(content, tmp_path / "other.encoder")
    with pytest.raises(
        ModelFileError, match="neither a model file, nor a checkpoint, nor an encoder file"
    ):
        load_weights(tmp_path / "other.encoder")


@pytest.mark.parametrize(
    "part", ["features", "network", "pieces", "words", "weights", "training_data"]
)
@pytest.mark.parametrize("content", [None, 7])
def test_an_encoder_file_without_a_part_or_with_another_in_its_place_is_refused(
    folder: Path, tmp_path: Path, part: str, content: object
) -> None:
    parts = torch.load(folder / "library.encoder", weights_only=True)
    del parts[part]
    if content is not None:
        parts[part] = content
    torch.save(parts, tmp_path / "partial.encoder")
    with pytest.raises(ModelFileError, match="without all of its parts"):
        load_weights(tmp_path / "partial.encoder")


class Attack:
    """Makes a directory when it is unpickled without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def test_a_file_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    (tmp_path / "bare.encoder").write_bytes(pickle.dumps(Attack(tmp_path / "it-ran")))
    torch.save(
        {"format": "teddy-encoder-1", "words": Attack(tmp_path / "it-ran")},
        tmp_path / "dressed.encoder",
    )
    for name in ("bare", "dressed"):
        with pytest.raises(ModelFileError, match="not a whole encoder file"):
            load_weights(tmp_path / f"{name}.encoder")
    assert not (tmp_path / "it-ran").exists()


def foreign(directory: Path, name: str) -> None:
    if name.startswith("folder"):
        (directory / name).mkdir()
    elif name.startswith("zip"):
        with zipfile.ZipFile(directory / name, "w") as archive:
            archive.writestr("letter.txt", "Dear Mira")
    elif not name.startswith("missing"):
        (directory / name).write_text("Dear Mira\n")


@pytest.mark.parametrize("suffix", ["encoder", "teddy", "checkpoint", "pt"])
@pytest.mark.parametrize("kind", ["missing", "text", "zip", "folder"])
def test_the_command_tells_of_a_file_that_is_none_in_one_line(
    folder: Path, tmp_path: Path, kind: str, suffix: str, shell: Shell
) -> None:
    name = f"{kind}.{suffix}"
    if not (folder / name).exists():
        foreign(folder, name)
    settings = ("--set", f"start.weights={name}", "--output", tmp_path / "run")
    code, said, error = shell("train", folder / "tiny.toml", "--data", folder, *settings)
    assert (code, said) == (2, "")
    assert error.startswith(f"teddy: error: {folder / name}: ")
    assert error.count("\n") == 1
    with pytest.raises(TeddyError):
        load_weights(folder / name)


def test_weights_bring_their_shape_along(start: PretrainedWeights, folder: Path) -> None:
    """What the recipe leaves at its defaults becomes theirs; the rest of it stays."""
    bare = load_recipe(folder / "tiny.toml", ["start.weights=library.encoder", "seed=5"])
    bare = bare.model_copy(update={"features": FeatureConfig(), "network": NetworkConfig()})
    completed, found = open_start(bare, folder)
    assert completed.features == found.features == start.features
    assert completed.network == replace(
        start.network,
        embedding_dropout=bare.network.embedding_dropout,
        layer_dropout=bare.network.layer_dropout,
        decoder=bare.network.decoder,
    )
    assert completed.model_copy(update={"features": bare.features, "network": bare.network}) == bare
    assert open_start(completed, folder)[0] == completed
