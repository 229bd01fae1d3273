r"""The state of a job on the disk: a folder beside the output.

    FOLDER/lock                  held by the process that works on the job
    FOLDER/job.json              the identity: all that decides the output
    FOLDER/IDENTITY/3-17.data    shard 17 of input 3; its .errors, and its .tally, written last
    FOLDER/IDENTITY/3.tally      input 3, whose output is in its place

A worker that outlives its job writes into the folder of that job's identity, where it cannot harm
another job.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.system.files import keep_others_out, write_atomically
from teddy.service.bulk.progress import Progress

Identity = dict[str, object]
"""A value for JSON."""


class JobState:
    """The folder of one job, held by this process until the block of `held` ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = folder

    @contextmanager
    def held(self) -> "Iterator[JobState]":
        """Lock the folder while the block lasts. Raises DataError when another process has it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as lock:
            keep_others_out(lock, self.folder.parent, signed=True)
            yield self

    def identity(self) -> Identity | None:
        """Return the identity of the job that was begun here, if there was one."""
        try:
            value = json.loads((self.folder / "job.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def begin(self, identity: Identity, *, restart: bool) -> None:
        """Begin a job, or go on with it; `restart` throws away what was begun.

        Raises DataError when another job was begun here.
        """
        before = self.identity()
        if before is not None and before != identity and not restart:
            changed = ", ".join(sorted(key for key in identity if identity[key] != before.get(key)))
            reason = f"the job that was begun here differs in {changed}; --restart starts over"
            raise DataError(self.folder.parent, None, reason)
        if before != identity or restart:
            self._clear()
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self._parts = self.folder / digest
        self._parts.mkdir(exist_ok=True)
        self._remove_torn()
        write_atomically(self.folder / "job.json", json.dumps(identity, indent=1))

    def place(self, position: int, number: int) -> "ShardPlace":
        """Return the place of a shard's results."""
        return ShardPlace(folder=self._parts, name=f"{position}-{number}")

    def finished_file(self, position: int) -> Progress | None:
        """Return the tally of a file that is finished and joined; None for another."""
        return _read_tally(self._parts / f"{position}.tally")

    def finish_file(self, position: int, n_shards: int, tally: Progress) -> None:
        """Write the tally of a file whose output is in its place, and remove its shards."""
        write_atomically(self._parts / f"{position}.tally", json.dumps(asdict(tally)))
        for number in range(n_shards):
            self.place(position, number).remove()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _remove_torn(self) -> None:
        """Remove what was half written, or half removed, when the job was killed."""
        for path in self._parts.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for tally in self._parts.glob("*.tally"):
            if "-" not in tally.stem:
                for path in self._parts.glob(f"{tally.stem}-*"):
                    path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlace:
    """The files of one shard's results, once it is finished."""

    folder: Path
    name: str

    @property
    def data(self) -> Path:
        """The answers, packed as the output is."""
        return self.folder / f"{self.name}.data"

    @property
    def errors(self) -> Path:
        """A line for each record that could not be tagged; missing when there is none."""
        return self.folder / f"{self.name}.errors"

    @property
    def tally(self) -> Progress | None:
        """The tally of the shard; None when it is not finished."""
        return _read_tally(self._tally_path)

    def finish(self, errors: bytes, tally: Progress) -> None:
        """Write the errors beside the data, then the tally, which says that all is there."""
        if errors:
            write_atomically(self.errors, errors)
        write_atomically(self._tally_path, json.dumps(asdict(tally)))

    def remove(self) -> None:
        """Remove the files, the tally first: what may be left is not finished."""
        for path in (self._tally_path, self.data, self.errors):
            path.unlink(missing_ok=True)

    @property
    def _tally_path(self) -> Path:
        return self.folder / f"{self.name}.tally"


def _read_tally(path: Path) -> Progress | None:
    try:
        return Progress(**json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
