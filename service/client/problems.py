"""Answers that are no success, as errors."""

from collections.abc import Mapping
from http import HTTPStatus

import httpx

from teddy.service.client.errors import TeddyServiceError
from teddy.service.client.results import kind_of

MOST_DETAIL = 500


def read_problem(response: httpx.Response, retry_after_seconds: float | None) -> TeddyServiceError:
    """The problem that `response`, which has been read, tells; what can be known of it, if that is somebody's page."""
    status = response.status_code
    kind, detail = phrase_of(status).lower().replace(" ", "-"), response.text[:MOST_DETAIL]
    if response.headers.get("Content-Type", "").startswith("application/problem+json"):
        try:
            found = response.json()
        except ValueError:
            found = None
        if isinstance(found, Mapping) and "type" in found:
            kind, detail = kind_of(found), str(found.get("detail", ""))
    return TeddyServiceError(status, kind, detail, response.headers.get("X-Request-ID", ""), retry_after_seconds)


def phrase_of(status: int) -> str:
    """HTTP's words for a status, which may be one that HTTP does not know."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"status {status}"
