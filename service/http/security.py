"""What browsers are told: how to treat our answers, and whose pages may call us.

The headers are those that OWASP's cheat sheet on REST security asks of an API.
`Strict-Transport-Security` is not among them: it belongs to whoever ends TLS, and browsers ignore
it over plain HTTP.
"""

import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256

from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from teddy.service.errors import SettingsError

RawHeader = tuple[bytes, bytes]

HEADERS: tuple[RawHeader, ...] = (
    (b"cache-control", b"no-store"),  # an answer quotes the text that was sent
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
)
"""For every answer that has no such header of its own."""
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
CORS_ANSWER_HEADERS = ("Retry-After", "X-Request-ID")


def with_security_headers(headers: Sequence[RawHeader]) -> list[RawHeader]:
    """An answer's headers and those of `HEADERS` that it has not, all named in lower case."""
    present = NAMES.intersection(name for name, _ in headers)
    return [
        *headers,
        *(HEADERS if not present else (each for each in HEADERS if each[0] not in present)),
    ]


def page_policy(page: bytes) -> str:
    """The Content-Security-Policy for a page of Swagger UI: our files, of scripts in the page just these.

    The pictures are in the style sheet, hence `data:`. The site that Swagger UI would ask to check
    us is out of reach.
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


def with_cors(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """`app`, to be called by pages of these origins too; without any, `app` itself.

    Never with credentials: keys travel in headers that a page must set itself, so no page can use
    those of another. Belongs outside whatever asks for keys, since browsers ask for leave without
    one.
    """
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=origins,
        allow_methods=CORS_METHODS,
        allow_headers=CORS_REQUEST_HEADERS,
        expose_headers=CORS_ANSWER_HEADERS,
    )
