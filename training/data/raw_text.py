"""Raw text: files of paragraphs, one a line, of which each epoch reads another stretch.

The files are read as a stream and never held whole. They are read through once, to count their
lines, which also finds a damaged one before it can cost a night; after that an epoch reads the file
that its stretch begins in, and as much of the text as it takes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.readers.files import find_files, stream_lines
from teddy.training.learning.torch_setup import generator

Words = tuple[str, ...]

_GOLDEN_SHARE = 0.6180339887498949


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
    """The files that some globs name, as one text that ends where it begins."""

    def __init__(self, patterns: Iterable[str], data: Path, tokeniser: Tokeniser) -> None:
        """Raise DataError for a glob or a file without content, and as `read_paragraphs` does."""
        self.files = find_files(patterns, data)
        self.tokeniser = tokeniser
        self._n_lines = [_count_lines(path) for path in self.files]

    def paragraphs(self, line: int) -> Iterator[Paragraph]:
        """Yield every paragraph once: from this line of the whole text on, then those before it."""
        first = 0
        while line >= self._n_lines[first]:
            line -= self._n_lines[first]
            first += 1
        yield from read_paragraphs(self.files[first], line)
        for path in chain(self.files[first + 1 :], self.files[:first]):
            yield from read_paragraphs(path)
        for paragraph in read_paragraphs(self.files[first]):
            if paragraph.line > line:
                return
            yield paragraph

    def stretch(self, n_words: int, longest: int, seed: int, epoch: int) -> list[Words]:
        """Return an epoch's sentences: a stretch of `n_words` words or more, or the text once.

        A pure function of its arguments. Where the stretches of an epoch begin is the golden
        section's sequence: a random place for the first, and each next one far from all those
        before, so that a short run samples all of the text and a long one comes back late to what
        it has read.
        """
        total = sum(self._n_lines)
        share = (generator(seed).random() + epoch * _GOLDEN_SHARE) % 1.0
        # Most words occur many times: one object for all of them keeps the memory to a few bytes a
        # word.
        known: dict[str, str] = {}
        sentences: list[Words] = []
        for paragraph in self.paragraphs(int(share * total)):
            for sentence in split_paragraph(paragraph.text, self.tokeniser, longest):
                sentences.append(tuple(known.setdefault(word, word) for word in sentence))
                n_words -= len(sentence)
                if n_words <= 0:
                    return sentences
        return sentences


def _count_lines(path: Path) -> int:
    n_lines, has_text = 0, False
    for _, text in stream_lines(path):
        n_lines += 1
        has_text = has_text or bool(text.strip())
    if not has_text:
        raise DataError(path, None, "the file has no text")
    return n_lines
