"""The records of a training run: `metrics.jsonl` and `timings.jsonl`, one flat JSON object a line.

Two runs of one recipe and one seed give equal `metrics.jsonl`, byte for byte, however often one of
them was killed and resumed. What a clock and a machine decide is in `timings.jsonl`, to which every
process adds that worked on the run:

    start        a process takes up the run at `step`, on a machine (see training/report/machine.py)
    updates      so many `updates` up to `step` read so many `words` in so many `seconds`
    evaluation   took `evaluation_seconds`
    checkpoint   of so many `bytes` took `checkpoint_seconds`
    end          the process ended (see `teddy.training.job.job.State`) after `process_seconds`;
                 one that was killed outright leaves no such row

Every row there has the `time` at which it was written, in UTC. Work that a kill undid, and that was
done again, is there twice: it was paid for twice.
"""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, NotRequired, TypedDict

from teddy.training.job.job import State
from teddy.training.job.log import timestamp
from teddy.training.report.figures import draw_curves
from teddy.training.report.machine import this_machine

Value = str | int | float | bool | None

UPDATES_SECONDS = 60.0
"""Updates of about so long share a row, if nothing else happens."""


class JsonLines:
    """The rows of one file. One writer at a time; readers may look on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends_well = False

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row in one call, so that a reader never sees half of it.

        A number that is not finite is written as null, as JSON has no word for it.

        Raises: TypeError where a value is not a string, number, bool or None; OSError where the row
        cannot be written, and then the file is as it was.
        """
        flat = {key: _flat(key, value) for key, value in row.items()}
        line = json.dumps(flat, ensure_ascii=False) + "\n"
        if not self._ends_well:
            # A crash may have left a part of a row, to which the next row would be glued.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._cut(sum(map(len, self._whole_lines())))
            self._ends_well = True
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                data = line.encode()
                while data:  # on a full disk, the first call writes a part without an error
                    data = data[os.write(file.fileno(), data) :]
            except OSError as error:
                file.truncate(end)
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def rows(self) -> list[dict[str, Value]]:
        """Return all rows, in order; none where there is no file yet.

        A last line without its end is left out.
        """
        return [json.loads(line) for line in self._whole_lines()]

    def truncate_at(self, is_later: Callable[[Mapping[str, Value]], bool]) -> None:
        """Forget the first row of which that is true, and all that follow."""
        kept = 0
        for line in self._whole_lines():
            if is_later(json.loads(line)):
                break
            kept += len(line)
        self._cut(kept)

    def flush(self) -> None:
        """Wait until every row would survive a power cut."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def _whole_lines(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _cut(self, size_bytes: int) -> None:
        if self.path.exists() and self.path.stat().st_size != size_bytes:
            os.truncate(self.path, size_bytes)


def _flat(key: str, value: object) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    found = type(value).__name__
    raise TypeError(f"{key}: a row holds strings, numbers, bools and None, not {found}")


class Losses(TypedDict):
    """Losses of one batch, means over words: of annotations, and of teachers if any."""

    loss: float
    distillation_loss: NotRequired[float]


class UpdateRow(Losses):
    """One step of the optimiser.

    `step` and `epoch` count from 1; `gradient_norm` is that before clipping.

    `n_words` are those of the batch; `words_per_second` is shown but not recorded.
    """

    kind: Literal["update"]
    step: int
    epoch: int
    gradient_norm: float
    learning_rate: float
    n_words: int
    words_per_second: float


class EvaluationRow(TypedDict):
    """Scores on dev after `step`, ratios 0 to 1; `best` says whether they beat all earlier ones."""

    kind: Literal["evaluation"]
    step: int
    epoch: int
    f1: float
    precision: float
    recall: float
    loss: float
    best: bool


class HeldOutRow(TypedDict):
    """Scores of pre-training on held-out text after `step`, and the words read so far.

    `perplexity` and `accuracy` (0 to 1) are of guessed words, `detection_accuracy` of verdicts
    whether a word was replaced; None where the objective asks no such thing.
    """

    kind: Literal["held_out"]
    step: int
    epoch: int
    words: int
    perplexity: float | None
    accuracy: float | None
    detection_accuracy: float | None


Row = UpdateRow | EvaluationRow | HeldOutRow


def without_clock(row: Row) -> dict[str, object]:
    """Return a row without what a clock decided, which is what a run records of it."""
    return {key: value for key, value in row.items() if key != "words_per_second"}


class Record(JsonLines):
    """The rows in `directory`/metrics.jsonl. One writer at a time; readers may look on."""

    def __init__(self, directory: Path | str) -> None:
        super().__init__(Path(directory) / "metrics.jsonl")

    def truncate_after(self, step: int, evaluated: int | None = None) -> None:
        """Remove the rows of later steps, so that a resumed run gives an uninterrupted file.

        `evaluated` is the last step that has been evaluated, where that is not `step`.
        """
        last = {"update": step}
        evaluated = step if evaluated is None else evaluated

        def is_later(row: Mapping[str, Value]) -> bool:
            number = row.get("step", 0)
            return isinstance(number, int) and number > last.get(str(row.get("kind")), evaluated)

        self.truncate_at(is_later)

    def plot(self, path: Path | str) -> None:
        """Draw the curves, see `teddy.training.report.figures.draw_curves`.

        Raises: TrainingError where matplotlib is not installed.
        """
        draw_curves(self.rows(), path)


class Timings:
    """The timings of one process: each event has taken all the time since the one before."""

    def __init__(self, directory: Path) -> None:
        self.lines = JsonLines(directory / "timings.jsonl")
        self._started = self._since = time.monotonic()
        self._step = self._updates = self._words = 0
        self._seconds = 0.0

    def start(self, step: int) -> None:
        """Note that the run is resumed after `step`; what came before was preparation."""
        self._step = step
        self._write("start", **this_machine().as_dict())
        self._lap()

    def show(self, row: Row) -> None:
        """Note an update or an evaluation."""
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
        """Note a checkpoint of that size."""
        self._write_updates()
        self._write("checkpoint", checkpoint_seconds=round(self._lap(), 3), bytes=size_bytes)

    def end(self, state: State) -> None:
        """Note the end of this process."""
        self._write_updates()
        self._write(
            "end", end=str(state), process_seconds=round(time.monotonic() - self._started, 3)
        )

    def _lap(self) -> float:
        before, self._since = self._since, time.monotonic()
        return self._since - before

    def _write_updates(self) -> None:
        if self._updates:
            counts = {"updates": self._updates, "words": self._words}
            self._write("updates", **counts, seconds=round(self._seconds, 3))
            self._updates = self._words = 0
            self._seconds = 0.0

    def _write(self, kind: str, **fields: str | float) -> None:
        self.lines.append({"kind": kind, "time": timestamp(), "step": self._step, **fields})
