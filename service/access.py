"""Around every request: its id, its line in the log, its place in the metrics, and a last catch.

Pure ASGI, outside everything else, so that nothing is answered unseen.
"""

import re
from collections.abc import Awaitable, Callable
from time import perf_counter
from uuid import uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.metrics import Metrics

SANE_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
UNKNOWN_ROUTE = "unknown"

OnFailure = Callable[[Request, Exception], Response]


def request_id(scope: Scope) -> str:
    """The id of the request that is being answered."""
    found: str = scope["request_id"]
    return found


class Access:
    """Middleware; `on_failure` makes the answer to an exception that nobody else caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, on_failure: OnFailure) -> None:
        self._app = app
        self._metrics = metrics
        self._on_failure = on_failure
        self._log = structlog.get_logger("service.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        exchange = Exchange(scope, send)
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, exchange.send)
        except Exception as error:
            response = self._on_failure(Request(scope), error)
            if exchange.status is None:
                await response(scope, receive, exchange.send)
        finally:
            self._metrics.in_flight.dec()
            self._record(scope, exchange.status or 500, perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)
        self._metrics.request(scope["method"], route, status, seconds)
        if problem := scope.get("problem"):
            self._metrics.refused.labels(problem).inc()
        self._log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 6),
            words=scope.get("words", 0),
            request_id=scope["request_id"],
        )


class Exchange:
    """One request's id, and the status of its answer once that has begun."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self.status: int | None = None
        self._id = scope["request_id"] = accepted_id(scope)
        self._send: Callable[[Message], Awaitable[None]] = send

    async def send(self, message: Message) -> None:
        """Pass a message on; the answer's head gets the id."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-ID"] = self._id
        await self._send(message)


def accepted_id(scope: Scope) -> str:
    """The client's `X-Request-ID` if it is short and plain, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return uuid4().hex
