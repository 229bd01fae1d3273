"""The entities of a correction: from what a client counts to characters, and whether they can be."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NoReturn

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from teddy.model.offsets import OffsetUnit, character_offsets
from teddy.model.spans import Span
from teddy.service.schemas import RightEntity

Fault = tuple[tuple[str | int, ...], str]
"""Where in the request, and what is wrong."""


def read_spans(entities: Sequence[RightEntity], text: str, unit: OffsetUnit, labels: Sequence[str]) -> list[Span]:
    """The entities in characters, in order and disjoint. Raises ValidationError, which names the faults."""
    offsets = sorted({offset for entity in entities for offset in (entity.start, entity.end)})
    characters = dict(zip(offsets, character_offsets(text, offsets, unit), strict=True))
    faults: list[Fault] = []
    spans: list[tuple[Span, int]] = []
    for position, entity in enumerate(entities):
        read = read_span(entity, text, characters, labels)
        if isinstance(read, Span):
            spans.append((read, position))
        else:
            field, what = read
            faults.append((("entities", position, field), what))
    spans.sort()
    for (before, _), (span, position) in pairwise(spans):
        if span.start < before.end:
            faults.append((("entities", position), "overlaps another entity"))
    if faults:
        refuse(faults)
    return [span for span, _ in spans]


def read_span(
    entity: RightEntity, text: str, characters: Mapping[int, int | None], labels: Sequence[str]
) -> Span | tuple[str, str]:
    """One entity in characters, or the field that is wrong and why. `characters` are those at the offsets."""
    start, end = characters[entity.start], characters[entity.end]
    if start is None or end is None:
        return "start" if start is None else "end", "lies outside the text or within a character"
    if start >= end:
        return "end", "must be greater than start"
    if entity.text is not None and entity.text != text[start:end]:
        return "text", "is not what stands there: check the offsets and their unit"
    if entity.label not in labels:
        return "label", f"is none of the model's: {', '.join(labels)}"
    return Span(start, end, entity.label)


def refuse(faults: Sequence[Fault]) -> NoReturn:
    """Raise ValidationError, as for a request of a wrong form."""
    raise ValidationError.from_exception_data(
        "correction",
        [
            InitErrorDetails(type=PydanticCustomError("correction", "{what}", {"what": what}), loc=place, input=None)
            for place, what in faults
        ],
    )
