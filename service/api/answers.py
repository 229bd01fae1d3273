"""Read and write JSON: entities in the form asked for, and the lines of a stream.

Entities and tokens are written as JSON here, in the form that `service/schemas.py` describes. It
takes a fifth of the time of building those models and serialising them, and a long answer never
holds Python's lock all the time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, tee
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fastapi import Response
from pydantic import BaseModel, ValidationError

from teddy.model.errors import TeddyError
from teddy.model.text.offsets import OffsetUnit, convert_offsets
from teddy.model.text.sentences import SentenceMode
from teddy.model.text.words import Text, n_characters
from teddy.service.api.reading import read_json, refuse
from teddy.service.errors import BodyTooLargeError, TextTooLongError
from teddy.service.given import UNIT_OF_WORDS
from teddy.service.http.body import LARGE_BYTES
from teddy.service.http.json_scan import JsonLimits, scan
from teddy.service.http.problems import STATUSES, field_error, slug
from teddy.service.inference.models import ServedModel
from teddy.service.schemas import (
    BatchRequest,
    EntitiesRequest,
    Identified,
    LineId,
    LineProblem,
    StreamError,
    StreamLine,
    StreamOptions,
)

if TYPE_CHECKING:
    from teddy.model.text.documents import Entity, SentenceReadings, Tagged, Token

    Ranged = TypeVar("Ranged", Entity, Token)
    Placed = tuple[Ranged, int, int]

ITEMS_AT_ONCE = 512
SCORE_DIGITS = 4  # a calibrated probability is not known better, and answers stay short
Options = EntitiesRequest | BatchRequest | StreamOptions
Read = StreamLine | StreamError
"""A line's request, or the answer to a line that is wrong."""

BLANK = b" \t\r"  # what JSON allows around a value, without the newline


def answer_text(
    asked: EntitiesRequest, texts: Sequence[Text], model: ServedModel, tagged: "Sequence[Tagged]"
) -> Response:
    """Return the answer to a request for one text."""
    return _answer(model, _result_json(texts[0], tagged[0], asked))


def answer_batch(
    asked: BatchRequest, texts: Sequence[Text], model: ServedModel, tagged: "Sequence[Tagged]"
) -> Response:
    """Return the answer to a request for several texts."""
    results = (
        b"{%b}" % b"".join(_result_json(text, each, asked))
        for text, each in zip(texts, tagged, strict=True)
    )
    return _answer(model, (b'"results":[', b",".join(results), b"]"))


def as_json(content: BaseModel) -> Response:
    """Return any other answer, without the fields that are None."""
    return Response(
        content.__pydantic_serializer__.to_json(content, exclude_none=True),
        media_type="application/json",
    )


def _answer(model: ServedModel, fields: Iterable[bytes]) -> Response:
    named = f'{{"model":{{"name":{quoted(model.name)},"version":{quoted(model.version)}}},'
    return Response(b"".join((named.encode(), *fields, b"}")), media_type="application/json")


def _result_json(text: Text, tagged: "Tagged", asked: Options) -> Iterator[bytes]:
    """Yield the fields of a TextResult: the wanted entities, and the tokens if asked for."""
    least, unit = asked.min_score or 0.0, asked.offset_unit or "character"
    found = [
        entity
        for entity in tagged.entities
        if entity.score >= least and (asked.labels is None or entity.label in asked.labels)
    ]
    yield b'"entities":['
    yield from _listed(
        f'{{"start":{start},"end":{end},"label":{quoted(entity.label)},'
        f'"score":{round(entity.score, SCORE_DIGITS)},"text":{quoted(entity.text)}}}'
        for entity, start, end in _ranged(text, found, unit)
    )
    if asked.tokens:
        yield b'],"tokens":['
        yield from _listed(
            f'{{"start":{start},"end":{end},"tag":{quoted(token.tag)},'
            f'"score":{round(token.score, SCORE_DIGITS)}}}'
            for token, start, end in _ranged(text, tagged.read_tokens(), unit)
        )
    if asked.n_best:
        yield b'],"sentences":['
        yield ",".join(_sentences_json(text, tagged.sentences, unit)).encode()
    yield b"]"


