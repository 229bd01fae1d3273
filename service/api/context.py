"""What the endpoints work with, and what they know of the request before them."""

from asyncio import get_running_loop
from dataclasses import dataclass
from functools import partial

from starlette.requests import Request
from starlette.types import Scope

from teddy.service.errors import TimeoutHeaderError
from teddy.service.feedback.state import Feedback
from teddy.service.http.body import BodyLimits
from teddy.service.http.callers import Keys, Network, client_address
from teddy.service.inference.fair_queue import Ticket
from teddy.service.inference.models import Models
from teddy.service.inference.tagging import Tagging
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

TIMEOUT_HEADER = b"x-request-timeout"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One for each app."""

    settings: Settings
    metrics: Metrics
    models: Models
    tagging: Tagging
    keys: Keys
    body_limits: BodyLimits
    trusted_proxies: tuple[Network, ...]
    feedback: Feedback | None = None
    """Only where corrections are wanted."""

    def ticket(self, request: Request) -> Ticket:
        """What the queue must know of a request whose body has been read.

        Raises TimeoutHeaderError.
        """
        return Ticket(
            client=self.client(request.scope),
            deadline=get_running_loop().time() + self.seconds_for(request.scope),
            departure=partial(departure, request),
            span=request.scope["span"],
        )

    def seconds_for(self, scope: Scope) -> float:
        """The time that an answer may take. Raises TimeoutHeaderError."""
        most, asked = self.settings.request_timeout_seconds, asked_seconds(scope)
        return most if asked is None else min(asked, most)

    def client(self, scope: Scope) -> str:
        """Who asks, as far as the queue is fair between clients: a key, or without keys an address."""
        if self.keys.required:
            name: str = scope["caller"].name
            return name
        return client_address(scope, self.trusted_proxies)


async def departure(request: Request) -> None:
    """Return when the client has gone; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def service_of(request: Request) -> Service:
    """The service of the app that was asked."""
    service: Service = request.scope["app"].state.service
    return service


def asked_seconds(scope: Scope) -> float | None:
    """The time that a client gives for its answer: `X-Request-Timeout`, in seconds.

    Raises TimeoutHeaderError.
    """
    for name, value in scope["headers"]:
        if name == TIMEOUT_HEADER:
            try:
                seconds = float(value)
            except ValueError:
                seconds = 0.0
            if 0 < seconds < float("inf"):
                return seconds
            raise TimeoutHeaderError("X-Request-Timeout must be a number of seconds, such as 0.5.")
    return None
