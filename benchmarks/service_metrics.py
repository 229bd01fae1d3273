"""The cost of counting, drift included, to a service under load and to a call of the app.

The service counts in every other half second; the app is called without a network, to 0.1 us.

The first is what users would notice, and is known to two per cent in minutes; the second is known
better, and says how much of a request's time it would be."""

import asyncio
import os
import statistics
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.contenders.counting_switch import EVENT, ORDER
from benchmarks.load.server import Server, free_port
from benchmarks.service_context import Context, Figure, Section
from benchmarks.service_servers import ONE_THREAD, REQUEST
from benchmarks.service_wrk import Wrk

N_TEXTS = 40_000
CONNECTIONS = 64
WARM_SECONDS = 4.0
ROUND_SECONDS = 30.0
MOST_COST = 2.0
"""Per cent."""
PROGRAMS = "benchmarks.contenders"
CHANCE = "no metrics in either half: chance"
IN_MEMORY, IN_FILES = (
    "one worker, which counts in its memory",
    "one of several, which count in shared files",
)


@dataclass(frozen=True, slots=True)
class Slice:
    """Half a second of load."""

    metrics: bool
    requests: int
    seconds: float
    cpu_seconds: float

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "Slice":
        """As the server has written it."""
        return cls(entry["metrics"], entry["requests"], entry["seconds"], entry["cpu_seconds"])


async def metrics(context: Context) -> list[Section]:
    """The cost of metrics: where there are none; to a worker alone; to a worker among others."""
    wrk = Wrk(context.single_texts(N_TEXTS), context.folder)
    with tempfile.TemporaryDirectory(prefix="teddy-bench-", dir=shared_memory()) as folder:
        return [
            await _measure(context, wrk, CHANCE, {}, "silent"),
            await _measure(context, wrk, IN_MEMORY, {}),
            await _measure(context, wrk, IN_FILES, {"PROMETHEUS_MULTIPROC_DIR": folder}),
        ]


def shared_memory() -> str | None:
    """Where several workers would count."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108


async def _measure(
    context: Context, wrk: Wrk, title: str, variables: Mapping[str, str], *more: str
) -> Section:
    port = free_port()
    model = (str(context.model_file), context.predictor.precision)
    command = [sys.executable, "-m", f"{PROGRAMS}.counting_switch", *model, str(port), *more]
    variables = {**ONE_THREAD, **variables}
    with Server(command, context.folder / "metrics.log", port=port, variables=variables) as server:
        await server.ready(request=REQUEST)
        await wrk.turn(port, CONNECTIONS, WARM_SECONDS)
        n_before = len(slices(server.entries()))
        for _ in range(context.scale.rounds):
            await wrk.turn(port, CONNECTIONS, ROUND_SECONDS)
        measured = slices(server.entries())[n_before + 1 :]
    return make_section(measured, title, None if more else await call(model, variables))


async def call(model: tuple[str, str], variables: Mapping[str, str]) -> float:
    """Microseconds of CPU that metrics cost a request."""
    command = (sys.executable, "-m", f"{PROGRAMS}.counting_calls", *model)
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    output, _ = await process.communicate()
    return float(output)


def slices(entries: Iterable[Mapping[str, Any]]) -> list[Slice]:
    """Those that a log tells of."""
    return [Slice.of(entry) for entry in entries if entry.get("event") == EVENT]


def make_section(measured: list[Slice], title: str, microseconds: float | None) -> Section:
    """Return the table, and the cost in requests/s (median over neighbouring slices) and in CPU."""
    groups = [
        measured[start : start + len(ORDER)]
        for start in range(0, len(measured) - len(ORDER) + 1, len(ORDER))
    ]
    pairs = [(sum_of(group, metrics=True), sum_of(group, metrics=False)) for group in groups]
    rates = [(on.requests / on.seconds, off.requests / off.seconds) for on, off in pairs]
    spent = [
        (1e6 * on.cpu_seconds / on.requests, 1e6 * off.cpu_seconds / off.requests)
        for on, off in pairs
    ]
    rows = [
        (
            name,
            f"{statistics.median(rate[place] for rate in rates):,.0f}",
            f"{statistics.median(each[place] for each in spent):,.0f} us",
        )
        for place, name in enumerate(("with metrics", "without"))
    ]
    figures = [
        figure(
            f"requests/s that metrics cost, {title}",
            [100 * (1 - on / off) for on, off in rates],
            microseconds,
        )
    ]
    if microseconds is not None:
        figures.append(
            Figure(
                name=f"CPU a request that they cost, {title}",
                value=100 * microseconds / statistics.median(off for _, off in spent),
                must=MOST_COST,
                unit=" %",
                at_most=True,
                detail=f"{microseconds:.1f} us",
            )
        )
    columns = ("", "requests/s", "CPU a request")
    return Section(
        title=f"Metrics, {CONNECTIONS} connections, {title}",
        columns=columns,
        rows=rows,
        figures=figures,
    )


def figure(name: str, per_cent: list[float], microseconds: float | None) -> Figure:
    """The median, with its standard error as if the values were normal."""
    error = 1.25 * statistics.stdev(per_cent) / len(per_cent) ** 0.5
    return Figure(
        name=name,
        value=statistics.median(per_cent),
        must=None if microseconds is None else MOST_COST,
        unit=" %",
        at_most=True,
        detail=f"standard error {error:.1f} %, {len(per_cent)} groups of slices",
    )


def sum_of(group: Iterable[Slice], *, metrics: bool) -> Slice:
    """The slices of one kind, as one."""
    chosen = [each for each in group if each.metrics == metrics]
    return Slice(
        metrics,
        sum(each.requests for each in chosen),
        sum(each.seconds for each in chosen),
        sum(each.cpu_seconds for each in chosen),
    )
