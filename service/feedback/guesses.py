"""Limit the wrong corrections by request id of each caller, in all workers together.

Such a correction tells whether it fits a remembered text, so a caller with unlimited tries could
read that text. The count is in a file, since a caller's connections reach all workers.
"""

import os
import struct
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from time import time
from typing import BinaryIO

from teddy.model.system.files import lock
from teddy.service.errors import TooManyGuessesError

MOST_GUESSES = 60
"""Wrong corrections that a caller may send; one more after each SECONDS_EACH."""
SECONDS_EACH = 1.0
N_PLACES = 8192
"""Callers share a place, and so their tries, with a chance of one in so many."""
KEY_BYTES = 16
PLACE = struct.Struct("=d")
PRIVATE_FILE = 0o600


class Guesses:
    """Counts wrong corrections by caller, in a file of one place for each.

    A place has the time, in seconds since 1970, when its caller has all tries again. Which place is
    a caller's depends on a secret in the file: one cannot use up the tries of another. For threads,
    not for the event loop.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time) -> None:
        """Make the file, unless another worker has. Raises OSError."""
        self._file = file
        self._clock = clock
        n_bytes = KEY_BYTES + N_PLACES * PLACE.size
        with open(os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE), "r+b") as new:
            lock(new)
            if os.fstat(new.fileno()).st_size != n_bytes:
                new.write(os.urandom(KEY_BYTES) + bytes(n_bytes - KEY_BYTES))

    def take(self, caller: str) -> None:
        """Take a try. Raises TooManyGuessesError, and OSError."""
        with self._file.open("r+b") as file:
            lock(file)
            place, now = self._place_of(caller, file), self._clock()
            # The clock may have been set back.
            used = min(max(self._read(file, place) - now, 0.0), MOST_GUESSES * SECONDS_EACH)
            if used > (MOST_GUESSES - 1) * SECONDS_EACH:
                raise TooManyGuessesError(
                    "Too many corrections of yours fit no answer. Send the texts instead.",
                    retry_after_seconds=int(SECONDS_EACH),
                )
            self._write(file, place, now + used + SECONDS_EACH)

    def give_back(self, caller: str) -> None:
        """Give a try back: the correction was right. Raises OSError."""
        with self._file.open("r+b") as file:
            lock(file)
            place = self._place_of(caller, file)
            self._write(file, place, self._read(file, place) - SECONDS_EACH)

    def _place_of(self, caller: str, file: BinaryIO) -> int:
        digest = blake2b(caller.encode(), key=file.read(KEY_BYTES), digest_size=8).digest()
        return KEY_BYTES + int.from_bytes(digest) % N_PLACES * PLACE.size

    def _read(self, file: BinaryIO, place: int) -> float:
        file.seek(place)
        regained: float = PLACE.unpack(file.read(PLACE.size))[0]
        return regained

    def _write(self, file: BinaryIO, place: int, regained: float) -> None:
        file.seek(place)
        file.write(PLACE.pack(regained))
