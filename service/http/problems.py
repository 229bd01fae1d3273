"""Turn errors into answers: `application/problem+json` (RFC 9457), by one table of statuses.

A client gets a message for what it can mend. For a fault inside Teddy it gets a general sentence;
the log has the cause.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from teddy.model.errors import MissingExtraError, TeddyError, TextError
from teddy.service import errors
from teddy.service.given import FIELD_KINDS
from teddy.service.http.callers import CHALLENGE
from teddy.service.http.middleware import CLIENT_CLOSED_REQUEST, request_id
from teddy.service.http.paths import methods_of, where_else
from teddy.service.redaction.formats import DocumentError
from teddy.service.redaction.secret import SecretError

MEDIA_TYPE = "application/problem+json"
SURROGATE_FAULT = re.compile("hex escape|surrogate|unicode code point")
"""What the JSON parser reports for a lone surrogate; it stops before the field is known."""
NO_SURROGATES = "a lone surrogate, half of a UTF-16 pair, is no text"
MOST_FIELD_ERRORS = 16
LONGEST_NAME = 64

STATUSES: Mapping[type[TeddyError], int] = {
    DocumentError: 422,
    MissingExtraError: 422,
    SecretError: 422,
    TextError: 422,
    errors.CompressionError: 400,
    errors.TimeoutHeaderError: 400,
    errors.UnauthorizedError: 401,
    errors.ForbiddenError: 403,
    errors.FeedbackOffError: 404,
    errors.UnknownAnswerError: 404,
    errors.UnknownModelError: 404,
    errors.BodyTimeoutError: 408,
    errors.NotReloadableError: 409,
    errors.BodyTooLargeError: 413,
    errors.TextTooLongError: 413,
    errors.TooManyTextsError: 413,
    errors.EncodingError: 415,
    errors.MediaTypeError: 415,
    errors.ModelRefusedError: 422,
    errors.UnknownLabelError: 422,
    errors.ClientShareError: 429,
    errors.TooManyGuessesError: 429,
    errors.ClientDepartedError: CLIENT_CLOSED_REQUEST,
    errors.InferenceError: 500,
    errors.CorrectionsUnwritableError: 503,
    errors.NotReadyError: 503,
    errors.QueueFullError: 503,
    errors.ShuttingDownError: 503,
    errors.DeadlineError: 504,
    errors.CorrectionsFullError: 507,
}

UNREAD = (
    errors.BodyTooLargeError,
    errors.BodyTimeoutError,
    errors.UnauthorizedError,
    errors.ShuttingDownError,
)
"""After these errors the rest of the body is not read: the connection ends with the answer."""

INVALID, INTERNAL, PREFLIGHT = "invalid-request", "internal-error", "preflight"

log = structlog.get_logger("service.problems")


def add_problem_handlers(app: FastAPI) -> None:
    """Let `app` answer every error as a problem."""
    for kind in (TeddyError, ValidationError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, on_error)


def answer_to(request: Request, error: Exception) -> Response:
    """Return the problem that answers any error."""
    if isinstance(error, TeddyError):
        return expected(request, error)
    if isinstance(error, ValidationError | RequestValidationError):
        return invalid(request, error)
    if isinstance(error, HTTPException):
        return of_http(request, error)
    return failure(request, error)


async def on_error(request: Request, error: Exception) -> Response:
    """Return the same, as FastAPI calls it."""
    return answer_to(request, error)


def expected(request: Request, error: TeddyError) -> Response:
    """Answer a TeddyError with its message, or a general sentence for a fault inside Teddy."""
    status = next((STATUSES[kind] for kind in type(error).mro() if kind in STATUSES), 500)
    if status == 500:
        return failure(request, error)
    retry_after = getattr(error, "retry_after_seconds", None)
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    if isinstance(error, errors.UnauthorizedError):
        headers["WWW-Authenticate"] = CHALLENGE
        request.scope["reason"] = error.reason
    if isinstance(error, errors.EncodingError):
        headers["Accept-Encoding"] = "gzip, zstd"
    if isinstance(error, UNREAD):
        headers["Connection"] = "close"
    return problem(request, slug(type(error)), status, str(error), headers=headers)


def invalid(request: Request, error: ValidationError | RequestValidationError) -> Response:
    """Answer a body that is not JSON or has wrong fields; the first faults are listed."""
    faults: Sequence[Any] = (
        error.errors()
        if isinstance(error, RequestValidationError)
        else error.errors(include_url=False, include_context=False, include_input=False)
    )
    listed = [field_error(fault) for fault in faults[:MOST_FIELD_ERRORS]]
    detail = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in listed[:3])
    return problem(request, INVALID, 422, detail, errors=listed)


def of_http(request: Request, error: HTTPException) -> Response:
    """Answer what the router refuses: an unknown path, or a method that a path does not have."""
    phrase = HTTPStatus(error.status_code).phrase
    kind, detail, headers = phrase.lower().replace(" ", "-"), str(error.detail), error.headers
    methods = ", ".join(methods_of(request))
    if request.method == "OPTIONS" and methods:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers={"Allow": methods})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers = {"Allow": methods}
        detail = f"The methods of this path are {methods}."
    elif detail == phrase:
        detail = where_else(request)
    return problem(request, kind, error.status_code, detail, headers=headers)


def of_preflight(request: Request, detail: str) -> Response:
    """Answer a browser's preflight request that gets no leave."""
    return problem(request, PREFLIGHT, 400, f"{detail}: see TEDDY_CORS_ORIGINS.")


