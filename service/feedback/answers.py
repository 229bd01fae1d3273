r"""Answers that are remembered for a while, so that they can be corrected by their request id.

    remember -> a bounded queue -> a thread, every 50 ms -> this process's files --.
    find     <- the newest line that begins with id and caller <- all processes' --'

The correction of an answer may reach another worker than the one that gave it, so what is remembered lies in files that
all of them read (service/feedback/segments.py). A line begins with `{"request_id":"...","by":"..."`, and nothing else
in it can look like that, for within a text a quotation mark is written as `\"`. So the files need no index: to search
16 MiB for these bytes takes 3 ms.
"""

import mmap
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Self

import structlog
from pydantic_core import from_json, to_json

from teddy.model.spans import Span
from teddy.service.feedback.segments import Segments
from teddy.service.log_writer import chunks

if TYPE_CHECKING:
    from teddy.model.documents import Tagged

PAUSE_SECONDS = 0.05
MOST_WAITING = 2**22
"""Characters that may wait to be written. Answers beyond are not remembered: a slow disk costs no more memory."""
CHARACTERS_A_TEXT = 200
"""What a text costs besides its own."""

log = structlog.get_logger("service.feedback")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An answer that was just given: to whom, by which version of which model, and what that found in each text."""

    request_id: str
    by: str
    model: str
    version: str
    texts: Sequence[str]
    tagged: "Sequence[Tagged]"

    @property
    def characters(self) -> int:
        """About what it takes to remember it."""
        return sum(map(len, self.texts)) + CHARACTERS_A_TEXT * len(self.texts)

    def line(self) -> bytes:
        """As it is remembered."""
        found = [[(each.start, each.end, each.label) for each in tagged.entities] for tagged in self.tagged]
        content = {"at": time.time(), "model": self.model, "version": self.version, "texts": self.texts, "found": found}
        return prefix(self.request_id, self.by) + to_json(content)[1:] + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A remembered answer. `found` are the entities in each of `texts`, in characters; `at`, in seconds since 1970."""

    at: float
    model: str
    version: str
    texts: Sequence[str]
    found: Sequence[Sequence[Span]]

    @classmethod
    def read(cls, line: bytes) -> Self:
        """Back from a line. Raises ValueError for one that was not written to its end."""
        content: dict[str, Any] = from_json(line)
        found = [[Span(*span) for span in spans] for spans in content["found"]]
        known = {name: content[name] for name in ("at", "model", "version", "texts")}
        return cls(found=found, **known)


class Answers:
    """What all processes remember of the answers that they gave, and the thread by which this one adds to it."""

    def __init__(self, directory: Path, *, most_bytes: int) -> None:
        """`most_bytes` are those of this process."""
        self._segments = Segments(directory, most_bytes=most_bytes)
        self._queue: SimpleQueue[Given | None] = SimpleQueue()
        self._n_put, self._n_taken = 0, 0
        """Characters; each is counted by one thread alone."""
        self._failing = False
        self._closing = Event()
        self._thread = Thread(target=self._run, name="answers", daemon=True)

    def open(self) -> None:
        """Forget what ended processes remembered, and begin. Raises OSError."""
        self._segments.open()
        self._thread.start()

    def remember(self, given: Given) -> None:
        """Have an answer remembered, unless it is too long or too many wait. Takes no time; for one thread."""
        characters = given.characters
        if characters <= self._segments.largest_bytes and self._n_put - self._n_taken + characters <= MOST_WAITING:
            self._n_put += characters
            self._queue.put(given)

    def find(self, request_id: str, by: str) -> Answer | None:
        """The newest answer under that id to that caller, if it is still remembered. Reads files."""
        beginning = prefix(request_id, by)
        found: list[Answer] = []
        for path in self._segments.paths():
            with suppress(FileNotFoundError, ValueError):  # dropped, empty or being written just now
                found += map(Answer.read, last_line(path, beginning))
        return max(found, key=lambda answer: answer.at, default=None)

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

    def _write(self, taken: Sequence[Given]) -> None:
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
    """What a line begins with, and nothing else in any line looks like."""
    return to_json({"request_id": request_id, "by": by})[:-1] + b","


def last_line(path: Path, beginning: bytes) -> list[bytes]:
    """The last line of a file that begins like that, if there is one. Raises ValueError for an empty file."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        start = mapped.rfind(beginning)
        end = mapped.find(b"\n", start) if start >= 0 else -1
        return [mapped[start:end]] if end >= 0 else []
