"""Around every request: its id, its line in the log, its place in the metrics, and a last catch.

Pure ASGI, outside everything else, so that nothing is answered unseen.
"""

import re
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from random import getrandbits
from time import perf_counter

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teddy.service.metrics import Metrics
from teddy.service.models import ServedModel
from teddy.service.security import with_security_headers
from teddy.service.tracing import TraceContext, Tracer

SANE_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
UNKNOWN_ROUTE = "unknown"
CLIENT_CLOSED_REQUEST = 499  # nobody reads it; it is for the log and the metrics

OnFailure = Callable[[Request, Exception], Response]


def request_id(scope: Scope) -> str:
    """The id of the request that is being answered."""
    found: str = scope["request_id"]
    return found


class Access:
    """Middleware for HTTP alone; `on_failure` makes the answer to an exception that nobody else caught."""

    def __init__(self, app: ASGIApp, metrics: Metrics, tracer: Tracer, on_failure: OnFailure) -> None:
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._on_failure = on_failure
        self._log = structlog.get_logger("service.access")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        started = perf_counter()
        context = TraceContext.of(scope["headers"])
        exchange = Exchange(scope, send, lambda status: self._record(scope, context, status, perf_counter() - started))
        scope["span"] = self._tracer.begin(context, scope)
        self._metrics.in_flight += 1
        try:
            await self._app(scope, receive, exchange.send)
        except CancelledError:  # Ray ends the work for a client that has left; uvicorn, what outlives the grace period
            exchange.status = exchange.status or CLIENT_CLOSED_REQUEST
            raise
        except Exception as error:
            response = self._on_failure(Request(scope), error)
            if exchange.status is None:
                await response(scope, receive, exchange.send)
        finally:
            exchange.end()

    def _record(self, scope: Scope, context: TraceContext, status: int, seconds: float) -> None:
        route, words = route_of(scope), scope.get("words", 0)
        if scope["span"] is not None:
            known = None if route == UNKNOWN_ROUTE else route
            scope["span"].end(status, known, {"teddy.words": words} | model_of(scope))
        self._metrics.in_flight -= 1
        self._metrics.request(scope["method"], route, status, seconds, words)
        if problem := scope.get("problem"):
            self._metrics.refused.labels(problem).inc()
        self._log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 6),
            words=words,
            request_id=scope["request_id"],
            trace_id=context.trace_id,
            span_id=context.span_id,
        )


class Exchange:
    """One request's id, and the status of its answer once that has begun.

    `on_end` is called once, with the status, before the answer's last bytes go out: so what a client has been answered
    has been counted, whenever this process is killed.
    """

    __slots__ = ("_id", "_on_end", "_send", "status")

    def __init__(self, scope: Scope, send: Send, on_end: Callable[[int], None]) -> None:
        self.status: int | None = None
        self._id = scope["request_id"] = accepted_id(scope)
        self._send: Callable[[Message], Awaitable[None]] = send
        self._on_end: Callable[[int], None] | None = on_end

    async def send(self, message: Message) -> None:
        """Pass a message on; the answer's head gets the id and what browsers are to be told."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = with_security_headers(
                [*message.get("headers", ()), (b"x-request-id", self._id.encode("ascii"))]
            )
        elif not message.get("more_body", False):
            self.end()
        await self._send(message)

    def end(self) -> None:
        """The answer has come to its end, or will not."""
        if self._on_end is not None:
            on_end, self._on_end = self._on_end, None
            on_end(self.status or 500)


def route_of(scope: Scope) -> str:
    """The template of the path that was asked for, or one word for all that are not known."""
    return str(scope.get("path_template") or getattr(scope.get("route"), "path", UNKNOWN_ROUTE))


def model_of(scope: Scope) -> dict[str, str]:
    """The model that answered, as attributes of a span."""
    model: ServedModel | None = scope.get("model")
    return {} if model is None else {"teddy.model.name": model.name, "teddy.model.version": model.version}


def accepted_id(scope: Scope) -> str:
    """The client's `X-Request-ID` if it is short and plain, else a new one. It is told apart by it, and no secret."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return f"{getrandbits(128):032x}"
