"""What a client raises, and how an answer becomes an error.

ClientError
|-- TeddyServiceError   the service answered with a problem
|-- UnreachableError    no answer came: no server, a broken connection, or no time left
`-- StreamBrokenError   a stream ended before its texts did; one of the others is its cause
"""

from collections.abc import Mapping
from http import HTTPStatus

import httpx

from teddy.service.client.results import kind_of

MOST_DETAIL = 500


class ClientError(Exception):
    """The root."""


class TeddyServiceError(ClientError):
    """A problem (RFC 9457), or whatever else was no answer, a proxy's error page for one.

    Attributes: HTTP's `status`; `kind`, the last part of the problem's type, such as `queue-full`;
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
    kind, detail = phrase_of(status).lower().replace(" ", "-"), response.text[:MOST_DETAIL]
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            found = response.json()
        except ValueError:
            found = None
        if isinstance(found, Mapping) and "type" in found:
            kind, detail = kind_of(found), str(found.get("detail", ""))
    return TeddyServiceError(
        status, kind, detail, response.headers.get("X-Request-ID", ""), retry_after_seconds
    )


def phrase_of(status: int) -> str:
    """HTTP's words for a status, which may be one that HTTP does not know."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
