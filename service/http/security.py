"""Security headers for browsers, and which web pages may call the service.

The headers are those that OWASP's cheat sheet on REST security asks of an API.
`Strict-Transport-Security` is not among them: it belongs to the proxy that ends TLS, and browsers
ignore it over plain HTTP.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from teddy.service.errors import SettingsError

RawHeader = tuple[bytes, bytes]
OnRefused = Callable[[Request, str], Response]

HEADERS: tuple[RawHeader, ...] = (
    (b"cache-control", b"no-store"),  # an answer quotes the text that was sent
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""For every answer that does not set the same header itself."""
NAMES = frozenset(name for name, _ in HEADERS)

INLINE_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
PAGE_POLICY = (
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; "
    "script-src 'self' {hashes}; style-src 'self'; img-src 'self' data:; connect-src 'self'"
)

ORIGIN = re.compile(r"\*|https?://[^/\s?#@,]+")
CORS_METHODS = ("GET", "POST")
CORS_REQUEST_HEADERS = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "X-API-Key",
    "X-Request-ID",
    "X-Request-Timeout",
    "traceparent",
    "tracestate",
)
CORS_ANSWER_HEADERS = ("Retry-After", "X-Request-ID", "X-Teddy-Model", "X-Teddy-Model-Version")


def with_security_headers(headers: Sequence[RawHeader]) -> list[RawHeader]:
    """Return an answer's headers with the missing ones of `HEADERS`, all named in lower case."""
    present = NAMES.intersection(name for name, _ in headers)
    return [
        *headers,
        *(HEADERS if not present else (each for each in HEADERS if each[0] not in present)),
    ]


def page_policy(page: bytes) -> str:
    """Return the Content-Security-Policy of a Swagger UI page: our files, and only its own scripts.

    Its images are in the style sheet, hence `data:`. The validator site that Swagger UI would
    contact is blocked.
    """
    digests = (
        b64encode(sha256(script).digest()).decode() for script in INLINE_SCRIPT.findall(page)
    )
    return PAGE_POLICY.format(hashes=" ".join(f"'sha256-{digest}'" for digest in digests))


def check_origins(origins: Sequence[str]) -> None:
    """Raise SettingsError for a `TEDDY_CORS_ORIGINS` that no browser would ever send."""
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise SettingsError(
                f"TEDDY_CORS_ORIGINS: {origin!r} is not an origin, such as https://example.com"
            )


class Cors(CORSMiddleware):
    """Starlette's, with answers of our own to a preflight request that it refuses."""

    def __init__(self, app: ASGIApp, on_refused: OnRefused, **options: Any) -> None:
        super().__init__(app, **options)
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight request, and pass on all others, as an ASGI app does."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        asks = "origin" in headers and "access-control-request-method" in headers
        if asks and scope["method"] == "OPTIONS":
            answer = self.preflight_response(Headers(scope=scope))
            if answer.status_code != HTTPStatus.OK:
                answer = self._on_refused(Request(scope), bytes(answer.body).decode())
                answer.headers["Vary"] = "Origin"
            await answer(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def with_cors(app: ASGIApp, origins: Sequence[str], on_refused: OnRefused) -> ASGIApp:
    """Return `app`, callable by pages of these origins too; without any, `app` itself.

    Credentials are never allowed: keys travel in headers that a page must set itself, so no page
    can use the key of another. It belongs outside the check for keys, since browsers send the
    preflight request without one. `on_refused` makes the answer to one that gets no leave.
    """
    if not origins:
        return app
    return Cors(
        app,
        on_refused,
        allow_origins=origins,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_REQUEST_HEADERS,
        expose_headers=CORS_ANSWER_HEADERS,
    )
