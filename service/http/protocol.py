"""HTTP as uvicorn speaks it, with limits on what comes before a request reaches the app.

    a connection too many, while none is idle            503 too-many-connections
    one too many of its address                          429 address-share
    a head that is too large, or bytes that lead nowhere 431 header-too-large
    a head that does not come to its end                 408 header-timeout
    what is no HTTP                                      400 malformed-request
    no Host, several, or one that is none                400 host
    a body in another transfer coding than chunked       501 transfer-encoding
    another version than HTTP/1.0 and HTTP/1.1           505 http-version
    too many requests ahead of their answers             429 too-many-pipelined
    a body with an offer to upgrade, which the parser
    takes for the start of the other protocol            400 upgrade-with-body
    an answer that the client does not read              cut: answer-not-read

Each refusal is a problem (RFC 9457) and its connection's last answer, after those to earlier
requests. A connection too many may still ask once what probes ask: the service is not dead.

Uvicorn's `HttpToolsProtocol` is meant to be used, not to be derived from. Its public settings
cannot replace this: a limit on a head's bytes only with h11, none on its time, refusals as plain
text. Granian 2.8 (in Rust) was tried: it refuses without a problem, closes a slow head without an
answer, has not closed a connection without a request after 12 s, nor replaced a stopped worker
after 50 s. tests/service/test_uvicorn_parts.py names what is used here, and
tests/service/test_protocol.py tells whether a new release still fits.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import uuid4

import httptools
import structlog
from uvicorn.protocols.http.httptools_impl import (
    HttpToolsProtocol,
    RequestResponseCycle,
)

from teddy.service.http.callers import UNKNOWN
from teddy.service.http.connection import (
    LINGER_SECONDS,
    Addresses,
    ConnectionLimits,
    LingeringTransport,
    depart,
    probe_when_silent,
)
from teddy.service.http.heads import (
    PROBE,
    has_body,
    head_bytes,
    is_host,
    refusal_answer,
    without_offer,
)
from teddy.service.http.problems import (
    ADDRESS_SHARE,
    ANSWER_NOT_READ,
    HEADER_TIMEOUT,
    HEADER_TOO_LARGE,
    HOST_REFUSED,
    HTTP_VERSION,
    MALFORMED,
    MOST_PIPELINED,
    TOO_MANY_CONNECTIONS,
    TOO_MANY_PIPELINED,
    TRANSFER_ENCODING,
    UPGRADE_WITH_BODY,
    Refusal,
)

if TYPE_CHECKING:
    from teddy.service.settings import Settings

log = structlog.get_logger("service.protocol")


class RefusedError(Exception):
    """Stops the parser at a request that is refused although its syntax is right."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


