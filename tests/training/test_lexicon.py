"""The lexicon of a recipe: what its files may look like, and what a model learns from it."""

import gzip
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from teddy.model.errors import DataError, RecipeError, TrainingError
from teddy.model.features.lexicon import Lexicon
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import read_bundle
from teddy.model.predictor import load
from teddy.model.tagger import Tagger
from teddy.training.data.lexicon import read_lexicon
from teddy.training.export.publish import write_onnx
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.start import load_weights, open_start
from teddy.training.recipe.recipe import load_recipe
from teddy.training.recipe.words import LexiconConfig
from teddy.training.run import train

LEXICON = """
[[lexicon]]
files = ["towns.txt", "clusters.tsv"]
name = "lists"
licence = "CC0"
source = "the tests"
"""
UNSEEN = ("Qaqortoq", "Ulm", "Zwolle", "Berlevåg")
TOWNS = ("Oslo", "Lund", "Ghent", *UNSEEN)
CLUSTERS = {"Anna": "01", "Otto": "01", "Ida": "01", "went": "1", "met": "1"}


def table(*files: str, words: int = 100) -> LexiconConfig:
    return LexiconConfig(files=files, words=words, name="lists", licence="CC0")


def read(folder: Path, *tables: LexiconConfig) -> Lexicon:
    return Lexicon(read_lexicon(tables, folder))


# Files.


def test_a_line_is_a_word_or_a_word_and_its_class_or_a_path_a_word_and_its_count(
    tmp_path: Path,
) -> None:
    (tmp_path / "towns.txt").write_text("Oslo\nNew Haven\n\nLund\n")
    (tmp_path / "classes.tsv").write_bytes(
        "\ufeffÅse\tname\r\nOslo\ttown\r\nLund\tname\r\n".encode()
    )
    with gzip.open(tmp_path / "paths.gz", "wt") as file:
        file.write("0010\tbear\t7\n0010\tfox\t9\n011\tsleeps\t8\n")
    found = read(tmp_path, table("towns.txt", "classes.tsv"), table("paths.gz"))
    words = ["Oslo", "Haven", "Lund", "Åse", "bear", "fox", "sleeps"]
    # Classes are numbered as they come; of equal names in two files there are two.
    assert [found[word] for word in words] == [[0, 2], [], [0, 1], [1], [3], [3], [4]]
    assert found.n_classes == 5


