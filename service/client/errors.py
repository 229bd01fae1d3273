"""What a client raises, and how an answer becomes an error.

ClientError
|-- UsageError          a URL, a key or an argument that cannot be sent
|-- TeddyServiceError   the service answered with a problem, or with what is no answer of Teddy's
|-- UnreachableError    no answer came: no server, a broken connection, or no time left
`-- StreamBrokenError   a stream ended before its texts did; one of the others is its cause
"""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TypeVar

import httpx

from teddy.service.client.results import kind_of

Answer = TypeVar("Answer")

MOST_DETAIL = 500


class ClientError(Exception):
    """The root."""


class UsageError(ClientError):
    """What was given to a client cannot be sent; the message never shows a key."""


class TeddyServiceError(ClientError):
    """A problem (RFC 9457), or whatever else was no answer, a proxy's error page for one.

    Attributes: HTTP's `status`; `kind`, the last part of the problem's type, such as `queue-full`,
    or `unexpected-answer`;
    `detail`, a sentence; `request_id`, by which the service's log knows the request;
    `retry_after_seconds`, if the service said it.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        request_id: str = "",
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(f"{status} {kind}: {detail}")
        self.status = status
        self.kind = kind
        self.detail = detail
        self.request_id = request_id
        self.retry_after_seconds = retry_after_seconds


class UnreachableError(ClientError):
    """No answer, though it was tried as often as the policy says; the last failure is the cause."""


class StreamBrokenError(ClientError):
    """A stream that cannot go on.

    Attributes: `answered`, the number of texts that have their results: so many need not be sent
    again.
    """

    def __init__(self, answered: int, reason: str) -> None:
        super().__init__(f"the stream broke after {answered} answers: {reason}")
        self.answered = answered


def read_problem(response: httpx.Response, retry_after_seconds: float | None) -> TeddyServiceError:
    """Return the problem of a read `response`, or what is known if it is not a problem."""
    status = response.status_code
    kind = phrase_of(status).lower().replace(" ", "-")
    detail = response.content[: 4 * MOST_DETAIL].decode(errors="replace")[:MOST_DETAIL]
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            found = response.json()
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, Mapping) and "type" in found:
            kind, detail = kind_of(found), str(found.get("detail", ""))
    return TeddyServiceError(
        status, kind, detail, response.headers.get("X-Request-ID", ""), retry_after_seconds
    )


def understood(read: Callable[[httpx.Response], Answer], response: httpx.Response) -> Answer:
    """Return what `read` makes of an answer. Raises TeddyServiceError if it is not Teddy's."""
    try:
        return read(response)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        kind = response.headers.get("Content-Type", "no type")
        raise TeddyServiceError(
            response.status_code,
            "unexpected-answer",
            f"This is no answer of Teddy's but {len(response.content)} bytes of {kind}.",
            response.headers.get("X-Request-ID", ""),
        ) from error


def phrase_of(status: int) -> str:
    """HTTP's words for a status, which may be one that HTTP does not know."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