def _sentences_json(
    text: Text, sentences: "Sequence[SentenceReadings]", unit: OffsetUnit
) -> Iterator[str]:
    """Yield each sentence with its readings, whose entities overlap those of other readings."""
    bounds = {bound for each in sentences for bound in (each.start, each.end)}
    for reading in (reading for each in sentences for reading in each.readings):
        bounds.update(bound for each in reading.entities for bound in (each.start, each.end))
    order = sorted(bounds)
    places = convert_offsets(text, order, unit) if isinstance(text, str) else order
    place = dict(zip(order, places, strict=True))
    for sentence in sentences:
        readings = ",".join(
            f'{{"probability":{round(reading.probability, SCORE_DIGITS)},"entities":['
            + ",".join(
                f'{{"start":{place[each.start]},"end":{place[each.end]},'
                f'"label":{quoted(each.label)},"score":{round(each.score, SCORE_DIGITS)},'
                f'"text":{quoted(each.text)}}}'
                for each in reading.entities
            )
            + "]}"
            for reading in sentence.readings
        )
        start, end = place[sentence.start], place[sentence.end]
        yield f'{{"start":{start},"end":{end},"readings":[{readings}]}}'


def _listed(items: Iterator[str]) -> Iterator[bytes]:
    """Yield items of JSON with commas between them, many at a time: one alone takes as much again.

    Bytes, because one character beyond ASCII would make a string two or four times as large.
    """
    separator = ""
    while some := ",".join(islice(items, ITEMS_AT_ONCE)):
        yield f"{separator}{some}".encode()
        separator = ","


def _ranged(text: Text, items: "Iterable[Ranged]", unit: OffsetUnit) -> "Iterator[Placed[Ranged]]":
    """Yield items, which are in order and disjoint, with their half-open ranges in `unit`.

    In a text that is given as words they are in words.
    """
    if unit == "character" or not isinstance(text, str):
        for each in items:
            yield each, each.start, each.end
        return
    items, again = tee(items)
    ends = chain.from_iterable((each.start, each.end) for each in again)
    offsets = convert_offsets(text, ends, unit)
    for each in items:
        yield each, next(offsets), next(offsets)


@dataclass(frozen=True, slots=True)
class LineLimits:
    """The longest line in bytes, and the longest text in characters."""

    max_bytes: int
    max_characters: int


class LineOptions(Protocol):
    """The options of a stream, as far as its lines need them."""

    @property
    def names_unit(self) -> bool:
        """Whether a unit of offsets is set, which must not be for words."""

    @property
    def sentences(self) -> SentenceMode | None:
        """How texts are cut into sentences."""


