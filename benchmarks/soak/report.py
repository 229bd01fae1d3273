"""What a soak has found, for people."""

from collections import Counter

from rich.console import Console

from benchmarks.service_report import table_of
from benchmarks.soak.run import MOST_GROWTH, Soaked

MEGABYTE = 1_000_000
SHOWN_FAULTS = 20


def print_report(found: Soaked, console: Console) -> None:
    """A table, and what is not right."""
    table = table_of(f"Soak of {found.seconds / 60:.1f} minutes", ("", "", ""))
    table.add_row("answers", statuses(found.statuses), f"{found.statuses.total():,}")
    table.add_row("counted by the service", statuses(found.counted), f"{found.counted.total():,}")
    table.add_row(
        "of clients that did not wait",
        f"{found.left:,}",
        "adds up" if found.adds_up else "DOES NOT ADD UP",
    )
    table.add_row("words in answers that were checked", f"{found.words:,}", "")
    table.add_row("models replaced", f"{found.reloads:,}", "")
    table.add_row(
        "wrong answers and failures",
        f"{len(found.faults):,}",
        "holds" if not found.faults else "FALLS SHORT",
    )
    memory = f"{found.warm_bytes / MEGABYTE:,.0f} MB, then {found.end_bytes / MEGABYTE:,.0f} MB"
    kept = "holds" if found.growth <= MOST_GROWTH else "FALLS SHORT"
    table.add_row("memory", memory, f"{found.growth:+.1%} {kept}")
    table.add_row("exit status after SIGTERM", str(found.exit_status), "")
    console.print(table)
    for fault in found.faults[:SHOWN_FAULTS]:
        console.print(f"- {fault}", highlight=False, markup=False)


def statuses(counted: Counter[int]) -> str:
    """`12 x 200, 3 x 422`."""
    return ", ".join(f"{n:,} x {status}" for status, n in sorted(counted.items()))
