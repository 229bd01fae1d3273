"""What each worker leaves for whoever of them answers for all: one small JSON document for each subject.

    worker 0 --write--> DIRECTORY/drift-0.json --.
    worker 1 --write--> DIRECTORY/drift-1.json ---+--read--> the documents of all, in whichever worker is asked

For what cannot be added up as counters can. A single worker needs no files and keeps its documents in memory.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from teddy.model.files import write_atomically
from teddy.service.worker_metrics import DIRECTORY, worker_number


class WorkerFiles:
    """The documents of one worker, and a view of those of all."""

    def __init__(self, directory: Path | None = None, worker: str = "0") -> None:
        """Without a directory there is but one worker."""
        self._directory = directory
        self._worker = worker
        self._own: dict[str, Any] = {}

    @classmethod
    def of_environment(cls) -> Self:
        """Where the supervisor has said that the workers' files are."""
        directory = os.environ.get(DIRECTORY)
        return cls(None if directory is None else Path(directory), worker_number())

    def write(self, subject: str, document: Any) -> None:
        """Leave a document, instead of the one before. Raises OSError."""
        if self._directory is None:
            self._own[subject] = document
        else:
            write_atomically(self._directory / f"{subject}-{self._worker}.json", json.dumps(document))

    def read(self, subject: str) -> list[Any]:
        """The documents of all workers; of a dead one, until another takes its number, the last."""
        if self._directory is None:
            return [self._own[subject]] if subject in self._own else []
        return [found for path in sorted(self._directory.glob(f"{subject}-*.json")) for found in _content(path)]


def _content(path: Path) -> Iterator[Any]:
    """The document in a file, or none where it has just gone or is no document: the others' are worth having."""
    try:
        yield json.loads(path.read_bytes())
    except (OSError, ValueError):
        return
