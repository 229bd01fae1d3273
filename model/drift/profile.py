"""The profile of texts: counts by which live texts are compared with those a model was measured on.

One piece of code counts for both: for `training`, when a model is exported (its `Reference`), and
for `service`, while it is served. What is counted of a text, each over bins that never change:

    label            entities, by label
    score            entities, by score
    entity_rate      words, by whether they lie in an entity
    pieces           words, by their number of sentencepiece pieces: stranger words have more
    piece_kind       pieces: of the vocabulary, bytes of other characters, or none for a word
    word_length      words, by characters
    shape            words, by case and kind
    script           words, by the writing system of their first letter
    sentence_length  sentences that have a letter, by words
    case             the same, by the case of their letters

Texts have no feature of their own: dev data are sentences, a text sent to a service may be a book.
"""

import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain

import numpy as np
from numpy.typing import NDArray

from teddy.model.drift.reference import (
    PIECE_BINS,
    SCORE_BINS,
    SCRIPTS,
    SENTENCE_LENGTHS,
    WORD_LENGTHS,
    FeatureReference,
    Reference,
    feature_bins,
    spread,
)
from teddy.model.features.pieces import Pieces
from teddy.model.text.documents import Document, Tagged

MOST_WORDS = 2000
"""Of a longer text its first sentences are counted, until they have so many words."""
_CACHED_WORDS = 2**14
"""Some 4 MB; then it starts over."""
_LONGEST_CACHED = 32

_OF_PROSE = frozenset("'.-&\u2019\u00b7")
"""May stand in a word of letters."""
_OF_CODE = frozenset("[]{}\\/_@#*%&")
"""Punctuation, for Unicode, that prose has little of."""


class Profiler:
    """Counts texts as one model sees them. Not to be used by two threads at once."""

    def __init__(self, labels: Sequence[str], pieces: Pieces) -> None:
        self.bins = feature_bins(labels)
        self._pieces = pieces
        self._byte_ids = pieces.byte_ids()
        widths = [len(bins) for bins in self.bins.values()]
        self._starts = dict(zip(self.bins, accumulate([0, *widths]), strict=False))
        self._places = {
            name: {each: start + i for i, each in enumerate(self.bins[name])}
            for name, start in self._starts.items()
        }
        self._columns = np.repeat(np.arange(len(widths)), widths)
        self._feature_starts = np.array([*self._starts.values()])
        self._words: dict[str, tuple[int, ...]] = {}

    def count(self, document: Document, tagged: Tagged) -> Counter[int]:
        """Return the counts of each bin in a text, for all features in order."""
        counts: Counter[int] = Counter()
        starts, ends = document.offsets
        n_words = 0
        for window in document.windows:
            words = window.words[window.keep_start - window.start : window.keep_end - window.start]
            counts.update(chain.from_iterable(map(self._bins_of, words)))
            start, end = starts[window.keep_start], ends[window.keep_start + len(words) - 1]
            case = _case(document.quote(start, end))
            if case is not None:
                length = _bin_of(SENTENCE_LENGTHS, len(words))
                counts[self._places["case"][case]] += 1
                counts[self._starts["sentence_length"] + length] += 1
            n_words = window.keep_end
            if n_words >= MOST_WORDS:
                break
        self._count_entities(counts, document, tagged, n_words)
        return counts

    def _count_entities(
        self, counts: "Counter[int]", document: Document, tagged: Tagged, n_words: int
    ) -> None:
        labels, scores = self._places["label"], self._starts["score"]
        starts = document.offsets.starts
        inside = 0
        for entity in tagged.model_entities:
            first, last = bisect_left(starts, entity.start), bisect_left(starts, entity.end)
            if first >= n_words:
                break
            inside += min(last, n_words) - first
            counts[labels[entity.label]] += 1
            counts[scores + min(int(entity.score * SCORE_BINS), SCORE_BINS - 1)] += 1
        if n_words:
            rate = self._places["entity_rate"]
            counts[rate["inside"]] += inside
            counts[rate["outside"]] += n_words - inside

    def _bins_of(self, word: str) -> tuple[int, ...]:
        known = self._words.get(word)
        if known is None:
            known = tuple(self._look_at(word))
            if len(self._words) >= _CACHED_WORDS:
                self._words = {}
            if len(word) <= _LONGEST_CACHED:
                self._words[word] = known
        return known

    def _look_at(self, word: str) -> Iterator[int]:
        """Yield the bins of what depends on a word alone."""
        ids, kinds = self._pieces.ids(word), self._places["piece_kind"]
        yield self._starts["pieces"] + min(max(len(ids), 1), PIECE_BINS) - 1
        yield from (kinds["byte" if each in self._byte_ids else "vocabulary"] for each in ids)
        if not ids:
            yield kinds["none"]
        yield self._starts["word_length"] + _bin_of(WORD_LENGTHS, len(word))
        yield self._places["shape"][_shape(word)]
        yield self._places["script"][_script(word)]

    def sums(self) -> "Sums":
        """Sum of nothing, to add texts to."""
        return Sums(0, np.zeros((4, len(self._columns)), dtype=np.int64))

    def add(self, sums: "Sums", counts: "Counter[int]") -> None:
        """Add a text's counts to sums."""
        row = np.zeros(len(self._columns), dtype=np.int64)
        row[list(counts)] = list(counts.values())
        totals = np.add.reduceat(row, self._feature_starts)[self._columns]
        sums.n_texts += 1
        sums.matrix += (row, row * row, row * totals, totals * totals)

    def summary(self, sums: "Sums") -> Reference:
        """Return the sums by name, as a model file keeps them."""
        features: dict[str, FeatureReference] = {}
        for (name, bins), start in zip(self.bins.items(), self._starts.values(), strict=True):
            counts, *others = sums.matrix[:, start : start + len(bins)].tolist()
            features[name] = FeatureReference(
                counts=dict(zip(bins, counts, strict=True)), spread=spread(counts, *others)
            )
        return Reference(features=features)


