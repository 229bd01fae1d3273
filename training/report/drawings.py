"""The pictures of a report: the confusion of labels, and the reliability of scores."""

from collections import Counter
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.training.evaluation.mistakes import Confusion
from teddy.training.evaluation.reliability import Reliability
from teddy.training.report.figures import BLUE, GREY, ORANGE, new_figure, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def draw_confusion(confusion: Confusion, labels: list[str], path: Path | str) -> None:
    """Draw gold against predicted labels as a PNG: spans with equal borders, and the others.

    The number in a cell says how many; its shade, which share of the annotated entities of the
    row's label (over both panels), and in the row of the spurious ones, which share of the
    predicted entities of the column's label.

    Raises: TrainingError where matplotlib is not installed.
    """
    cells = [*confusion.equal_borders, *confusion.wrong_borders]
    others = {label for pair in cells for label in pair if label is not None} - set(labels)
    names: list[str | None] = [*labels, *sorted(others)]
    side = 1.2 + 0.55 * len(names)
    figure = new_figure(2 * side + 3.5, side + 1.6)
    equal, wrong = figure.subplots(1, 2, width_ratios=[len(names) + 1, max(len(names), 1)])
    _draw_cells(equal, confusion.equal_borders, [*names, None], cell_totals(confusion))
    _draw_cells(wrong, confusion.wrong_borders, names, cell_totals(confusion))
    equal.set_title("Equal borders")
    wrong.set_title("Overlapping, other borders")
    save_figure(figure, path)


def cell_totals(confusion: Confusion) -> dict[tuple[str | None, str | None], int]:
    """Return the total of each cell's share: of the gold label, or of the predicted if spurious."""
    cells = confusion.equal_borders + confusion.wrong_borders
    of_gold: Counter[str | None] = Counter()
    of_predicted: Counter[str | None] = Counter()
    for (gold, predicted), n in cells.items():
        of_gold[gold] += n
        of_predicted[predicted] += n
    return {
        (gold, found): of_predicted[found] if gold is None else of_gold[gold]
        for gold, found in cells
    }


def _draw_cells(
    axes: "Axes",
    cells: Mapping[tuple[str | None, str | None], int],
    names: list[str | None],
    totals: Mapping[tuple[str | None, str | None], int],
) -> None:
    counts = [[cells.get((gold, predicted), 0) for predicted in names] for gold in names]
    # The square root lets a share of a few in a hundred still be seen beside the diagonal.
    shades = [
        [(cells.get(cell, 0) / totals.get(cell, 1)) ** 0.5 for cell in product([gold], names)]
        for gold in names
    ]
    if names:
        axes.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0)
    for i, row in enumerate(counts):
        for j, n in enumerate(row):
            if names[i] is None and names[j] is None:
                continue
            colour = "white" if shades[i][j] > 0.6 else "black" if n else "#B0B0B0"
            axes.text(j, i, f"{n:,}", ha="center", va="center", color=colour, fontsize=8)
    axes.set_xticks(
        range(len(names)),
        ["missed" if name is None else name for name in names],
        rotation=45,
        ha="right",
    )
    axes.set_yticks(range(len(names)), ["spurious" if name is None else name for name in names])
    axes.set_xlabel("predicted label")
    axes.set_ylabel("annotated label")


def draw_reliability(calibration: Reliability, path: Path | str) -> None:
    """Draw a reliability diagram (Niculescu-Mizil & Caruana 2005) as a PNG.

    Raises: TrainingError where matplotlib is not installed.
    """
    figure = reliability_figure(calibration)
    figure.axes[0].set_title(
        f"Expected calibration error {calibration.error:.2%}, {calibration.total.n:,} entities\n"
        "(Naeini et al. 2015)"
    )
    save_figure(figure, path)


def reliability_figure(calibration: Reliability) -> "Figure":
    """Draw the diagram without its title.

    Points on the diagonal are calibrated; a line joins each point to it. Below stands how many
    entities have such scores.

    Raises: TrainingError where matplotlib is not installed.
    """
    figure = new_figure(5.6, 6.4)
    shares, counts = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
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
    return figure
