"""Markdown that is easy to read in a terminal: tables that line up, names and texts as they are."""

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len

SCORE_HEADS = ("precision", "recall", "F1", "annotated", "predicted", "correct")


def markdown_table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return a Markdown table whose columns line up: names to the left, numbers to the right.

    Missing cells at the end of a row are empty.
    """
    filled = [[*row, *[""] * (len(heads) - len(row))] for row in rows]
    numeric = [_is_numeric(row[i] for row in filled) for i in range(len(heads))]
    widths = [max(3, *(cell_len(row[i]) for row in [heads, *filled])) for i in range(len(heads))]
    columns = [*zip(widths, numeric, strict=True)]

    def line(cells: Sequence[str]) -> str:
        aligned = []
        for cell, (width, right) in zip(cells, columns, strict=True):
            space = " " * (width - cell_len(cell))
            aligned.append(space + cell if right else cell + space)
        return f"| {' | '.join(aligned)} |"

    rule = ["-" * (width - 1) + (":" if right else "-") for width, right in columns]
    return [line(heads), line(rule), *map(line, filled)]


def score_table(
    head: str, rows: Mapping[str, Mapping[str, float]], heads: Sequence[str] = SCORE_HEADS
) -> list[str]:
    """Return a table of named scores (`Counts.as_dict`); counts that are missing are left empty."""
    cells = [
        [
            name,
            *(percent(counts[key]) for key in ("precision", "recall", "f1")),
            *(f"{counts[key]:,}" if key in counts else "" for key in _COUNTS[: len(heads) - 3]),
        ]
        for name, counts in rows.items()
    ]
    return markdown_table([head, *heads], cells)


_COUNTS = ("gold", "predicted", "correct")


def corpus_table(corpora: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[str]:
    """Return the F1 of each label in each corpus; empty if neither annotated nor predicted."""
    labels = list(dict.fromkeys(label for by_label in corpora.values() for label in by_label))
    rows = []
    for name, by_label in corpora.items():
        counts = [by_label.get(label, {}) for label in labels]
        is_used = [each.get("gold") or each.get("predicted") for each in counts]
        f1 = [percent(c["f1"]) if used else "" for c, used in zip(counts, is_used, strict=True)]
        rows.append([code(name), *f1])
    return markdown_table(["corpus", *map(code, labels)], rows)


def _is_numeric(cells: Iterable[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(re.fullmatch(r"[+-]?\d.*[\d%]|\d", cell) for cell in filled)


def percent(ratio: float) -> str:
    """Write a ratio as a percentage with two digits behind the point."""
    return f"{ratio:.2%}"


def code(name: str) -> str:
    """Show a name as it is, whatever Markdown would read into it."""
    return f"`{name.replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def escape(text: str) -> str:
    """Write a text on one line so that Markdown reads nothing into it."""
    return "".join(
        f"\\{character}" if character in "\\`*_[]<>#|" else character
        for character in one_line(text)
    )


def one_line(text: str) -> str:
    """Return a space for each control character, so that underlining stays in place."""
    return "".join(character if character.isprintable() else " " for character in text)