def test_the_first_words_of_a_file_are_taken_and_the_most_frequent_where_it_counts_them(
    tmp_path: Path,
) -> None:
    (tmp_path / "towns.txt").write_text("Oslo\nLund\nGhent\n")
    (tmp_path / "paths.tsv").write_text("00\tbear\t7\n01\tfox\t9\n01\tcat\t1\n")
    found = read(tmp_path, table("towns.txt", "paths.tsv", words=2))
    listed = ["Oslo", "Lund", "Ghent", "bear", "fox", "cat"]
    assert [word for word in listed if found[word]] == ["Oslo", "Lund", "bear", "fox"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tx\nb\tx\ty\n", "bad.tsv:2: expected a word, or a word, a tab and its class"),
        ("a\tx\n0102\tb\t7\n", "bad.tsv:2: .*; found 3 columns"),
        ("a\tx\n01\tb\tmany\n", "bad.tsv:2: "),
        ("a\t\n", "bad.tsv:1: .*; found 2 columns"),
        ("", "bad.tsv: it has no words; expected"),
        ("New Haven\n", "bad.tsv: it has no words; expected"),
        ("".join(f"w{i}\t{i}\n" for i in range(66_000)), "66,000 classes, but .* at most 65,536"),
    ],
)
def test_a_file_of_another_form_is_one_error(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "bad.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        read(tmp_path, table("bad.tsv", words=100_000))


def test_a_missing_file_and_a_lexicon_without_credit_are_refused(
    tmp_path: Path, tiny_data: Path
) -> None:
    with pytest.raises(DataError, match=r"towns\.txt"):
        read(tmp_path, table("towns.txt"))
    text = (tiny_data / "tiny.toml").read_text()
    (tmp_path / "bad.toml").write_text(text + LEXICON.replace('licence = "CC0"\n', ""))
    with pytest.raises(RecipeError, match=r"lexicon\.0\.licence: missing"):
        load_recipe(tmp_path / "bad.toml")


# Runs.


@pytest.fixture(scope="module")
def folder(tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up corpus, a recipe with a lexicon, and its finished run in `run`."""
    directory = tmp_path_factory.mktemp("lexicon")
    for name in ("train.conll", "dev.conll"):
        (directory / name).write_bytes((tiny_data / name).read_bytes())
    (directory / "tiny.toml").write_text((tiny_data / "tiny.toml").read_text() + LEXICON)
    (directory / "towns.txt").write_text("".join(f"{town}\n" for town in TOWNS))
    lines = (f"{word}\t{name}\n" for word, name in CLUSTERS.items())
    (directory / "clusters.tsv").write_text("".join(lines))
    train(load_recipe(directory / "tiny.toml"), directory, directory / "run")
    return directory


def test_a_model_file_and_its_onnx_file_carry_the_lexicon_and_credit_it(
    folder: Path, tmp_path: Path
) -> None:
    path = folder / "run" / "tiny.teddy"
    bundle = read_bundle(path)
    assert bundle.lexicon == load_checkpoint(folder / "run" / "best.checkpoint").lexicon != b""
    assert ("lists", "CC0", "the tests") in [
        (each.name, each.licence, each.source) for each in bundle.manifest.training_data
    ]
    write_onnx(path, tmp_path / "tiny.onnx")
    assert read_bundle(tmp_path / "tiny.onnx").lexicon == bundle.lexicon
    texts = ["Anna Berg went to Qaqortoq .", "In Lund , Otto Lind met Ida Holm ."]
    expected, found = (
        [[(each.start, each.end, each.label) for each in entities] for entities in tagged]
        for tagged in (
            load(path, precision="fp32").tag(texts),
            load(tmp_path / "tiny.onnx").tag(texts),
        )
    )
    assert found == expected != [[], []]


def test_a_word_that_no_sentence_had_is_found_by_its_class(folder: Path) -> None:
    network, features, tag_set = load_checkpoint(folder / "run" / "best.checkpoint").build()
    blind = WordFeatures(features.pieces, features.config, features.words)
    sentences = [f"Nobody saw {word} there today .".split() for word in UNSEEN]
    found = [
        sum(
            (span.start, span.label) == (2, "LOC")
            for result in Tagger(network, each, tag_set).tag(sentences)
            for span in result.spans
        )
        for each in (features, blind)
    ]
    assert found[0] > found[1]


def test_a_started_run_inherits_the_lexicon_and_refuses_another(folder: Path) -> None:
    path = folder / "run" / "best.checkpoint"
    weights = load_weights(path)
    assert weights.lexicon
    assert weights.with_lexicon(b"") == weights
    other = Lexicon.of([("Oslo", 0)]).serialised
    with pytest.raises(TrainingError, match=r"another lexicon than \[\[lexicon\]\]: leave it out"):
        weights.with_lexicon(other)


def test_a_start_without_a_lexicon_gets_rows_of_zeros_and_reads_as_before(
    folder: Path, tiny_run: Path
) -> None:
    plain = load_weights(tiny_run / "best.checkpoint")
    lexicon = load_checkpoint(folder / "run" / "best.checkpoint").lexicon
    grown = plain.with_lexicon(lexicon)
    n_rows = len(plain.weights["embedding"])
    assert torch.equal(grown.weights["embedding"][:n_rows], plain.weights["embedding"])
    assert grown.weights["embedding"][n_rows:].shape == (Lexicon(lexicon).n_classes, 16)
    assert not grown.weights["embedding"][n_rows:].any()


@pytest.mark.parametrize("most", [1, 2, 3])
def test_fewer_word_rows_leave_out_the_last_words_and_nothing_else(
    folder: Path, tmp_path: Path, most: int
) -> None:
    checkpoint = load_weights(folder / "run" / "best.checkpoint")
    words = ("oslo", "bears", "anna")
    n_before = len(checkpoint.weights["embedding"]) - Lexicon(checkpoint.lexicon).n_classes
    old = checkpoint.weights["embedding"]
    rows = torch.cat([old[:n_before], torch.randn(3, old.shape[1]), old[n_before:]])
    start = replace(
        checkpoint,
        words=words,
        features=replace(checkpoint.features, word_rows=3),
        weights={**checkpoint.weights, "embedding": rows},
    )
    start.save(tmp_path / "start.encoder")
    recipe = load_recipe(
        folder / "tiny.toml", [f"features.word_rows={most}", 'start.weights="start.encoder"']
    )
    completed, found = open_start(recipe, tmp_path)
    assert (completed.features.word_rows, found.words) == (most, words[:most])
    saved = load_weights(tmp_path / "start.encoder").weights["embedding"]
    for word in ("Oslo", "bears", "Anna", "went", "Nobody"):
        before = WordFeatures(Pieces(start.pieces), start.features, words, start.lexicon)
        after = WordFeatures(Pieces(start.pieces), completed.features, found.words, found.lexicon)
        kept = [
            row
            for row in before.rows(word)
            if row not in range(before.word_start + most, before.word_start + 3)
        ]
        assert torch.equal(saved[kept], found.weights["embedding"][list(after.rows(word))])


def test_a_stopped_run_with_a_lexicon_goes_on_without_its_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("train.conll", "dev.conll", "tiny.toml", "towns.txt", "clusters.tsv"):
        (data / name).write_bytes((folder / name).read_bytes())
    stopped = tmp_path / "run"
    monkeypatch.setattr("teddy.training.run.write_model", stop)
    with pytest.raises(KeyboardInterrupt):
        train(load_recipe(data / "tiny.toml"), data, stopped)
    monkeypatch.undo()
    for name in ("towns.txt", "clusters.tsv"):
        (data / name).unlink()
    train(load_recipe(data / "tiny.toml"), data, stopped, resume=True)
    assert (
        read_bundle(stopped / "tiny.teddy").lexicon
        == read_bundle(folder / "run" / "tiny.teddy").lexicon
    )


def stop(*_: object) -> None:
    raise KeyboardInterrupt