@dataclass(slots=True)
class Sums:
    """Sums of the counts of many texts, and how unequal the texts are: see `reference.spread`.

    Sums of disjoint sets of texts add up. Shape of `matrix`: int64 [4, bins]: counts, squares,
    crosses, totals.
    """

    n_texts: int
    matrix: NDArray[np.int64]

    def __iadd__(self, other: "Sums") -> "Sums":
        self.n_texts += other.n_texts
        self.matrix += other.matrix
        return self


def _bin_of(starts: Sequence[int], value: int) -> int:
    return bisect_left(starts, value + 1) - 1


def _case(sentence: str) -> str | None:
    if sentence.islower():
        return "lower"
    if sentence.isupper():
        return "upper"
    if sentence.lower() != sentence.upper():
        return "mixed"
    return "uncased" if any(map(str.isalpha, sentence)) else None


def _shape(word: str) -> str:
    if word.isalpha() and word.islower():  # three words in four
        return "lower"
    letters = "".join(filter(str.isalpha, word))
    if not letters:
        if any(map(str.isdigit, word)):
            return "number"
        return "symbol" if any(map(_is_symbol, word)) else "punctuation"
    if not all(map(_is_of_prose, word)):
        return "mixed"
    if letters.islower():
        return "lower"
    if letters.isupper() and len(letters) > 1:
        return "upper"
    if letters[0].isupper():
        return "title" if len(letters) == 1 or letters[1:].islower() else "mixed"
    return "uncased" if letters.lower() == letters.upper() else "mixed"


def _is_of_prose(character: str) -> bool:
    is_letter = character.isalpha() or character in _OF_PROSE
    return is_letter or unicodedata.category(character).startswith("M")


def _is_symbol(character: str) -> bool:
    return character in _OF_CODE or unicodedata.category(character).startswith("S")


def _script(word: str) -> str:
    letter = next(filter(str.isalpha, word), None)
    if letter is None:
        return "none"
    if letter.isascii():
        return "latin"
    return SCRIPTS.get(unicodedata.name(letter, "").split(" ")[0], "other")
