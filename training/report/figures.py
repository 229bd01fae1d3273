"""Where matplotlib is imported: figures without a display, and the learning curves of a run.

Rows may miss a key, or have null for a number that was none.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import TrainingError
from teddy.model.system.files import atomic_path

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


# From the Okabe-Ito palette, which people with any of the common colour deficiencies tell apart.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8A8A8A"

Rows = Sequence[Mapping[str, object]]

Margins = tuple[float, float, float, float]
"""What is free for labels to the left, right, below and above the panels, in inches."""
_MARGINS: Margins = 0.95, 0.2, 0.5, 0.15
_DPI = 120


def new_figure(width: float, height: float, margins: Margins | None = None) -> "Figure":
    """Make an empty figure, in inches.

    Without `margins` matplotlib finds room for every label before it draws, which takes longer than
    to draw: that is for panels whose labels may be of any length.

    Raises: TrainingError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise TrainingError("plots need matplotlib: pip install 'teddy[train]'") from error
    if margins is None:
        return Figure(figsize=(width, height), layout="constrained")
    figure = Figure(figsize=(width, height))
    left, right, bottom, top = margins
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height)
    return figure


@contextmanager
def optional_figure(note: Callable[[str], None], file_name: str) -> Iterator[None]:
    """Let a block fail to draw a picture for lack of matplotlib, and note it."""
    try:
        yield
    except TrainingError as error:
        note(f"no {file_name}: {error}")


def save_figure(figure: "Figure", path: Path | str) -> None:
    """Write a PNG, whole or not at all; equal figures give equal files.

    `figure.savefig` would draw it twice.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure.set_dpi(_DPI)
    with warnings.catch_warnings():
        # A label in a script that matplotlib's font lacks is drawn as boxes; the tables have it in
        # full.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        with atomic_path(path) as temporary:
            canvas = FigureCanvasAgg(figure)
            canvas.print_png(temporary, metadata={"Software": None})  # type: ignore[no-untyped-call]


def draw_curves(rows: Rows, path: Path | str) -> None:
    """Draw training loss, dev F1 and gradient norm against the step, one above the other, as a PNG.

    Of a pre-training run, what was measured on held-out text takes the place of dev F1.

    Raises: TrainingError where matplotlib is not installed.
    """
    figure = new_figure(8, 8, _MARGINS)
    loss, score, norm = figure.subplots(3, 1, sharex=True, gridspec_kw={"hspace": 0.08})
    for axes, plot in ((loss, _plot_loss), (score, _plot_score), (norm, _plot_norm)):
        plot(axes, rows)
        _quiet(axes)
        label_at(axes, figure, _MARGINS)
    norm.set_xlabel("step")
    save_figure(figure, path)


def panels(rows: Rows) -> "Iterator[tuple[str, Figure]]":
    """Draw each curve as a named figure; a curve without values is left out.

    Raises: TrainingError where matplotlib is not installed.
    """
    for name, key, plot in (
        ("Training loss", "loss", _plot_loss),
        ("F1 on dev", "f1", _plot_score),
        ("Gradient norm", "gradient_norm", _plot_norm),
        ("Learning rate", "learning_rate", _plot_rate),
    ):
        if _series(rows, key).size:
            figure = new_figure(4.8, 2.9, _MARGINS)
            axes = figure.subplots()
            plot(axes, rows)
            axes.set_xlabel("step")
            _quiet(axes)
            label_at(axes, figure, _MARGINS)
            yield name, figure


def label_at(axes: "Axes", figure: "Figure", margins: Margins) -> None:
    """Put the label of the vertical axis to the left edge, where it need not be looked for."""
    left, right, _, _ = margins
    axes.yaxis.set_label_coords(-(left - 0.22) / (figure.get_figwidth() - left - right), 0.5)


def _quiet(axes: "Axes") -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _plot_loss(axes: "Axes", rows: Rows) -> None:
    updates = _of_kind(rows, "update")
    _plot_noisy(axes, updates, "loss", "training loss", BLUE)
    if any("distillation_loss" in row for row in updates):
        _plot_noisy(axes, updates, "distillation_loss", "loss: training, distillation", GREEN)


def _plot_norm(axes: "Axes", rows: Rows) -> None:
    _plot_noisy(axes, _of_kind(rows, "update"), "gradient_norm", "gradient norm", ORANGE)


def _plot_rate(axes: "Axes", rows: Rows) -> None:
    axes.plot(*_series(_of_kind(rows, "update"), "learning_rate"), color=GREEN, linewidth=1.6)
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)


def _of_kind(rows: Rows, kind: str) -> Rows:
    return [row for row in rows if row["kind"] == kind]


def _series(rows: Rows, key: str) -> NDArray[np.float64]:
    """Return steps and values of a key, without what is missing or null. Shape: [2, points]."""
    pairs = [(row["step"], row.get(key)) for row in rows]
    found = [pair for pair in pairs if all(isinstance(each, int | float) for each in pair)]
    return np.array(found, dtype=np.float64).reshape(-1, 2).T


def _plot_noisy(axes: "Axes", rows: Rows, key: str, name: str, colour: str) -> None:
    """Draw a value for each update, faint, and its running mean; on a log scale if possible."""
    steps, values = _series(rows, key)
    window = max(1, len(values) // 50)
    sums = np.concatenate(([0.0], np.cumsum(values)))
    ends = np.arange(1, len(sums))
    firsts = np.maximum(ends - window, 0)
    means = (sums[ends] - sums[firsts]) / (ends - firsts)
    axes.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
    label = f"mean of {window} steps" if window > 1 else "each step"
    axes.plot(steps, means, color=colour, linewidth=1.6, label=label)
    axes.set_ylabel(name)
    if len(values) and min(values) > 0:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter(
            lambda value, _: f"{value:g}" if f"{value:e}"[0] in "25" else ""
        )
    if len(values):
        axes.legend(frameon=False, loc="upper right")


def _plot_score(axes: "Axes", rows: Rows) -> None:
    held_out = _of_kind(rows, "held_out")
    if held_out:
        for key, name, colour in (
            ("accuracy", "words guessed", GREEN),
            ("detection_accuracy", "verdicts on replaced words", GREY),
        ):
            steps, values = _series(held_out, key)
            if len(values):
                label = f"{name}: {100 * values[-1]:.1f} at last"
                axes.plot(
                    steps, 100 * values, color=colour, marker="o", markersize=3.5, label=label
                )
        axes.set_ylabel("right on held-out text, %")
        axes.legend(frameon=False, loc="lower right")
        return
    steps, values = _series(_of_kind(rows, "evaluation"), "f1")
    axes.plot(steps, 100 * values, color=GREEN, marker="o", markersize=3.5, linewidth=1.4)
    axes.set_ylabel("dev F1, %")
    if len(values):
        best = int(values.argmax())  # of equal ones the earliest, as the trainer keeps
        name = f"best: {100 * values[best]:.2f} at step {steps[best]:,.0f}"
        axes.axhline(100 * values[best], color=GREY, linewidth=0.8, linestyle="--", label=name)
        axes.legend(frameon=False, loc="lower right")
