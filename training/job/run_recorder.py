"""The recorder of a run: keeps and shows its rows, writes checkpoints, and stops it on a signal.

What reaches the disk, and in which order, is what makes a run that is killed anywhere end as one
that is not: rows come before the checkpoint that follows them, since resuming forgets rows and
cannot invent them, and the best checkpoint before the last one, since a run killed between the two
makes both again.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from teddy.model.errors import JobInterrupted
from teddy.model.system.processes import Interruption
from teddy.training.job.job import Job, State
from teddy.training.job.log import Level, Log
from teddy.training.job.progress import Progress, open_progress
from teddy.training.job.record import Record, Row, Timings, without_clock
from teddy.training.job.run_directory import RunDirectory, Saveable
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from teddy.training.report.figures import optional_figure

Watcher = Callable[[Row], None]
"""Is called with every row; what it raises ends the run."""

_LEVELS: dict[State, Level] = {State.FINISHED: "info", State.INTERRUPTED: "warning"}


class RunRecorder:
    """Records one run, of training or of pre-training; of several processes, the first writes."""

    def __init__(
        self,
        directory: RunDirectory,
        job: Job,
        *,
        watchers: Sequence[Watcher] = (),
        interruption: Interruption | None = None,
        group: ProcessGroup = SINGLE_PROCESS,
    ) -> None:
        self.interruption = interruption or Interruption()
        self._directory = directory
        self._job = job
        self._watchers = watchers
        self._group = group
        self._record = Record(directory.path)
        self._timings = Timings(directory.path)
        self._progress: Progress | None = None
        self._has_begun = False
        self._step = 0
        self._saved = time.monotonic()

    def note(self, message: str) -> None:
        """Write a line about the run: above the bars where there are any, else in the log."""
        if self._group.is_first:
            (self._progress or Log()).note(message)

    @contextmanager
    def log_outcome(self) -> Iterator[None]:
        """Write in the log and in the timings how a block ended, if the run was begun in it."""
        try:
            yield
        except BaseException as error:
            self._write_outcome(State.after(error), {"message": str(error)} if str(error) else {})
            raise
        self._write_outcome(State.FINISHED, {})

    def _write_outcome(self, state: State, reason: dict[str, str]) -> None:
        if self._group.is_first and self._has_begun:
            Log().write("end", {"state": str(state), **reason}, _LEVELS.get(state, "error"))
            with suppress(OSError):
                self._timings.end(state)

    def restore(self) -> None:
        """Give the job the rows and the checkpoint of earlier processes."""
        if self._directory.newest.exists():
            self._job.resume(self._record.rows(), self._directory.newest)

    def resume_at(self, step: int, evaluated: int, *, steps: int, epochs: int) -> None:
        """Go on after `step`, or begin when it is 0; rows of later steps are removed.

        `evaluated` is the step of the last evaluation; there will be so many `steps` and `epochs`
        in all.
        """
        self._has_begun = True
        self._step = step
        if self._group.is_first:
            self._record.truncate_after(step, evaluated)
            self._timings.start(step)
        if step:
            self.restore()
        self._job.plan(steps=steps, epochs=epochs, step=step)

    @contextmanager
    def showing(self, steps: int) -> Iterator[None]:
        """Show the rows of a run of so many steps while the block lasts."""
        if not self._group.is_first:
            yield
            return
        with open_progress(steps, first_step=self._step) as self._progress:
            try:
                yield
            finally:
                self._progress = None

    def follow(
        self,
        rows: Iterable[Row],
        checkpoint: Callable[[], Saveable],
        *,
        is_time: Callable[[Row], bool],
        every_seconds: float,
    ) -> None:
        """Record a run to the end of its rows.

        It takes a `checkpoint` after a row of which `is_time` is true, when the last one is
        `every_seconds` old, and when the run is interrupted, which raises JobInterrupted.
        """
        self._saved = time.monotonic()
        try:
            for row in rows:
                self._take(row)
                # A clock or a signal of any process asks all of them for a checkpoint.
                is_old = time.monotonic() - self._saved >= every_seconds
                is_asked = self._group.any(self.interruption.wanted or is_old)
                if is_asked and self._group.any(self.interruption.wanted):
                    cause = self.interruption.name or "a signal to another process"
                    raise JobInterrupted(f"interrupted by {cause}")
                if is_asked or is_time(row):
                    self._save(checkpoint(), is_best=row["kind"] == "evaluation" and row["best"])
        except JobInterrupted as error:
            self._save(checkpoint(), is_best=False)
            raise JobInterrupted(
                f"{error} after step {self._step:,}; --resume goes on from there"
            ) from None
        except BaseException:
            self._draw()
            raise
        self._draw()

    def _take(self, row: Row) -> None:
        self._step = row["step"]
        if self._group.is_first:
            self._record.append(without_clock(row))
            self._timings.show(row)
        if self._progress is not None:
            self._progress.show(row)
        self._job.show(row)
        for watch in self._watchers:
            watch(row)

    def _save(self, checkpoint: Saveable, *, is_best: bool) -> None:
        self._saved = time.monotonic()
        if not self._group.is_first:
            return
        self._record.flush()
        if is_best:
            checkpoint.save(self._directory.best, resumable=False)
        self._directory.keep(checkpoint)
        self._timings.saved(self._directory.last.stat().st_size)
        self._job.saved(self._directory.last)

    def _draw(self) -> None:
        if self._group.is_first:
            # a full disk is reported elsewhere
            with suppress(OSError), optional_figure(self.note, "curves.png"):
                self._record.plot(self._directory.path / "curves.png")
