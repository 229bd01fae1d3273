"""Limit the wrong corrections by request id of each caller.

Such a correction tells whether it fits a remembered text, so a caller with unlimited tries could
read that text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from teddy.service.errors import TooManyGuessesError

MOST_GUESSES = 60
"""Wrong corrections that a caller may send to a worker; one more after each SECONDS_EACH."""
SECONDS_EACH = 1.0
MOST_CALLERS = 4096


class Guesses:
    """Counts wrong corrections by caller. Use it in one event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._regained: dict[str, float] = {}
        """By caller, when it has all its tries again; the caller of the oldest try is first."""

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Take a try, and give it back if nothing is raised: then the correction was right.

        Raises TooManyGuessesError.
        """
        now = self._clock()
        regained = max(self._regained.pop(caller, now), now)
        has_some = regained - now <= (MOST_GUESSES - 1) * SECONDS_EACH
        self._regained[caller] = regained + SECONDS_EACH * has_some
        if len(self._regained) > MOST_CALLERS:
            del self._regained[next(iter(self._regained))]
        if not has_some:
            raise TooManyGuessesError(
                "Too many corrections of yours fit no answer. Send the texts instead.",
                retry_after_seconds=int(SECONDS_EACH),
            )
        yield
        if caller in self._regained:
            self._regained[caller] -= SECONDS_EACH
