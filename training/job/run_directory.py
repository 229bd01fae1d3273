"""The directory of a run: its lock, its recipe, and its checkpoints, one of which is always whole.

A checkpoint is written beside the last one and put in its place, which is kept as the one before.
Killed between any two of these steps, a run finds at least one of them; and one that does not read
back as it was written (see `teddy.training.learning.checkpoint`) is passed over for the one before.
"""

import os
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import dropwhile
from pathlib import Path
from typing import Protocol, TypeVar

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.system.files import flush_to_disk, lock, remove_abandoned, write_atomically
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup


class Saveable(Protocol):
    """A checkpoint, of training or of pre-training."""

    @property
    def recipe(self) -> str:
        """Resolved, in TOML."""
        ...

    def save(self, path: Path, *, resumable: bool = True) -> None:
        """Write it whole or not at all; without what only resuming needs if not `resumable`."""
        ...


_Loaded = TypeVar("_Loaded", bound=Saveable)
IsMine = Callable[[str], object]
"""Tells by something true whether a resolved recipe, in TOML, is that of the run at hand."""


class RunDirectory:
    """The directory of one run; it need not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe_file = path / "recipe.toml"
        self.last = path / "last.checkpoint"
        self.previous = path / "previous.checkpoint"
        self.best = path / "best.checkpoint"

    @contextmanager
    def locked(self, group: ProcessGroup = SINGLE_PROCESS) -> Iterator[None]:
        """Make the directory and keep all other jobs out of it while the block lasts.

        The first process of a run has the lock for all; the system lets go of it when that ends,
        however it ends. Raises TrainingError, with the process id of the job that has the lock.
        """
        if not group.is_first:
            yield
            return
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._lock(descriptor)
            remove_abandoned(self.path)
            yield
        finally:
            os.close(descriptor)

    def _lock(self, descriptor: int) -> None:
        try:
            lock(descriptor, wait=False)
        except BlockingIOError:
            holder = os.read(descriptor, 200).decode().strip() or "unknown"
            raise TrainingError(f"{self.path} is in use by another job: process {holder}") from None
        except OSError as error:  # a file system without locks
            raise OSError(error.errno, error.strerror, str(self.path / "lock")) from error
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()} on {platform.node()}\n".encode())

    def is_finished(self, result: Path, is_mine: IsMine) -> bool:
        """Return whether a run whose resolved recipe `is_mine` has left its result here.

        Raises TrainingError when a run of another recipe has.
        """
        if not result.exists():
            return False
        if not self.recipe_file.exists() or not is_mine(self._recipe()):
            raise self._of_another_recipe()
        return True

    def _recipe(self) -> str:
        """Return the recipe of the run here, without the comments at its head."""
        lines = self.recipe_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(dropwhile(lambda line: line.startswith("#"), lines))

    @property
    def newest(self) -> Path:
        """The last checkpoint, or the best when the run has finished.

        The one before while the next is put in its place.
        """
        places = (self.last, self.previous, self.best)
        return next((place for place in places if place.exists()), self.last)

    def write_recipe(self, recipe: str, comments: Iterable[str] = ()) -> None:
        """Write which recipe the run is of, with comments at its head.

        A run that is resumed keeps those that are there.
        """
        head = "".join(f"# {comment}\n" for comment in comments)
        if not head and self.recipe_file.exists() and self._recipe() == recipe:
            return
        write_atomically(self.recipe_file, head + recipe)

    def wind_up(self) -> None:
        """Remove what only resuming needs; the previous checkpoint first, which needs the last."""
        for place in (self.previous, self.last):
            place.unlink(missing_ok=True)

    def keep(self, checkpoint: Saveable) -> None:
        """Make a checkpoint the last one, and the last one the one before, safely on disk."""
        fresh = self.last.with_suffix(".fresh")
        checkpoint.save(fresh)
        if self.last.exists():
            self.last.replace(self.previous)
        fresh.replace(self.last)
        flush_to_disk(self.path)

    def earlier(
        self,
        is_mine: IsMine,
        load: Callable[[Path], _Loaded],
        note: Callable[[str], None],
        *,
        resume: bool,
    ) -> _Loaded | None:
        """Return the last whole checkpoint of the run that was stopped here, if any.

        `is_mine` takes its resolved recipe.
        Raises TrainingError when there is one and `resume` is not asked for, when it is of another
        resolved recipe, or when no checkpoint of it is whole.
        """
        places = [place for place in (self.last, self.previous) if place.exists()]
        if not places:
            return None
        if not resume:
            raise self._of_a_run()
        damaged: list[tuple[Path, ModelFileError]] = []
        for place in places:
            try:
                found = load(place)
            except ModelFileError as error:
                damaged.append((place, error))
                continue
            for each, reason in damaged:
                # Or it would take the place of the whole one at the next checkpoint. Another
                # process may have done it.
                with suppress(FileNotFoundError):
                    each.replace(each.with_suffix(".damaged"))
                note(f"{reason}, put aside as {each.stem}.damaged: going on from {place.name}")
            self.permit(found, is_mine, resume=resume)
            return found
        reasons = "; ".join(str(reason) for _, reason in damaged)
        raise TrainingError(f"no whole checkpoint: {reasons}. Start over in another --output")

    def permit(self, found: Saveable, is_mine: IsMine, *, resume: bool) -> None:
        """Raise TrainingError unless the run may go on from a checkpoint that was found here."""
        if not resume:
            raise self._of_a_run()
        if not is_mine(found.recipe):
            raise self._of_another_recipe()

    def _of_a_run(self) -> TrainingError:
        return TrainingError(
            f"{self.path} holds a run already: --resume goes on with it, "
            "another --output starts over"
        )

    def _of_another_recipe(self) -> TrainingError:
        return TrainingError(
            f"{self.path} holds a run of another recipe (see its recipe.toml): "
            "it cannot be resumed with this one"
        )
