"""The state of a training job while it runs, for its metrics and its log.

An update costs the training two references; values are computed when another thread reads them (see
training/job/metrics.py).
"""

import math
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from threading import Lock

from teddy.model.errors import DivergedError, JobInterrupted
from teddy.model.system.memory import resident_bytes
from teddy.training.job.catalogue import PREFIX, ROW_METRICS, all_metrics

RECENT_UPDATES = 50
"""So many say how fast a job is: one alone is as long as its sentences."""


class State(StrEnum):
    """What has become of a job; a process that is killed outright stays `running`."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"

    @classmethod
    def after(cls, error: BaseException | None) -> "State":
        """Return what a job has come to that ended with this exception, or with none."""
        if error is None:
            return cls.FINISHED
        if isinstance(error, JobInterrupted | KeyboardInterrupt | SystemExit):
            return cls.INTERRUPTED
        return cls.DIVERGED if isinstance(error, DivergedError) else cls.FAILED


class Job:
    """A job that has just been started. One thread writes, any thread reads."""

    def __init__(self, run: str, clock: Callable[[], float] = time.time) -> None:
        """`run` is the recipe's name; `clock` gives seconds since 1970."""
        self.run = run
        self.state = State.RUNNING
        self._clock = clock
        self._lock = Lock()
        self._rows: dict[str, Mapping[str, object]] = {}
        self._words_per_second: deque[object] = deque(maxlen=RECENT_UPDATES)
        self._values = {"started_timestamp_seconds": clock()}
        self._listeners: list[Callable[[], None]] = []
        self.progressed()

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener`, which must return at once, on every event but updates."""
        self._listeners.append(listener)

    def progressed(self) -> None:
        """Note that a part of the preparation is done."""
        self._updated_seconds = self._clock()

    def plan(self, *, steps: int, epochs: int, step: int) -> None:
        """Note the numbers of updates and epochs to come, and of updates before."""
        self._set({"steps": steps, "epochs": epochs, "step": step})

    def resume(self, rows: Iterable[Mapping[str, object]], checkpoint: Path) -> None:
        """Take up the evaluations of an earlier process, and the checkpoint that it left."""
        for row in rows:
            if row["kind"] != "update":
                self.show(row)
        self.saved(checkpoint)

    def show(self, row: Mapping[str, object]) -> None:
        """Note an update or an evaluation, a row of `teddy.training.job.record`."""
        kind = str(row["kind"])
        with self._lock:
            self._rows[kind] = row
            if kind == "update":
                self._words_per_second.append(row["words_per_second"])
        self.progressed()
        if kind != "update":
            f1 = _number(row.get("f1"))
            best = [each for each in (f1, self._values.get("best_dev_f1")) if each is not None]
            self._set({"best_dev_f1": max(best)} if best else {})

    def saved(self, checkpoint: Path) -> None:
        """There is a checkpoint to resume from."""
        self._set({"checkpoint_timestamp_seconds": checkpoint.stat().st_mtime})

    def end(self, state: State) -> None:
        """Note the end of the job."""
        self.state = state
        self._set({})

    def values(self) -> dict[str, float]:
        """Return everything that has a value now, by its name in the catalogue, but the state."""
        with self._lock:
            found: dict[str, object] = dict(self._values)
            rows = dict(self._rows)
            measured = [_number(each) for each in self._words_per_second]
        for kind, row in rows.items():
            found |= {name: row.get(key) for key, name in ROW_METRICS[kind].items()}
        if "update" in rows:
            found["step"] = rows["update"]["step"]
        # Batches have about equal numbers of words, and then this mean is all words over all
        # seconds.
        speeds = [each for each in measured if each is not None]
        found["words_per_second"] = statistics.harmonic_mean(speeds) if speeds else None
        found["resident_bytes"] = resident_bytes()
        found["updated_timestamp_seconds"] = self._updated_seconds
        numbers = {
            metric.name: _number(found.get(metric.name[len(PREFIX) :])) for metric in all_metrics()
        }
        return {name: value for name, value in numbers.items() if value is not None}

    def _set(self, values: Mapping[str, float]) -> None:
        with self._lock:
            self._values.update(values)
        self.progressed()
        for listener in self._listeners:
            listener()


def _number(value: object) -> float | None:
    """Give a finite number, or None; of a diverging run, not all values are one."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
