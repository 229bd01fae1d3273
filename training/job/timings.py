"""What a clock and a machine decided in a run: `timings.jsonl`, added to by every process that worked on it.

    start        a process takes up the run at `step`, on a machine (see training/report/machine.py)
    updates      so many `updates` up to `step` read so many `words` in so many `seconds`
    evaluation   took `evaluation_seconds`
    checkpoint   of so many `bytes` took `checkpoint_seconds`
    end          the process has come to an `end` (see `teddy.training.job.job.State`) after `process_seconds`; one that
                 was killed outright leaves no such row

Every row has the `time` at which it was written, in UTC. Work that a kill undid, and that was done again, is in here
twice: it was paid for twice.
"""

import time
from collections.abc import Callable
from pathlib import Path

from teddy.training.job.job import State
from teddy.training.job.json_lines import JsonLines
from teddy.training.job.timestamp import timestamp
from teddy.training.record import Row
from teddy.training.report.machine import this_machine

UPDATES_SECONDS = 60.0
"""Updates of about so long share a row, if nothing else happens."""


class Timings:
    """Measures one process at work on a run. Each thing that it is told has taken all the time since the one before."""

    def __init__(self, directory: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.lines = JsonLines(directory / "timings.jsonl")
        self._clock = clock
        self._started = self._since = clock()
        self._step = self._updates = self._words = 0
        self._seconds = 0.0

    def start(self, step: int) -> None:
        """The run is taken up after `step`; what came before was preparation."""
        self._step = step
        self._write("start", **this_machine().as_dict())
        self._lap()

    def show(self, row: Row) -> None:
        """An update or an evaluation has been made."""
        seconds = self._lap()
        self._step = row["step"]
        if row["kind"] == "update":
            self._updates += 1
            self._words += row["n_words"]
            self._seconds += seconds
            if self._seconds >= UPDATES_SECONDS:
                self._write_updates()
        else:
            self._write_updates()
            self._write("evaluation", evaluation_seconds=round(seconds, 3))

    def saved(self, size_bytes: int) -> None:
        """A checkpoint of that size has been written."""
        self._write_updates()
        self._write("checkpoint", checkpoint_seconds=round(self._lap(), 3), bytes=size_bytes)

    def end(self, state: State) -> None:
        """The process is done with the run, one way or another."""
        self._write_updates()
        self._write("end", end=str(state), process_seconds=round(self._clock() - self._started, 3))

    def _lap(self) -> float:
        before, self._since = self._since, self._clock()
        return self._since - before

    def _write_updates(self) -> None:
        if self._updates:
            counts = {"updates": self._updates, "words": self._words}
            self._write("updates", **counts, seconds=round(self._seconds, 3))
            self._updates = self._words = 0
            self._seconds = 0.0

    def _write(self, kind: str, **fields: str | float) -> None:
        self.lines.append({"kind": kind, "time": timestamp(), "step": self._step, **fields})