class Protocol(HttpToolsProtocol):
    """One connection. `make_protocol` makes a subclass with the limits."""

    limits: ClassVar[ConnectionLimits]
    on_refused: ClassVar[Callable[[str], None]]
    turned_away: ClassVar[dict["Protocol", None]]
    """Excess connections that are about to be closed, in order; they do not count as open."""
    idle: ClassVar[dict["Protocol", None]]
    """Connections whose requests are all answered, the longest idle first."""
    addresses: ClassVar[Addresses]

    _lingering: LingeringTransport
    _timer: asyncio.TimerHandle | None = None
    """Runs out when a head does not arrive; None while a request is being answered or the
    connection is idle."""
    _idle_bytes = 0
    """Bytes received since the last useful ones, not counting those in the same packet."""
    _running: RequestResponseCycle | None = None
    """The request that the app works on or answered last; `cycle` is the one that arrived last."""
    _refusal: Refusal | None = None
    """The client gets this once earlier requests are answered; its later bytes are dropped."""
    _has_entered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, or turn away an excess connection."""
        super().connection_made(transport)
        self._lingering = LingeringTransport(
            transport, self.flow, self.limits, self._unread, lambda: self._note(ANSWER_NOT_READ)
        )
        self.transport = self._lingering  # type: ignore[assignment]
        probe_when_silent(transport.get_extra_info("socket"))
        if len(self.connections) > self.limits.max_connections and not self._make_room():
            self._turn_away(TOO_MANY_CONNECTIONS)
        elif self.client and not self.addresses.enter(self.client[0]):
            self._turn_away(ADDRESS_SHARE)
        else:
            self._has_entered = True
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection, and notify the app."""
        super().connection_lost(exc)
        self.turned_away.pop(self, None)
        self._leave_address()
        self._lingering.lost()
        self._stop_timers()
        if self._running is not None:
            depart(self._running)  # uvicorn notifies only the last one

    def pause_writing(self) -> None:
        """Make the app wait until the client has read some more, which it must."""
        super().pause_writing()
        self._lingering.watch()

    def resume_writing(self) -> None:
        """Let the app continue."""
        super().resume_writing()
        self._lingering.unwatch()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, at most a head's size at a time."""
        self.idle.pop(self, None)
        self._unset_keepalive_if_required()
        step = self.limits.max_header_bytes
        for start in range(0, len(data), step):
            self._parse(data[start : start + step])

    def _parse(self, data: bytes) -> None:
        if self._lingering.leaving:
            return
        if self._refusal is not None:
            if self not in self.turned_away or self._running is not None:
                return
            if not PROBE.match(data):
                self._leave(self._refusal)
                return
            self._refusal = None
        self._idle_bytes += len(data)
        if b"h2c" in data and self._answered():
            data = without_offer(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offered:
            # Declined by answering as if it had not been offered. What follows is HTTP again; at
            # most MOST_PIPELINED requests deep.
            if rest := data[offered.args[0] :]:
                self._parse(rest)
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause.refusal if isinstance(cause, RefusedError) else MALFORMED)
        else:
            if self._idle_bytes > self.limits.max_header_bytes:
                self._refuse(HEADER_TOO_LARGE)
            elif self._timer is None and self._answered():
                self._await_head()

    def on_headers_complete(self) -> None:
        """Start the app on a request whose head is complete. Raises RefusedError."""
        most_bytes = self.limits.max_header_bytes
        if self._idle_bytes > most_bytes and head_bytes(self.url, self.headers) > most_bytes:
            raise RefusedError(HEADER_TOO_LARGE)
        if refusal := self._unfit():
            raise RefusedError(refusal)
        if self.parser.should_upgrade() and has_body(self.headers):
            raise RefusedError(UPGRADE_WITH_BODY)
        if len(self.pipeline) >= MOST_PIPELINED:
            raise RefusedError(TOO_MANY_PIPELINED)
        if self._running is not None and self in self.turned_away:
            raise RefusedError(TOO_MANY_CONNECTIONS)  # a probe asks once
        self._idle_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().on_headers_complete()

    def _unfit(self) -> Refusal | None:
        """Return why this is no request to this server, if so. HTTP/1.0 needs no Host."""
        version = self.parser.get_http_version()
        if version not in ("1.1", "1.0"):
            return HTTP_VERSION
        n_hosts = 0
        for name, value in self.headers:
            if name == b"host":
                n_hosts += 1
                if n_hosts > 1 or not is_host(value):
                    return HOST_REFUSED
            elif name == b"transfer-encoding" and value.lower() != b"chunked":
                return TRANSFER_ENCODING
        return None if n_hosts or version == "1.0" else HOST_REFUSED

    def on_body(self, body: bytes) -> None:
        """Take some of a body."""
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Mark a request as complete; uvicorn does not if the answer was faster."""
        self.cycle.more_body = False
        self.cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """Continue with the next request after an answer, or send the refusal."""
        super().on_response_complete()
        if self.timeout_keep_alive_task is not None and not self._in_head():
            self.idle[self] = None
        if self._refusal is not None and self._answered():
            self._leave(self._refusal)
        elif self.turned_away and self in self.turned_away:
            self.transport.close()

    def _await_head(self) -> None:
        self._timer = self.loop.call_later(self.limits.header_timeout_seconds, self._give_up)

    def _give_up(self) -> None:
        self._timer = None
        if self._refusal is not None:
            self._leave(self._refusal)
        elif self._answered():
            self._refuse(HEADER_TIMEOUT)

    def _make_room(self) -> bool:
        """Close the connection that has been idle for longest; return whether there was one."""
        for longest in self.idle:
            del self.idle[longest]
            self.connections.discard(longest)
            longest._leave_address()
            longest.transport.close()
            return True
        return False

    def _leave_address(self) -> None:
        if self._has_entered and self.client:
            self.addresses.leave(self.client[0])
        self._has_entered = False

    def _turn_away(self, refusal: Refusal) -> None:
        """Answer once the client has sent something: it may not listen earlier.

        Where as many wait as may be open, the first is cut: a probe sends at once.
        """
        self.connections.discard(self)
        self._refusal = refusal
        if len(self.turned_away) >= self.limits.max_connections:
            oldest = next(iter(self.turned_away))
            del self.turned_away[oldest]
            oldest._note(refusal.kind)
            oldest._lingering.abort()
        self.turned_away[self] = None
        self._timer = self.loop.call_later(LINGER_SECONDS, self._give_up)

    def _refuse(self, refusal: Refusal) -> None:
        """Refuse the current request, after the answers to earlier ones."""
        running = self._running
        if running is None or running.response_complete:
            if self._in_head() or self.cycle is None or not self.cycle.more_body:
                self._leave(refusal)
            else:  # the rest of a body whose answer the client has
                self.transport.close()
        elif running is self.cycle and running.more_body:
            depart(running)
            if running.response_started:
                self._note(refusal.kind)
                self._lingering.abort()
            else:
                self._leave(refusal)
        else:
            self._refusal = refusal
            if self.pipeline and self.pipeline[0][0].more_body:
                self.pipeline.popleft()

    def _leave(self, refusal: Refusal) -> None:
        """Send the last answer."""
        if self._lingering.is_closing():
            return
        self._stop_timers()
        self._refusal = refusal
        request_id = uuid4().hex
        self._note(refusal.kind, request_id)
        self.transport.write(refusal_answer(refusal, request_id, self.server_state.default_headers))
        self.transport.close()

    def _answered(self) -> bool:
        return self._running is None or self._running.response_complete

    def _unread(self) -> bool:
        """Return whether the client may still be sending bytes that will not be read."""
        return (
            self._in_head()
            or self._refusal is not None
            or (self.cycle is not None and self.cycle.more_body)
        )

    def _in_head(self) -> bool:
        return self.scope is not None and (self.cycle is None or self.cycle.scope is not self.scope)

    def _stop_timers(self) -> None:
        self.idle.pop(self, None)
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, kind: str, request_id: str = "") -> None:
        type(self).on_refused(kind)
        address = self.client[0] if self.client else UNKNOWN
        log.info("refused", reason=kind, address=address, request_id=request_id)


def make_protocol(
    settings: "Settings", on_refused: Callable[[str], None] = lambda _: None
) -> type[Protocol]:
    """Return the protocol class of one worker; `on_refused` gets each refusal's kind."""
    limits = ConnectionLimits.of(settings)
    members: dict[str, Any] = {
        "limits": limits,
        "on_refused": staticmethod(on_refused),
        "turned_away": {},
        "idle": {},
        "addresses": Addresses(limits),
    }
    return type("LimitedProtocol", (Protocol,), members)
