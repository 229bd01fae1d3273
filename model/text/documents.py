"""A text on its way through the network: cut into words and windows, and put together again.

    text --prepare--> Document --predict--> TaggedWords of each window --assemble--> Tagged

A text may be given as words. They are one sentence, and offsets count them instead of characters.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from teddy.model.tagger import TaggedWords
from teddy.model.text.marks import mark
from teddy.model.text.sentences import Offsets, SentenceMode, split_sentences
from teddy.model.text.windows import Windows, split_windows
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
        names, (all_tags, all_scores) = self._tag_names, self.tag_arrays
        for first in range(0, len(all_tags), _WORDS_AT_ONCE):
            words = slice(first, first + _WORDS_AT_ONCE)
            starts, ends = self._offsets.starts[words], self._offsets.ends[words]
            tags, scores = all_tags[words].tolist(), all_scores[words].tolist()
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
