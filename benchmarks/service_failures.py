"""A worker killed under load, and a server told to stop under load: who notices."""

import asyncio
import os
import signal
import time

from benchmarks.load.generator import Load
from benchmarks.load.processes import descendants, holders
from benchmarks.load.tally import Tally
from benchmarks.service_context import Context, Figure, Section, counted
from benchmarks.service_servers import teddy

CONNECTIONS = 32
WORKERS = 2
BEFORE_SECONDS = 2.0
AFTER_SECONDS = 1.0
PATIENCE_SECONDS = 60.0


async def kill(context: Context) -> list[Section]:
    """`kill -9` of one of two workers: the requests that failed, and when both serve again."""
    with teddy(context, WORKERS, context.folder / "kill.log") as server:
        workers = await server.all_ready(WORKERS)
        load = Load.of(server.port, context.short_questions(), name="kill")
        asking = asyncio.create_task(load.closed(CONNECTIONS, PATIENCE_SECONDS))
        await asyncio.sleep(BEFORE_SECONDS)
        served_by = holders(server.port, descendants(server.pid))
        victim = max(workers, key=list(served_by.values()).count)
        in_flight = sum(served_by.get(connection.port) == victim for connection in load.asking)
        killed = time.monotonic()
        os.kill(victim, signal.SIGKILL)
        await server.all_ready(WORKERS, without={victim})
        back = time.monotonic() - killed
        await asyncio.sleep(AFTER_SECONDS)
        load.stop()
        tally = await asking
    strangers = sum(served_by.get(each.port, victim) != victim for each in tally.broken)
    others = tally.sent - tally.ok - len(tally.broken) + tally.n_faults + tally.unreachable
    row = (
        f"{tally.sent:,}",
        str(in_flight),
        str(len(tally.broken)),
        str(strangers + others),
        f"{back:.2f} s",
    )
    if strangers + others:
        context.note(f"kill -9: {tally}")
    return [
        Section(
            title=f"kill -9 of one of {WORKERS} workers, {CONNECTIONS} connections",
            columns=(
                "requests",
                "in flight on it",
                "broken off",
                "failed elsewhere",
                f"{WORKERS} workers again after",
            ),
            rows=[row],
            figures=[
                Figure(
                    name="requests that failed on other workers",
                    value=strangers + others,
                    must=0,
                    at_most=True,
                ),
                Figure(
                    name="all workers serve again after", value=back, must=3, unit="s", at_most=True
                ),
            ],
        )
    ]


async def terminate(context: Context) -> list[Section]:
    """SIGTERM: what the server's log says that it answered against what came back."""
    rows, figures = [], []
    for workers in context.scale.worker_counts:
        with teddy(context, workers, context.folder / f"term-{workers}.log") as server:
            await server.all_ready(workers)
            load = Load.of(server.port, context.short_questions(), name="term")
            asking = asyncio.create_task(load.closed(CONNECTIONS, PATIENCE_SECONDS))
            await asyncio.sleep(BEFORE_SECONDS)
            told = time.monotonic()
            server.signal(signal.SIGTERM)
            status = await asyncio.to_thread(server.wait)
            ended = time.monotonic() - told
            load.stop()
            tally = await asking
            logged = server.logged_statuses("term-")
        unanswered = (
            (logged - tally.statuses).total()
            + sum(each.partial for each in tally.broken)
            + tally.n_faults
        )
        rows.append(
            (
                str(workers),
                f"{tally.sent:,}",
                _statuses(tally),
                str(unanswered),
                f"{ended:.2f} s",
                str(status),
            )
        )
        name = f"accepted requests not answered after SIGTERM, {counted(workers)}"
        figures.append(Figure(name=name, value=unanswered, must=0, at_most=True))
        if unanswered:
            context.note(f"SIGTERM, {workers} workers: {tally}; the log has {dict(logged)}")
    columns = (
        "workers",
        "requests",
        "answers",
        "accepted, not answered",
        "ended after",
        "exit status",
    )
    return [Section(title="SIGTERM under load", columns=columns, rows=rows, figures=figures)]


def _statuses(tally: Tally) -> str:
    return ", ".join(f"{n:,} x {status}" for status, n in sorted(tally.statuses.items()))
