"""Raw text: what is read from which line, and the stretches of the epochs."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
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


# Passages.


def plainly(library: Path) -> list[tuple[str, ...]]:
    return [
        words
        for path in sorted(library.iterdir())
        for each in read_paragraphs(path)
        for words in split_paragraph(each.text, Tokeniser(), 100)
    ]


@pytest.mark.parametrize("characters", [1, 12, 40, 1000])
def test_the_passages_are_the_text_and_each_can_be_read_by_itself(
    library: Path, characters: int
) -> None:
    text = RawText(["*"], library, Tokeniser(), characters)
    assert 1 <= len(text) <= 16
    whole = text.read(range(len(text)), 100)
    assert [words for number in range(len(text)) for words in whole[number]] == plainly(library)
    for number in range(len(text)):
        assert text.read([number], 100) == {number: whole[number]}
    some = range(0, len(text), 2)
    assert text.read(some, 100) == {number: whole[number] for number in some}


def test_a_text_is_told_from_one_of_other_content_or_that_is_cut_in_another_way(
    tmp_path: Path,
) -> None:
    def digest(content: str, tokeniser: Tokeniser, characters: int = 100) -> bytes:
        (tmp_path / "text.txt").write_text(content)
        return RawText(["text.txt"], tmp_path, tokeniser, characters).digest()

    one = digest("Anna sleeps", Tokeniser())
    assert digest("Anna sleeps", Tokeniser()) == one
    others = [
        digest("Anna slept", Tokeniser()),
        digest("Anna sleeps", Tokeniser(language="fr")),
        digest("Anna sleeps", Tokeniser(), 50),
    ]
    assert len({one, *others}) == 4


def test_words_that_come_again_are_one_object_in_memory(library: Path) -> None:
    sentences = RawText(["*"], library, Tokeniser()).read([0], 100)[0]
    assert len({id(sentence[-1]) for sentence in sentences}) == 1


def test_reading_stops_where_the_reader_does(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_bytes(b"Anna\nOtto\nsl\xffeps\n")
    assert [each.text for each in islice(read_paragraphs(tmp_path / "text.txt"), 2)] == [
        "Anna",
        "Otto",
    ]
