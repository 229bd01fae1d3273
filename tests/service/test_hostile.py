"""Hostile JSON at a real server: what a client can send in a few kilobytes stays small in memory.

Two hundred kinds, and how fast probes are answered meanwhile:
`make bench-service ARGS="--only hostile"`.
"""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.load.generator import get
from benchmarks.load.hostile import LARGE_BYTES, Cost, Hostile, cost_of, hostile_bodies
from benchmarks.load.server import Server, status_of

pytestmark = pytest.mark.anyio

MOST_GROWTH_BYTES = 256_000_000
WORST = [
    Hostile("unknown field", b"[[[[]]]],", LARGE_BYTES),
    Hostile("texts", b'"",', LARGE_BYTES),
    Hostile("entities", b'{"start":0,"end":1,"label":"PER"},', LARGE_BYTES),
    Hostile("line", b"[[[[]]]],", 15_000_000),
    Hostile("text", "人".encode(), 3_000_000),
    Hostile("words", b'"a",', 2_000_000),
    Hostile("words", b'"a",', LARGE_BYTES),
    Hostile("words of a line", b'"\xc3\xa9b",', 2_000_000),
    Hostile("before", b" ", LARGE_BYTES),
]
N_OTHERS = 12
MOST_CONNECTIONS = 100


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("hostile")
    settings: dict[str, object] = {"precision": "fp32", "feedback_dir": folder / "feedback"}
    settings["max_connections"] = MOST_CONNECTIONS
    with Server.teddy(folder / "log", "--model", f"t={tiny_model}", settings=settings) as server:
        asyncio.run(server.ready())
        yield server


@pytest.mark.parametrize("hostile", [*WORST, *hostile_bodies(17, N_OTHERS)], ids=str)
async def test_no_body_becomes_large_in_memory(server: Server, hostile: Hostile) -> None:
    cost: Cost = await cost_of(server, hostile)
    assert cost.status in (200, 408, 413, 422, 503, 504), str(cost)
    assert cost.grown_bytes < MOST_GROWTH_BYTES, str(cost)


async def test_half_open_connections_of_one_address_leave_room_for_others_and_probes(
    server: Server,
) -> None:
    """More than a worker takes, some silent and some slow, from 127.0.0.9; we are 127.0.0.1."""
    crowd = [socket.socket() for _ in range(4 * MOST_CONNECTIONS)]
    try:
        for number, each in enumerate(crowd):
            each.bind(("127.0.0.9", 0))
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", server.port))
            if number % MOST_CONNECTIONS == 0:
                assert await status_of(server.port, get("/health/live")) == 200
        for each in crowd[::2]:
            _try_send(each, b"POST /v1/entities HTTP/1.1\r\nHo")
        for path in ("/health/ready", "/metrics", "/v1/models"):
            assert await status_of(server.port, get(path)) == 200
    finally:
        for each in crowd:
            each.close()


def _try_send(connection: socket.socket, data: bytes) -> None:
    try:
        connection.send(data)
    except OSError:  # it has been cut, or is not there yet
        return
