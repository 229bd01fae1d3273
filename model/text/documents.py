"""A text on its way through the network: cut into words and windows, and put together again.

    text --prepare--> Document --predict--> TaggedWords of each window --assemble--> Tagged

A sentence is one window. A long sentence becomes several that overlap, so that every word is read
with context on both sides; each word's result is kept from one window only, and no word is dropped.

A text may be given as words. They are one sentence, and offsets count them instead of characters.
"""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from teddy.model.network.conditional import Hint
from teddy.model.tagger import TaggedWords
from teddy.model.text.marks import mark
from teddy.model.text.sentences import Offsets, SentenceMode, split_sentences
from teddy.model.text.words import (
    MAX_WORD_CHARACTERS,
    Text,
    Tokeniser,
    check_text,
    check_words,
)

_WORDS_AT_ONCE = 1024
"""Of a long text, so many words become Python objects at a time."""


@dataclass(frozen=True, slots=True)
class Window:
    """Words that the network reads together, at least one; `start` is the first one's index.

    The results of the document's words `[keep_start, keep_end)` are kept from this window. `hints`
    are the hints at its words; they count these from 0.
    """

    words: list[str]
    start: int
    keep_start: int
    keep_end: int
    hints: tuple[Hint, ...] = ()

    @property
    def n_words(self) -> int:
        """The number of its words: what it costs to predict."""
        return len(self.words)

    @property
    def end(self) -> int:
        """The index behind the last word."""
        return self.start + len(self.words)


class Windows(Sequence[Window]):
    """The windows of a text. Each is made when it is asked for.

    One number array for each field: a text of 350,000 sentences had 700,000 objects, and freeing
    them held the interpreter for 100 ms.

    Attributes: `words`, those of the text; `starts`, `ends`, `keep_starts` and `keep_ends`, of
    each window; `hints`, at words of the text, in the order of their starts.
    """

    __slots__ = ("ends", "hints", "keep_ends", "keep_starts", "starts", "words")

    def __init__(self, words: list[str]) -> None:
        """Begin without windows: `split_windows` fills the arrays."""
        self.words = words
        self.starts, self.ends = array("I"), array("I")
        self.keep_starts, self.keep_ends = array("I"), array("I")
        self.hints: Sequence[Hint] = ()

    @property
    def n_words(self) -> int:
        """The number of words of all together: what it costs to predict."""
        return sum(self.ends) - sum(self.starts)

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Window: ...

    @overload
    def __getitem__(self, index: slice) -> list[Window]: ...

    def __getitem__(self, index: int | slice) -> Window | list[Window]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        start, end = self.starts[index], self.ends[index]
        first, behind = self.keep_starts[index], self.keep_ends[index]
        hints = self._hints_in(start, end)
        return Window(self.words[start:end], start, first, behind, hints)

    def __iter__(self) -> Iterator[Window]:
        words = self.words
        fields = zip(self.starts, self.ends, self.keep_starts, self.keep_ends, strict=True)
        if self.hints:
            return (self[index] for index in range(len(self)))
        return (Window(words[a:b], a, first, behind) for a, b, first, behind in fields)

    def _hints_in(self, start: int, end: int) -> tuple[Hint, ...]:
        """Return the hints that lie within these words, counted from `start`."""
        if not self.hints:
            return ()
        first = bisect_left(self.hints, start, key=_start_of)
        behind = bisect_left(self.hints, end, key=_start_of)
        return tuple(
            Hint(each.start - start, each.end - start, each.label, each.weight)
            for each in self.hints[first:behind]
            if each.end <= end
        )


def _start_of(hint: Hint) -> int:
    return hint.start


