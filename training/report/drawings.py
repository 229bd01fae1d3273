"""The pictures of a report: the confusion of labels, and the reliability of scores."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.training.evaluation.mistakes import Confusion
from teddy.training.evaluation.reliability import Reliability
from teddy.training.report.figures import BLUE, GREY, ORANGE, label_at, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LABELS = 24
"""In a picture or the columns of a table; the rest stands together. (A picture of 300 took 21 GB.)
"""
Cells = Mapping[tuple[str | None, str | None], int]
"""Counts by gold label, None for spurious, and predicted label, None for missed."""


def draw_confusion(confusion: Confusion, labels: list[str], path: Path | str) -> None:
    """Draw gold against predicted labels as a PNG: spans with equal borders, and the others.

    The number in a cell says how many; its shade, which share of the annotated entities of the
    row's label (over both panels), and in the row of the spurious ones, which share of the
    predicted entities of the column's label.

    With many labels, those beyond the `MOST_LABELS` most frequent share a row and a column.

    Raises: TrainingError where matplotlib is not installed.
    """
    confusion, names = confusion.bounded(labels, MOST_LABELS)
    side = 1.2 + 0.55 * len(names)
    figure = new_figure(2 * side + 3.5, side + 1.6)
    equal, wrong = figure.subplots(1, 2, width_ratios=[len(names) + 1, max(len(names), 1)])
    _draw_cells(equal, confusion.equal_borders, [*names, None], confusion)
    _draw_cells(wrong, confusion.wrong_borders, names, confusion)
    equal.set_title("Equal borders")
    wrong.set_title("Overlapping, other borders")
    save_figure(figure, path)


def shaded_cells(
    cells: Cells, names: Sequence[str | None], confusion: Confusion
) -> list[list[tuple[int, float] | None]]:
    """Return the count of each cell and how dark it is, 0 to 1, in rows of gold labels.

    None is the cell of what is neither annotated nor predicted.
    """
    of_gold: Counter[str | None] = Counter()
    of_predicted: Counter[str | None] = Counter()
    for (gold, predicted), n in (confusion.equal_borders + confusion.wrong_borders).items():
        of_gold[gold] += n
        of_predicted[predicted] += n

    def cell(gold: str | None, predicted: str | None) -> tuple[int, float] | None:
        if gold is None and predicted is None:
            return None
        n = cells.get((gold, predicted), 0)
        total = of_predicted[predicted] if gold is None else of_gold[gold]
        # The square root lets a share of a few in a hundred still be seen beside the diagonal.
        return n, (n / total) ** 0.5 if n else 0.0

    return [[cell(gold, predicted) for predicted in names] for gold in names]


def _draw_cells(
    axes: "Axes", cells: Cells, names: Sequence[str | None], confusion: Confusion
) -> None:
    rows = shaded_cells(cells, names, confusion)
    if names:
        shades = [[cell[1] if cell else 0.0 for cell in row] for row in rows]
        axes.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0)
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if cell is not None:
                n, shade = cell
                colour = "white" if shade > 0.6 else "black" if n else "#B0B0B0"
                axes.text(j, i, f"{n:,}", ha="center", va="center", color=colour, fontsize=8)
    places = range(len(names))
    axes.set_xticks(places, [name or "missed" for name in names], rotation=45, ha="right")
    axes.set_yticks(places, [name or "spurious" for name in names])
    axes.set_xlabel("predicted label")
    axes.set_ylabel("annotated label")


def draw_reliability(calibration: Reliability, path: Path | str) -> None:
    """Draw a reliability diagram (Niculescu-Mizil & Caruana 2005) as a PNG.

    Raises: TrainingError where matplotlib is not installed.
    """
    figure = reliability_figure(calibration, title_height=0.45)
    figure.axes[0].set_title(
        f"Expected calibration error {calibration.error:.2%}, {calibration.total.n:,} entities\n"
        "(Naeini et al. 2015)"
    )
    save_figure(figure, path)


def reliability_figure(calibration: Reliability, title_height: float = 0.0) -> "Figure":
    """Draw the diagram without its title, for which `title_height` inches are free.

    Points on the diagonal are calibrated; a line joins each point to it. Below stands how many
    entities have such scores.

    Raises: TrainingError where matplotlib is not installed.
    """
    margins = 0.85, 0.2, 0.5, 0.15 + title_height
    figure = new_figure(5.6, 6.4, margins)
    shares, counts = figure.subplots(
        2, 1, height_ratios=[3, 1], sharex=True, gridspec_kw={"hspace": 0.08}
    )
    filled = [each for each in calibration.bins if each.n]
    means, rights = [each.mean_score for each in filled], [each.share_right for each in filled]
    shares.plot([0, 1], [0, 1], color=GREY, linestyle="--", label="calibrated")
    shares.vlines(means, means, rights, color=ORANGE, linewidth=3, alpha=0.6)
    shares.plot(means, rights, color=BLUE, marker="o", linewidth=1, label="entities predicted")
    shares.set_ylabel("share that is right")
    shares.set_ylim(-0.02, 1.02)
    shares.legend(loc="upper left", frameon=False)
    width = 1 / len(calibration.bins)
    counts.bar(
        [(i + 0.5) * width for i in range(len(calibration.bins))],
        [each.n for each in calibration.bins],
        0.9 * width,
        color=BLUE,
    )
    for i, each in enumerate(calibration.bins):
        counts.annotate(
            f"{each.n:,}", ((i + 0.5) * width, each.n), ha="center", va="bottom", fontsize=7
        )
    counts.margins(y=0.25)
    counts.set_xlim(0, 1)
    counts.set_xlabel("score")
    counts.set_ylabel("entities")
    for axes in (shares, counts):
        axes.spines[["top", "right"]].set_visible(False)
        label_at(axes, figure, margins)
    return figure
