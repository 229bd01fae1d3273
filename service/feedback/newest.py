"""The newest corrections, read from the files as they grow: by any process, whoever wrote them."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from threading import Lock

from teddy.service.feedback.rows import Correction
from teddy.service.feedback.scores import ByLabel, Window, compare
from teddy.service.feedback.store import CorrectionFiles

NEWEST_TEXTS = 1000
"""Corrections of a model's version that count."""
MOST_BYTES = 16 * 2**20
"""Read at one look, of the newest rows; what is further back since the last look is passed over."""
MOST_VERSIONS = 16

Version = tuple[str, str]
"""A model's name and version."""


class NewestCorrections:
    """What the newest corrections say of each version of each model. Threads may share it."""

    def __init__(self, files: CorrectionFiles, most_texts: int = NEWEST_TEXTS) -> None:
        self._files = files
        self._most_texts = most_texts
        self._read_bytes: dict[int, int] = {}
        """By inode, how much of a file has been read: neither a new name nor another file under the old one matters."""
        self._windows: dict[Version, Window] = {}
        self._lock = Lock()

    def sums(self) -> Mapping[Version, ByLabel]:
        """The outcomes by label of each version's newest corrections. Reads what is new."""
        with self._lock:
            for correction in sorted(self._new(), key=lambda each: each.received):
                self._add(correction)
            return {version: dict(window.sums) for version, window in self._windows.items()}

    def _add(self, correction: Correction) -> None:
        version = correction.model, correction.version
        window = self._windows.pop(version, None) or Window(self._most_texts)
        self._windows[version] = window  # as the last one, which is forgotten last
        if len(self._windows) > MOST_VERSIONS:
            del self._windows[next(iter(self._windows))]
        window.add(compare(correction.wanted, correction.found))

    def _new(self) -> Iterator[Correction]:
        """What was written since the last look, file by file."""
        known, self._read_bytes, left = self._read_bytes, {}, MOST_BYTES
        for path in reversed(self._files.paths()):
            with suppress(FileNotFoundError), path.open("rb") as file:
                status = os.fstat(file.fileno())
                start = known.get(status.st_ino, 0)
                rows, end = read_rows(file.fileno(), start, status.st_size, left)
                self._read_bytes[status.st_ino] = end
                left -= sum(map(len, rows))
                yield from filter(None, map(Correction.read, rows))


def read_rows(descriptor: int, start: int, size: int, most_bytes: int) -> tuple[list[bytes], int]:
    """The whole rows between two places of a file, of them the last `most_bytes`; and where the next one begins."""
    begin = max(start, size - max(most_bytes, 0))
    data = os.pread(descriptor, max(size - begin, 0), begin)
    whole = data[: data.rfind(b"\n") + 1]
    rows = whole.split(b"\n")[:-1]
    return rows[1:] if begin > start else rows, begin + len(whole)
