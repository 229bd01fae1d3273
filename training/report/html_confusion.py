"""The confusion of labels as tables whose cells are shaded: readable without a picture, in any script."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from teddy.training.mistakes import Confusion
from teddy.training.report.figures import cell_totals

Label = str | None


@dataclass(frozen=True, slots=True)
class Cell:
    """A count, and how dark it is, 0 to 1."""

    n: int
    shade: float


@dataclass(frozen=True, slots=True)
class Row:
    """A gold label and its cells; None is a cell that nothing can be in."""

    name: str
    cells: list[Cell | None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Gold labels, downwards, against predicted ones."""

    caption: str
    columns: list[str]
    rows: list[Row]


def matrices(confusion: Confusion, labels: Sequence[str]) -> list[Matrix]:
    """Give a table of the spans with equal borders, and one of those that overlap, where there are such."""
    used = {label for cells in _both(confusion) for pair in cells for label in pair if label is not None}
    names: list[Label] = [*labels, *sorted(used.difference(labels))]
    totals = cell_totals(confusion)
    found = [_matrix("Equal borders", confusion.equal_borders, [*names, None], totals)]
    if confusion.wrong_borders:
        found.append(_matrix("Overlapping, other borders", confusion.wrong_borders, names, totals))
    return found


def _both(confusion: Confusion) -> tuple[Counter[tuple[Label, Label]], Counter[tuple[Label, Label]]]:
    return confusion.equal_borders, confusion.wrong_borders


def _matrix(
    caption: str,
    cells: Counter[tuple[Label, Label]],
    names: Sequence[Label],
    totals: dict[tuple[Label, Label], int],
) -> Matrix:
    return Matrix(
        caption,
        ["missed" if name is None else name for name in names],
        [
            Row(
                "spurious" if gold is None else gold,
                [_cell(cells, (gold, found), totals) for found in names],
            )
            for gold in names
        ],
    )


def _cell(
    cells: Counter[tuple[Label, Label]], place: tuple[Label, Label], totals: dict[tuple[Label, Label], int]
) -> Cell | None:
    if place == (None, None):
        return None
    n = cells[place]
    # The square root lets a share of a few in a hundred still be seen beside the diagonal.
    return Cell(n, (n / totals[place]) ** 0.5 if n else 0.0)
