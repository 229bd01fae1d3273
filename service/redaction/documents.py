"""Redact a document whose names are known, and restore one.

document -> segments -> (tagging) -> changes -> the new document, and an item for each name
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teddy.service.redaction.formats import FORMS, Range, Segment
from teddy.service.redaction.operators import Policy, Replacements, plain_label
from teddy.service.redaction.secret import Secret

if TYPE_CHECKING:
    from teddy.model.text.documents import Entity

LOOKALIKE = "TOKEN"
"""The label of what looked like a token already, which is encrypted so that it comes back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A name that was found: where it was, in the document, and where its replacement is."""

    start: int
    end: int
    new_start: int
    new_end: int
    label: str
    operator: str
    score: float


@dataclass(frozen=True, slots=True)
class Redacted:
    """The new document, and what was done, in order."""

    text: str
    items: list[Item]


@dataclass(frozen=True, slots=True)
class Document:
    """A document and its texts, to be tagged."""

    content: str
    form: str
    segments: Sequence[Segment]

    @classmethod
    def read(cls, content: str, form: str, fields: Collection[str] | None = None) -> "Document":
        """Find the texts; `fields` are keys of JSON or columns of CSV. Raises DocumentError."""
        found = FORMS[form].segments(content, fields)
        return cls(content, form, [segment for segment in found if segment.text.strip()])

    @property
    def texts(self) -> list[str]:
        """The texts to tag, in order."""
        return [segment.text for segment in self.segments]


@dataclass(slots=True)
class _Change:
    """Ranges of the document in the place of which something is written, in order."""

    ranges: list[Range]
    label: str
    operator: str
    score: float
    name: str


def redact(document: Document, entities: "Sequence[Sequence[Entity]]", policy: Policy) -> Redacted:
    """Return the document with the names of its texts replaced; `entities` are those of each text.

    What is encrypted comes back byte for byte. Raises SecretError, and MissingExtraError.
    """
    changes = _changes(document, entities, policy)
    written = Replacements(policy, [each for found in entities for each in found])
    escape = FORMS[document.form].escape
    parts: list[str] = []
    items: list[Item] = []
    done = length = 0
    for change in changes:
        begins = -1
        for place, (start, end) in enumerate(change.ranges):
            before = document.content[done:start]
            raw = document.content[start:end]
            if change.operator == "keep":
                new = raw
            elif change.operator == "encrypt":
                new = escape(written.token(raw, change.label))
            else:
                new = "" if place else escape(written.of(change.name, change.label))
            parts += [before, new]
            length += len(before)
            begins = length if begins < 0 else begins
            length += len(new)
            done = end
        if change.label != LOOKALIKE:
            items.append(
                Item(
                    start=change.ranges[0][0],
                    end=change.ranges[-1][1],
                    new_start=begins,
                    new_end=length,
                    label=change.label,
                    operator=change.operator,
                    score=change.score,
                )
            )
    parts.append(document.content[done:])
    return Redacted("".join(parts), items)


def _changes(
    document: Document, entities: "Sequence[Sequence[Entity]]", policy: Policy
) -> list[_Change]:
    """Return what is to be changed, in order; nothing overlaps.

    If anything is encrypted, what looks like a token in the document is encrypted as well, and a
    name that has a part of one is made longer by the rest of it.
    """
    changes = [
        _Change(
            ranges=ranges,
            label=entity.label,
            operator=policy.of(entity.label).name,
            score=entity.score,
            name=entity.text,
        )
        for segment, found in zip(document.segments, entities, strict=True)
        for entity in found
        if (ranges := segment.ranges(entity.start, entity.end))
    ]
    if policy.encrypts:
        for found in FORMS[document.form].token.finditer(document.content):
            changes = _with_lookalike(changes, found.span())
    changes.sort(key=lambda change: change.ranges[0])
    return changes


def _with_lookalike(changes: list[_Change], token: Range) -> list[_Change]:
    """Add what looks like a token: to the first name in which it is encrypted, or by itself."""
    start, end = token
    apart: list[_Change] = []
    for change in changes:
        touching = [each for each in change.ranges if each[0] < end and start < each[1]]
        if not touching:
            apart.append(change)
            continue
        start, end = min(start, touching[0][0]), max(end, touching[-1][1])
        if rest := [each for each in change.ranges if each not in touching]:
            change.ranges = rest
            apart.append(change)
    apart.append(_Change([(start, end)], LOOKALIKE, "encrypt", 1.0, ""))
    return apart


@dataclass(frozen=True, slots=True)
class Restored:
    """A document with its names back; `unreadable` tokens are of another key, or changed."""

    text: str
    restored: int
    unreadable: int


def restore(content: str, form: str, secret: Secret) -> Restored:
    """Put back what `redact` has encrypted in a document of this format."""
    parts: list[str] = []
    done = restored = unreadable = 0
    for found in FORMS[form].token.finditer(content):
        name = secret.decrypt(found[2], plain_label(found[1].replace("\\", "")))
        if name is None:
            unreadable += 1
            continue
        restored += 1
        parts += [content[done : found.start()], name]
        done = found.end()
    parts.append(content[done:])
    return Restored("".join(parts), restored, unreadable)
