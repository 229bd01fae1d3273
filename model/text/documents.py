"""A text on its way through the network: cut into words and windows, and put together again.

text --prepare--> Document (words, windows) --predict--> TaggedWords for each window --assemble-->
Tagged

A sentence is one window. A sentence that is too long becomes several that overlap, so that every
word is read with context on both sides; each word's result is kept from one window only, and no
word is dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

from teddy.model.tagger import TaggedWords
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import check_text, split_words


@dataclass(frozen=True, slots=True)
class Window:
    """Words `[start, end)` are read; the results of `[keep_start, keep_end)` among them are kept.

    Not empty.
    """

    start: int
    end: int
    keep_start: int
    keep_end: int


def split_windows(
    sentences: Sequence[tuple[int, int]], max_words: int, overlap: int
) -> list[Window]:
    """Make one window of each sentence, or several of one longer than `max_words`.

    `sentences` are half-open ranges of words. Neighbouring windows of one sentence share at least
    `overlap` words, and what is kept changes hands in the middle of what they share. The kept
    ranges partition the words, in order.

    Raises:
        ValueError: not 0 <= overlap < max_words.
    """
    if not 0 <= overlap < max_words:
        raise ValueError(f"a window of {max_words} words cannot overlap the next by {overlap}")
    windows: list[Window] = []
    for start, end in sentences:
        if end - start <= max_words:
            if start < end:
                windows.append(Window(start, end, start, end))
        else:
            windows += _split_long(start, end, max_words, overlap)
    return windows


def _split_long(start: int, end: int, max_words: int, overlap: int) -> list[Window]:
    # The last window is moved back rather than made short: its first words then see as much as all
    # others.
    last_start = end - max_words
    starts = [*range(start, last_start, max_words - overlap), last_start]
    # neighbours share [next start, this start + max_words); its middle is where the kept ranges
    # meet
    middles = [(this + max_words + following) // 2 for this, following in pairwise(starts)]
    keeps = zip([start, *middles], [*middles, end], strict=True)
    return [
        Window(first, first + max_words, *keep) for first, keep in zip(starts, keeps, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Entity:
    """A labelled stretch of a text: characters `[start, end)`, and `text` is just those.

    `score` is its probability.
    """

    start: int
    end: int
    label: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class Token:
    """A word, its BIOES tag and the tag's probability. Offsets in characters."""

    start: int
    end: int
    tag: str
    score: float


@dataclass(frozen=True, slots=True)
class WindowInput:
    """The words of one window."""

    words: list[str]

    @property
    def n_words(self) -> int:
        """What it costs to predict."""
        return len(self.words)


@dataclass(frozen=True, slots=True)
class Document:
    """A text ready for the network: its words' character offsets, and its windows (in words) with their inputs."""

    text: str
    offsets: Offsets
    places: list[Window]
    windows: list[WindowInput]


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
        """The words of the text."""
        return len(self._offsets.starts)

    @property
    def n_tagged_words(self) -> int:
        """The words that got a tag: all of them, if nothing was cut."""
        n_words = 0
        for segment in self._segments:
            n_words += segment.end - segment.start
        return n_words

    @cached_property
    def tokens(self) -> list[Token]:
        """Every word.

        Made when it is first asked for: few callers want it, and it costs more than the entities.
        """
        return [token for segment in self._segments for token in self._read(segment)]

    def _read(self, segment: _Segment) -> Iterator[Token]:
        names = self._tag_names
        inside = slice(segment.start - segment.offset, segment.end - segment.offset)
        tags, scores = (
            segment.output.tags[inside].tolist(),
            segment.output.tag_scores[inside].tolist(),
        )
        words = slice(segment.start, segment.end)
        starts, ends = self._offsets.starts[words], self._offsets.ends[words]
        for start, end, tag, score in zip(starts, ends, tags, scores, strict=True):
            yield (
                Token(start, end, names[0], 1.0 - score)
                if segment.is_continuation
                else Token(start, end, names[tag], score)
            )


def prepare(text: str, max_words: int, overlap: int) -> Document:
    """Cut a text into words, and these into windows. Raises TextError for a lone surrogate."""
    check_text(text)
    starts, ends, words = split_words(text)
    offsets = Offsets(starts, ends)
    places = split_windows(split_sentences(text, offsets), max_words, overlap)
    return Document(
        text, offsets, places, [WindowInput(words[place.start : place.end]) for place in places]
    )


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
    for place, output in zip(document.places, outputs, strict=True):
        end, continuation = place.keep_end, 0
        for span, score in zip(output.spans, output.scores, strict=True):
            first, last = place.start + span.start, place.start + span.end
            if first < n_done:
                # An earlier window kept its first word, and found there nothing or something else.
                continuation = max(continuation, last)
            elif first < place.keep_end:
                start, stop = starts[first], ends[last - 1]
                entities.append(Entity(start, stop, span.label, score, document.text[start:stop]))
                end = max(end, last)
        for border, is_continuation in ((min(continuation, end), True), (end, False)):
            if border > n_done:
                segments.append(_Segment(output, place.start, n_done, border, is_continuation))
                n_done = border
    return Tagged(entities, document.offsets, segments, tag_names)
