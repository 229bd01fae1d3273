"""A text on its way through the network: cut into words and windows, and put together again.

    text --prepare--> Document --predict--> TaggedWords of each window --assemble--> Tagged

A sentence is one window. A long sentence becomes several that overlap, so that every word is read
with context on both sides; each word's result is kept from one window only, and no word is dropped.

A text may be given as words. They are one sentence, and offsets count them instead of characters.
"""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, pairwise

from teddy.model.tagger import TaggedWords
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import (
    MAX_WORD_CHARACTERS,
    Text,
    Tokeniser,
    check_text,
    check_words,
)


@dataclass(frozen=True, slots=True)
class Window:
    """Words that the network reads together, at least one; `start` is the first one's index.

    The results of the document's words `[keep_start, keep_end)` are kept from this window.
    """

    words: list[str]
    start: int
    keep_start: int
    keep_end: int

    @property
    def n_words(self) -> int:
        """The number of its words: what it costs to predict."""
        return len(self.words)

    @property
    def end(self) -> int:
        """The index behind the last word."""
        return self.start + len(self.words)


def split_windows(
    words: list[str], sentences: Sequence[tuple[int, int]], max_words: int, overlap: int
) -> list[Window]:
    """Make one window of each sentence, or several of one longer than `max_words`.

    `sentences` are half-open ranges of words. Neighbouring windows of one sentence share at least
    `overlap` words; the kept ranges meet in the middle of what they share, and partition the words.

    Raises ValueError unless 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"a window of {max_words} words cannot overlap the next by {overlap}")
    windows: list[Window] = []
    for start, end in sentences:
        # The last window is moved back rather than made short, so that its first words see as much
        # as all others.
        last_start = max(start, end - max_words)
        starts = [*range(start, last_start, max_words - overlap), last_start]
        middles = [(this + max_words + following) // 2 for this, following in pairwise(starts)]
        borders = [start, *middles, end]
        windows += [
            Window(words[first : min(first + max_words, end)], first, *keep)
            for first, keep in zip(starts, pairwise(borders), strict=True)
            if start < end
        ]
    return windows


@dataclass(frozen=True, slots=True)
class Entity:
    """A label on the characters `[start, end)` of a text, with its `text` and its probability.

    In a text that was given as words, `[start, end)` are words.
    """

    start: int
    end: int
    label: str
    score: float
    text: str


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
    windows: list[Window]

    def quote(self, start: int, end: int) -> str:
        """Return what stands between two offsets: words that were given have spaces between."""
        said = self.text[start:end]
        return said if isinstance(said, str) else " ".join(said)


@dataclass(frozen=True, slots=True)
class _Segment:
    """Words `[start, end)` of a document, tagged by the window that begins at word `offset`.

    `is_continuation`: the window saw the rest of an entity there whose first word another window
    kept and tagged otherwise; the words get `O`.
    """

    output: TaggedWords
    offset: int
    start: int
    end: int
    is_continuation: bool


@dataclass(frozen=True)
class Tagged:
    """What was found in one text: entities in order, none overlapping, and every word."""

    entities: list[Entity]
    _offsets: Offsets = field(repr=False)
    _segments: Sequence[_Segment] = field(repr=False, compare=False)
    _tag_names: Sequence[str] = field(repr=False)

    @property
    def n_words(self) -> int:
        """The number of words of the text."""
        return len(self._offsets.starts)

    @property
    def n_tagged_words(self) -> int:
        """The number of words that got a tag: all of them, if nothing was cut."""
        return sum(segment.end - segment.start for segment in self._segments)

    @cached_property
    def tokens(self) -> list[Token]:
        """The words; made on first use, since few callers want them and they are expensive."""
        return list(self.read_tokens())

    def read_tokens(self) -> Iterator[Token]:
        """Yield the words, which are not kept: of a long text they take 160 bytes each."""
        return chain.from_iterable(map(self._read, self._segments))

    def _read(self, segment: _Segment) -> Iterator[Token]:
        names, output = self._tag_names, segment.output
        inside = slice(segment.start - segment.offset, segment.end - segment.offset)
        words = slice(segment.start, segment.end)
        starts, ends = self._offsets.starts[words], self._offsets.ends[words]
        tags, scores = output.tags[inside].tolist(), output.tag_scores[inside].tolist()
        for start, end, tag, score in zip(starts, ends, tags, scores, strict=True):
            if segment.is_continuation:
                yield Token(start, end, names[0], 1.0 - score)
            else:
                yield Token(start, end, names[tag], score)


def prepare(text: Text, tokeniser: Tokeniser, max_words: int, overlap: int) -> Document:
    """Cut a text into words, if it is not, and these into windows.

    Raises TextError for a lone surrogate or an empty word.
    """
    if not isinstance(text, str):
        return _prepare_words(text, tokeniser, max_words, overlap)
    check_text(text)
    starts, ends, words = tokeniser.split_words(text)
    sentences = split_sentences(text, Offsets(starts, ends))
    # Kept until the text is answered: 8 bytes a word instead of 80.
    offsets = Offsets(array("I", starts), array("I", ends))
    return Document(text, offsets, split_windows(words, sentences, max_words, overlap))


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
    document: Document, outputs: Sequence[TaggedWords], tag_names: Sequence[str]
) -> Tagged:
    """Put the results of a document's windows together.

    An entity is taken from the window that keeps its first word, whole even where it runs on into
    the next window's words, so that no entity is cut at a window's border.
    """
    starts, ends = document.offsets
    entities: list[Entity] = []
    segments: list[_Segment] = []
    n_done = 0
    for window, output in zip(document.windows, outputs, strict=True):
        end, continuation = window.keep_end, 0
        for span, score in zip(output.spans, output.scores, strict=True):
            first, last = window.start + span.start, window.start + span.end
            if first < n_done:
                # An earlier window kept its first word, and found there nothing or something else.
                continuation = max(continuation, last)
            elif first < window.keep_end:
                start, stop = starts[first], ends[last - 1]
                quoted = document.quote(start, stop)
                entities.append(Entity(start, stop, span.label, score, quoted))
                end = max(end, last)
        for border, is_continuation in ((min(continuation, end), True), (end, False)):
            if border > n_done:
                segments.append(_Segment(output, window.start, n_done, border, is_continuation))
                n_done = border
    return Tagged(entities, document.offsets, segments, tag_names)
