"""A token bucket: so many a second, and after a quiet time so many at once."""

from collections.abc import Callable
from time import monotonic


class TokenBucket:
    """Gives out tokens. Not to be used by two threads at once."""

    def __init__(self, per_second: float, capacity: int, clock: Callable[[], float] = monotonic) -> None:
        """It begins full; `clock` counts seconds."""
        self._per_second = per_second
        self._capacity = capacity
        self._clock = clock
        self._level = float(capacity)
        self._filled = clock()

    def take(self, wanted: int) -> int:
        """As many tokens as there are, whole ones, up to `wanted`."""
        now = self._clock()
        level = self._level + (now - self._filled) * self._per_second
        self._filled = now
        taken = 0
        if level >= 1:
            level = min(level, self._capacity)
            taken = min(wanted, int(level))
        self._level = level - taken
        return taken
