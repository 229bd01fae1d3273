"""The record of a training run: `metrics.jsonl`, one flat JSON object a line, and the curves drawn from it.

Two runs of one recipe and one seed give equal rows, apart from `words_per_second`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from model.files import write_atomically
from training.figures import BLUE, GREEN, GREY, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Value = str | int | float | bool | None


class Losses(TypedDict):
    """Of one batch, means over words: against its annotations, and against teachers where there are any."""

    loss: float
    distillation_loss: NotRequired[float]


class UpdateRow(Losses):
    """One step of the optimiser. `step` and `epoch` count from 1; `gradient_norm` is that before clipping."""

    kind: Literal["update"]
    step: int
    epoch: int
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


class HeldOutRow(TypedDict):
    """What a network in pre-training makes of held-out text after `step`, when it had read so many words in all.

    `perplexity` and `accuracy` (0 to 1) are of guessed words, `detection_accuracy` of verdicts whether a word was
    replaced; None where the objective asks no such thing.
    """

    kind: Literal["held_out"]
    step: int
    epoch: int
    words: int
    perplexity: float | None
    accuracy: float | None
    detection_accuracy: float | None


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

        Of a pre-training run, what was measured on held-out text takes the place of dev F1.

        Raises: TrainingError where matplotlib is not installed.
        """
        updates = [row for row in self.rows() if row["kind"] == "update"]
        evaluations = [row for row in self.rows() if row["kind"] == "evaluation"]
        held_out = [row for row in self.rows() if row["kind"] == "held_out"]
        figure = new_figure(8, 8)
        loss, score, norm = figure.subplots(3, 1, sharex=True)
        _plot_noisy(loss, updates, "loss", "training loss", BLUE)
        if any("distillation_loss" in row for row in updates):
            _plot_noisy(loss, updates, "distillation_loss", "loss: training, distillation", GREEN)
        if held_out:
            _plot_accuracy(score, held_out)
        else:
            _plot_f1(score, evaluations)
        _plot_noisy(norm, updates, "gradient_norm", "gradient norm", ORANGE)
        norm.set_xlabel("step")
        figure.align_ylabels([loss, score, norm])
        for axes in (loss, score, norm):
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


def _plot_accuracy(axes: "Axes", rows: list[dict[str, Value]]) -> None:
    for key, name, colour in (
        ("accuracy", "words guessed", GREEN),
        ("detection_accuracy", "verdicts on replaced words", GREY),
    ):
        steps, values = _series(rows, key)
        if values:
            label = f"{name}: {100 * values[-1]:.1f} at last"
            axes.plot(steps, [100 * value for value in values], color=colour, marker="o", markersize=3.5, label=label)
    axes.set_ylabel("right on held-out text, %")
    axes.legend(frameon=False, loc="lower right")