def failure(request: Request, error: Exception) -> Response:
    """Answer a fault inside Teddy with a general sentence, and log the cause."""
    log.error("request failed", request_id=request_id(request.scope), exc_info=error)
    return problem(
        request, INTERNAL, 500, "Something went wrong here. The log has it under this request_id."
    )


def problem(
    request: Request,
    kind: str,
    status: int,
    detail: str,
    *,
    errors: Iterable[Mapping[str, Any]] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    """Return an answer that is a problem of a `kind` in kebab case."""
    request.scope["problem"] = kind
    body = problem_body(kind, status, detail, request_id(request.scope), errors)
    return Response(body, status, headers, MEDIA_TYPE)


def problem_body(
    kind: str,
    status: int,
    detail: str,
    request_id: str,
    errors: Iterable[Mapping[str, Any]] = (),
) -> bytes:
    """Return a problem as JSON in ASCII, so that any text can be in it."""
    content: dict[str, Any] = {
        "type": f"urn:teddy:problem:{kind}",
        "title": kind.replace("-", " ").capitalize(),
        "status": status,
        "detail": detail,
        "request_id": request_id,
    }
    if listed := list(errors):
        content["errors"] = listed
    return json.dumps(content).encode("ascii")


def field_error(fault: Mapping[str, Any]) -> dict[str, Any]:
    """Return pydantic's report of a fault, without the value.

    A field's name comes from the client, so it is shortened.
    """
    named = (part for part in fault["loc"] if part not in FIELD_KINDS)
    place = [part if isinstance(part, int) else part[:LONGEST_NAME] for part in named]
    if not place or place[0] not in ("body", "query"):
        place.insert(0, "body")
    said = fault["msg"]
    return {
        "loc": place,
        "msg": f"{said} ({NO_SURROGATES})" if SURROGATE_FAULT.search(said) else said,
    }


def slug(kind: type[Exception]) -> str:
    """Return the kind of an error class: `queue-full` for `QueueFullError`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__.removesuffix("Error")).lower()


KINDS = (
    *(slug(kind) for kind, status in STATUSES.items() if status != 500),
    INVALID,
    INTERNAL,
    PREFLIGHT,
)
"""Every kind of problem that the service itself has; the router's come on top."""

RETRY_SECONDS = 5
MOST_PIPELINED = 32
"""Requests of one connection that may wait for an earlier one's answer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A problem that answers a connection before a request reaches the app."""

    kind: str
    status: int
    detail: str
    retry: bool = False


TOO_MANY_CONNECTIONS = Refusal(
    "too-many-connections", 503, "As many connections are open as may be.", retry=True
)
ADDRESS_SHARE = Refusal(
    "address-share",
    429,
    "This address has as many connections open as one may have. Use them again, or close some.",
    retry=True,
)
HEADER_TOO_LARGE = Refusal("header-too-large", 431, "The request's head is too large.")
HEADER_TIMEOUT = Refusal("header-timeout", 408, "The request's head did not come in time.")
MALFORMED = Refusal("malformed-request", 400, "This is not HTTP/1.1.")
TOO_MANY_PIPELINED = Refusal(
    "too-many-pipelined",
    429,
    f"More than {MOST_PIPELINED} requests wait on this connection.",
    retry=True,
)
UPGRADE_WITH_BODY = Refusal(
    "upgrade-with-body",
    400,
    "Only HTTP/1.1 is spoken here: send a body without the offer of an 'Upgrade'.",
)
HOST_REFUSED = Refusal("host", 400, "A request has one header 'Host', with a name or an address.")
TRANSFER_ENCODING = Refusal(
    "transfer-encoding",
    501,
    "The only Transfer-Encoding here is 'chunked': compress with 'Content-Encoding'.",
)
HTTP_VERSION = Refusal("http-version", 505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
REFUSALS = (
    TOO_MANY_CONNECTIONS,
    ADDRESS_SHARE,
    HEADER_TOO_LARGE,
    HEADER_TIMEOUT,
    MALFORMED,
    TOO_MANY_PIPELINED,
    UPGRADE_WITH_BODY,
    HOST_REFUSED,
    TRANSFER_ENCODING,
    HTTP_VERSION,
)
"""Every problem that answers before a request reaches the app."""
ANSWER_NOT_READ = "answer-not-read"
REASONS = (*KINDS, *(refusal.kind for refusal in REFUSALS), ANSWER_NOT_READ)
"""Every reason for which a request is refused or a connection cut."""
