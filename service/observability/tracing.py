"""W3C Trace Context: the place of a request in a distributed trace.

The client's `traceparent` is continued, or a trace begun; its ids are in the request's log line, so
that logs and traces can be joined. Spans are recorded, and OpenTelemetry imported, with
`TEDDY_TRACES` only. (OpenTelemetry's own propagator takes 21 us of CPU for a request with a
`traceparent`, this 9; and it accepts contradictory or malformed headers, which are refused here.)
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import getrandbits
from typing import Protocol, Self

from starlette.types import Scope

TRACEPARENT = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})"
    rb"-(?!0{16})(?P<parent>[0-9a-f]{16})"
    rb"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
"""Of a version later than 00, what we know of it is read; 00 has nothing more."""
SAMPLED = 0x01
MOST_STATE_BYTES = 512
"""A `tracestate` up to this length has to be passed on, a longer one may be dropped."""

Attributes = Mapping[str, str | int | float]


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The trace of a request, and the ids of its span and its caller's; lower-case hexadecimal."""

    trace_id: str
    span_id: str
    """This request's own."""
    parent_id: str | None = None
    """The caller's, or None for a trace that begins here."""
    flags: int = 0
    state: str = ""
    """`tracestate` as it came: what tracing systems on the way want to know again."""

    @property
    def sampled(self) -> bool:
        """Whether the caller records its part."""
        return bool(self.flags & SAMPLED)

    @classmethod
    def of(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Return the context of a request's headers (names in lower case), or a new one."""
        parent: bytes | None = None
        states: list[bytes] = []
        for name, value in headers:
            if name == b"traceparent":
                parent = value if parent is None else b""  # two contradict each other
            elif name == b"tracestate":
                states.append(value)
        match = TRACEPARENT.fullmatch(parent.strip(b" \t")) if parent else None
        if match is None or (match["version"] == b"00" and match["more"]):
            return cls(f"{_random(128):032x}", f"{_random(64):016x}")
        return cls(
            trace_id=match["trace"].decode("ascii"),
            span_id=f"{_random(64):016x}",
            parent_id=match["parent"].decode("ascii"),
            flags=int(match["flags"], 16),
            state=_joined(states) if states else "",
        )


def _random(bits: int) -> int:
    return getrandbits(bits) or 1  # zero is no id


def _joined(states: list[bytes]) -> str:
    joined = b",".join(states)
    return joined.decode("latin-1") if len(joined) <= MOST_STATE_BYTES else ""


class Span(Protocol):
    """A request's place in a trace that is recorded."""

    def child(
        self,
        name: str,
        start_seconds: float,
        end_seconds: float,
        attributes: Attributes | None = None,
    ) -> None:
        """Record a part of the request when it is over.

        Times are those of `time.monotonic` and the event loop.
        """

    def end(self, status: int, route: str | None, attributes: Attributes) -> None:
        """Record the request, with the template of its path if it has one.

        Never a text, a client's address, a key.
        """


class Tracer(Protocol):
    """Records spans. A request does not wait for what happens to them afterwards."""

    def begin(self, context: TraceContext, scope: Scope) -> Span | None:
        """Return the span of a request that begins now; None for one that is not recorded.

        On the event loop's thread.
        """

    def close(self) -> None:
        """Send what has been recorded, within a bounded time. Blocks."""
