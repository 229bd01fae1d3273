"""From text to numbers: nothing is lost, words are counted, and unreadable text is refused."""

import gzip
import json
import lzma
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from teddy.model.config import FeatureConfig
from teddy.model.errors import DataError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.vocabulary import frequent_words, train_pieces
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.prepare import prepare
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import PretrainConfig
from teddy.training.recipe.words import PiecesConfig

PIECES = PiecesConfig(vocabulary=320)
FEATURES = FeatureConfig(shape_rows=16, affix_rows=64, word_rows=30)


def config(text: tuple[str, ...], **changes: int) -> PretrainConfig:
    return PretrainConfig(name="test", licence="CC0", text=text).model_copy(update=changes)


def encode(directory: Path, text: tuple[str, ...], **changes: int) -> EncodedCorpus:
    folder = directory / "corpus"
    prepare(
        config(text, **changes), PIECES, FEATURES, Tokeniser(), directory, folder, lambda _: None
    )
    return EncodedCorpus(folder)


def sentences_of(paths: list[Path], longest: int) -> list[list[str]]:
    """The sentences of files, by the tokeniser and the splitter alone."""
    sentences = []
    for path in paths:
        for line in path.read_text().split("\n"):
            words = Tokeniser().offsets(line)
            for first, last in split_sentences(line, Offsets.of(words)):
                sentence = [line[start:end] for start, end in words[first:last]]
                sentences += [sentence[i : i + longest] for i in range(0, len(sentence), longest)]
    return sentences


def decoded(corpus: EncodedCorpus) -> list[list[str]]:
    types = corpus.types()
    everything = corpus.segment(range(len(corpus.blocks) - 1))
    words = [types[i] for i in everything.text]
    ends = everything.starts + everything.lengths
    return [words[a:b] for a, b in zip(everything.starts, ends, strict=True)]


def test_an_encoded_corpus_is_the_tokenised_text(corpus: EncodedCorpus, text_data: Path) -> None:
    paths = [text_data / "text" / "a.txt", text_data / "text" / "b.txt"]
    assert decoded(corpus) == sentences_of(paths, longest=100)


def test_long_sentences_are_cut_and_nothing_of_them_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(
        "\n\n"
        + "one two three four five six seven. " * 3
        + "Eight nine.\n \n\u2003\nTen\u2028eleven é\n"
    )
    corpus = encode(tmp_path, ("long.txt",), longest_sentence=5)
    assert decoded(corpus) == sentences_of([path], longest=5)
    assert max(corpus.lengths()) == 5


def test_counts_are_of_the_sentences_that_are_learnt_from(corpus: EncodedCorpus) -> None:
    sentences = decoded(corpus)
    counts = Counter(
        word for i, sentence in enumerate(sentences) if i % 12 != 0 for word in sentence
    )
    types = corpus.types()
    assert dict(zip(types, corpus.counts_of(np.arange(len(types))).tolist(), strict=True)) == {
        word: counts[word] for sentence in sentences for word in sentence
    }
    assert corpus.n_learnt_words == counts.total() == corpus.counts.sum()
    assert corpus.is_held_out().tolist() == [i % 12 == 0 for i in range(len(sentences))]
    assert corpus.n_learnt_sentences == (~corpus.is_held_out()).sum()


def test_words_are_numbered_by_frequency(corpus: EncodedCorpus) -> None:
    assert corpus.counts.tolist() == sorted(corpus.counts.tolist(), reverse=True)
    assert len(set(corpus.types())) == len(corpus.types())


def test_pieces_and_words_of_their_own_are_those_of_the_counted_words(
    corpus: EncodedCorpus, text_recipe: Recipe
) -> None:
    counts = dict(zip(corpus.types(corpus.n_types), corpus.counts.tolist(), strict=True))
    assert corpus.pieces == train_pieces(counts, text_recipe.pieces)
    assert corpus.words == frequent_words(counts, text_recipe.features.word_rows)


@pytest.mark.parametrize("seed", range(5))
def test_the_bag_of_some_types_is_that_of_their_words(
    corpus: EncodedCorpus, text_recipe: Recipe, seed: int
) -> None:
    random = np.random.default_rng(seed)
    types = corpus.types()
    chosen = random.integers(len(types), size=seed * 7)
    features = WordFeatures(Pieces(corpus.pieces), text_recipe.features, corpus.words)
    rows, starts = corpus.bag(chosen)
    expected_rows, expected_starts = features.bag([types[i] for i in chosen])
    assert rows.tolist() == expected_rows.tolist()
    assert starts.tolist() == expected_starts.tolist()


def test_packed_files_are_read_as_they_are_unpacked(tmp_path: Path, text_data: Path) -> None:
    content = (text_data / "text" / "a.txt").read_bytes()
    for name, packed in (
        ("a.txt.xz", lzma.compress(content)),
        ("a.txt.gz", gzip.compress(content)),
    ):
        (tmp_path / name).write_bytes(packed)
        corpus = encode(tmp_path, (name,))
        assert decoded(corpus) == sentences_of([text_data / "text" / "a.txt"], longest=100)
        for path in corpus.folder.iterdir():
            path.unlink()
        corpus.folder.rmdir()


