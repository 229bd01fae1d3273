"""Pretrained vectors: how files are read, which words are chosen, and that the network has them."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.errors import DataError, RecipeError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData, read_manifest
from teddy.model.network.tagger_network import Network
from teddy.model.predictor import load
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training import run
from teddy.training.data.vocabulary import (
    WordVectors,
    choose_vectors,
    principal_components,
    read_vectors,
)
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import load_recipe

Shell = Callable[..., tuple[int, str, str]]

WORDS = (
    "the",
    ",",
    "Oslo",
    "oslo",
    "bear",
    "naïve",
    "漢",
    ". . .",
    "at x@y.com",
    "real-time",
    "the",
    "mr.",
)


def numbers(n: int, width: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def write(
    path: Path,
    words: tuple[str, ...],
    values: NDArray[np.float32],
    *,
    header: bool = False,
    end: str = "\n",
) -> None:
    lines = [f"{len(words)} {values.shape[1]}"] if header else []
    for word, row in zip(words, values, strict=True):
        lines.append(f"{word} " + " ".join(str(value) for value in row.tolist()))
    path.write_bytes("".join(line + end for line in lines).encode())


@pytest.mark.parametrize(
    ("header", "end"),
    [(False, "\n"), (True, "\n"), (True, " \n"), (False, " \r\n")],
    ids=["GloVe", "word2vec", "fastText, with spaces at the ends", "Windows"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_every_format_gives_the_words_and_numbers_that_were_written(
    tmp_path: Path, header: bool, end: str, packed: bool
) -> None:
    values = numbers(len(WORDS), 5)
    path = tmp_path / "vectors.txt"
    write(path, WORDS, values, header=header, end=end)
    if packed:
        (tmp_path / "vectors.vec.gz").write_bytes(gzip.compress(path.read_bytes()))
        path = tmp_path / "vectors.vec.gz"
    lines = list(read_vectors(path))
    assert tuple(line.word for line in lines) == WORDS
    assert [line.line for line in lines] == list(range(1 + header, len(WORDS) + 1 + header))
    assert np.array_equal(np.stack([line.values() for line in lines]), values)


def test_numbers_are_read_in_all_their_forms_and_blank_lines_and_empty_words_are_passed_over(
    tmp_path: Path,
) -> None:
    path = tmp_path / "v.txt"
    path.write_text("a 1  -2e-3\n\n 3 4\nb\t.5\t+7.\n\u3000 1 2\n")
    lines = list(read_vectors(path))
    assert [(line.word, line.values().tolist()) for line in lines] == [
        ("a", [1.0, pytest.approx(-0.002)]),
        ("b", [0.5, 7.0]),
        ("\u3000", [1.0, 2.0]),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a 1 2\nb 1\n", 2, "expected a word and 2 numbers, found 1"),
        ("a 1 2\nb 1.5 2.5 3.5\n", 2, "expected a word and 2 numbers, found more"),
        ("2 3\na 1 2 3\nb 1 2\n", 3, "expected a word and 3 numbers, found 2"),
        ("a 1 2\nb 1 x\n", 2, "'x' is no finite number"),
        ("a 1 2\nb 1 nan\n", 2, "'nan' is no finite number"),
        ("a 1 2\nb inf 1\n", 2, "'inf' is no finite number"),
        ("a 1 2\nb 1e39 1\n", 2, "'1e39' is no finite number"),
        ("a 1 2\nb 1_0 1\n", 2, "'1_0' is no finite number"),
        ("word\n", 1, "no line of a vector file"),
        ("3 0\n", 1, "no line of a vector file"),
        ("", None, "the file has no vectors"),
        ("\n\n", None, "the file has no vectors"),
        ("3 2\n", None, "no word"),
        ("a\x00 1 2\n", 1, "a binary file"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = tmp_path / "v.txt"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        choose_vectors(path, {"b": 1}, 10, Tokeniser())
    assert caught.value.line == line
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_or_damaged_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_vectors(tmp_path / "none.txt"))
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(b"a 1 2\n" * 1000)[:-20])
    with pytest.raises(DataError, match="damaged"):
        list(read_vectors(tmp_path / "v.txt.gz"))


def chosen_slowly(words: tuple[str, ...], counts: dict[str, int], most: int) -> list[int]:
    """The lines that are chosen, from the words in the order of the file, by the plain rule."""
    total: dict[str, int] = {}
    for word, count in counts.items():
        total[word.casefold()] = total.get(word.casefold(), 0) + count
    first: dict[str, int] = {}
    for line, word in enumerate(words):
        first.setdefault(word.casefold(), line)
    known = sorted((word for word in first if word in total), key=lambda word: (-total[word], word))
    # Of these words only the ones with spaces or a hyphen are never a word of a text.
    others = [word for word in first if word not in total and " " not in word and "-" not in word]
    return [first[word] for word in [*known, *others][:most]]


@given(
    words=st.permutations(WORDS).map(tuple),
    counts=st.dictionaries(
        st.sampled_from(("The", "the", "OSLO", "bear", "Bear", "real-time", "zebra")),
        st.integers(1, 9),
    ),
    most=st.integers(1, 12),
)
def test_words_of_the_training_data_come_first_and_then_the_first_of_the_file(
    tmp_path_factory: pytest.TempPathFactory,
    words: tuple[str, ...],
    counts: dict[str, int],
    most: int,
) -> None:
    path = tmp_path_factory.mktemp("vectors") / "v.txt"
    values = numbers(len(words), 3)
    write(path, words, values)
    vectors = choose_vectors(path, counts, most, Tokeniser())
    lines = chosen_slowly(words, counts, most)
    assert vectors.words == tuple(words[line].casefold() for line in lines)
    assert np.array_equal(vectors.values.numpy(), values[lines])
    folded = {word.casefold() for word in counts}
    assert vectors.n_known == sum(word in folded for word in vectors.words)


@pytest.mark.parametrize(("n", "width", "kept"), [(40, 7, 3), (40, 7, 7), (300, 20, 1), (4, 7, 6)])
def test_principal_components_are_those_of_the_singular_value_decomposition(
    n: int, width: int, kept: int
) -> None:
    values = (
        np.random.default_rng(3).normal(size=(n, width)) @ np.diag(np.arange(width, 0, -1)) + 5.0
    )
    centred = values - values.mean(0)
    left, strength, right = np.linalg.svd(centred, full_matrices=False)
    expected = np.zeros((n, kept))
    available = min(kept, n - 1)
    for place in range(available):
        sign = np.sign(right[place][np.abs(right[place]).argmax()])
        expected[:, place] = left[:, place] * strength[place] * sign
    found = principal_components(torch.from_numpy(values), kept).numpy()
    assert np.allclose(found, expected, atol=1e-8 * strength[0] + 1e-6)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 20))
def test_fitted_vectors_have_the_width_and_the_spread_of_the_rows_beside_them(
    n: int, width: int, wanted: int
) -> None:
    values = torch.from_numpy(numbers(n, width, seed=n) * 40)
    rows = WordVectors(words=tuple(map(str, range(n))), values=values).fitted(wanted)
    assert rows.shape == (n, wanted)
    assert rows.dtype == torch.float32
    assert not rows[:, width:].any()
    filled = rows[:, :width].square().mean().sqrt().item()
    # A single vector has no components.
    assert filled == pytest.approx(0.1, rel=1e-4) or (n == 1 and wanted < width)
    if wanted >= width:
        ratio = (rows[:, :width] / values).flatten()
        assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-4)


def test_vectors_of_nought_stay_nought() -> None:
    assert not WordVectors(words=("a",), values=torch.zeros(1, 3)).fitted(4).any()


@pytest.fixture(scope="module")
def vector_file(tiny_data: Path) -> str:
    """The name of a file beside the tiny corpus, of vectors wider than the tiny embedding."""
    words = (
        "the",
        "of",
        "Oslo",
        "anna",
        "otto",
        "real-time",
        "lund",
        "zebra",
        "ghent",
        "mira",
        "ida",
        "xylophone",
    )
    write(tiny_data / "made-up.vec", words, numbers(len(words), 20), header=True)
    return "made-up.vec"


def overrides(vector_file: str) -> list[str]:
    return [
        f"embedding.vectors={vector_file}",
        "embedding.name='made-up vectors'",
        "embedding.licence=CC0",
        "features.word_rows=10",
        "training.epochs=2",
    ]


def rows_of_words(embedding: Tensor, features: WordFeatures) -> dict[str, Tensor]:
    return {
        word: embedding[row]
        for row, word in enumerate(features.words, start=features.group_starts[-1])
    }


def test_the_rows_of_whole_words_hold_the_vectors_and_the_others_are_as_random_as_before(
    tiny_run: Path,
) -> None:
    checkpoint = load_checkpoint(tiny_run / "best.checkpoint")
    words = ("oslo", "anna", "zebra")
    features = WordFeatures(Pieces(checkpoint.pieces), checkpoint.features, words)
    torch.manual_seed(1)
    network = Network(checkpoint.network, features.n_rows, TagSet(("PER",)))
    before = network.embedding.detach().clone()
    vectors = WordVectors(words=words, values=torch.from_numpy(numbers(3, 20)))
    vectors.put_into(network, features)
    found = rows_of_words(network.embedding.detach(), features)
    expected = vectors.fitted(checkpoint.network.embedding_width)
    for place, word in enumerate(words):
        assert features.rows(word)[-1] == features.group_starts[-1] + place
        assert torch.equal(found[word], expected[place])
    assert torch.equal(network.embedding[: -len(words)], before[: -len(words)])
    WordVectors(words=("anna",), values=torch.zeros(1, 20)).put_into(network, features)
    found = rows_of_words(network.embedding.detach(), features)
    assert not found["anna"].any(), "some of the words may have vectors"
    assert torch.equal(found["oslo"], expected[0])


def test_a_run_begins_with_the_vectors_ends_with_their_credit_and_can_be_resumed_without_them(
    tiny_data: Path, vector_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe(tiny_data / "tiny.toml", overrides(vector_file))
    begun: list[dict[str, Tensor]] = []
    go_on = Trainer.run

    def watched(trainer: Trainer, *arguments: Any):  # type: ignore[no-untyped-def]
        begun.append(rows_of_words(trainer.network.embedding.detach().clone(), trainer.features))
        return go_on(trainer, *arguments)

    monkeypatch.setattr(Trainer, "run", watched)
    model_file = run.train(recipe, tiny_data, tmp_path / "run")

    # `real-time` is two words, and there is room for ten of the others: the last in the file goes
    # without.
    lines = {line.word.casefold(): line for line in read_vectors(tiny_data / vector_file)}
    assert begun[0].keys() == lines.keys() - {"real-time", "xylophone"}
    vectors = np.stack([lines[word].values() for word in begun[0]])
    expected = WordVectors(words=tuple(begun[0]), values=torch.from_numpy(vectors)).fitted(16)
    assert torch.allclose(torch.stack(list(begun[0].values())), expected, atol=1e-5)

    assert (
        TrainingData(name="made-up vectors", licence="CC0")
        in read_manifest(model_file).training_data
    )
    assert set(load(model_file).tagger.features.words) == begun[0].keys()

    model_file.unlink()  # as if it had been stopped before it was written
    (tiny_data / vector_file).rename(tmp_path / "away")
    try:
        assert run.train(recipe, tiny_data, tmp_path / "run", resume=True) == model_file
    finally:
        (tmp_path / "away").rename(tiny_data / vector_file)
    assert (
        TrainingData(name="made-up vectors", licence="CC0")
        in read_manifest(model_file).training_data
    )
    assert len(begun) == 1, "a run that has finished is not trained again"


def test_the_command_trains_with_vectors_and_names_a_broken_line(
    shell: Shell, tiny_data: Path, vector_file: str, tmp_path: Path
) -> None:
    settings = [part for each in overrides(vector_file) for part in ("--set", each)]
    code, output, told = shell(
        "train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", tmp_path / "a", *settings
    )
    assert code == 0
    assert output == f"{tmp_path / 'a' / 'tiny.teddy'}\n"
    assert "10 words have vectors of 20 numbers; " in told

    (tiny_data / "broken.vec").write_text("anna 1 2\notto 1 x\n")
    settings = [part for each in overrides("broken.vec") for part in ("--set", each)]
    code, _, told = shell(
        "train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", tmp_path / "b", *settings
    )
    assert code == 2
    assert "broken.vec:2: 'x' is no finite number" in told


@pytest.mark.parametrize(
    ("more", "key", "message"),
    [
        (["start.weights=en"], "embedding.vectors", "cannot stand beside start.weights"),
        (["features.word_rows=0"], "features.word_rows", "vectors need rows"),
        (["embedding.licence=''"], "embedding.licence", "must credit"),
        (["embedding.name=''"], "embedding.name", "must credit"),
    ],
)
def test_vectors_that_cannot_be_used_are_refused(
    tiny_data: Path, more: list[str], key: str, message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as caught:
        load_recipe(tiny_data / "tiny.toml", [*overrides("v.txt"), *more])
    assert key in str(caught.value)
