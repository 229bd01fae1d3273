"""How much of large bodies a worker holds at once: a thousand clients may each send one that is within its limit."""

from math import inf

from starlette.types import Scope

from teddy.service.errors import QueueFullError

HELD = "held_bytes"


class BodyBudget:
    """Bytes that requests hold until they are answered. Bodies of one piece are not counted: nearly all are small."""

    __slots__ = ("_held_bytes", "_most_bytes")

    def __init__(self, most_bytes: float = inf) -> None:
        self._most_bytes = most_bytes
        self._held_bytes = 0

    def hold(self, scope: Scope, n_bytes: int) -> None:
        """Let a request hold so many more. Raises QueueFullError; a request alone may hold what it likes."""
        held = scope.get(HELD, 0)
        if self._held_bytes > held and self._held_bytes + n_bytes > self._most_bytes:
            raise QueueFullError("Too many large bodies are in memory.", retry_after_seconds=1)
        scope[HELD] = held + n_bytes
        self._held_bytes += n_bytes

    def release(self, scope: Scope) -> None:
        """Count no longer what a request has held."""
        self._held_bytes -= scope.pop(HELD, 0)
