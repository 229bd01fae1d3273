"""What a request brings to the queue besides its windows."""

from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from math import inf

from teddy.service.tracing import Span


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """Whose request it is, until when an answer is of use, and how to learn that nobody waits for it any more."""

    client: Hashable = None
    """Who asks, as far as the queue is fair between clients."""
    deadline: float = inf
    """On the event loop's clock, in seconds."""
    departure: Callable[[], Awaitable[None]] | None = None
    """Returns when the client has gone. Called only for a request that waits long enough for it to matter."""
    span: Span | None = None
    """Where the time that it waits and is in the network is recorded, if it is."""
