"""Hostile JSON from a grammar, and what it costs a server: memory, and its answers to probes.

A kind is a place in a request and a unit that is repeated there until the body is large: all that a
parser builds much from, and all that it looks at for long.
"""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from time import perf_counter

from backports import zstd

from benchmarks.load.connection import Connection
from benchmarks.load.generator import get
from benchmarks.load.server import Server
from benchmarks.machine import memory_bytes

PAUSE_SECONDS = 0.01
SMALL_BYTES, LARGE_BYTES = 1_040_000, 63_000_000
"""Of the first, a text is within the limits; the second is nearly all that may be unpacked."""
REQUEST_SECONDS = 4
TEXT, BATCH, STREAM, FEEDBACK = (
    "/v1/entities",
    "/v1/entities/batch",
    "/v1/entities/stream",
    "/v1/feedback",
)
PLACES: dict[str, tuple[str, bytes, bytes]] = {
    "text": (TEXT, b'{"tokens":true,"text":"', b'"}'),
    "unknown field": (TEXT, b'{"text":"a","x":[', b"1]}"),
    "unknown names": (TEXT, b'{"text":"a","', b'":1}'),
    "labels": (TEXT, b'{"text":"a","labels":[', b'"A"]}'),
    "score": (TEXT, b'{"text":"a","min_score":0.', b"1}"),
    "before": (TEXT, b"", b'{"text":"a"}'),
    "texts": (BATCH, b'{"tokens":true,"texts":[', b'"a"]}'),
    "one of the texts": (BATCH, b'{"texts":["a","', b'"]}'),
    "words": (TEXT, b'{"tokens":true,"words":[', b'"a"]}'),
    "words of a text": (BATCH, b'{"texts":[{"words":[', b'"a"]}]}'),
    "line": (STREAM, b'{"text":"a","x":[', b"1]}\n"),
    "text of a line": (STREAM, b'{"text":"', b'"}\n'),
    "words of a line": (STREAM, b'{"words":[', b'"a"]}\n'),
    "entities": (FEEDBACK, b'{"text":"a","entities":[', b"1]}"),
    "request id": (FEEDBACK, b'{"entities":[],"request_id":"', b'"}'),
}
UNITS: tuple[bytes, ...] = (
    *(b"[[[[]]]],", b"[", b'{"a":', b"{},", b"[],", b'{"a":1},', b'{"a":[{"b":[]}]},'),
    *(b'"",', b'"a",', b'"\\n",', b"0,", b"1e9,", b"null,", b'"a":1,', b'a","'),
    *(b" ", b"\n", b"a", b"a ", b"A\\n\\n", "人".encode(), "😀".encode(), b"\\u00e9"),
    *(b"\\ud83d\\ude00", b"\\\\", b'\\"', b"9", b'"', b",", b"\x00", b"\xff", b"a\n"),
    b'{"start":0,"end":1,"label":"PER"},',
)


@dataclass(frozen=True, slots=True)
class Hostile:
    """A kind of hostile body, of a size."""

    place: str
    unit: bytes
    n_bytes: int

    def request(self) -> bytes:
        """The whole request, packed; its connection ends with the answer."""
        path, before, after = PLACES[self.place]
        repeated = (self.n_bytes - len(before) - len(after)) // len(self.unit)
        body = zstd.compress(before + self.unit * repeated + after, 1)
        media_type = "application/x-ndjson" if path == STREAM else "application/json"
        return (
            f"POST {path} HTTP/1.1\r\nHost: t\r\nContent-Type: {media_type}\r\n"
            f"X-Request-Timeout: {REQUEST_SECONDS}\r\nConnection: close\r\n"
            f"Content-Encoding: zstd\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@dataclass(frozen=True, slots=True)
class Cost:
    """What one request came to: its status, 0 for none; memory; the slowest answer to a probe."""

    hostile: Hostile
    status: int
    grown_bytes: int
    probe_seconds: float

    def __str__(self) -> str:
        return (
            f"{self.hostile.place}: {self.hostile.unit!r} to {self.hostile.n_bytes:,} bytes: "
            f"{self.status}, +{self.grown_bytes / 1e6:.0f} MB, {self.probe_seconds * 1e3:.0f} ms"
        )


def hostile_bodies(seed: int, n: int) -> Iterator[Hostile]:
    """Yield `n` of the kinds, in a random order, each of one of the two sizes."""
    draw = random.Random(seed)  # noqa: S311
    for place, unit in draw.sample([*product(PLACES, UNITS)], n):
        yield Hostile(place, unit, draw.choice((SMALL_BYTES, LARGE_BYTES)))


async def cost_of(server: Server, hostile: Hostile) -> Cost:
    """Send one while a probe asks again and again. The server has a single process."""
    request = hostile.request()
    before = memory_bytes(server.pid)["resident"]
    Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # the peak begins here
    asking = asyncio.create_task(_ask(server.port, request))
    slowest = 0.0
    probe = await Connection.open("127.0.0.1", server.port)
    while not asking.done():
        asked = perf_counter()
        answer = await probe.ask(get("/health/live"))
        slowest = max(slowest, perf_counter() - asked)
        assert answer.status == 200
        await asyncio.sleep(PAUSE_SECONDS)
    await probe.end()
    grown = memory_bytes(server.pid)["peak"] - before
    return Cost(hostile, await asking, grown, slowest)


async def _ask(port: int, request: bytes) -> int:
    """Return the answer's status once all of it has been read."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    first = b""
    with suppress(ConnectionError):
        writer.write(request)
        first = await reader.readline()
        while await reader.read(2**20):
            pass
    writer.close()
    return int(first.split()[1]) if first else 0
