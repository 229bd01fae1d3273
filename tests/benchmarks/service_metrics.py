"""What counting costs: the same service with its metrics and without, taking short turns.

Drift is measured on the texts as it is by default; it is off where metrics are.
"""

import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.benchmarks.rounds import paired_ratio
from tests.benchmarks.service_context import Context, Figure, Section
from tests.benchmarks.service_servers import teddy
from tests.benchmarks.service_wrk import Wrk
from tests.load.generator import Load
from tests.load.server import Server

N_TEXTS = 40_000
CONNECTIONS = 64
TURN_SECONDS = 2.0
TURNS_A_ROUND = 8
MOST_COST = 0.02
ON, OFF = "with metrics", "without"
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")

Turns = Mapping[str, Sequence[tuple[float, float]]]
"""By name, in each turn: requests a second, and seconds of CPU a request."""


async def metrics(context: Context) -> list[Section]:
    """One table, for one worker that counts in its memory, and one for two, which count in shared files."""
    wrk = Wrk(context.single_texts(N_TEXTS), context.folder)
    return [await _compare(context, wrk, workers) for workers in context.scale.worker_counts]


async def _compare(context: Context, wrk: Wrk, workers: int) -> Section:
    turns: dict[str, list[tuple[float, float]]] = {ON: [], OFF: []}
    with (
        teddy(context, workers, context.folder / "metrics-on.log") as on,
        teddy(context, workers, context.folder / "metrics-off.log", metrics=False) as off,
    ):
        servers = {ON: on, OFF: off}
        for server in servers.values():
            await server.all_ready(workers)
            await Load.of(server.port, context.short_questions()).closed(CONNECTIONS, 1.0)
        for turn in range(context.scale.rounds * TURNS_A_ROUND):
            # Each is first as often as the other: the second of two may find a warmer, slower processor.
            for name in (ON, OFF) if turn % 2 else (OFF, ON):
                turns[name].append(await _turn(wrk, servers[name]))
    return make_section(turns, workers)


async def _turn(wrk: Wrk, server: Server) -> tuple[float, float]:
    before = cpu_seconds(server.pids())
    measured = await wrk.turn(server.port, CONNECTIONS, TURN_SECONDS)
    spent = cpu_seconds(server.pids()) - before
    return measured.per_second, spent / (measured.per_second * TURN_SECONDS)


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes have spent so far, in the kernel too."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_A_SECOND


def make_section(turns: Turns, workers: int) -> Section:
    """The table, and what metrics cost: of requests a second, and of CPU, each the median of the turns' ratios."""
    of = f"{workers} worker{'s' if workers > 1 else ''}"
    rates = {name: [rate for rate, _ in each] for name, each in turns.items()}
    spent = {name: [seconds for _, seconds in each] for name, each in turns.items()}
    rows = [
        (name, f"{statistics.median(rates[name]):,.0f}", f"{1e6 * statistics.median(spent[name]):,.0f} us")
        for name in turns
    ]
    lost = 1 - paired_ratio(rates[ON], rates[OFF])
    more = paired_ratio(spent[ON], spent[OFF]) - 1
    figures = [
        Figure(name=f"requests/s that metrics cost, {of}", value=lost, must=MOST_COST, at_most=True),
        Figure(name=f"CPU a request that metrics cost, {of}", value=more, must=MOST_COST, at_most=True),
    ]
    return Section(
        title=f"Metrics, {CONNECTIONS} connections, {of}",
        columns=("", "requests/s", "CPU a request"),
        rows=rows,
        figures=figures,
    )
