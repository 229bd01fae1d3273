r"""Answers that are remembered for a while, so that they can be corrected by their request id.

    remember -> a bounded queue -> a thread, every 50 ms -> this process's files --.
    find     <- the lines that begin with id and caller        <- all processes' --'

The correction of an answer may reach another worker than the one that gave it, so what is
remembered lies in files that all of them read. A line begins with `{"request_id":"...","by":"..."`,
and nothing else in it can look like that, for within a text a quotation mark is written as `\"`. So
the files need no index: to search 16 MiB for these bytes takes 3 ms.

    DIRECTORY/TOKEN-0.jsonl, TOKEN-1.jsonl, ...          of each living process the newest two

A process holds a lock on each of its files, which ends with it; the next process that starts
removes the files without a lock. Files are made and removed under a lock on the
directory, so that no new one is taken for one that was left.

SQLite (WAL, not waiting for the disk) was measured: 4.4 us of CPU a row in batches of 100 and 10.6
in batches of 5, where a file takes 1.2 and 1.7, for each request; its search of 17 us instead of
3 ms is for corrections alone, which are rare. The rows of processes that were killed would still
have to be found.
"""

import mmap
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from secrets import token_hex
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

import structlog
from pydantic_core import from_json, to_json

from teddy.model.system.files import lock, locked
from teddy.model.tags.spans import Span
from teddy.model.text.words import Text, n_characters
from teddy.service.feedback.store import PRIVATE_DIRECTORY, PRIVATE_FILE, write_all
from teddy.service.observability.log import chunks

if TYPE_CHECKING:
    from teddy.model.text.documents import Tagged


N_SEGMENTS = 2

PAUSE_SECONDS = 0.05
MOST_WAITING = 2**22
"""Characters that may wait to be written. Answers beyond are not remembered: a slow disk costs no
more memory."""
CHARACTERS_A_TEXT = 200
"""What a text costs besides its own, and what an answer costs besides its texts."""
log = structlog.get_logger("service.feedback")


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
    """The files of one process, and a view of those of all.

    One thread may add to it, any may look.
    """

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """`most_bytes` are those of this process."""
        self.largest_bytes = most_bytes // N_SEGMENTS
        """What one of its files may hold, and so what may be added at once."""
        self._directory = directory
        self._token = token_hex(8)
        self._n_made = 0
        self._own: deque[Segment] = deque()

    def open(self) -> None:
        """Make the directory and remove what processes that have ended left in it.

        Raises OSError.
        """
        self._directory.mkdir(mode=PRIVATE_DIRECTORY, exist_ok=True)
        with locked(self._directory):
            for path in self.paths():
                remove_if_left(path)

    def append(self, lines: bytes) -> None:
        """Add whole lines, at most `largest_bytes`.

        Raises OSError, and may then have added some of them.
        """
        if not self._own or self._own[-1].n_bytes + len(lines) > self.largest_bytes:
            self._begin()
        self._own[-1].n_bytes += len(lines)
        write_all(self._own[-1].descriptor, lines)

    def paths(self) -> list[Path]:
        """Return the files of all processes."""
        return sorted(self._directory.glob("*.jsonl"))

    def close(self) -> None:
        """Remove this process's files."""
        while self._own:
            self._own.popleft().drop()

    def _begin(self) -> None:
        path = self._directory / f"{self._token}-{self._n_made}.jsonl"
        self._n_made += 1
        with locked(self._directory):
            descriptor = os.open(
                path,
                os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC,
                PRIVATE_FILE,
            )
            lock(descriptor)
        self._own.append(Segment(path, descriptor))
        if len(self._own) > N_SEGMENTS:
            self._own.popleft().drop()