class TaggedLines:
    """The lines of a stream of texts to tag."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options

    def prepare(self, read: "Sequence[Read]") -> "tuple[Sequence[Read], list[Text]]":
        """Return the lines, and their texts to tag."""
        return read, [line.given for line in read if isinstance(line, StreamLine)]

    def write(self, prepared: "Sequence[Read]", outcomes: "Sequence[Tagged | TeddyError]") -> bytes:
        """Return the answers to the lines; `outcomes` are those of their texts, in order."""
        return write_lines(prepared, outcomes, self._options)


def read_lines(
    lines: Iterable[bytes | None], limits: LineLimits, options: LineOptions
) -> list[Read]:
    """Parse each line; None stands for a line that was too long to be kept."""
    return [_read_line(line, limits, options) for line in lines]


def _read_line(line: bytes | None, limits: LineLimits, options: LineOptions) -> Read:
    """Parse one line."""
    if line is None:
        return refuse_line(BodyTooLargeError(f"The line is larger than {limits.max_bytes} bytes."))
    try:
        if len(line) > LARGE_BYTES:
            scan(line, JsonLimits.of_line(limits.max_characters))
        read = read_json(StreamLine, line)
        if read.words is not None and options.names_unit:
            refuse([((), UNIT_OF_WORDS)])
    except TeddyError as error:
        return refuse_line(error)
    except ValidationError as error:
        return refuse_line(error, _find_id(line))
    if n_characters(read.given) > limits.max_characters:
        return refuse_line(
            TextTooLongError(f"The text is longer than {limits.max_characters} characters."),
            read.id,
        )
    return read


def _find_id(line: bytes) -> LineId | None:
    """Return the id of a line with another fault, so that its sender can tell which one it was."""
    try:
        return Identified.model_validate(json.loads(line)).id
    except (ValueError, RecursionError):
        return None


def write_lines(
    read: Iterable[Read], outcomes: "Iterable[Tagged | TeddyError]", options: StreamOptions
) -> bytes:
    """Return the answers to the lines; `outcomes` are those of their texts, in order."""
    remaining = iter(outcomes)
    answers = (
        as_line(each)
        if isinstance(each, StreamError)
        else _answer_line(each, next(remaining), options)
        for each in read
    )
    return b"".join(answers)


def _answer_line(line: StreamLine, outcome: "Tagged | TeddyError", options: StreamOptions) -> bytes:
    """Return the answer to one line: a StreamResult or a StreamError."""
    if isinstance(outcome, TeddyError):
        return as_line(refuse_line(outcome, line.id))
    identified = "" if line.id is None else f'"id":{json.dumps(line.id, ensure_ascii=False)},'
    fields = b"".join(_result_json(line.given, outcome, options))
    return b"{%b%b}\n" % (identified.encode(), fields)


def refuse_line(error: TeddyError | ValidationError, line_id: LineId | None = None) -> StreamError:
    """Return the answer to a line that failed with `error`."""
    return StreamError(id=line_id, error=_problem_of(error))


def end_with(error: TeddyError) -> bytes:
    """Return the last line of a stream that `error` ends."""
    return as_line(StreamError(error=_problem_of(error), final=True))


def _problem_of(error: TeddyError | ValidationError) -> LineProblem:
    """Return an error as a problem; a fault inside Teddy gets a general sentence."""
    if isinstance(error, ValidationError):
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        kind, status, detail = "invalid-request", 422, "; ".join(map(_describe, faults[:3]))
    else:
        status = next((STATUSES[kind] for kind in type(error).mro() if kind in STATUSES), 500)
        kind, detail = slug(type(error)), str(error)
        if status == 500:
            kind, detail = "internal-error", "Something went wrong here. The log has it."
    title = kind.replace("-", " ").capitalize()
    return LineProblem(type=f"urn:teddy:problem:{kind}", title=title, status=status, detail=detail)


def _describe(fault: Mapping[str, Any]) -> str:
    """Return where a line is wrong, and how; never the value."""
    listed = field_error(fault)
    return ": ".join(filter(None, (".".join(map(str, listed["loc"][1:])), listed["msg"])))


def as_line(answer: BaseModel) -> bytes:
    """Return an answer as a line of JSON, without the fields that are None."""
    return answer.__pydantic_serializer__.to_json(answer, exclude_none=True) + b"\n"


class LineSplitter:
    """Cut a body that arrives in pieces into lines, without newlines and blank lines.

    A line of more than `max_bytes` becomes None at once; the rest of it is dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._begun = bytearray()
        """The unfinished line. One buffer: a client may send it byte by byte."""
        self._skipping = False

    @property
    def n_bytes(self) -> int:
        """The size of the unfinished line."""
        return len(self._begun)

    def feed(self, piece: bytes) -> list[bytes | None]:
        """Return the lines that end in `piece`, or grow too long in it."""
        first, *others = piece.split(b"\n")
        lines = self._extend(first)
        for other in others:
            lines += self.end()
            lines += self._extend(other)
        return lines

    def end(self) -> list[bytes | None]:
        """Return the unfinished line, if any, at the end of the body."""
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
