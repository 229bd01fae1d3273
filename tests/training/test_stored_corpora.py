"""Sentences in blocks against the same sentences in a list, and what a run relies on."""

import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus, load_corpora, open_corpora
from teddy.training.data.source import CorporaInMemory, Source, StoredCorpora
from teddy.training.data.store import BlockWriter, StoredSentences, pack, plan_windows, unpack
from teddy.training.job.record import Record, Row
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train


def sentence(words: Sequence[str], corpus: str = "a", line: int = 1) -> Sentence:
    ends = np.cumsum([len(word) + 1 for word in words]).tolist()
    return Sentence(
        words=tuple(words),
        offsets=tuple(
            (end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)
        ),
        spans=(Span(0, 1, "PER"),),
        unknown=((0, 1),) if len(words) > 3 else (),
        misaligned=(Span(0, 1, "LOC"),) if len(words) == 2 else (),
        corpus=corpus,
        text=" ".join(words),
        path=f"{corpus}.conll",
        line=line,
        tokeniser=Tokeniser(),
    )


def numbered(lengths: Iterable[int], corpus: str) -> list[Sentence]:
    """Sentences of these lengths, all different."""
    return [
        sentence([f"{corpus}{i}", *["w"] * (n - 1)], corpus, line=i + 1)
        for i, n in enumerate(lengths)
    ]


def corpus(name: str, train: Sequence[Sentence], weight: float = 1.0) -> Corpus:
    return Corpus(name=name, annotates=frozenset({"PER"}), weight=weight, train=train)


def packed(corpora: Sequence[Corpus], window_words: int) -> list[Corpus]:
    """The same corpora in blocks for windows of this size, in memory."""
    writer = BlockWriter(window_words, Path)
    writer._window_words = 10**9
    for part, each in enumerate(corpora):
        for one in each.train:
            writer.add(part, one)
    blocks = writer.finish()
    assert blocks is not None
    return [
        replace(each, train=StoredSentences(blocks, part, each.name))
        for part, each in enumerate(corpora)
    ]


def read(source: Source, epoch: int, first: int = 0) -> list[list[Sentence]]:
    return [*source.epoch(epoch).batches(first)]


LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=60)
WINDOWS = st.integers(1, 700)
BATCH_WORDS = st.integers(1, 60)


# Packing.


@settings(max_examples=40)
@given(st.lists(st.text(min_size=1), min_size=1), st.integers(0, 10**9))
def test_a_sentence_comes_out_of_its_line_as_it_went_in(words: list[str], line: int) -> None:
    one = sentence(words, line=line)
    one = replace(one, words=tuple(map(one.tokeniser.read, words)))
    record = pack(one, 1)
    assert record.count(b"\n") == 1
    assert unpack(record, "a", ["b.conll", "a.conll"]) == one


def test_words_that_the_text_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="at their offsets"):
        pack(replace(sentence(["Ada", "came"]), text="Bob came"), 0)


# Blocks against a list.


@settings(max_examples=40)
@given(LENGTHS, LENGTHS, WINDOWS)
def test_stored_sentences_are_a_list(some: list[int], others: list[int], window: int) -> None:
    plain = [corpus("a", numbered(some, "a")), corpus("b", numbered(others, "b"))]
    for stored, expected in zip(packed(plain, window), plain, strict=True):
        assert [*stored.train] == expected.train
        assert stored.train[:] == expected.train
        assert stored.train[-1] == expected.train[-1]
        assert len(stored.train) == len(expected.train)
        assert stored.n_train_words == expected.n_train_words


@settings(max_examples=40)
@given(LENGTHS, LENGTHS, BATCH_WORDS, st.floats(0.1, 3), st.integers(0, 9), st.integers(0, 9))
def test_where_a_window_holds_all_the_batches_are_those_of_corpora_in_memory(
    some: list[int], others: list[int], batch_words: int, weight: float, seed: int, epoch: int
) -> None:
    plain = [corpus("a", numbered(some, "a"), weight), corpus("b", numbered(others, "b"))]
    window = sum(some) + sum(others)
    stored = StoredCorpora(packed(plain, window), window, batch_words, seed)
    expected = read(CorporaInMemory(plain, batch_words, seed), epoch)
    assert read(stored, epoch) == expected
    assert len(stored.epoch(epoch)) == len(expected)