def damaged(path: Path) -> None:
    path.write_bytes(lzma.compress(b"It rains.\n" * 1000)[:-30])


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.txt", lambda _: None, "none.txt: no such file"),
        ("empty.txt", lambda path: path.write_bytes(b""), "empty.txt: the file has no text"),
        ("blank.txt", lambda path: path.write_bytes(b" \n\n"), "blank.txt: the file has no text"),
        (
            "latin.txt",
            lambda path: path.write_bytes(b"It rains.\nOld caf\xe9\n"),
            "latin.txt:2: not utf-8 text: byte",
        ),
        (
            "binary.txt",
            lambda path: path.write_bytes(b"It rains.\n\na\0b\n"),
            "binary.txt:3: a binary file",
        ),
        ("cut.txt.xz", damaged, "a damaged .xz file"),
        (
            "plain.txt.gz",
            lambda path: path.write_bytes(b"It rains.\n"),
            "plain.txt.gz:1: a damaged .gz file",
        ),
        ("one.txt", lambda path: path.write_bytes(b"It rains.\n"), "one.txt: too little text"),
    ],
)
def test_what_cannot_be_read_is_one_data_error_and_leaves_nothing(
    tmp_path: Path, name: str, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(DataError) as refusal:
        encode(tmp_path, (name,))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir() if path.name != name] == []


def test_words_too_many_to_be_counted_are_words_with_feature_rows_all_the_same(
    text_data: Path, tmp_path: Path
) -> None:
    paths = [text_data / "text" / "a.txt", text_data / "text" / "b.txt"]
    settings = config(("text/a.txt", "text/b.txt"), held_out_every=12)
    prepare(
        settings,
        PIECES,
        FEATURES,
        Tokeniser(),
        text_data,
        tmp_path / "few",
        lambda _: None,
        most_types=9,
        chunk_words=500,
    )
    corpus = EncodedCorpus(tmp_path / "few")
    assert corpus.n_types <= 9
    assert decoded(corpus) == sentences_of(paths, longest=100)
    types = corpus.types()
    assert types[0] == "the"
    assert len(types) > len(set(types)) > corpus.n_types
    assert corpus.counts_of(np.arange(len(types)))[corpus.n_types :].tolist() == [0] * (
        len(types) - corpus.n_types
    )
    assert corpus.n_learnt_words > corpus.counts.sum()
    features = WordFeatures(Pieces(corpus.pieces), FEATURES, corpus.words)
    for seed in range(5):
        chosen = np.random.default_rng(seed).integers(len(types), size=seed * 7)
        rows, starts = corpus.bag(chosen)
        expected_rows, expected_starts = features.bag([types[i] for i in chosen])
        assert (rows.tolist(), starts.tolist()) == (
            expected_rows.tolist(),
            expected_starts.tolist(),
        )


def test_chunks_of_any_size_give_the_same_text(text_data: Path, tmp_path: Path) -> None:
    found = []
    for chunk_words in (1, 333, 10**6):
        folder = tmp_path / str(chunk_words)
        settings = config(("text/b.txt",))
        prepare(
            settings,
            PIECES,
            FEATURES,
            Tokeniser(),
            text_data,
            folder,
            lambda _: None,
            chunk_words=chunk_words,
        )
        found.append(decoded(EncodedCorpus(folder)))
    assert found[0] == found[1] == found[2]


def test_a_corpus_of_an_earlier_format_is_refused(corpus: EncodedCorpus, tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text(json.dumps(corpus.description | {"format": 1}))
    with pytest.raises(
        DataError, match="format 1, made by another version of Teddy; this one reads 3: remove"
    ):
        EncodedCorpus(tmp_path)


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path, text_data: Path) -> None:
    (tmp_path / "a.txt").write_bytes((text_data / "text" / "a.txt").read_bytes())
    corpus = encode(tmp_path, ("a.txt",))
    path = corpus.folder / "rows.i32"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(DataError, match="damaged"):
        EncodedCorpus(corpus.folder)
    (corpus.folder / "corpus.json").unlink()
    with pytest.raises(DataError, match="not a whole encoded corpus"):
        EncodedCorpus(corpus.folder)


def test_words_without_a_row_of_their_own_need_none(tmp_path: Path, text_data: Path) -> None:
    (tmp_path / "a.txt").write_bytes((text_data / "text" / "a.txt").read_bytes())
    features = replace(FEATURES, word_rows=0)
    prepare(
        config(("a.txt",)),
        PIECES,
        features,
        Tokeniser(),
        tmp_path,
        tmp_path / "corpus",
        lambda _: None,
    )
    assert EncodedCorpus(tmp_path / "corpus").words == ()
