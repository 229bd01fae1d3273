"""Ray Serve beside `teddy serve`: `python -m benchmarks.ray_service --text FILE` (needs Ray, wrk).

Single texts of 25 words at 64 connections. Servers take turns, each alone. Where a machine is
shared with others, requests a second say little and processor time for a request says more; it is
of all processes that a server has."""

import argparse
import asyncio
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load.processes import PROC, descendants, resident_bytes
from benchmarks.load.server import Server, free_port
from benchmarks.service_wrk import Measured, Wrk

CONNECTIONS = 64
WORDS = 25
N_TEXTS = 5000
WARM_SECONDS = 3.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")

PROXY, HAPROXY, ALONE = "ray, its proxy", "ray, HAProxy", "teddy serve"
VARIABLES: Mapping[str, Mapping[str, str]] = {
    PROXY: {},
    HAPROXY: {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
    },
}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one server did in one turn."""

    measured: Measured
    processor_seconds: float
    """For a request."""
    resident_bytes: int


@contextmanager
def started(name: str, replicas: int, folder: Path) -> Iterator[Server]:
    """A server of that kind; all its processes are ended on leaving."""
    log = folder / "server.log"
    if name == ALONE:
        with Server.teddy(log, "--workers", str(replicas)) as server:
            yield server
        return
    port = free_port()
    command = [sys.executable, "-m", "tests.ray_cluster", str(port), str(replicas)]
    with Server(command, log, port=port, variables=VARIABLES[name]) as server:
        yield server
        server.stop()


async def turn(name: str, replicas: int, wrk: Wrk, seconds: float, folder: Path) -> Turn:
    """Start a server, warm it up, and measure."""
    with started(name, replicas, folder) as server:
        await server.ready()
        await wrk.turn(server.port, CONNECTIONS, WARM_SECONDS)
        before = processor_seconds(server.pid)
        measured = await wrk.turn(server.port, CONNECTIONS, seconds)
        used = processor_seconds(server.pid) - before
        return Turn(
            measured, used / max(1.0, measured.per_second * seconds), resident_bytes(server.pid)
        )


def processor_seconds(pid: int) -> float:
    """What a process and its descendants have used of the processor so far."""
    fields = (
        (PROC / str(each) / "stat").read_text().rpartition(")")[2].split()
        for each in descendants(pid)
    )
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICKS_PER_SECOND


def row(name: str, replicas: int, turns: list[Turn]) -> str:
    """A line of the table: medians over the turns, and the best rate."""
    rates = [each.measured.per_second for each in turns]
    milliseconds = [
        1000 * statistics.median(values)
        for values in (
            [each.processor_seconds for each in turns],
            [each.measured.p50 for each in turns],
            [each.measured.p99 for each in turns],
        )
    ]
    errors = sum(each.measured.errors for each in turns)
    resident = statistics.median(each.resident_bytes for each in turns) / 2**20
    cells = [name, str(replicas), f"{statistics.median(rates):,.0f}", f"{max(rates):,.0f}"]
    cells += [
        f"{milliseconds[0]:.2f}",
        f"{milliseconds[1]:.0f}",
        f"{milliseconds[2]:.0f}",
        f"{resident:,.0f}",
        str(errors),
    ]
    return "| " + " | ".join(cells) + " |"


async def main(text: Path, rounds: int, seconds: float) -> None:
    """Print the table, a row as soon as it is known."""
    words = text.read_text(encoding="utf-8").split()
    texts = [
        " ".join(words[i : i + WORDS]) for i in range(0, min(len(words), N_TEXTS * WORDS), WORDS)
    ]
    print(
        "| server | replicas | requests/s | best | CPU ms/request | p50 ms | p99 ms | MB | errors |"
    )
    print("|---|" + "---:|" * 8)
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        wrk = Wrk(texts, folder)
        for replicas in (1, 2):
            turns: dict[str, list[Turn]] = {}
            for _ in range(rounds):
                for name in (ALONE, PROXY, HAPROXY):
                    turns.setdefault(name, []).append(
                        await turn(name, replicas, wrk, seconds, folder)
                    )
            for name, each in turns.items():
                print(row(name, replicas, each), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ray Serve beside `teddy serve`.")
    parser.add_argument("--text", type=Path, required=True, help="a file of plain text")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.text, arguments.rounds, arguments.seconds))
