r"""What of a job is finished, on the disk: a folder beside the output that survives whatever happens to its processes.

    FOLDER/lock              the process that works on the job holds it
    FOLDER/job.json          the identity: what decides every byte of the output
    FOLDER/IDENTITY/3-17.data  .errors  .tally     shard 17 of input 3, finished: the tally is written last
    FOLDER/IDENTITY/3.tally                        input 3, whose output is in its place

A worker that has lost its job writes into the folder of an identity, where it cannot harm another
job.
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
"""In JSON's own types."""


class JobState:
    """The folder of one job, held by this process until the block of `held` ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._parts = folder

    @contextmanager
    def held(self) -> "Iterator[JobState]":
        """Keep every other job out while the block lasts.

        Raises DataError when another process is at work here.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("a+") as lock:
            keep_others_out(lock, self.folder.parent, signed=True)
            yield self

    def identity(self) -> Identity | None:
        """Return the job that was begun here, if there was one."""
        try:
            value = json.loads((self.folder / "job.json").read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        return value if isinstance(value, dict) else None

    def begin(self, identity: Identity, *, restart: bool) -> None:
        """Begin a job, or go on with it.

        Raises: DataError when another job was begun here, unless that is to be thrown away.
        """
        before = self.identity()
        if before is not None and before != identity and not restart:
            changed = ", ".join(sorted(key for key in identity if identity[key] != before.get(key)))
            reason = f"the job that was begun here differs in {changed}; --restart forgets it and begins anew"
            raise DataError(self.folder.parent, None, reason)
        if before != identity or restart:
            self._clear()
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        self._parts = self.folder / digest
        self._parts.mkdir(exist_ok=True)
        self._remove_torn()
        write_atomically(self.folder / "job.json", json.dumps(identity, indent=1))

    def place(self, position: int, number: int) -> "ShardPlace":
        """Return where the results of a shard lie."""
        return ShardPlace(folder=self._parts, name=f"{position}-{number}")

    def finished_file(self, position: int) -> Progress | None:
        """Return what a file came to that is finished and joined, None for one that is not."""
        return _read_tally(self._parts / f"{position}.tally")

    def finish_file(self, position: int, n_shards: int, tally: Progress) -> None:
        """Remember what a file has come to, whose output is in its place, and forget its shards."""
        write_atomically(self._parts / f"{position}.tally", json.dumps(asdict(tally)))
        for number in range(n_shards):
            self.place(position, number).remove()

    def remove(self) -> None:
        """Leave no trace: the job is done and is not to be remembered."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _clear(self) -> None:
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)

    def _remove_torn(self) -> None:
        """Remove what was being written, or removed, when the job was killed."""
        for path in self._parts.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for tally in self._parts.glob("*.tally"):
            if "-" not in tally.stem:
                for path in self._parts.glob(f"{tally.stem}-*"):
                    path.unlink()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardPlace:
    """Where the results of one shard lie, once it is finished."""

    folder: Path
    name: str

    @property
    def data(self) -> Path:
        """The answers, packed as the output is."""
        return self.folder / f"{self.name}.data"

    @property
    def errors(self) -> Path:
        """A line for each record that could not be tagged; not there when there was none."""
        return self.folder / f"{self.name}.errors"

    @property
    def tally(self) -> Progress | None:
        """What the shard has come to, None when it is not finished."""
        return _read_tally(self._tally_path)

    def finish(self, errors: bytes, tally: Progress) -> None:
        """Put the errors beside the data, and say that all of it is there."""
        if errors:
            write_atomically(self.errors, errors)
        write_atomically(self._tally_path, json.dumps(asdict(tally)))

    def remove(self) -> None:
        """Remove all of it; the tally first, so that what is left of it never counts as finished."""
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
