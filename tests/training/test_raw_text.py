"""Raw text: what is read from which line, and the stretches of the epochs."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.raw_text import RawText, as_sentence, read_paragraphs, split_paragraph

LINES = ["Anna sleeps. Otto reads .", "", "Oslo is cold", "  ", "été : 日本", "The end"]
PACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".xz": lzma.compress,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
}


def write(path: Path, lines: list[str]) -> Path:
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""]("\n".join(lines).encode()))
    return path


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of ten, one and five lines; each line is a sentence with its file and number."""
    directory = tmp_path_factory.mktemp("library")
    for name, n_lines in (("a.txt", 10), ("b.txt.xz", 1), ("c.txt.gz", 5)):
        write(directory / name, [f"{name[0]} {number} sleeps" for number in range(n_lines)])
    return directory


# Files.


@pytest.mark.parametrize("suffix", PACK)
def test_paragraphs_are_the_lines_with_text_and_say_where_they_stand(
    tmp_path: Path, suffix: str
) -> None:
    path = write(tmp_path / f"text.txt{suffix}", LINES)
    found = list(read_paragraphs(path))
    assert [(each.text, each.line) for each in found] == [
        (line, number) for number, line in enumerate(LINES, start=1) if line.strip()
    ]
    assert {each.path for each in found} == {path}
    assert list(read_paragraphs(path, after_line=3)) == [each for each in found if each.line > 3]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("text.txt.xz", lzma.compress(b"Anna sleeps\n" * 500)[:-20], r"text\.txt\.xz.*damaged"),
        ("text.txt.gz", b"Anna sleeps\n", r"text\.txt\.gz.*damaged"),
        ("text.txt", b"Anna\nsl\xffeps\n", r"text\.txt:2: not utf-8"),
        ("text.txt", b"Anna\nsle\0ps\n", r"text\.txt:2: .*binary"),
        ("text.txt", b"", r"text\.txt: the file has no text"),
        ("text.txt", b" \n\n", r"text\.txt: the file has no text"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_before_anything_is_learnt(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=expected):
        RawText([name], tmp_path, Tokeniser())


def test_a_glob_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        RawText(["*.txt"], tmp_path, Tokeniser())


# Sentences.


@given(text=st.text(alphabet="ab .!?\u65e5'-1", max_size=80), longest=st.integers(1, 6))
def test_the_sentences_of_a_paragraph_are_those_of_a_text_to_tag_and_none_is_too_long(
    text: str, longest: int
) -> None:
    words = Tokeniser().offsets(text)
    expected = []
    for first, last in split_sentences(text, Offsets.of(words)):
        sentence = [text[start:end] for start, end in words[first:last]]
        while sentence:
            expected.append(tuple(sentence[:longest]))
            sentence = sentence[longest:]
    assert list(split_paragraph(text, Tokeniser(), longest)) == expected


@given(words=st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6))
def test_a_sentence_of_raw_words_has_them_where_it_says(words: list[str]) -> None:
    sentence = as_sentence(tuple(words), Tokeniser())
    assert (
        [sentence.text[start:end] for start, end in sentence.offsets]
        == words
        == list(sentence.words)
    )


# Stretches.


def everything(library: Path, line: int) -> list[str]:
    return [each.text for each in RawText(["*"], library, Tokeniser()).paragraphs(line)]


@pytest.mark.parametrize("line", range(16))
def test_the_text_is_read_round_once_from_any_of_its_lines(library: Path, line: int) -> None:
    plain = everything(library, 0)
    assert len(plain) == 16
    assert everything(library, line) == plain[line:] + plain[:line]


@settings(max_examples=30)
@given(n_words=st.integers(1, 60), seed=st.integers(0, 50), epoch=st.integers(0, 50))
def test_a_stretch_is_a_run_of_the_text_of_just_enough_words(
    library: Path, n_words: int, seed: int, epoch: int
) -> None:
    text = RawText(["*"], library, Tokeniser())
    found = text.stretch(n_words, 100, seed, epoch)
    assert found == RawText(["*"], library, Tokeniser()).stretch(n_words, 100, seed, epoch), (
        "a pure function"
    )
    starts = [
        plain
        for plain in range(16)
        if everything(library, plain)[: len(found)] == [" ".join(s) for s in found]
    ]
    assert len(starts) == 1
    total = sum(map(len, found))
    if total < n_words:
        assert len(found) == 16
    else:
        assert total - len(found[-1]) < n_words


def test_epochs_read_all_of_a_text_before_they_come_back_to_much_of_it(tmp_path: Path) -> None:
    write(tmp_path / "long.txt", [f"{number} sleeps" for number in range(1000)])
    text = RawText(["long.txt"], tmp_path, Tokeniser())
    for seed in range(5):
        # Ten stretches of a twentieth of the text: a random choice of the same size overlaps by a
        # fifth of itself.
        read = [s for epoch in range(10) for s in text.stretch(100, 100, seed, epoch)]
        assert len(set(read)) > 0.9 * len(read)
        read += [s for epoch in range(10, 40) for s in text.stretch(100, 100, seed, epoch)]
        assert len(set(read)) == 1000


def test_words_that_come_again_are_one_object_in_memory(library: Path) -> None:
    sentences = RawText(["*"], library, Tokeniser()).stretch(1000, 100, 1, 0)
    assert len({id(sentence[-1]) for sentence in sentences}) == 1


def test_reading_stops_where_the_reader_does(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"Anna\nOtto\nsl\xffeps\n")
    assert [each.text for each in islice(read_paragraphs(tmp_path / "text.txt"), 2)] == [
        "Anna",
        "Otto",
    ]
