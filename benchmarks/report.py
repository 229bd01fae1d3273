"""What was measured, as tables for people and as fields for programs."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.growth import MEGABYTE, Stage
from benchmarks.speed import Comparison

OURS = "teddy"
"""The row that the others are compared with: the model through `teddy.load().tag()`, as it
comes."""


@dataclass(slots=True, kw_only=True)
class Results:
    """All that one run has found out; what was not measured is empty."""

    machine: dict[str, str]
    text: str
    options: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    """What was left out, and why: a line each."""
    details: dict[str, str] = field(default_factory=dict)
    ready_seconds: dict[str, list[float]] = field(default_factory=dict)
    """From the start of a process to its first answer, for each start."""
    load_seconds: dict[str, list[float]] = field(default_factory=dict)
    """The part of it that is import, load and first answer, without the start of Python."""
    peak_bytes: dict[str, int | None] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)
    """By `one core, short texts` and the like."""
    network_shares: dict[str, list[float]] = field(default_factory=dict)
    growth: list[Stage] = field(default_factory=list)
    serving: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def fields(self) -> dict[str, Any]:
        """For JSON."""
        return {
            **{
                name: getattr(self, name)
                for name in ("machine", "text", "options", "notes", "details", "seconds")
            },
            "glance": glance(self),
            "ready_seconds": self.ready_seconds,
            "load_seconds": self.load_seconds,
            "peak_bytes": self.peak_bytes,
            **{name: comparison.fields(OURS) for name, comparison in self.comparisons.items()},
            "network_shares": self.network_shares,
            "growth": [
                {**asdict(stage), "seconds_per_megabyte": stage.seconds_per_megabyte}
                for stage in self.growth
            ],
            "serving": self.serving,
        }


def glance(results: Results) -> dict[str, float]:
    """Return the main figures, each a number; of the transformer's precisions the better one."""
    found: dict[str, float] = {}
    for name, comparison in results.comparisons.items():
        ratios = comparison.ratios(OURS)
        if "spacy" in ratios:
            found[f"{name}: times as fast as spaCy"] = ratios["spacy"]
        if transformers := [
            ratio for other, ratio in ratios.items() if other.startswith("transformer")
        ]:
            found[f"{name}: times as fast as the transformer"] = min(transformers)
    for name, shares in results.network_shares.items():
        found[f"{name}: bare network / whole pipeline"] = statistics.median(shares)
    if OURS in results.ready_seconds:
        found["seconds from start to first answer"] = statistics.median(results.ready_seconds[OURS])
    if results.serving:
        found["teddy serve: seconds to first answer"] = median_of(
            results.serving, "first_answer_seconds"
        )
        if "resident" in results.serving[0]:
            found["teddy serve: resident MB"] = median_of(results.serving, "resident") / MEGABYTE
    if (growth := memory_growth(results.growth)) is not None:
        found[
            f"resident memory after {results.growth[-1].words_so_far:,} words / after ten thousand"
        ] = growth
    return found


def median_of(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    """Of one field."""
    return float(statistics.median(row[key] for row in rows))


def memory_growth(stages: Sequence[Stage]) -> float | None:
    """Return memory after the last stage over that after the first; None without two stages."""
    if len(stages) < 2:
        return None
    first, last = stages[0].resident_bytes, stages[-1].resident_bytes
    return last / first if first and last else None


def print_report(results: Results, console: Console) -> None:
    """Every table that has rows."""
    machine = ", ".join(
        f"{name} {what}" for name, what in results.machine.items() if what != "not installed"
    )
    console.print(f"\n{machine}\nText: {results.text}", highlight=False)
    for name, comparison in results.comparisons.items():
        if comparison.turns:
            console.print(_comparison_table(name, comparison))
    for table in (_process_table(results), _growth_table(results.growth), _glance_table(results)):
        if table.row_count:
            console.print(table)
    for note in results.notes:
        console.print(f"- {note}", highlight=False, markup=False)
    console.print(f"{results.seconds:.0f} seconds in all", highlight=False)


def _table(title: str, columns: Iterable[str]) -> Table:
    first, *others = columns
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column(first)
    for column in others:
        table.add_column(column, justify="right")
    return table


def _comparison_table(name: str, comparison: Comparison) -> Table:
    n_rounds = max(map(len, comparison.turns.values()))
    title = f"{name}: medians of {n_rounds} round{'s' if n_rounds > 1 else ''}"
    medians, tails, ratios = comparison.medians(), comparison.tails(), comparison.ratios(OURS)
    ratio = "teddy is x times as fast"
    if comparison.lower_is_better:
        table = _table(title, ("", "p50", "p95", ratio))
        for row, median in medians.items():
            times = f"{1000 * median:,.2f} ms", f"{1000 * tails[row]:,.2f} ms"
            table.add_row(row, *times, _times(ratios.get(row)))
        return table
    table = _table(title, ("", "words/s", ratio, "of the words, reads"))
    for row, median in medians.items():
        read = comparison.turns[row][0].read_share
        table.add_row(row, f"{median:,.0f}", _times(ratios.get(row)), f"{read:.0%}")
    return table


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def _process_table(results: Results) -> Table:
    columns = (
        "one process each, one core",
        "start to first answer",
        "of it import and load",
        "peak memory",
        "what it is",
    )
    table = _table("Start and memory", columns)
    for name, ready in results.ready_seconds.items():
        table.add_row(
            name,
            f"{statistics.median(ready):.2f} s",
            f"{statistics.median(results.load_seconds[name]):.2f} s",
            _megabytes(results.peak_bytes.get(name)),
            results.details[name],
        )
    if results.serving:
        answered = f"{median_of(results.serving, 'first_answer_seconds'):.2f} s"
        resident = results.serving[0].get("peak")
        table.add_row("teddy serve", answered, "", _megabytes(resident), "answered one request")
    return table


def _growth_table(stages: Sequence[Stage]) -> Table:
    table = _table(
        "One stream of texts of mixed lengths",
        ("size", "words so far", "seconds", "s/MB", "resident after it"),
    )
    for stage in stages:
        size = f"{stage.read_bytes / MEGABYTE:,.2f} MB"
        if stage.read_bytes < 0.9 * stage.wanted_bytes:
            size += f", cut short of {stage.wanted_bytes / MEGABYTE:.0f}"
        cost = f"{stage.seconds_per_megabyte:.2f}"
        table.add_row(
            size,
            f"{stage.words_so_far:,}",
            f"{stage.seconds:,.2f}",
            cost,
            _megabytes(stage.resident_bytes),
        )
    return table


def _glance_table(results: Results) -> Table:
    table = _table("At a glance", ("", "median"))
    for name, value in glance(results).items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}")
    return table


def _megabytes(n_bytes: int | None) -> str:
    return "" if n_bytes is None else f"{n_bytes / MEGABYTE:,.0f} MB"
