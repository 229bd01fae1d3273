"""How often a caller may name an answer in vain.

A correction by request id says whether it fits a text that is remembered. So many wrong ones in a
row would be a way to read that text.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

from teddy.service.errors import TooManyGuessesError

MOST_GUESSES = 60
"""Wrong ones that a caller has in a worker; each comes back after SECONDS_EACH."""
SECONDS_EACH = 1.0
MOST_CALLERS = 4096


class Guesses:
    """Counts guesses by caller. For one event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._regained: dict[str, float] = {}
        """When a caller has all of its guesses again; who guessed longest ago is first."""

    @contextmanager
    def one(self, caller: str) -> Iterator[None]:
        """Take a guess, and give it back if nothing is raised, since it was right.

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
