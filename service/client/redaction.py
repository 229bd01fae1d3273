"""What is sent to have texts redacted and restored, and what comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, TypedDict

import httpx

from teddy.service.client.calls import JSON, Call, OffsetUnit, Text, as_json
from teddy.service.client.results import Json, ModelVersion

Operator = Literal["replace", "mask", "hash", "pseudonym", "encrypt", "keep"]
Format = Literal["text", "json", "csv", "html", "markdown"]


class RedactOptions(TypedDict, total=False):
    """What may be asked for; where it is left out, the service's defaults hold.

    `operators`: by label, an operator or `{"operator": "mask", "character": "X", "keep_last": 2}`.
    """

    model: str
    operators: Mapping[str, Operator | Mapping[str, Any]]
    scope: Literal["text", "key"]
    format: Format
    fields: Sequence[str]
    threshold: float | Mapping[str, float]
    sentences: Literal["document", "lines"]
    offset_unit: OffsetUnit


@dataclass(frozen=True, slots=True)
class RedactedItem:
    """A name that was found, `[start, end)`, and `[new_start, new_end)`, what stands there now."""

    start: int
    end: int
    new_start: int
    new_end: int
    label: str
    operator: str
    score: float

    @classmethod
    def read(cls, found: Json) -> Self:
        """One item of an answer."""
        return cls(*(found[each.name] for each in fields(cls)))


@dataclass(frozen=True, slots=True)
class Redacted:
    """A redacted text, what was done in it, and the model that found the names."""

    text: str
    items: Sequence[RedactedItem]
    model: ModelVersion

    @classmethod
    def read(cls, found: Json, model: ModelVersion) -> Self:
        """One result of an answer."""
        return cls(found["text"], tuple(map(RedactedItem.read, found["items"])), model)


@dataclass(frozen=True, slots=True)
class Restored:
    """A text with its names back; `unreadable` ones are of another key, or were changed."""

    text: str
    restored: int
    unreadable: int


def redact_call(text: str, options: RedactOptions) -> Call:
    """Redact one text."""
    return Call("POST", "/v1/redact", as_json({"text": text, **options}), JSON)


def redact_batch_call(texts: Sequence[Text], options: RedactOptions) -> Call:
    """Redact several texts."""
    return Call("POST", "/v1/redact/batch", as_json({"texts": texts, **options}), JSON)


def restore_call(text: str, form: Format) -> Call:
    """Restore one text."""
    return Call("POST", "/v1/restore", as_json({"text": text, "format": form}), JSON)


def read_redacted(response: httpx.Response) -> Redacted:
    """Return the answer to `redact_call`."""
    found = response.json()
    return Redacted.read(found, ModelVersion.read(found["model"]))


def read_redacted_batch(response: httpx.Response, n_texts: int) -> list[Redacted]:
    """Return the answer to `redact_batch_call`. Raises ValueError for another number of results."""
    found = response.json()
    model = ModelVersion.read(found["model"])
    pairs = zip(range(n_texts), found["results"], strict=True)
    return [Redacted.read(each, model) for _, each in pairs]


def read_restored(response: httpx.Response) -> Restored:
    """Return the answer to `restore_call`."""
    found = response.json()
    return Restored(found["text"], found["restored"], found["unreadable"])
