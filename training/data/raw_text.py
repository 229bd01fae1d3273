"""Raw text: files of paragraphs, one a line, in passages that can be read by themselves.

The files are read as a stream and never held whole. They are read through once, to cut them into
passages, which also finds a damaged one before it can cost a night; after that, a file is read as
far as the last passage that is wanted of it.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest, sha256
from itertools import accumulate
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.readers.files import find_files, stream_lines

Words = tuple[str, ...]

PASSAGE_CHARACTERS = 100_000
"""A passage ends with the line that fills it: some 18,000 words of English."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paragraph:
    """A line of a text file that has any text, and where it stands; `line` counts from 1."""

    text: str
    path: Path
    line: int


def read_paragraphs(path: Path, after_line: int = 0) -> Iterator[Paragraph]:
    """Yield the paragraphs, from a line on, of a UTF-8 file that may be packed (.xz, .gz, .bz2).

    Raises DataError, naming the line where there is one, for a file that is missing, damaged,
    binary or not UTF-8.
    """
    for number, text in stream_lines(path):
        if number > after_line and text.strip():
            yield Paragraph(text=text, path=path, line=number)


def split_paragraph(text: str, tokeniser: Tokeniser, longest: int) -> Iterator[Words]:
    """Yield the sentences of a text as words, cut as for tagging, but at most `longest` words."""
    starts, ends, words = tokeniser.split_words(text)
    for first, last in split_sentences(text, Offsets(starts, ends)):
        for start in range(first, last, longest):
            yield tuple(words[start : min(start + longest, last)])


def as_sentence(words: Words, tokeniser: Tokeniser) -> Sentence:
    """Return a sentence of words without annotation, with a space between any two."""
    ends = list(accumulate(len(word) + 1 for word in words))
    return Sentence(
        words=words,
        offsets=tuple(
            (end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)
        ),
        spans=(),
        unknown=((0, len(words)),),
        misaligned=(),
        corpus="",
        text=" ".join(words),
        path="",
        line=0,
        tokeniser=tokeniser,
    )


class RawText:
    """The files that some globs name, as one text in passages of neighbouring lines."""

    def __init__(
        self,
        patterns: Iterable[str],
        data: Path,
        tokeniser: Tokeniser,
        passage_characters: int = PASSAGE_CHARACTERS,
    ) -> None:
        """Raise DataError for a glob or a file without content, and as `read_paragraphs` does."""
        self.files = find_files(patterns, data)
        self.tokeniser = tokeniser
        self._passage_characters = passage_characters
        self._first_lines = [0]
        """Of each file, and of what would follow the last; the lines of the text count from 0."""
        self._passages = [0]
        """The first line of each passage, and of what would follow the last."""
        n_characters = 0
        for path in self.files:
            first, line, has_text = self._first_lines[-1], self._first_lines[-1], False
            for number, text in stream_lines(path):
                line = first + number
                has_text = has_text or bool(text.strip())
                n_characters += len(text) + 1
                if n_characters >= passage_characters:
                    self._passages.append(line)
                    n_characters = 0
            if not has_text:
                raise DataError(path, None, "the file has no text")
            self._first_lines.append(line)
        if self._passages[-1] < self._first_lines[-1]:
            self._passages.append(self._first_lines[-1])

    def __len__(self) -> int:
        """How many passages there are."""
        return len(self._passages) - 1

    def digest(self) -> bytes:
        """Return the SHA-256 of the files' contents and of how they are cut into passages."""
        rules = self.tokeniser
        cut = (self._passage_characters, rules.version, rules.language)
        found = sha256(repr(cut).encode())
        for path in self.files:
            with path.open("rb") as file:
                found.update(file_digest(file, "sha256").digest())
        return found.digest()

    def read(self, passages: Collection[int], longest: int) -> dict[int, list[Words]]:
        """Return the sentences of passages, by number; none of more than `longest` words.

        Each file that has any of them is read once.
        """
        # Most words occur many times: one object for all of them keeps the memory to a few bytes a
        # word.
        known: dict[str, str] = {}
        found: dict[int, list[Words]] = {number: [] for number in sorted(passages)}
        for path, first, end in zip(
            self.files, self._first_lines, self._first_lines[1:], strict=False
        ):
            wanted = [
                number
                for number in found
                if self._passages[number] < end and self._passages[number + 1] > first
            ]
            if not wanted:
                continue
            for paragraph in read_paragraphs(path, self._passages[wanted[0]] - first):
                line = first + paragraph.line - 1
                while wanted and line >= self._passages[wanted[0] + 1]:
                    del wanted[0]
                if not wanted:
                    break
                if line >= self._passages[wanted[0]]:
                    for sentence in split_paragraph(paragraph.text, self.tokeniser, longest):
                        words = tuple(known.setdefault(word, word) for word in sentence)
                        found[wanted[0]].append(words)
        return found
