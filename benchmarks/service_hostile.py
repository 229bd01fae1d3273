"""Hostile JSON and crowds of slow connections: what a server takes, and whether it answers."""

import asyncio
import socket
import sys
from contextlib import suppress
from itertools import cycle
from time import perf_counter

from benchmarks.load.connection import BrokenConnectionError
from benchmarks.load.generator import get
from benchmarks.load.hostile import Cost, cost_of, hostile_bodies
from benchmarks.load.server import Server, status_of
from benchmarks.service_context import Context, Figure, Section

SEED, KINDS, QUICK_KINDS = 7, 200, 40
MOST_MEGABYTES, MOST_SECONDS = 256, 0.2
CROWD, CROWD_ADDRESS, CROWD_SECONDS = 5000, "127.0.0.9", 15.0
COMES_AGAIN_SECONDS = 5.0
STARTS = (
    b"",
    b"G",
    b"GET /health/live HTTP/1.1\r\nHo",
    b"POST /v1/entities HTTP/1.1\r\nHost: t\r\n",
    b"POST /v1/entities HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    b"Content-Length: 9\r\n\r\n{",
    b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n" * 8,
)
"""Slow in every way: silent, in the first line, in the head, in the body, in reading."""
ASKED = ("/health/live", "/health/ready", "/metrics", "/v1/models")


async def hostile(context: Context) -> list[Section]:
    """Send every kind once, one after another; then the crowd."""
    n = QUICK_KINDS if context.scale.rounds == 1 else KINDS
    settings = {"precision": "fp32", "feedback_dir": context.folder / "feedback"}
    log = context.folder / "hostile.log"
    with Server.teddy(log, "--model", f"en={context.model_file}", settings=settings) as server:
        await server.ready()
        costs = [await cost_of(server, each) for each in hostile_bodies(SEED, n)]
        failed, answered, slowest = await crowded(server.port)
    return [bodies_section(costs), crowd_section(failed, answered, slowest)]


def bodies_section(costs: list[Cost]) -> Section:
    """The costliest in a table, and the worst as figures."""
    largest = max(costs, key=lambda each: each.grown_bytes)
    slowest = max(costs, key=lambda each: each.probe_seconds)
    megabytes, failed = largest.grown_bytes / 1e6, sum(each.status in (0, 500) for each in costs)
    costliest = sorted(costs, key=lambda each: each.grown_bytes)[-5:]
    return Section(
        title=f"{len(costs)} kinds of hostile JSON",
        columns=("the costliest", "the slowest for others"),
        rows=[(str(each), str(slowest) if each is largest else "") for each in costliest[::-1]],
        figures=[
            _at_most("memory that one request takes", megabytes, MOST_MEGABYTES, "MB"),
            _at_most("/health/live meanwhile", slowest.probe_seconds, MOST_SECONDS, "s"),
            _at_most("requests without a proper answer", failed, 0),
        ],
    )


def crowd_section(failed: int, answered: int, slowest: float) -> Section:
    """What others had while the crowd was there."""
    return Section(
        title=f"{CROWD:,} connections from one address, slow in every way",
        columns=("answered to others", "failed", "slowest"),
        rows=[(f"{answered:,}", str(failed), f"{slowest * 1e3:.0f} ms")],
        figures=[_at_most("requests of others that failed beside the crowd", failed, 0)],
    )


def _at_most(name: str, value: float, must: float, unit: str = "") -> Figure:
    return Figure(name=name, value=value, must=must, unit=unit, at_most=True)


async def crowded(port: int) -> tuple[int, int, float]:
    """Return how many requests of others failed and succeeded, and the slowest one's seconds."""
    failed = answered = 0
    slowest = 0.0
    # in a process of its own: it would measure itself
    crowding = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.service_hostile", str(port)
    )
    while crowding.returncode is None:
        for path in ASKED:
            asked = perf_counter()
            try:
                status = await status_of(port, get(path))
            except (OSError, BrokenConnectionError):
                status = 0
            slowest = max(slowest, perf_counter() - asked)
            if status == 200:
                answered += 1
            else:
                failed += 1
        await asyncio.sleep(0.05)
    return failed, answered, slowest


async def crowd(port: int) -> None:
    """Keep so many connections open, or being opened: one that is cut comes again."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + CROWD_SECONDS
    starts = cycle(STARTS)

    async def stay() -> None:
        start = next(starts)
        while loop.time() < ends:
            with suppress(OSError), socket.socket() as one:
                one.bind((CROWD_ADDRESS, 0))
                one.setblocking(False)
                async with asyncio.timeout_at(ends):
                    await loop.sock_connect(one, ("127.0.0.1", port))
                    await loop.sock_sendall(one, start)
                    if start.startswith(b"GET /metrics"):
                        await asyncio.sleep(ends - loop.time())  # reads nothing
                    while await loop.sock_recv(one, 4096):
                        pass
            await asyncio.sleep(COMES_AGAIN_SECONDS)

    await asyncio.gather(*(stay() for _ in range(CROWD)), return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(crowd(int(sys.argv[1])))
