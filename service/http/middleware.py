"""Surround every request: its id, its log line and metrics, its API key, and its endpoint.

This is pure ASGI and the outermost layer, so that every answer is counted.

AuthMiddleware calls the endpoints for entities itself; FastAPI describes them in OpenAPI and
answers what is not POST. FastAPI's stack would cost more than everything else besides the network:
1,980 requests of one word a second through it, 3,690 without.
"""

import re
from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Mapping
from random import getrandbits
from time import perf_counter
from types import TracebackType
from typing import Self

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teddy.service.errors import ShuttingDownError
from teddy.service.http.body import HELD, BodyBudget
from teddy.service.http.callers import Keys, Network, client_address
from teddy.service.http.paths import FORWARDED_PREFIX, forwarded_prefix
from teddy.service.http.security import with_security_headers
from teddy.service.observability.metrics import Metrics
from teddy.service.observability.tracing import TraceContext, Tracer
from teddy.service.process.control import Drain

SANE_ID = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")
UNKNOWN_ROUTE = "unknown"
CLIENT_CLOSED_REQUEST = 499  # for the log and the metrics alone: the client did not wait
DEADLINE = 504

OPEN = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/docs", "/openapi.json"})
"""What needs no key, besides the files of `/docs` and `/`: probes and scrapers have none, and these
hold no text. `/` is a page that asks for a key, or no more than a pointer to `/docs`."""
PAGE_FOLDER = "/page/"
OPEN_FOLDERS = ("/docs/assets/", PAGE_FOLDER)
Endpoint = Callable[[Request], Awaitable[Response]]
OnError = Callable[[Request, Exception], Response]
"""Make the answer to an exception."""

log = structlog.get_logger("service.access")


def request_id(scope: Scope) -> str:
    """Return the id of the request that is being answered."""
    found: str = scope["request_id"]
    return found


class RequestMiddleware:
    """Give each request its id, its trace, its log line and its place in the metrics.

    `on_failure` makes the answer to an exception that no other handler caught. `trusted_proxies`
    decide what is believed of the client's address.
    """

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        tracer: Tracer | None,
        on_failure: OnError,
        trusted_proxies: tuple[Network, ...] = (),
    ) -> None:
        self._trusted_proxies = trusted_proxies
        self._app = app
        self._metrics = metrics
        self._tracer = tracer
        self._on_failure = on_failure

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        trace = TraceContext.of(scope["headers"])
        scope["address"] = (
            client_address(scope, self._trusted_proxies)
            if self._trusted_proxies or not scope.get("client")
            else scope["client"][0]
        )
        if self._trusted_proxies:
            scope[FORWARDED_PREFIX] = forwarded_prefix(scope, self._trusted_proxies)
        with ResponseTracker(scope, send, trace, self._metrics) as tracker:
            scope["span"] = self._tracer.begin(trace, scope) if self._tracer else None
            try:
                await self._app(scope, receive, tracker.send)
            # Ray ends the work for a client that has left; uvicorn, what outlives the grace period
            except CancelledError:
                tracker.status = tracker.status or CLIENT_CLOSED_REQUEST
                raise
            except Exception as error:
                response = self._on_failure(Request(scope), error)
                if tracker.status is None:
                    await response(scope, receive, tracker.send)


class ResponseTracker:
    """The id of one request, and the status of its answer once that has begun.

    The request is counted and logged before the last bytes of the answer are sent, so every answer
    that a client has received is counted, even if this process is killed.
    """

    __slots__ = ("_metrics", "_scope", "_send", "_started", "_trace", "status")

    def __init__(self, scope: Scope, send: Send, trace: TraceContext, metrics: Metrics) -> None:
        self.status: int | None = None
        scope["request_id"] = _accepted_id(scope)
        self._scope: Scope | None = scope
        self._send: Callable[[Message], Awaitable[None]] = send
        self._trace = trace
        self._metrics = metrics
        self._started = perf_counter()

    def __enter__(self) -> Self:
        self._metrics.in_flight += 1
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    async def send(self, message: Message) -> None:
        """Pass a message on; the answer's head gets the id and the security headers."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ())]
            if self._scope is not None:
                headers.append((b"x-request-id", self._scope["request_id"].encode("ascii")))
            message["headers"] = with_security_headers(headers)
        elif not message.get("more_body", False):
            self._end()
        await self._send(message)

    def _end(self) -> None:
        """Count and log the request, once."""
        if (scope := self._scope) is None:
            return
        self._scope = None
        seconds, status = perf_counter() - self._started, self.status or 500
        declared = getattr(scope.get("route"), "path", UNKNOWN_ROUTE)  # by FastAPI
        route: str = scope.get("path_template", declared)
        words, metrics, span = scope.get("words", 0), self._metrics, scope.get("span")
        if span is not None:
            attributes: dict[str, str | int | float] = {"teddy.words": words}
            if (model := scope.get("model")) is not None:
                attributes["teddy.model.name"] = model.name
                attributes["teddy.model.version"] = model.version
            span.end(status, None if route == UNKNOWN_ROUTE else route, attributes)
        metrics.in_flight -= 1
        gave_up = status == DEADLINE and scope.get("impatient")
        counted = CLIENT_CLOSED_REQUEST if gave_up else status
        metrics.request(scope["method"], route, counted, seconds, words)
        if problem := scope.get("problem"):
            metrics.refused.labels(problem).inc()
        caller = scope.get("caller")
        log.info(
            "request",
            method=scope["method"],
            route=route,
            status=status,
            seconds=round(seconds, 6),
            words=words,
            caller=None if caller is None else caller.name,
            address=scope["address"],
            reason=scope.get("reason", problem),
            request_id=scope["request_id"],
            trace_id=self._trace.trace_id,
            span_id=self._trace.span_id,
        )


def _accepted_id(scope: Scope) -> str:
    """Return the client's `X-Request-ID` if it is short and plain, else a new id."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return str(value, "ascii")
    return f"{getrandbits(128):032x}"


class AuthMiddleware:
    """Check keys, refuse requests after the drain has closed, and call the endpoint.

    `endpoints` are those of POST, by path; all other requests go to `app`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        endpoints: Mapping[str, Endpoint],
        keys: Keys,
        drain: Drain,
        budget: BodyBudget,
        on_error: OnError,
    ) -> None:
        self._app = app
        self._endpoints = endpoints
        self._keys = keys
        self._drain = drain
        self._budget = budget
        self._on_error = on_error

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        try:
            response = await self._respond(Request(scope, receive))
            await response(scope, receive, send)
        finally:
            if HELD in scope:
                self._budget.release(scope)

    async def _respond(self, request: Request) -> ASGIApp:
        """Return the answer, or the app that gives it."""
        scope = request.scope
        path: str = scope["path"]
        root: str = scope.get("root_path", "")  # which a proxy or a mount has put before it
        if root and path.startswith(f"{root}/"):
            path = path.removeprefix(root)
        try:
            if path not in OPEN and not path.startswith(OPEN_FOLDERS):
                scope["caller"] = self._keys.authenticate(scope["headers"])
                if self._drain.closed:
                    raise ShuttingDownError("Shutting down.", retry_after_seconds=1)
            endpoint = self._endpoints.get(path)
            if endpoint is None or scope["method"] != "POST":
                return self._app
            scope["path_template"] = path
            return await endpoint(request)
        except Exception as error:
            return self._on_error(request, error)