def split_windows(
    words: list[str], sentences: Sequence[tuple[int, int]], max_words: int, overlap: int
) -> Windows:
    """Make one window of each sentence, or several of one longer than `max_words`.

    `sentences` are half-open ranges of words. Neighbouring windows of one sentence share at least
    `overlap` words; the kept ranges meet in the middle of what they share, and partition the words.

    Raises ValueError unless 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"a window of {max_words} words cannot overlap the next by {overlap}")
    windows = Windows(words)
    for start, end in sentences:
        if 0 < end - start <= max_words:  # nearly every one
            windows.starts.append(start)
            windows.ends.append(end)
            windows.keep_starts.append(start)
            windows.keep_ends.append(end)
            continue
        # The last window is moved back rather than made short, so that its first words see as much
        # as all others.
        last_start = max(start, end - max_words)
        first = keep_start = start
        while keep_start < end:
            following = min(first + max_words - overlap, last_start)
            keep_end = (first + max_words + following) // 2 if first < last_start else end
            windows.starts.append(first)
            windows.ends.append(min(first + max_words, end))
            windows.keep_starts.append(keep_start)
            windows.keep_ends.append(keep_end)
            first, keep_start = following, keep_end
    return windows


@dataclass(frozen=True, slots=True)
class Entity:
    """A label on the characters `[start, end)` of a text, with its `text` and its probability.

    In a text that was given as words, `[start, end)` are words. Where rules are in force, `source`
    is `model` or the name of the rule that it comes from, and `id` that of a dictionary's entry.
    """

    start: int
    end: int
    label: str
    score: float
    text: str
    source: str | None = None
    id: str | None = None


class Entities(list[Entity]):
    """The entities of one text, in order; a notebook shows them marked in it.

    Attributes: `text`, in which they were found.
    """

    __slots__ = ("text",)

    def __init__(self, text: Text, entities: Iterable[Entity] = ()) -> None:
        super().__init__(entities)
        self.text = text

    def to_html(self) -> str:
        """Return the text with its entities marked, as a piece of HTML; all of it is escaped."""
        return mark(self.text, self)

    _repr_html_ = to_html  # what notebooks ask for


@dataclass(frozen=True, slots=True)
class Token:
    """A word, its BIOES tag and the tag's probability. Offsets as those of an Entity."""

    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, slots=True)
class Document:
    """A text ready for the network: the offsets of its words, and its windows.

    Offsets are in characters or, if `text` is words, in words.
    """

    text: Text
    offsets: Offsets
    windows: Windows

    def quote(self, start: int, end: int) -> str:
        """Return what stands between two offsets: words that were given have spaces between."""
        said = self.text[start:end]
        return said if isinstance(said, str) else " ".join(said)


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a sentence: all of its entities, and the probability of just these."""

    probability: float
    entities: list[Entity]


@dataclass(frozen=True, slots=True)
class SentenceReadings:
    """The most probable readings of a sentence, or of a window of a long one, the best first.

    Offsets as those of an Entity.
    """

    start: int
    end: int
    readings: list[Reading]


@dataclass(frozen=True)
class Tagged:
    """What was found in one text: entities in order, none overlapping, and every word.

    The tags of the words are two arrays, not an object for each window: see `Windows`. `sentences`
    are there if readings were asked for.
    """

    entities: Entities
    _offsets: Offsets = field(repr=False)
    _tags: NDArray[np.int64] = field(repr=False, compare=False)
    _scores: NDArray[np.float64] = field(repr=False, compare=False)
    _tag_names: Sequence[str] = field(repr=False)
    sentences: Sequence[SentenceReadings] = ()

    @property
    def n_words(self) -> int:
        """The number of words of the text."""
        return len(self._offsets.starts)

    @property
    def offsets(self) -> Offsets:
        """Where the words begin and end."""
        return self._offsets

    @property
    def tag_arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The numbers of the tags of all words, and their scores."""
        return self._tags, self._scores

    @property
    def model_entities(self) -> list[Entity]:
        """The entities that the model found, which rules may have changed since."""
        return self.entities

    @property
    def used_rules(self) -> Sequence[str]:
        """The names of the rules whose matches are among the entities; once for each."""
        return ()

    @property
    def n_tagged_words(self) -> int:
        """The number of words that got a tag: all of them, if nothing was cut."""
        return len(self._tags)

    @cached_property
    def tokens(self) -> list[Token]:
        """The words; made on first use, since few callers want them and they are expensive."""
        return list(self.read_tokens())

    def read_tokens(self) -> Iterator[Token]:
        """Yield the words, which are not kept: of a long text they take 160 bytes each."""
        names = self._tag_names
        for first in range(0, len(self._tags), _WORDS_AT_ONCE):
            words = slice(first, first + _WORDS_AT_ONCE)
            starts, ends = self._offsets.starts[words], self._offsets.ends[words]
            tags, scores = self._tags[words].tolist(), self._scores[words].tolist()
            for start, end, tag, score in zip(starts, ends, tags, scores, strict=False):
                yield Token(start, end, names[tag], score)


