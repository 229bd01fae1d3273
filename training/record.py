"""The record of a training run: `metrics.jsonl`, one flat JSON object a line, and the curves drawn from it.

Two runs of one recipe and one seed give equal rows, apart from `words_per_second`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

from model.files import write_atomically
from training.figures import BLUE, GREEN, GREY, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = str | int | float | bool | None


class UpdateRow(TypedDict):
    """One step of the optimiser. `step` and `epoch` count from 1; `gradient_norm` is that before clipping."""

    kind: Literal["update"]
    step: int
    epoch: int
    loss: float
    gradient_norm: float
    learning_rate: float
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


class Record:
    """The rows in `directory`/metrics.jsonl. One writer at a time; readers may look on."""

    def __init__(self, directory: Path | str) -> None:
        self.path = Path(directory) / "metrics.jsonl"
        self._ends_well = False

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row, in one call, so that a reader never sees half of it unless the machine dies.

        A number that is not finite is written as null, as JSON has no word for it.

        Raises: TypeError where a value is not a string, number, bool or None.
        """
        line = json.dumps({key: _flat(key, value) for key, value in row.items()}, ensure_ascii=False) + "\n"
        if not self._ends_well:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_half_line()
        with self.path.open("ab", buffering=0) as file:
            file.write(line.encode())

    def rows(self) -> list[dict[str, Value]]:
        """Return all rows, in order; none where there is no file yet. A last line without its end is left out."""
        return [json.loads(line) for line in self._whole_lines()]

    def truncate_after(self, step: int) -> None:
        """Forget the rows of later steps, so that a run resumed after `step` gives the file of an uninterrupted one."""
        kept = [line for line in self._whole_lines() if json.loads(line).get("step", 0) <= step]
        if self.path.exists():
            write_atomically(self.path, b"".join(kept))

    def plot(self, path: Path | str) -> None:
        """Draw training loss, dev F1 and gradient norm against the step, one above the other, as a PNG.

        Raises: TrainingError where matplotlib is not installed.
        """
        updates = [row for row in self.rows() if row["kind"] == "update"]
        evaluations = [row for row in self.rows() if row["kind"] == "evaluation"]
        figure = new_figure(8, 8)
        loss, f1, norm = figure.subplots(3, 1, sharex=True)
        _plot_noisy(loss, updates, "loss", "training loss", BLUE)
        _plot_f1(f1, evaluations)
        _plot_noisy(norm, updates, "gradient_norm", "gradient norm", ORANGE)
        norm.set_xlabel("step")
        figure.align_ylabels([loss, f1, norm])
        for axes in (loss, f1, norm):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        save_figure(figure, path)

    def _whole_lines(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _drop_half_line(self) -> None:
        """Cut off what a crash left of a row, or the next row would be glued to it."""
        if self.path.exists():
            whole = sum(len(line) for line in self._whole_lines())
            if whole != self.path.stat().st_size:
                with self.path.open("r+b") as file:
                    file.truncate(whole)
        self._ends_well = True


def _flat(key: str, value: object) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{key}: a row holds strings, numbers, bools and None, not {type(value).__name__}")


def _series(rows: list[dict[str, Value]], key: str) -> tuple[list[float], list[float]]:
    """Take the steps and values of a key, leaving out what is missing or null."""
    pairs = [(row["step"], row.get(key)) for row in rows]
    found = [(float(x), float(y)) for x, y in pairs if isinstance(x, int | float) and isinstance(y, int | float)]
    return [x for x, _ in found], [y for _, y in found]


def _smooth(values: list[float], window: int) -> list[float]:
    """Mean of each value with up to `window - 1` before it."""
    smooth, total = [], 0.0
    for i, value in enumerate(values):
        total += value - (values[i - window] if i >= window else 0.0)
        smooth.append(total / min(i + 1, window))
    return smooth


def _plot_noisy(axes: "Axes", rows: list[dict[str, Value]], key: str, name: str, colour: str) -> None:
    """Draw a value for each update: faint as measured, strong as a running mean; on a log scale where it can be."""
    steps, values = _series(rows, key)
    window = max(1, len(values) // 50)
    axes.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
    mean = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps, _smooth(values, window), color=colour, linewidth=1.6, label=mean)
    axes.set_ylabel(name)
    if values and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else "")
    if values:
        axes.legend(frameon=False, loc="upper right")


def _plot_f1(axes: "Axes", rows: list[dict[str, Value]]) -> None:
    steps, values = _series(rows, "f1")
    axes.plot(steps, [100 * value for value in values], color=GREEN, marker="o", markersize=3.5, linewidth=1.4)
    axes.set_ylabel("dev F1, %")
    if values:
        best = max(values)
        step = steps[values.index(best)]  # of equal ones the earliest, as the trainer keeps
        name = f"best: {100 * best:.2f} at step {step:,.0f}"
        axes.axhline(100 * best, color=GREY, linewidth=0.8, linestyle="--", label=name)
        axes.legend(frameon=False, loc="lower right")
