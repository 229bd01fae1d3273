"""A text on its way through the network: cut into words and windows before, put together again behind.

text --prepare--> Document (words, windows) --predict--> TaggedWords for each window --assemble--> Tagged
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from teddy.model.sentences import Offsets, split_sentences
from teddy.model.tagger import TaggedWords
from teddy.model.text import check_text, split_words
from teddy.model.windows import Window, split_windows


@dataclass(frozen=True, slots=True)
class Entity:
    """A labelled stretch of a text: characters `[start, end)`, and `text` is just those. `score` is its probability."""

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
class _Stretch:
    """Words `[start, end)` of a document, and the window that says what they are: it begins at word `offset`.

    `headless` words are no part of the entity that the window saw there.
    """

    output: TaggedWords
    offset: int
    start: int
    end: int
    headless: bool


@dataclass(frozen=True)
class Tagged:
    """What was found in one text: entities in order, none overlapping, and every word."""

    entities: list[Entity]
    _offsets: Offsets = field(repr=False)
    _stretches: Sequence[_Stretch] = field(repr=False, compare=False)
    _tag_names: Sequence[str] = field(repr=False)

    @property
    def n_words(self) -> int:
        """The words of the text."""
        return len(self._offsets.starts)

    @property
    def n_tagged_words(self) -> int:
        """The words that got a tag: all of them, if nothing was cut."""
        n_words = 0
        for stretch in self._stretches:
            n_words += stretch.end - stretch.start
        return n_words

    @cached_property
    def tokens(self) -> list[Token]:
        """Every word. Made when it is first asked for: few callers want it, and it costs more than the entities."""
        return [token for stretch in self._stretches for token in self._read(stretch)]

    def _read(self, stretch: _Stretch) -> Iterator[Token]:
        names = self._tag_names
        inside = slice(stretch.start - stretch.offset, stretch.end - stretch.offset)
        tags, scores = stretch.output.tags[inside].tolist(), stretch.output.tag_scores[inside].tolist()
        words = slice(stretch.start, stretch.end)
        starts, ends = self._offsets.starts[words], self._offsets.ends[words]
        for start, end, tag, score in zip(starts, ends, tags, scores, strict=True):
            yield Token(start, end, names[0], 1.0 - score) if stretch.headless else Token(start, end, names[tag], score)


def prepare(text: str, window_words: int, window_overlap: int) -> Document:
    """Cuts a text into words and windows. Raises TextError for a lone surrogate."""
    check_text(text)
    starts, ends, words = split_words(text)
    offsets = Offsets(starts, ends)
    places = split_windows(split_sentences(text, offsets), window_words, window_overlap)
    return Document(text, offsets, places, [WindowInput(words[place.start : place.end]) for place in places])


def assemble(document: Document, outputs: Sequence[TaggedWords], tag_names: Sequence[str]) -> Tagged:
    """Puts the results of a document's windows together.

    An entity is taken from the window that keeps its first word, whole even where it runs on into the next window's
    words, so that no entity is cut at a window's border.
    """
    starts, ends = document.offsets
    entities: list[Entity] = []
    stretches: list[_Stretch] = []
    settled = 0
    for place, output in zip(document.places, outputs, strict=True):
        end, headless = place.keep_end, 0
        for span, score in zip(output.spans, output.scores, strict=True):
            first, last = place.start + span.start, place.start + span.end
            if first < settled:
                # An earlier window had the say over its first word, and did not find it or found another.
                headless = max(headless, last)
            elif first < place.keep_end:
                start, stop = starts[first], ends[last - 1]
                entities.append(Entity(start, stop, span.label, score, document.text[start:stop]))
                end = max(end, last)
        for border, is_headless in ((min(headless, end), True), (end, False)):
            if border > settled:
                stretches.append(_Stretch(output, place.start, settled, border, is_headless))
                settled = border
    return Tagged(entities, document.offsets, stretches, tag_names)
