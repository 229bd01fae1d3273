"""Series over time, as promtool writes them: a value for so many minutes, then another."""

START = 4
"""Minutes that all is well for, before a fault begins."""
LONG = 120
"""Minutes that what has no end lasts for."""

Leg = float | tuple[float, int]
"""A value, or what is counted in a minute, and for how many minutes."""


def gauge(*legs: Leg) -> str:
    """One value before the fault, others after it has begun."""
    return " ".join(f"{value:g}+0x{minutes - 1}" for value, minutes in with_minutes(*legs))


def counter(*legs: Leg, step: int = 1) -> str:
    """Counts by the minute, before and after a fault; there is a value every `step` minutes."""
    written, total = [], 0.0
    for each_minute, minutes in with_minutes(*legs):
        each, n = each_minute * step, minutes // step
        written.append(f"{total:.10g}+{each:.10g}x{n - 1}")
        total += each * n
    return " ".join(written)


def later(series: str) -> str:
    """A series that was not there before the fault."""
    return f"_x{START} {series}"


def with_minutes(before: Leg, *legs: Leg) -> list[tuple[float, int]]:
    """All legs with the minutes that they last for."""
    first = before if isinstance(before, tuple) else (before, START)
    return [first, *(leg if isinstance(leg, tuple) else (leg, LONG) for leg in legs)]
