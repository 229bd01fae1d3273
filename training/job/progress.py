"""How a training run is shown: live bars on a terminal, JSON lines elsewhere; no text of corpora.

Both take the rows that `teddy.training.job.record` knows:

    with open_progress(total_steps) as progress:
        for row in rows:
            progress.show(row)
"""

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Self, TextIO

from rich import progress as bars
from rich.console import Console

from teddy.training.job.log import Log, is_terminal
from teddy.training.job.record import EvaluationRow, HeldOutRow, Row

Clock = Callable[[], float]


class Progress(ABC):
    """Shows a run while its `with` block lasts; what the block raises goes on."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    @abstractmethod
    def show(self, row: Row) -> None:
        """Show an update or an evaluation."""

    @abstractmethod
    def note(self, message: str) -> None:
        """Write a message about the run on a line that stays."""


def open_progress(
    total_steps: int,
    *,
    first_step: int = 0,
    stream: TextIO | None = None,
    clock: Clock = time.monotonic,
    every_seconds: float = 30.0,
) -> Progress:
    """Live bars when `stream` (standard error when None) is a terminal, else JSON lines.

    `first_step` is where a resumed run takes up. Lines for updates come at most once in
    `every_seconds`.
    """
    stream = sys.stderr if stream is None else stream
    if is_terminal(stream):
        console = Console(file=stream)
        return LiveProgress(total_steps, first_step=first_step, console=console, clock=clock)
    return JsonProgress(
        total_steps, first_step=first_step, stream=stream, clock=clock, every_seconds=every_seconds
    )


class JsonProgress(Progress):
    """A line for every evaluation, and for updates now and then; see `teddy.training.job.log`."""

    def __init__(
        self,
        total_steps: int,
        *,
        first_step: int = 0,
        stream: TextIO,
        clock: Clock,
        every_seconds: float = 30.0,
    ) -> None:
        self._log = Log(stream)
        self._total_steps = total_steps
        self._first_step = first_step
        self._clock = clock
        self._every_seconds = every_seconds
        self._started = self._last_line = clock()

    def __enter__(self) -> Self:
        self._started = self._last_line = self._clock()
        return self

    def show(self, row: Row) -> None:
        """Write a line for an evaluation, or for an update if the last line is old enough."""
        if row["kind"] != "update":
            self._write(row["kind"], row)
        elif self._clock() - self._last_line >= self._every_seconds:
            self._write("update", {**row, "seconds_left": round(self._seconds_left(row["step"]))})

    def note(self, message: str) -> None:
        """Write a line of the event `note`."""
        self._log.note(message)
        self._last_line = self._clock()

    def _write(self, event: str, row: Mapping[str, object]) -> None:
        place = {"step": row["step"], "steps": self._total_steps}
        rest = {key: value for key, value in row.items() if key not in ("kind", "step")}
        self._log.write(event, place | rest)
        self._last_line = self._clock()

    def _seconds_left(self, step: int) -> float:
        done = max(step - self._first_step, 1)
        return (self._clock() - self._started) / done * max(self._total_steps - step, 0)


class LiveProgress(Progress):
    """A bar with step, epoch, loss, best score, words/s and time left, below the evaluations."""

    def __init__(
        self, total_steps: int, *, first_step: int = 0, console: Console, clock: Clock
    ) -> None:
        self._console = console
        self._bars = bars.Progress(
            bars.TextColumn("{task.description}"),
            bars.BarColumn(),
            bars.MofNCompleteColumn(),
            bars.TextColumn(
                "loss {task.fields[loss]}  {task.fields[score]}  {task.fields[speed]} words/s"
            ),
            bars.TimeRemainingColumn(),
            console=console,
            get_time=clock,
        )
        self._task = self._bars.add_task("epoch 1", False, total_steps, first_step)
        self._bars.update(self._task, loss="-", score="-", speed="-")

    def __enter__(self) -> Self:
        self._bars.start()
        self._bars.start_task(self._task)
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def show(self, row: Row) -> None:
        """Move the bar on, or write a line for an evaluation above it."""
        if row["kind"] == "update":
            self._bars.update(
                self._task,
                completed=row["step"],
                description=f"epoch {row['epoch']}",
                loss=f"{row['loss']:.4f}",
                speed=f"{row['words_per_second']:,.0f}",
            )
            return
        self.note(f"step {row['step']:,}, epoch {row['epoch']}: {_scores(row)}")
        if row["kind"] == "held_out":
            self._bars.update(self._task, score=_scores(row))
        elif row["best"]:
            self._bars.update(self._task, score=f"dev F1 {row['f1']:.2%}")

    def note(self, message: str) -> None:
        """Write a line above the bar."""
        self._console.print(message, markup=False, highlight=False)


def _scores(row: EvaluationRow | HeldOutRow) -> str:
    if row["kind"] == "evaluation":
        scores = f"dev F1 {row['f1']:.2%} (P {row['precision']:.2%}, R {row['recall']:.2%})"
        return f"{scores}, loss {row['loss']:.4f}{', the best so far' if row['best'] else ''}"
    parts: list[str] = []
    if row["perplexity"] is not None and row["accuracy"] is not None:
        parts.append(f"perplexity {row['perplexity']:.1f}, {row['accuracy']:.1%} of words right")
    if row["detection_accuracy"] is not None:
        parts.append(f"{row['detection_accuracy']:.1%} of verdicts right")
    return f"held out: {', '.join(parts)}"
