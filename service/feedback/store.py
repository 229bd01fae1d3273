"""Corrections on a disk: rows of JSON, one a line, in files that `teddy train` reads as they are.

    DIRECTORY/corrections-20250131T120000-5f0c1d2e.jsonl, ...

A file belongs to the process that holds its lock, so the workers of a service, or several services,
share a directory and never a file: no two rows are mixed up. A process takes a free file that has
room, or makes one. The lock ends with the process. Every process that starts mends what a killed
one has left half written.

Nothing is ever deleted: corrections are people's work.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryFile
from threading import Lock
from typing import Self

from pydantic_core import from_json

from teddy.model.system.files import lock
from teddy.service.errors import CorrectionsFullError, CorrectionsUnwritableError, SettingsError

PATTERN = "corrections-*.jsonl"
BLOCK_BYTES = 65536
FLAGS = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PRIVATE_FILE, PRIVATE_DIRECTORY = 0o600, 0o700
"""Modes by which only this user reads the texts."""


class CorrectionFiles:
    """The files of a directory, as one process adds to them. Threads may share it."""

    def __init__(self, directory: Path, *, file_bytes: int, max_bytes: int) -> None:
        """Limit each file to `file_bytes`, and all files together to `max_bytes`."""
        self.directory = directory
        self.max_bytes = max_bytes
        self._file_bytes = file_bytes
        self._own: OwnFile | None = None
        self._lock = Lock()

    def open(self) -> None:
        """Make the directory, see that it can be written to, mend what was left.

        Raises SettingsError.
        """
        try:
            self.directory.mkdir(mode=PRIVATE_DIRECTORY, parents=True, exist_ok=True)
            with TemporaryFile(dir=self.directory):
                pass
            for file in self._free():
                file.close()
        except OSError as error:
            raise SettingsError(
                f"TEDDY_FEEDBACK_DIR: {self.directory}: {error.strerror}"
            ) from error

    def append(self, row: bytes) -> None:
        """Add a row, which ends in a newline; when this returns, it is on the disk.

        Raises CorrectionsFullError where there is no room, and CorrectionsUnwritableError.
        """
        with self._lock:
            if self.stored_bytes() + len(row) > self.max_bytes:
                raise CorrectionsFullError(
                    "As many corrections are stored as may be. Nothing was stored."
                )
            try:
                self._own = self._with_room()
                self._own.append(row)
            except OSError as error:
                self._let_go()
                if error.errno in FULL:
                    raise CorrectionsFullError("The disk is full. Nothing was stored.") from error
                raise CorrectionsUnwritableError(
                    "Corrections cannot be written. Nothing was stored."
                ) from error

    def stored_bytes(self) -> int:
        """Return the size of the files of all processes."""
        sizes = 0
        for path in self.paths():
            with suppress(FileNotFoundError):  # it is being moved away
                sizes += path.stat().st_size
        return sizes

    def paths(self) -> list[Path]:
        """Return the files, the oldest first."""
        return sorted(self.directory.glob(PATTERN))

    def close(self) -> None:
        """Let others have this process's file."""
        with self._lock:
            self._let_go()

    def _let_go(self) -> None:
        if self._own is not None:
            self._own.close()
            self._own = None

    def _with_room(self) -> "OwnFile":
        """Return the file that this process has, if it is there and not full; else another."""
        if self._own is not None and self._own.is_there() and self._own.size() < self._file_bytes:
            return self._own
        self._let_go()
        for file in self._free():
            if file.size() < self._file_bytes:
                return file
            file.close()
        return self._new()

    def _free(self) -> Iterator["OwnFile"]:
        """Take each free file, the newest first."""
        for path in reversed(self.paths()):
            file = OwnFile.take(path)
            if file is not None:
                yield file

    def _new(self) -> "OwnFile":
        """Create a file of a unique name, here and where files are moved to; names sort by time."""
        while True:
            name = f"corrections-{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(4)}.jsonl"
            file = OwnFile.make(self.directory / name)
            if file is not None:
                return file


class OwnFile:
    """An open file whose lock this process has."""

    __slots__ = ("_descriptor", "_path")

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._descriptor = descriptor

    @classmethod
    def make(cls, path: Path) -> Self | None:
        """Return a new file; None if there is one, or another process was quicker to take it.

        Raises OSError.
        """
        try:
            return cls._take(path, os.open(path, FLAGS | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
        except FileExistsError:
            return None

    @classmethod
    def take(cls, path: Path) -> Self | None:
        """Return a file that is there, mended; None if it is not, or is another process's.

        Raises OSError.
        """
        try:
            return cls._take(path, os.open(path, FLAGS))
        except FileNotFoundError:
            return None

    @classmethod
    def _take(cls, path: Path, descriptor: int) -> Self | None:
        file = cls(path, descriptor)
        try:
            lock(descriptor, wait=False)
            mend(descriptor)
            if file.is_there():
                return file
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def is_there(self) -> bool:
        """Return whether the path still leads to this file, which may have been moved away."""
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._descriptor))
        except FileNotFoundError:
            return False

    def size(self) -> int:
        """In bytes."""
        return os.fstat(self._descriptor).st_size

    def append(self, row: bytes) -> None:
        """Write a row through to the disk, or leave the file as it was. Raises OSError."""
        before = self.size()
        try:
            write_all(self._descriptor, row)
            os.fsync(self._descriptor)
        except OSError:
            with suppress(OSError):  # then it is mended when it is taken again
                os.ftruncate(self._descriptor, before)
            raise

    def close(self) -> None:
        """Give up the lock. An empty file goes: `teddy train` takes one for a mistake."""
        if not self.size() and self.is_there():
            self._path.unlink()
        os.close(self._descriptor)


def mend(descriptor: int) -> None:
    """Cut off a last row that is not whole; add a newline that is missing."""
    size = os.fstat(descriptor).st_size
    start = unfinished_line(descriptor, size)
    if start == size:
        return
    try:
        whole = isinstance(from_json(os.pread(descriptor, size - start, start)), dict)
    except ValueError:
        whole = False
    if whole:
        write_all(descriptor, b"\n")
    else:
        os.ftruncate(descriptor, start)


def unfinished_line(descriptor: int, size: int) -> int:
    """Where the line begins that has no newline; `size` if there is none."""
    stop = size
    while stop > 0:
        start = max(0, stop - BLOCK_BYTES)
        found = os.pread(descriptor, stop - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        stop = start
    return 0


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it. Raises OSError, and may then have written some."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