def prepare(
    text: Text,
    tokeniser: Tokeniser,
    max_words: int,
    overlap: int,
    sentences: SentenceMode = "document",
) -> Document:
    """Cut a text into words, if it is not, and these into windows.

    Raises TextError for a lone surrogate or an empty word.
    """
    if not isinstance(text, str):
        return _prepare_words(text, tokeniser, max_words, overlap)
    check_text(text)
    starts, ends, words = tokeniser.split_words(text)
    ranges = split_sentences(text, Offsets(starts, ends), sentences)
    # Kept until the text is answered: 8 bytes a word instead of 80.
    offsets = Offsets(array("I", starts), array("I", ends))
    return Document(text, offsets, split_windows(words, ranges, max_words, overlap))


def _prepare_words(
    words: Sequence[str], tokeniser: Tokeniser, max_words: int, overlap: int
) -> Document:
    check_words(words)
    n_words = len(words)
    # Of a longer word the network reads what the tokeniser would have made its first word: it has
    # learnt from no longer ones, and a batch takes the time that its number of words says.
    read = [(tokeniser.read(word) or word)[:MAX_WORD_CHARACTERS] for word in words]
    offsets = Offsets(range(n_words), range(1, n_words + 1))
    return Document(words, offsets, split_windows(read, [(0, n_words)], max_words, overlap))


def assemble(
    document: Document, outputs: Iterable[TaggedWords], tag_names: Sequence[str]
) -> Tagged:
    """Put the results of a document's windows together: one for each, in order.

    An entity is taken from the window that keeps its first word, whole even where it runs on into
    the next window's words, so that no entity is cut at a window's border.
    """
    starts, ends = document.offsets
    entities = Entities(document.text)
    tags, tag_scores = np.zeros(len(starts), np.int64), np.zeros(len(starts))
    n_done = 0
    windows = document.windows
    for start, keep_end, output in zip(windows.starts, windows.keep_ends, outputs, strict=True):
        end, continuation = keep_end, 0
        for span, score in zip(output.spans, output.scores, strict=True):
            first, last = start + span.start, start + span.end
            if first < n_done:
                # An earlier window kept its first word, and found there nothing or something else.
                continuation = max(continuation, last)
            elif first < keep_end:
                here = starts[first], ends[last - 1]
                entities.append(Entity(*here, span.label, score, document.quote(*here)))
                end = max(end, last)
        inside = slice(n_done - start, end - start)
        tags[n_done:end] = output.tags[inside]
        tag_scores[n_done:end] = output.tag_scores[inside]
        if (border := min(continuation, end)) > n_done:
            # The window saw the rest of an entity here whose first word another window kept and
            # tagged otherwise: the words get `O`.
            tags[n_done:border] = 0
            tag_scores[n_done:border] = 1.0 - tag_scores[n_done:border]
        n_done = max(n_done, end)
    return Tagged(entities, document.offsets, tags[:n_done], tag_scores[:n_done], tag_names)