def remove_if_left(path: Path) -> None:
    """Remove a file that no living process holds. Raises OSError."""
    with suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            lock(descriptor, wait=False)
            path.unlink()
        except BlockingIOError:
            pass
        finally:
            os.close(descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAnswer:
    """A new answer: the caller, the model's version, and the entities of each text."""

    request_id: str
    by: str
    model: str
    version: str
    texts: Sequence[Text]
    tagged: "Sequence[Tagged]"

    @property
    def characters(self) -> int:
        """About what it takes to remember it."""
        return sum(map(n_characters, self.texts)) + CHARACTERS_A_TEXT * (1 + len(self.texts))

    def line(self) -> bytes:
        """As it is remembered."""
        found = [
            [(each.start, each.end, each.label) for each in tagged.entities]
            for tagged in self.tagged
        ]
        content = {
            "at": time.time(),
            "model": self.model,
            "version": self.version,
            "texts": self.texts,
            "found": found,
        }
        return prefix(self.request_id, self.by) + to_json(content)[1:] + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class RememberedAnswer:
    """A remembered answer.

    `found` are the entities in each of `texts`, in characters or, where it was given as words, in
    words; `at`, in seconds since 1970.
    """

    at: float
    model: str
    version: str
    texts: Sequence[Text]
    found: Sequence[Sequence[Span]]

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Back from a line. Raises ValueError for one that was not written to its end."""
        content: dict[str, Any] = from_json(line)
        found = [[Span(*span) for span in spans] for spans in content["found"]]
        known = {name: content[name] for name in ("at", "model", "version", "texts")}
        return cls(found=found, **known)


class Answers:
    """The answers that all processes remember, and the thread that adds those of this one."""

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """`most_bytes` are those of this process."""
        self._segments = Segments(directory, most_bytes=most_bytes)
        self._queue: SimpleQueue[NewAnswer | None] = SimpleQueue()
        self._n_put, self._n_taken = 0, 0
        """Characters; each is counted by one thread alone."""
        self._failing = False
        self._closing = Event()
        self._thread = Thread(target=self._run, name="answers", daemon=True)

    def open(self) -> None:
        """Forget what ended processes remembered, and begin. Raises OSError."""
        self._segments.open()
        self._thread.start()

    def remember(self, given: NewAnswer) -> None:
        """Have an answer remembered, unless too many wait; of one that is too long, its id alone.

        Takes no time; for one thread.
        """
        if given.characters > self._segments.largest_bytes:
            given = replace(given, texts=(), tagged=())
        characters = given.characters
        if self._n_put - self._n_taken + characters <= MOST_WAITING:
            self._n_put += characters
            self._queue.put(given)

    def find(self, request_id: str, by: str) -> RememberedAnswer | None:
        """Return the newest answer under that id to that caller, if it is still remembered.

        None if answers about other texts have the same id: it is unknown which is meant. Reads
        files.
        """
        beginning = prefix(request_id, by)
        newest: RememberedAnswer | None = None
        for path in self._segments.paths():
            # dropped, empty or being written just now
            with suppress(FileNotFoundError, ValueError):
                for answer in map(RememberedAnswer.read, lines(path, beginning)):
                    if newest is not None and newest.texts != answer.texts:
                        return None
                    if newest is None or newest.at < answer.at:
                        newest = answer
        return newest if newest is not None and newest.texts else None

    def close(self) -> None:
        """Forget all that this process has remembered."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join()
        self._segments.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            taken = [self._queue.get()]
            self._closing.wait(PAUSE_SECONDS)
            taken += [self._queue.get() for _ in range(self._queue.qsize())]
            self._write([given for given in taken if given is not None])

    def _write(self, taken: Sequence[NewAnswer]) -> None:
        try:
            for chunk in chunks((given.line() for given in taken), self._segments.largest_bytes):
                if len(chunk) <= self._segments.largest_bytes:
                    self._segments.append(chunk)
            self._failing = False
        except OSError as error:
            if not self._failing:
                log.error("answers cannot be remembered", exc_info=error)
            self._failing = True
        self._n_taken += sum(given.characters for given in taken)


def prefix(request_id: str, by: str) -> bytes:
    """Return what a line begins with, and nothing else in any line looks like."""
    return to_json({"request_id": request_id, "by": by})[:-1] + b","


def lines(path: Path, beginning: bytes) -> Iterator[bytes]:
    """Yield the lines of a file that begin like that, without one that is being written.

    Raises ValueError for an empty file.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = mapped.find(beginning)
        while start >= 0 and (end := mapped.find(b"\n", start)) >= 0:
            yield mapped[start:end]
            start = mapped.find(beginning, end)
