"""What was measured of the service, as tables for people and as fields for programs."""

from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.service_context import Figure, Section


@dataclass(slots=True, kw_only=True)
class Results:
    """All that one run has found out."""

    machine: dict[str, str]
    text: str
    options: dict[str, Any]
    sections: list[Section] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def figures(self) -> list[Figure]:
        """Of all sections."""
        return [figure for section in self.sections for figure in section.figures]

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def print_report(results: Results, console: Console) -> None:
    """Every table, and in the end what must hold."""
    machine = ", ".join(
        f"{name} {what}" for name, what in results.machine.items() if what != "not installed"
    )
    console.print(f"\n{machine}\nText: {results.text}", highlight=False)
    for section in results.sections:
        table = table_of(section.title, section.columns)
        for row in section.rows:
            table.add_row(*row)
        console.print(table)
    if results.figures:
        console.print(_promises(results.figures))
    for note in results.notes:
        console.print(f"- {note}", highlight=False, markup=False)
    console.print(f"{results.seconds:.0f} seconds in all", highlight=False)


def table_of(title: str, columns: tuple[str, ...]) -> Table:
    """An empty one: names to the left, numbers to the right."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    return table


def _promises(figures: list[Figure]) -> Table:
    table = table_of("What must hold", ("", "measured", "must", "aim", ""))
    for figure in figures:
        table.add_row(figure.name, _value(figure, figure.value), *_limits(figure), verdict(figure))
    return table


def _limits(figure: Figure) -> tuple[str, str]:
    sign = "≤ " if figure.at_most else "≥ "
    must, aim = (
        "" if limit is None else sign + _value(figure, limit) for limit in (figure.must, figure.aim)
    )
    return must, aim


def _value(figure: Figure, value: float) -> str:
    number = f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:,.2f}"
    return f"{number} {figure.unit}".strip()


def verdict(figure: Figure) -> str:
    """As good as the aim, as it must be, or not."""
    if figure.holds(figure.aim):
        return "aim"
    held = figure.holds(figure.must)
    return "" if held is None else "holds" if held else "FALLS SHORT"
