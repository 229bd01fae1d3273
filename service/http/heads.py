"""What a request's head says, from its bytes."""

import re
from collections.abc import Iterable
from functools import lru_cache

from teddy.service.http.problems import HOST_REFUSED, HTTP_VERSION, TRANSFER_ENCODING, Refusal

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


def unfit(version: str, headers: Iterable[tuple[bytes, bytes]]) -> Refusal | None:
    """Return why this is no request to this server, if so. HTTP/1.0 needs no Host."""
    if version not in ("1.1", "1.0"):
        return HTTP_VERSION
    n_hosts = 0
    for name, value in headers:
        if name == b"host":
            n_hosts += 1
            if n_hosts > 1 or not is_host(value):
                return HOST_REFUSED
        elif name == b"transfer-encoding" and value.lower() != b"chunked":
            return TRANSFER_ENCODING
    return None if n_hosts or version == "1.0" else HOST_REFUSED


def without_offer(data: bytes) -> bytes:
    """Remove an offer to upgrade to HTTP/2, which Java's client makes, from a request's head.

    The parser drops the body behind an offer, even if it is declined. (A head that arrives in
    several pieces is not searched.)
    """
    head, end, rest = data.partition(b"\r\n\r\n")
    return H2C_OFFER.sub(b"\r\nX-Offered:", head + end) + rest
