"""The files of deploy/proxy, in a real nginx and HAProxy where this machine has them."""

import asyncio
import json
import re
import subprocess
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.load.question import single_questions
from benchmarks.load.server import free_port
from benchmarks.proxies import HAPROXY, NGINX, PROGRAMS, command_of, find, proxy, through
from teddy.service.settings import Settings
from tests.service.live import RawStream, line, listening

pytestmark = pytest.mark.anyio

KEEP_ALIVE_SECONDS = 75  # which deploy/README.md says to set


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    found = find(str(request.param))
    if found is None:
        pytest.skip(f"{request.param} is not installed")
    return found


@dataclass
class Echo:
    """A server that answers a POST with the headers that came, and remembers which came.

    With `drops`, it closes a connection without a word on its second POST, as a server does whose
    idle connection has just come to its end.
    """

    drops: bool = False
    seen: list[tuple[str, int]] = field(default_factory=list)
    """The path of each POST, and how many its connection had before it."""

    async def serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        before = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().strip().split("\r\n")
                method, path, _ = first.split(" ")
                headers = dict(each.lower().split(": ", 1) for each in lines)
                await reader.readexactly(int(headers.get("content-length", 0)))
                if method == "POST":
                    self.seen.append((path, before))
                    before += 1
                    if self.drops and before == 2:
                        break
                body = json.dumps(headers).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # HAProxy resets the connections of its checks
        finally:
            writer.close()


@asynccontextmanager
async def echoing(echo: Echo) -> AsyncIterator[int]:
    server = await asyncio.start_server(echo.serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def client_of(port: int) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60)


async def test_the_program_takes_the_file_without_a_warning(program: str, tmp_path: Path) -> None:
    command = command_of(program, 8000, free_port(), tmp_path)
    check = "-c" if "-db" in command else "-t"
    checked = subprocess.run(
        [*command, check], capture_output=True, text=True, check=False, timeout=60
    )
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower()


async def test_teddy_learns_who_asks(program: str, tmp_path: Path) -> None:
    async with echoing(Echo()) as upstream:
        with proxy(program, upstream, tmp_path) as port:
            async with client_of(port) as client:
                forged = {"X-Forwarded-For": "192.0.2.1"}
                answer = await client.post("/v1/entities", json={}, headers=forged)
    addresses = re.split(r", *", answer.json()["x-forwarded-for"])
    assert addresses[-1] == "127.0.0.1", "Teddy reads it from the end"
    assert answer.json()["x-forwarded-proto"] == "http"


@pytest.mark.parametrize("path", ["/v1/entities", "/v1/entities/batch"])
async def test_a_connection_that_closes_while_it_is_used_costs_no_answer(
    path: str, program: str, tmp_path: Path
) -> None:
    echo = Echo(drops=True)
    async with echoing(echo) as upstream:
        with proxy(program, upstream, tmp_path) as port:
            async with client_of(port) as client:
                statuses = [(await client.post(path, json={})).status_code for _ in range(6)]
    assert statuses == [200] * 6
    assert [before for _, before in echo.seen].count(1) == 5, "connections are kept"


@pytest.mark.parametrize("path", ["/v1/feedback", "/v1/entities/stream", "/v1/models/en/reload"])
async def test_what_must_not_be_done_twice_is_never_sent_twice(
    path: str, program: str, tmp_path: Path
) -> None:
    echo = Echo(drops=True)
    async with echoing(echo) as upstream:
        with proxy(program, upstream, tmp_path) as port:
            async with client_of(port) as client:
                assert (await client.post(path, json={})).status_code == 200
                # HAProxy passes on what it has seen, a closed connection; nginx says 502.
                with suppress(httpx.RemoteProtocolError):
                    assert (await client.post(path, json={})).status_code == 502
    assert echo.seen == [(path, 0), (path, 1)]


async def test_each_line_of_a_stream_is_answered_before_the_next_is_sent(
    program: str, tmp_path: Path, predictor: Any
) -> None:
    async with asyncio.timeout(60), listening(predictor) as live:
        with proxy(program, live.port, tmp_path) as port:
            stream = await RawStream.open(port)
            await stream.send(line("Ada"))
            assert (await stream.head()).startswith("HTTP/1.1 200 ")
            answers = stream.lines()
            for name, following in (("Ada", "Grace"), ("Grace", "Eve"), ("Eve", "")):
                assert (await anext(answers))["entities"][0]["text"] == name
                await stream.send(line(following))
            await stream.finish()
            assert [answer async for answer in answers] == [{"entities": []}]
            await stream.close()


async def test_every_request_gets_its_answer(program: str, predictor: Any) -> None:
    """A hundred thousand of them: `make proxies`."""
    questions = single_questions([f"Ada {i} met Eve" for i in range(50)], None)
    async with asyncio.timeout(60), listening(predictor) as live:
        tally = await through(program, live.port, questions, 300, connections=8)
    assert (tally.sent, tally.statuses, tally.broken) == (300, {200: 300}, [])


async def test_metrics_are_not_for_everybody(program: str, tmp_path: Path, predictor: Any) -> None:
    async with listening(predictor) as live:
        with proxy(program, live.port, tmp_path) as port:
            async with client_of(port) as client:
                assert (await client.get("/metrics")).status_code == 404
                assert (await client.get("/health/ready")).status_code == 200


def seconds_of(text: str, name: str) -> int:
    (found,) = re.findall(rf"(?m)^ *{name} +(\d+)s;?$", text)
    return int(found)


async def test_teddy_gives_up_before_its_proxy_and_the_proxy_closes_before_teddy() -> None:
    answer_within = Settings().request_timeout_seconds
    assert seconds_of(NGINX, "proxy_read_timeout") > answer_within
    assert seconds_of(HAPROXY, "timeout server") > answer_within
    assert seconds_of(HAPROXY, "timeout client") > answer_within
    assert seconds_of(NGINX, "keepalive_timeout") < KEEP_ALIVE_SECONDS
    assert seconds_of(HAPROXY, "timeout http-keep-alive") < KEEP_ALIVE_SECONDS
