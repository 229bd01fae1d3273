"""What a search found in a document's windows, put together: probable entities, and readings."""

from collections.abc import Sequence
from dataclasses import replace

from teddy.model.tagger import Scored, TaggedWords
from teddy.model.tags.spans import Span, disjoint
from teddy.model.text.documents import Document, Entities, Entity, Reading, SentenceReadings, Tagged


def with_alternatives(
    document: Document, outputs: Sequence[TaggedWords], tagged: Tagged, *, probable: bool
) -> Tagged:
    """Return what was found in a document with the readings of its windows, if it has any.

    If `probable`, its entities are the probable spans of the windows. Of those that overlap, the
    ones are taken whose scores have the largest sum, so that the expected number of right entities
    is the highest there is. As in `assemble`, a span is taken from the window that keeps its first
    word. Words and tags stay those of the best path.
    """
    entities = tagged.entities
    if probable:
        entities = Entities(document.text, _probable(document, outputs))
    return replace(tagged, entities=entities, sentences=_readings(document, outputs))


def _probable(document: Document, outputs: Sequence[TaggedWords]) -> list[Entity]:
    windows = document.windows
    found = [
        (Span(start + span.start, start + span.end, span.label), score)
        for start, first, end, output in zip(
            windows.starts, windows.keep_starts, windows.keep_ends, outputs, strict=True
        )
        for span, score in output.probable
        if first <= start + span.start < end
    ]
    chosen = disjoint([span for span, _ in found], [score for _, score in found])
    return [_entity(document, 0, found[place]) for place in chosen]


def _readings(document: Document, outputs: Sequence[TaggedWords]) -> list[SentenceReadings]:
    return [
        SentenceReadings(
            document.offsets.starts[window.start],
            document.offsets.ends[window.end - 1],
            [
                Reading(probability, [_entity(document, window.start, each) for each in spans])
                for spans, probability in output.readings
            ],
        )
        for window, output in zip(document.windows, outputs, strict=True)
        if output.readings
    ]


def _entity(document: Document, first_word: int, scored: Scored) -> Entity:
    span, score = scored
    start = document.offsets.starts[first_word + span.start]
    end = document.offsets.ends[first_word + span.end - 1]
    return Entity(start, end, span.label, score, document.quote(start, end))
