"""Read JSON bodies, and say of those that are none what they are instead."""

import codecs
import json
from collections.abc import Sequence
from typing import NoReturn, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError
from starlette.requests import Request

Model = TypeVar("Model", bound=BaseModel)
Fault = tuple[tuple[str | int, ...], str]
"""Where in the request, and what is wrong."""

PIECE_BYTES = 65536


def read_json(kind: type[Model], body: bytes) -> Model:
    """Return a body, or a line of one, as an instance of that class.

    A UTF-8 byte order mark before it is passed over. Raises ValidationError.
    """
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        return read_again(kind, body, error)


def read_again(kind: type[Model], body: bytes, error: ValidationError) -> Model:
    """Return a body that could not be read, if only a byte order mark was in the way.

    Raises ValidationError: `error`, or one that says what is not UTF-8.
    """
    if body.startswith(codecs.BOM_UTF8):
        try:
            return kind.model_validate_json(body[len(codecs.BOM_UTF8) :])
        except ValidationError as without_mark:
            error = without_mark
    if error.error_count() == 1 and error.errors(include_input=False)[0]["type"] == "json_invalid":
        encoding = json.detect_encoding(body[:4])
        if encoding.startswith(("utf-16", "utf-32")):
            refuse([((), f"must be UTF-8, and this is {encoding[:6].upper()}")])
        position = first_wrong_byte(body)
        if position is not None:
            byte = body[position]
            refuse([((), f"must be UTF-8: the byte 0x{byte:02x} at position {position} is not")])
    raise error


def first_wrong_byte(body: bytes) -> int | None:
    """Return the position of the first byte that is not UTF-8, from 0; never all at once a string.

    None if there is none.
    """
    view, start = memoryview(body), 0
    while start < len(body):
        end = start + PIECE_BYTES
        try:
            _, n_bytes = codecs.utf_8_decode(view[start:end], "strict", end >= len(body))
        except UnicodeDecodeError as error:
            return start + error.start
        start += n_bytes
    return None


def refuse_query(request: Request) -> None:
    """Raise ValidationError for parameters in the query, where the body has all options."""
    query = request.scope["query_string"].decode("latin-1")
    if names := dict(parse_qsl(query, keep_blank_values=True)):
        refuse([(("query", name), "is not taken here: put it into the body") for name in names])


def refuse(faults: Sequence[Fault]) -> NoReturn:
    """Raise ValidationError, as for a request of a wrong form."""
    raise ValidationError.from_exception_data(
        "request",
        [
            InitErrorDetails(
                type=PydanticCustomError("request", "{what}", {"what": what}),
                loc=place,
                input=None,
            )
            for place, what in faults
        ],
    )