@settings(max_examples=40)
@given(
    LENGTHS, LENGTHS, WINDOWS, BATCH_WORDS, st.sampled_from([0.3, 1.0, 2.0, 2.6]), st.integers(0, 9)
)
def test_every_sentence_occurs_as_often_as_its_weight_says_whatever_the_window(
    some: list[int], others: list[int], window: int, batch_words: int, weight: float, seed: int
) -> None:
    plain = [corpus("a", numbered(some, "a"), weight), corpus("b", numbered(others, "b"))]
    batches = read(StoredCorpora(packed(plain, window), window, batch_words, seed), 0)
    times = Counter(one.words[0] for one in chain.from_iterable(batches))
    assert {word: n for word, n in times.items() if word[0] == "b"} == dict.fromkeys(
        [f"b{i}" for i in range(len(others))], 1
    )
    assert {times[f"a{i}"] for i in range(len(some))} <= {
        int(weight),
        int(weight) + int(weight % 1 > 0),
    }
    for batch in batches:
        assert len(batch) == 1 or max(len(one.words) for one in batch) * len(batch) <= batch_words


@settings(max_examples=40)
@given(LENGTHS, WINDOWS, BATCH_WORDS, st.integers(0, 200))
def test_an_epoch_can_be_taken_up_at_any_batch(
    lengths: list[int], window: int, batch_words: int, first: int
) -> None:
    source = StoredCorpora(
        packed([corpus("a", numbered(lengths, "a"))], window), window, batch_words, 1
    )
    assert read(source, 1, first) == read(source, 1)[first:]
    assert len(source.epoch(1)) == len(read(source, 1))


# Windows.


@settings(max_examples=40)
@given(st.lists(st.integers(1, 50), max_size=80), st.integers(1, 600), st.integers(0, 9))
def test_windows_divide_the_blocks_and_are_hardly_larger_than_wanted(
    sizes: list[int], most: int, seed: int
) -> None:
    blocks = np.array(sizes, dtype=np.int64)
    windows = plan_windows(blocks, most, seed)
    assert sorted(block for window in windows for block in window.tolist()) == list(
        range(len(sizes))
    )
    for window in windows:
        assert window.tolist() == sorted(window.tolist())
        assert blocks[window].sum() < most + max(sizes, default=0) + 1
    assert [each.tolist() for each in plan_windows(blocks, most, seed)] == [
        each.tolist() for each in windows
    ]


def test_windows_mix_so_that_neighbours_of_a_file_come_together_by_chance_alone() -> None:
    n_blocks, n_windows, n_epochs = 400, 4, 100
    together = 0
    for epoch in range(n_epochs):
        for window in plan_windows(np.full(n_blocks, 10), 10 * n_blocks // n_windows, 1, epoch):
            together += int((np.diff(window) == 1).sum())
    chances = n_epochs * (n_blocks - 1)
    share = (n_blocks / n_windows - 1) / (n_blocks - 1)
    # Neighbouring pairs are not quite independent; four deviations leave room for that.
    assert abs(together / chances - share) < 4 * (share * (1 - share) / chances) ** 0.5


def test_a_windows_order_is_not_that_of_the_file() -> None:
    source = StoredCorpora(packed([corpus("a", numbered([3] * 4000, "a"))], 3000), 3000, 30, 1)
    lines = [one.line for batch in read(source, 0) for one in batch]
    assert abs(np.corrcoef(lines, range(len(lines)))[0, 1]) < 0.3
    neighbours = np.abs(np.diff(lines))
    assert np.median(neighbours) > 300


# In a folder.


@pytest.fixture
def recipe() -> Recipe:
    """Two corpora, the second with a holdout; a window of fifty words."""
    recipe = Recipe(
        name="x",
        labels=("PER",),
        corpus=(
            CorpusConfig(name="a", train=("a.conll",), dev=("dev.conll",), licence="CC0"),
            CorpusConfig(name="b", train=("b.conll",), holdout=0.25, weight=2.0, licence="CC0"),
        ),
    )
    return recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"shuffle_window_words": 50})}
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name, n in (("a", 60), ("b", 40), ("dev", 5)):
        text = "".join(f"{name}{i} B-PER\ncame O\n\n" for i in range(n)) + "Ada-Lovelace B-PER\n"
        (tmp_path / f"{name}.conll").write_text(text, encoding="utf-8")
    return tmp_path


def everything(corpora: Iterable[Corpus]) -> list[Corpus]:
    return [replace(each, train=[*each.train]) for each in corpora]


