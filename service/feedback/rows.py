"""A correction as a row of the files, and its entities, from what a client counts to characters.

    {"text": "...", "entities": [{"start": 0, "end": 3, "label": "PER"}], "predicted": [...],
     "model": {"name": "en", "version": "..."}, "request_id"?: "...", "by": "...",
     "received": "2025-01-31T12:00:00.000000+00:00"}

Offsets are in characters, whatever the client counts in. Of a text that was given as words, `text`
is these words with one space between each two.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from typing import Any, Self

from pydantic_core import from_json, to_json

from teddy.model.tags.spans import Span
from teddy.model.text.offsets import OffsetUnit, character_offsets
from teddy.model.text.words import Text
from teddy.service.api.reading import Fault, refuse
from teddy.service.feedback.corrections import RightEntity


def now() -> str:
    """Return the time, UTC, ISO 8601, with microseconds: as strings such times sort."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """A correction of a text: the right entities (`wanted`) and those `found`, in order.

    Attributes: `model` and `version`, of what found it; `by`, the name of the caller's key;
    `request_id`, of the answer that is corrected, if it was named by it; `received`, see `now`.
    """

    text: str
    wanted: Sequence[Span]
    found: Sequence[Span]
    model: str
    version: str
    by: str
    request_id: str | None = None
    received: str = field(default_factory=now)

    def row(self) -> bytes:
        """As it is stored, with its newline."""
        content = {
            "text": self.text,
            "entities": _as_dicts(self.wanted),
            "predicted": _as_dicts(self.found),
            "model": {"name": self.model, "version": self.version},
            **({} if self.request_id is None else {"request_id": self.request_id}),
            "by": self.by,
            "received": self.received,
        }
        return to_json(content) + b"\n"

    @classmethod
    def read(cls, row: bytes) -> Self | None:
        """Return a row's correction; None without the entities found (files of other tools)."""
        try:
            content = from_json(row)
            return cls(
                text=content["text"],
                wanted=_as_spans(content["entities"]),
                found=_as_spans(content["predicted"]),
                model=content["model"]["name"],
                version=content["model"]["version"],
                by=content["by"],
                request_id=content.get("request_id"),
                received=content["received"],
            )
        except (ValueError, LookupError, TypeError, AttributeError):
            return None


def _as_dicts(spans: Iterable[Span]) -> list[dict[str, Any]]:
    return [{"start": span.start, "end": span.end, "label": span.label} for span in spans]


def _as_spans(found: Iterable[dict[str, Any]]) -> list[Span]:
    return [Span(each["start"], each["end"], each["label"]) for each in found]


def as_text(text: Text, *found: Sequence[Span]) -> tuple[str, Sequence[Sequence[Span]]]:
    """Return a text as a string, and what was found in it with offsets in characters."""
    if isinstance(text, str):
        return text, found
    starts = [0, *accumulate(len(word) + 1 for word in text)]
    return " ".join(text), [
        [Span(starts[span.start], starts[span.end] - 1, span.label) for span in spans]
        for spans in found
    ]


def read_spans(
    entities: Sequence[RightEntity], text: Text, unit: OffsetUnit, labels: Sequence[str]
) -> list[Span]:
    """Return the entities in characters (of words, in words), in order and disjoint.

    Raises ValidationError, which names the faults.
    """
    offsets = sorted({offset for entity in entities for offset in (entity.start, entity.end)})
    if isinstance(text, str):
        characters = dict(zip(offsets, character_offsets(text, offsets, unit), strict=True))
    else:
        characters = {offset: offset if offset <= len(text) else None for offset in offsets}
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
    entity: RightEntity, text: Text, characters: Mapping[int, int | None], labels: Sequence[str]
) -> Span | tuple[str, str]:
    """One entity in characters, or the field that is wrong and why.

    `characters` are those at the offsets; of words, the words.
    """
    start, end = characters[entity.start], characters[entity.end]
    if start is None or end is None:
        return "start" if start is None else "end", "lies outside the text or within a character"
    if start >= end:
        return "end", "must be greater than start"
    said = text[start:end] if isinstance(text, str) else " ".join(text[start:end])
    if entity.text is not None and entity.text != said:
        return "text", "is not what stands there: check the offsets and their unit"
    if entity.label not in labels:
        return "label", f"is none of the model's: {', '.join(labels)}"
    return Span(start, end, entity.label)
