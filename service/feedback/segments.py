"""Files that a process adds to, drops when they are old, and leaves to be removed when it has ended.

    DIRECTORY/TOKEN-0.jsonl, TOKEN-1.jsonl, ...          of each living process the newest two

A process holds a lock on each of its files, which ends with it, however it ends; what nobody holds is removed by the
next process that starts. Files are made and removed under a lock on the directory, so that no new one is taken for one
that was left.
"""

import fcntl
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex

from teddy.service.feedback.store import PRIVATE_DIRECTORY, PRIVATE_FILE, write_all

N_SEGMENTS = 2


@dataclass(slots=True)
class Segment:
    """A file of this process, open for adding."""

    path: Path
    descriptor: int
    n_bytes: int = 0

    def drop(self) -> None:
        """Remove it."""
        self.path.unlink(missing_ok=True)
        os.close(self.descriptor)


class Segments:
    """The files of one process, and a view of those of all. One thread may add to it, any may look."""

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """`most_bytes` are those of this process."""
        self.largest_bytes = most_bytes // N_SEGMENTS
        """What one of its files may hold, and so what may be added at once."""
        self._directory = directory
        self._token = token_hex(8)
        self._n_made = 0
        self._own: deque[Segment] = deque()

    def open(self) -> None:
        """Make the directory and remove what processes that have ended left in it. Raises OSError."""
        self._directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        with self._locked():
            for path in self.paths():
                remove_if_left(path)

    def append(self, lines: bytes) -> None:
        """Add whole lines, at most `largest_bytes`. Raises OSError, and may then have added some of them."""
        if not self._own or self._own[-1].n_bytes + len(lines) > self.largest_bytes:
            self._begin()
        self._own[-1].n_bytes += len(lines)
        write_all(self._own[-1].descriptor, lines)

    def paths(self) -> list[Path]:
        """The files of all processes."""
        return sorted(self._directory.glob("*.jsonl"))

    def close(self) -> None:
        """Remove this process's files."""
        while self._own:
            self._own.popleft().drop()

    def _begin(self) -> None:
        path = self._directory / f"{self._token}-{self._n_made}.jsonl"
        self._n_made += 1
        with self._locked():
            descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        self._own.append(Segment(path, descriptor))
        if len(self._own) > N_SEGMENTS:
            self._own.popleft().drop()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """While no other process makes or removes files here."""
        descriptor = os.open(self._directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def remove_if_left(path: Path) -> None:
    """Remove a file that no living process holds. Raises OSError."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)