def test_corpora_on_disk_are_those_in_memory_when_read_and_when_opened_again(
    recipe: Recipe, data: Path
) -> None:
    expected = load_corpora(recipe, data)
    folder = data / "run" / "sentences"
    for _ in range(2):
        corpora, misaligned = open_corpora(recipe, data, folder)
        assert everything(corpora) == expected
        assert misaligned.n_spans == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "blocks.i64",
        "sentences",
        "store.json",
    ]
    assert [path.name for path in folder.parent.iterdir()] == ["sentences"]


def test_few_sentences_are_not_written(recipe: Recipe, data: Path) -> None:
    recipe = recipe.model_copy(
        update={"training": recipe.training.model_copy(update={"shuffle_window_words": 500})}
    )
    corpora, _ = open_corpora(recipe, data, data / "run" / "sentences")
    assert everything(corpora) == load_corpora(recipe, data)
    assert [*(data / "run").iterdir()] == []


def test_what_words_cannot_express_is_known_without_reading_again(
    recipe: Recipe, data: Path
) -> None:
    (data / "a.jsonl").write_text(
        '{"text": "Adams", "entities": [[0, 3, "PER"]]}\n' * 40, encoding="utf-8"
    )
    spans = CorpusConfig(
        name="c", licence="CC0", format="jsonl", train=("a.jsonl",), misaligned="drop"
    )
    recipe = recipe.model_copy(update={"corpus": (*recipe.corpus, spans)})
    reports = [open_corpora(recipe, data, data / "sentences")[1] for _ in range(2)]
    assert [report.n_spans for report in reports] == [40, 40]
    assert str(reports[0]) == str(reports[1])
    assert str(reports[0]).startswith(
        f"{data / 'a.jsonl'}:1: PER 'Ada' does not fall on word borders\n"
    )


def test_files_that_have_changed_are_read_again(recipe: Recipe, data: Path) -> None:
    open_corpora(recipe, data, data / "sentences")
    path = data / "a.conll"
    path.write_text(path.read_text().replace("came", "went"), encoding="utf-8")
    os.utime(path, ns=(1, 1))
    corpora, _ = open_corpora(recipe, data, data / "sentences")
    assert corpora[0].train[0].words == ("a0", "went")


def test_a_reading_that_fails_leaves_nothing(recipe: Recipe, data: Path) -> None:
    (data / "b.conll").write_text("b1 B-PER\n\nb2 B-LOC\n", encoding="utf-8")
    with pytest.raises(DataError, match="label 'LOC'"):
        open_corpora(recipe, data, data / "run" / "sentences")
    assert [*(data / "run").iterdir()] == []


def test_a_block_that_has_changed_on_disk_is_refused(recipe: Recipe, data: Path) -> None:
    corpora, _ = open_corpora(recipe, data, data / "sentences")
    path = data / "sentences" / "sentences"
    content = bytearray(path.read_bytes())
    content[20] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"sentences: damaged: block \d+ is not as it was written"):
        read(StoredCorpora(corpora, 50, 20, 1), 0)


def test_a_store_that_was_cut_short_is_made_anew(recipe: Recipe, data: Path) -> None:
    expected, _ = open_corpora(recipe, data, data / "sentences")
    path = data / "sentences" / "sentences"
    path.write_bytes(path.read_bytes()[:-1])
    corpora, _ = open_corpora(recipe, data, data / "sentences")
    assert everything(corpora) == everything(expected)


# A whole run.


class Killed(BaseException):
    """Not caught by anything."""


def test_a_run_that_streams_ends_the_same_when_it_is_stopped_and_resumed(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pictures take longer than all else
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    overrides = [
        "training.epochs=1",
        "training.shuffle_window_words=300",
        "training.evaluations_per_epoch=2",
    ]
    recipe = load_recipe(tiny_data / "tiny.toml", overrides)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(recipe, tiny_data, whole)
    n_updates = sum(row["kind"] == "update" for row in Record(whole).rows())

    def stop(row: Row) -> None:
        if row["kind"] == "update" and row["step"] == n_updates * 3 // 4:
            raise Killed

    with pytest.raises(Killed):
        train(recipe, tiny_data, stopped, watchers=[stop])
    assert (stopped / "sentences" / "store.json").is_file()
    train(recipe, tiny_data, stopped, resume=True)
    assert [*Record(stopped).rows()] == [*Record(whole).rows()]
    ends = [load_checkpoint(output / "best.checkpoint").weights for output in (whole, stopped)]
    assert [name for name in ends[0] if not torch.equal(ends[0][name], ends[1][name])] == []
    assert not any((output / "sentences").exists() for output in (whole, stopped))
