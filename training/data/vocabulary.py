"""The vocabulary of a tagger: word counts, pieces, and pretrained vectors.

Words are counted in bounded memory (lossy counting, Manku & Motwani 2002). As long as there are no
more distinct words than the table may have, the counts are exact. When it overflows, the rarest
words are dropped until it is half full. A word that comes again starts over, so that its count is
too low by at most `uncertain_by`: the sum, over all prunings, of the greatest count that was
dropped. Of a word that was never dropped the count is exact.

GloVe (Pennington et al. 2014), word2vec (Mikolov et al. 2013) and fastText (Bojanowski et al. 2017)
all write text files of one shape, the most frequent word first: a line is a word and its numbers
with a space between them, and the last two begin with a line that says how many words of how many
numbers follow. Such a file may have gigabytes: it is read as a stream, and what is held in memory
are the chosen words.
"""

import heapq
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import sentencepiece
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.errors import DataError
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Backbone
from teddy.model.text.words import Tokeniser
from teddy.training.data.readers.files import stream_lines
from teddy.training.recipe.words import PiecesConfig

MOST_WORDS = 500_000
"""Distinct words; 0.1 GB."""

_BOUNDARY = "\ue000"
"""A private character that no piece may reach across; it is a piece itself, and never used."""
_MOST_WORDS = 100_000
"""Distinct words that pieces are trained on, the most frequent ones."""
_MOST_OCCURRENCES = 1_000_000
"""Of those words. More are scaled down to so many, for sentencepiece takes memory for each. (8,000
pieces from 16 million words: 0.3 GB, and 1.757 pieces a word of other text; 1.8 GB and 1.756 pieces
without.)"""
_SPREAD = 0.1
"""The standard deviation of the values of an embedding's rows before training (see
`tagger_network.Backbone`)."""
_GREATEST = float(np.finfo(np.float32).max)
_SPACES = re.compile(r"[ \t]+")
_HEADER = re.compile(r"\d+ +(\d+)")
_NUMBER_WITH_POINT = re.compile(r"[-+]?\d*\.\d+(?:[eE][-+]?\d+)?")


class WordCounts:
    """Counts of words, those of the rarest pruned; see the head of this file."""

    def __init__(self, most: int = MOST_WORDS) -> None:
        """Count at most `most` words, and for a moment those of one `add` more."""
        self.counts: Counter[str] = Counter()
        """In the order in which the words came."""
        self.uncertain_by = 0
        """No count is lower than the true one by more; a word that is not in the table occurred no
        more often."""
        self._most = most

    def add(self, words: Iterable[str] | Mapping[str, int]) -> None:
        """Count some words, or add up counts."""
        self.counts.update(words)
        if len(self.counts) > self._most:
            self._prune()

    def _prune(self) -> None:
        ranked = sorted(self.counts.values(), reverse=True)
        cut = ranked[self._most // 2]
        self.counts = Counter({word: count for word, count in self.counts.items() if count > cut})
        self.uncertain_by += cut


def train_pieces(words: Iterable[str] | Mapping[str, int], config: PiecesConfig) -> bytes:
    """Return a serialised unigram model with byte fallback; the order of words has no effect.

    Raises ValueError when there are no words. A corpus with few distinct words gets fewer pieces
    than asked for.
    """
    counts = Counter(words)
    if not counts:
        raise ValueError("no words to train pieces on")
    if len(counts) > _MOST_WORDS:
        ranked = heapq.nsmallest(_MOST_WORDS, counts.items(), key=lambda pair: (-pair[1], pair[0]))
        counts = Counter(dict(ranked))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=_table(counts),
        input_format="tsv",
        model_writer=model,
        vocab_size=config.vocabulary,
        hard_vocab_limit=False,
        character_coverage=config.character_coverage,
        model_type="unigram",
        byte_fallback=True,
        user_defined_symbols=[_BOUNDARY],
        num_threads=1,
        minloglevel=2,
    )
    return model.getvalue()


