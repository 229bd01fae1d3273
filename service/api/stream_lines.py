"""The lines of a stream: out of bytes, from JSON to texts, and from what was found in them to JSON."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from teddy.model.errors import TeddyError
from teddy.service.api.answers import result_json
from teddy.service.errors import BodyTooLargeError, TextTooLongError
from teddy.service.http.problems import STATUSES, field_error, slug
from teddy.service.schemas import (
    Identified,
    LineId,
    LineProblem,
    StreamError,
    StreamLine,
    StreamOptions,
)

if TYPE_CHECKING:
    from teddy.model.text.documents import Tagged


Read = StreamLine | StreamError
"""A line's text, or the answer to a line that has none."""

BLANK = b" \t\r"  # what JSON allows around a value, without the newline


@dataclass(frozen=True, slots=True)
class LineLimits:
    """The longest line, in bytes, and the longest text, in characters."""

    max_bytes: int
    max_characters: int


def read_lines(lines: Iterable[bytes | None], limits: LineLimits) -> list[Read]:
    """Each line as what it asks for; None stands for a line that was too long to be kept."""
    return [read_line(line, limits) for line in lines]


def read_line(line: bytes | None, limits: LineLimits) -> Read:
    """One line as what it asks for."""
    if line is None:
        return refuse(BodyTooLargeError(f"The line is larger than {limits.max_bytes} bytes."))
    try:
        read = StreamLine.model_validate_json(line)
    except ValidationError as error:
        return refuse(error, find_id(line))
    if len(read.text) > limits.max_characters:
        return refuse(
            TextTooLongError(f"The text is longer than {limits.max_characters} characters."),
            read.id,
        )
    return read


def find_id(line: bytes) -> LineId | None:
    """The id of a line in which something else is wrong, so that its sender knows which one it was."""
    try:
        return Identified.model_validate(json.loads(line)).id
    except (ValueError, RecursionError):
        return None


def write_lines(
    read: Iterable[Read], outcomes: "Iterable[Tagged | TeddyError]", options: StreamOptions
) -> bytes:
    """The answers to the lines, `outcomes` being those of their texts in order."""
    remaining = iter(outcomes)
    answers = (
        as_line(each)
        if isinstance(each, StreamError)
        else answer_line(each, next(remaining), options)
        for each in read
    )
    return b"".join(answers)


def answer_line(line: StreamLine, outcome: "Tagged | TeddyError", options: StreamOptions) -> bytes:
    """The answer to one line, a StreamResult or a StreamError."""
    if isinstance(outcome, TeddyError):
        return as_line(refuse(outcome, line.id))
    identified = "" if line.id is None else f'"id":{json.dumps(line.id, ensure_ascii=False)},'
    return f"{{{identified}{result_json(line.text, outcome, options)}}}\n".encode()


def refuse(error: TeddyError | ValidationError, line_id: LineId | None = None) -> StreamError:
    """The answer to a line that failed with `error`."""
    return StreamError(id=line_id, error=problem_of(error))


def end_with(error: TeddyError) -> bytes:
    """The last line of a stream that `error` ends."""
    return as_line(StreamError(error=problem_of(error), final=True))


def problem_of(error: TeddyError | ValidationError) -> LineProblem:
    """An error in the terms of a problem; of what went wrong inside, no more than that."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        kind, status, detail = "invalid-request", 422, "; ".join(map(describe, faults[:3]))
    else:
        status = next((STATUSES[kind] for kind in type(error).mro() if kind in STATUSES), 500)
        kind, detail = slug(type(error)), str(error)
        if status == 500:
            kind, detail = "internal-error", "Something went wrong here. The log has it."
    title = kind.replace("-", " ").capitalize()
    return LineProblem(type=f"urn:teddy:problem:{kind}", title=title, status=status, detail=detail)


def describe(fault: Mapping[str, Any]) -> str:
    """Where a line is wrong, and how; never the value."""
    listed = field_error(fault)
    return ": ".join(filter(None, (".".join(map(str, listed["loc"][1:])), listed["msg"])))


def as_line(answer: BaseModel) -> bytes:
    """An answer as a line of JSON, without the fields that are None."""
    return answer.__pydantic_serializer__.to_json(answer, exclude_none=True) + b"\n"


class LineSplitter:
    """Cuts pieces into the lines that they make together, without their ends; blank lines are left out.

    A line of more than `max_bytes` is given as None, at once, and the rest of it is passed over
    without being kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        """The line whose end has not come. One buffer: a client may send it byte by byte."""
        self._skipping = False

    def feed(self, piece: bytes) -> list[bytes | None]:
        """The lines that end in `piece`, or grow too long in it."""
        first, *others = piece.split(b"\n")
        lines = self._extend(first)
        for other in others:
            lines += self.end()
            lines += self._extend(other)
        return lines

    def end(self) -> list[bytes | None]:
        """The line that has begun, if any: a newline has come, or the last piece."""
        line = bytes(self._begun).strip(BLANK)
        self._begun.clear()
        self._skipping = False
        return [line] if line else []

    def _extend(self, part: bytes) -> list[bytes | None]:
        if self._skipping:
            return []
        self._begun += part
        if len(self._begun) <= self._max_bytes:
            return []
        self._begun.clear()
        self._skipping = True
        return [None]
