"""What a request's head says, from its bytes; and the answer that refuses it."""

import re
from collections.abc import Iterable
from functools import lru_cache

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from teddy.service.http.problems import RETRY_SECONDS, Refusal, problem_body
from teddy.service.http.security import with_security_headers

PROBE = re.compile(rb"(?:GET|HEAD) /(?:health/|metrics[ ?])")
"""How a request of a probe or a scraper begins."""
H2C_OFFER = re.compile(rb"(?i)\r\nupgrade:(?=[ \t]*h2c[ \t]*\r\n)")
is_host = lru_cache(64)(re.compile(rb"[A-Za-z0-9._~!$&'()*+;=:%\[\]-]*").fullmatch)
"""Whether a Host is a name or an address, maybe with a port; it may be empty."""


def head_bytes(url: bytes, headers: Iterable[tuple[bytes, bytes]]) -> int:
    """Return the size of a head, without the few bytes of method and version."""
    # ": " and the line's end
    return len(url) + sum(len(name) + len(value) + 4 for name, value in headers)


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether a head announces a body."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in headers
    )


def refusal_answer(
    refusal: Refusal, request_id: str, default_headers: Iterable[tuple[bytes, bytes]]
) -> bytes:
    """Return the whole answer of a refusal, which ends its connection."""
    body = problem_body(refusal.kind, refusal.status, refusal.detail, request_id)
    headers = [each for each in default_headers if each[0] != b"connection"]
    headers += [
        (b"connection", b"close"),
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode()),
    ]
    if refusal.retry:
        headers.append((b"retry-after", b"%d" % RETRY_SECONDS))
    lines = [name + b": " + value + b"\r\n" for name, value in with_security_headers(headers)]
    return b"".join((STATUS_LINE[refusal.status], *lines, b"\r\n", body))


def without_offer(data: bytes) -> bytes:
    """Remove an offer to upgrade to HTTP/2, which Java's client makes, from a request's head.

    The parser drops the body behind an offer, even if it is declined. (A head that arrives in
    several pieces is not searched.)
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return H2C_OFFER.sub(b"\r\nX-Offered:", head + end) + rest