def _table(counts: Counter[str]) -> Iterator[str]:
    """Yield the words and their counts, which sentencepiece reads in a second.

    It takes for pieces only what stands in two different words, so that a name of one form,
    frequent or not, would be spelled in bits. So each word that occurs twice comes a second time
    with a boundary behind it. (CoNLL-2003: 1.27 pieces a word instead of 1.61; of the words that
    occur 20 times 98 % are one piece instead of 56 %.)
    """
    scale = min(1.0, _MOST_OCCURRENCES / counts.total())
    for word, count in sorted(counts.items()):
        yield f"{word}\t{max(1, round(count * scale))}"
        if count > 1:
            yield f"{word}{_BOUNDARY}\t1"


def frequent_words(counts: Mapping[str, int], most: int) -> tuple[str, ...]:
    """Return the most frequent case-folded words that occur twice; order has no effect."""
    ranked = sorted(_folded(counts).items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(word for word, count in ranked[:most] if count > 1)


def _folded(counts: Mapping[str, int]) -> Counter[str]:
    folded: Counter[str] = Counter()
    for word, count in counts.items():
        folded[word.casefold()] += count
    return folded


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorLine:
    """A line of a vector file; its numbers are as yet text, for most lines are passed over.

    `line` counts from 1.
    """

    word: str
    numbers: list[str]
    path: Path
    line: int

    def values(self) -> NDArray[np.float32]:
        """Return the numbers.

        Raises DataError, naming file and line, for one that is no finite number in 32 bits.
        """
        for text in self.numbers:
            if not _is_finite(text):
                raise DataError(self.path, self.line, f"{text!r} is no finite number")
        return np.array([float(text) for text in self.numbers], dtype=np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class WordVectors:
    """Case-folded, distinct words and their vectors. Shape: float32 [words, width]."""

    words: tuple[str, ...]
    values: Tensor
    n_known: int = 0
    """How many of them are words of the training data; those come first."""

    def __str__(self) -> str:
        n, width = self.values.shape
        size = f"{n:,} words have vectors of {width} numbers"
        return f"{size}; {self.n_known:,} of them are in the training data"

    def put_into(self, network: Backbone, features: WordFeatures) -> None:
        """Set the rows of these words, which must have one; all other rows stay as they are."""
        places = {word: place for place, word in enumerate(features.words)}
        rows = features.word_start + torch.tensor([places[word] for word in self.words])
        with torch.no_grad():
            network.embedding[rows] = self.fitted(network.embedding.shape[1])

    def fitted(self, width: int) -> Tensor:
        """Return the vectors as rows of an embedding: padded with zeros or reduced, and scaled.

        They are scaled so that the root mean square of the values that are no padding is that of
        the random rows beside them. Shape: float32 [words, width].
        """
        values = self.values.double()
        if values.shape[1] > width:
            values = principal_components(values, width)
        spread = values.square().mean().sqrt().item()
        scaled = values * (_SPREAD / spread) if spread > 0 else values
        return torch.nn.functional.pad(scaled, (0, width - values.shape[1])).float()


def read_vectors(path: Path) -> Iterator[VectorLine]:
    """Yield the lines of a vector file (.txt, .vec; also packed) that have a word, in order.

    A word may hold spaces, as some of GloVe do: the last fields of a line are its numbers, as many
    as the header says or, without one, as end the first line. Blank lines and those of an empty
    word are passed over.

    Raises DataError, naming the line where there is one, for a file that cannot be read or has no
    vectors, and for a line that has too few numbers or too many.
    """
    width = 0
    for number, text in stream_lines(path):
        line = (_SPACES.sub(" ", text) if "\t" in text or "  " in text else text).rstrip(" ")
        if not line:
            continue
        if not width:
            header = _HEADER.fullmatch(line)
            last_first = reversed(line.split(" ")[1:])
            width = int(header[1]) if header else len([*takewhile(_is_finite, last_first)])
            if width < 1:
                form = "a word and its numbers, or two counts"
                raise DataError(path, number, f"no line of a vector file: {form}")
            if header:
                continue
        word, *numbers = line.rsplit(" ", width)
        wanted = f"expected a word and {width} numbers"
        if len(numbers) != width:
            raise DataError(path, number, f"{wanted}, found {line.count(' ')} numbers")
        if " " in word and _NUMBER_WITH_POINT.fullmatch(word.rpartition(" ")[2]):
            raise DataError(path, number, f"{wanted}, found more")
        if word:
            yield VectorLine(word=word, numbers=numbers, path=path, line=number)
    if not width:
        raise DataError(path, None, "the file has no vectors")


def choose_vectors(
    path: Path, counts: Mapping[str, int], most: int, tokeniser: Tokeniser
) -> WordVectors:
    """Return at most `most` words of a file with their vectors, those of the training data first.

    `counts` are of the words of the training data, case-folded or not. If not all of them that are
    in the file have room, the most frequent have; if there is room left, the first words of the
    file take it, but for such as no text is ever split into. Words are case-folded; of several that
    become one, the first of the file counts.

    Raises DataError as `read_vectors` and `VectorLine.values` do, and where there is no word to
    choose.
    """
    folded = _folded(counts)
    known: dict[str, NDArray[np.float32]] = {}
    others: dict[str, NDArray[np.float32]] = {}
    for line in read_vectors(path):
        word = line.word.casefold()
        if word in folded:
            if word not in known:
                known[word] = line.values()
        elif len(others) < most and word not in others and _is_one_word(line.word, tokeniser):
            others[word] = line.values()
    ranked = sorted(known, key=lambda word: (-folded[word], word))
    chosen = {word: known[word] for word in ranked} | others
    words = tuple(chosen)[:most]
    if not words:
        raise DataError(path, None, "it has no word that a text could be split into")
    values = torch.from_numpy(np.stack([chosen[word] for word in words]))
    return WordVectors(words=words, values=values, n_known=min(len(known), most))


def vectors_of(path: Path, words: Sequence[str]) -> WordVectors:
    """Return the vectors of those of the case-folded `words` that a file has, in their order.

    Of several lines that become one word, the first counts. Raises DataError as `read_vectors` and
    `VectorLine.values` do, and where the file has none of the words.
    """
    wanted = set(words)
    found: dict[str, NDArray[np.float32]] = {}
    for line in read_vectors(path):
        word = line.word.casefold()
        if word in wanted and word not in found:
            found[word] = line.values()
    if not found:
        raise DataError(path, None, "it has none of the words of the text")
    known = tuple(word for word in words if word in found)
    values = torch.from_numpy(np.stack([found[word] for word in known]))
    return WordVectors(words=known, values=values, n_known=len(known))


def principal_components(values: Tensor, width: int) -> Tensor:
    """Return the first principal components of rows (Jolliffe 2002, chapter 1).

    Each axis points to where its greatest coefficient is positive, so that the same rows always
    give the same.

    Shape: float64 [n, d] -> [n, width], for width <= d. Values that are constant have no
    components: with fewer rows than `width` the last ones are zero, but for rounding.
    """
    centred = values - values.mean(0)
    # Of the covariance, not of the rows: a hundred thousand rows make a matrix of no more than d x
    # d.
    _, axes = torch.linalg.eigh(centred.T @ centred)
    axes = axes.flip(1)[:, :width]  # `eigh` gives the weakest first
    strongest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    components: Tensor = centred @ (axes * strongest.sign())
    return components


def _is_finite(text: str) -> bool:
    # Python would also read 1_000, which no program writes.
    try:
        return abs(float(text)) <= _GREATEST and "_" not in text
    except ValueError:
        return False


def _is_one_word(word: str, tokeniser: Tokeniser) -> bool:
    """Return whether a text can have the word: `real-time` is cut, `mr.` is kept as `Mr.`."""
    forms = (word, word.title())
    return any(tokeniser.offsets(form) == [(0, len(form))] for form in forms)
