"""A correction as a row of the files: what `teddy train` reads of it, and what else is worth knowing of it later.

    {"text": "...", "entities": [{"start": 0, "end": 3, "label": "PER"}], "predicted": [...],
     "model": {"name": "en", "version": "..."}, "request_id"?: "...", "by": "...",
     "received": "2025-01-31T12:00:00.000000+00:00"}

Offsets are in characters, whatever the client counts in.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from pydantic_core import from_json, to_json

from teddy.model.spans import Span


def now() -> str:
    """The time, UTC, ISO 8601, with microseconds: as strings such times sort."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """What should have been found in a text (`wanted`), and what was (`found`), in characters and in order.

    Attributes: `model` and `version`, of what found it; `by`, the name of the caller's key; `request_id`, of the answer
    that is corrected, if it was named by it; `received`, see `now`.
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
        """Back from a row; None for one that does not tell what was found, as files of other makers do not."""
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
