"""Markdown that is easy to read in a terminal: tables that line up, names and texts as they are."""

import re
from collections.abc import Iterable

from rich.cells import cell_len


def markdown_table(heads: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Return a Markdown table whose columns line up: names to the left, numbers to the right."""
    rows = [row + [""] * (len(heads) - len(row)) for row in rows]
    numeric = [_is_numeric(row[i] for row in rows) for i in range(len(heads))]
    widths = [max(3, *(cell_len(row[i]) for row in [heads, *rows])) for i in range(len(heads))]

    def line(cells: list[str]) -> str:
        padding = [
            " " * (width - cell_len(cell)) for cell, width in zip(cells, widths, strict=True)
        ]
        aligned = [
            space + cell if right else cell + space
            for cell, space, right in zip(cells, padding, numeric, strict=True)
        ]
        return f"| {' | '.join(aligned)} |"

    rule = [
        "-" * (width - 1) + (":" if right else "-")
        for width, right in zip(widths, numeric, strict=True)
    ]
    return [line(heads), line(rule), *map(line, rows)]


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
