"""The machine and the cost of a run as rows for people: a name and a value with its unit."""

from collections.abc import Iterator

from teddy.training.report.background import Background
from teddy.training.report.cost import Cost
from teddy.training.report.machine import Machine

Facts = list[tuple[str, str]]


def machine_tables(background: Background) -> Iterator[tuple[str, Facts]]:
    """Give tables with their captions; what was not measured has no row."""
    if background.machine is not None:
        yield "The machine", list(_machine(background.machine, background.precision))
    if background.cost is not None:
        yield "The cost", list(_cost(background.cost))


def _machine(machine: Machine, precision: str) -> Iterator[tuple[str, str]]:
    yield "processor", machine.processor
    yield "cores, threads of torch", f"{machine.cores}, {machine.threads}"
    if machine.memory_bytes:
        yield "memory", _bytes(machine.memory_bytes)
    if precision:
        yield "precision", precision
    yield "torch, Python", f"{machine.torch}, {machine.python}"
    yield "system", machine.system


def _cost(cost: Cost) -> Iterator[tuple[str, str]]:
    if cost.n_processes > 1:
        yield "processes", f"{cost.n_processes:,}: it was resumed"
    yield "time", duration(cost.seconds)
    if cost.training_seconds is not None:
        yield "in updates", duration(cost.training_seconds)
    if cost.evaluation_seconds is not None:
        yield "in evaluations on dev", duration(cost.evaluation_seconds)
    yield "processor time, all threads", duration(cost.cpu_seconds)
    if cost.words is not None:
        yield "words read", f"{cost.words:,}"
    if cost.words_per_second is not None:
        yield "words per second of updates", f"{cost.words_per_second:,.0f}"
    yield "most memory", _bytes(cost.peak_bytes)
    if cost.energy_joules is not None:
        yield "energy of the processor, whoever used it", f"{cost.energy_joules / 3.6e6:,.3g} kWh"


def duration(seconds: float) -> str:
    """Write seconds as a person says them: `7.3 s`, `4 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _bytes(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"
