"""What the endpoints share, and what they derive from a request before they answer it."""

import math
from asyncio import Lock, get_running_loop
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

from starlette.requests import Request
from starlette.types import Scope

from teddy.service.errors import TimeoutHeaderError
from teddy.service.feedback.state import Feedback
from teddy.service.http.body import BodyLimits
from teddy.service.http.callers import Keys, Network
from teddy.service.inference.fair_queue import IMPATIENT_SECONDS, RequestContext
from teddy.service.inference.models import Models
from teddy.service.inference.tagging import Tagging
from teddy.service.observability.metrics import Metrics
from teddy.service.redaction.secret import Secret
from teddy.service.settings import Settings

TIMEOUT_HEADER = b"x-request-timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The parts that all requests to one app share."""

    settings: Settings
    metrics: Metrics
    models: Models
    tagging: Tagging
    keys: Keys
    body_limits: BodyLimits
    trusted_proxies: tuple[Network, ...]
    feedback: Feedback | None = None
    """None where corrections are off."""
    secret: Secret | None = None
    """The key of redaction; None where there is none."""
    redact_thresholds: Mapping[str, float] = field(default_factory=dict)
    """By label, for redaction, if a request names none."""


class Scrapes:
    """The metrics as they were last scraped, and when that was begun on the event loop's clock."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.begun = -math.inf
        self.last = b""


def service_of(request: Request) -> Service:
    """Return the service of the app that was asked."""
    service: Service = request.app.state.service
    return service


def make_context(
    request: Request, *, seconds: float | None = None, watched: bool = True
) -> RequestContext:
    """Return the client, deadline and trace of a request, for the queue.

    `seconds` is the time for an answer, by default what the request's headers grant. `watched`
    means that a client that leaves ends the request; for that, the body must have been read.
    Raises TimeoutHeaderError.
    """
    scope = request.scope
    service: Service = request.app.state.service
    client = scope["caller"].name if service.keys.required else scope["address"]
    if seconds is None:
        seconds = _seconds_for(scope, service.settings.request_timeout_seconds)
    return RequestContext(
        client=client,
        deadline=get_running_loop().time() + seconds,
        departure=partial(departure, request) if watched else None,
        span=scope["span"] if watched else None,
    )


def seconds_for(request: Request) -> float:
    """Return the time that an answer may take. Raises TimeoutHeaderError."""
    return _seconds_for(request.scope, service_of(request).settings.request_timeout_seconds)


def _seconds_for(scope: Scope, most_seconds: float) -> float:
    for name, value in scope["headers"]:
        if name == TIMEOUT_HEADER:
            try:
                seconds = float(value)
            except ValueError:
                seconds = 0.0
            if 0 < seconds < float("inf"):
                scope["impatient"] = seconds < IMPATIENT_SECONDS
                return min(seconds, most_seconds)
            raise TimeoutHeaderError("X-Request-Timeout must be a number of seconds, such as 0.5.")
    return most_seconds


async def departure(request: Request) -> None:
    """Return when the client has gone; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
