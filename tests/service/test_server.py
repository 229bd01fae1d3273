"""A real server on a real socket, in this process; signals are real too."""

import asyncio
import gc
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.model.errors import ModelFileError
from teddy.service.app import create_app
from teddy.service.errors import AddressError
from teddy.service.http.acceptor import listen
from teddy.service.process.server import (
    FULL_SECONDS,
    PUT_OFF_SECONDS,
    YOUNG_OBJECTS,
    QuietCollector,
    Server,
    serve,
)
from teddy.service.settings import Settings

pytestmark = pytest.mark.anyio

REQUEST = (
    b"POST /v1/entities HTTP/1.1\r\nHost: t\r\n"
    b"Content-Type: application/json\r\nContent-Length: 15\r\n\r\n"
)
SECONDS = 30
"""No test decides by time; this keeps a broken one from hanging."""


@dataclass
class Running:
    """A server, and its end: what it raised, if anything."""

    port: int
    server: Server
    ended: asyncio.Task[None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def until_refused(self) -> None:
        """Return when nobody can connect any more."""
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except ConnectionError:
                return
            writer.close()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def running(predictor: Any, load: Any = None, **settings: Any) -> AsyncIterator[Running]:
    """Serve on a free loopback port, from when it is ready; in the end it is stopped, whatever the
    test did."""
    chosen = Settings(**settings)
    bound = listen("127.0.0.1", 0)
    port: int = bound.getsockname()[1]
    server = Server(create_app(chosen, load or (lambda *_, **__: predictor)), chosen)
    up = Running(port, server, asyncio.create_task(server.serve(sockets=[bound])))
    try:
        async with asyncio.timeout(SECONDS), httpx.AsyncClient() as client:
            while not await is_ready(client, up):
                await asyncio.sleep(0.001)
            yield up
    finally:
        predictor.gate.set()
        if not up.ended.done():
            server.stop(0)
        await asyncio.wait_for(up.ended, SECONDS)
        bound.close()


async def is_ready(client: httpx.AsyncClient, up: Running) -> bool:
    try:
        return (await client.get(f"{up.url}/health/ready")).is_success
    except httpx.ConnectError:
        return False


def send(number: int) -> None:
    """A signal to the server, which is in this process."""
    os.kill(os.getpid(), number)


async def test_a_client_that_leaves_frees_its_place_and_the_others_are_served(
    predictor: Any,
) -> None:
    async with running(predictor) as up:
        predictor.gate.clear()
        async with httpx.AsyncClient(base_url=up.url) as client:
            first = asyncio.create_task(client.post("/v1/entities", json={"text": "First"}))
            assert await asyncio.to_thread(predictor.entered.wait, 30)

            _, leaving = await asyncio.open_connection("127.0.0.1", up.port)
            leaving.write(REQUEST + b'{"text":"Gone"}')
            while b"teddy_queue_words 1.0" not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.001)
            leaving.close()
            await leaving.wait_closed()
            while (
                b'teddy_refused_total{reason="client-departed"} 1.0'
                not in (await client.get("/metrics")).content
            ):
                await asyncio.sleep(0.001)
            assert b"teddy_queue_words 0.0" in (await client.get("/metrics")).content

            predictor.gate.set()
            assert (await first).json()["entities"][0]["text"] == "First"
    assert [window.words for batch in predictor.batches for window in batch] == [["First"]]


async def test_after_sigterm_readiness_says_no_while_requests_are_answered(predictor: Any) -> None:
    async with (
        running(predictor, drain_seconds=60) as up,
        httpx.AsyncClient(base_url=up.url) as client,
    ):
        assert "connection" not in (await client.get("/health/live")).headers
        send(signal.SIGTERM)
        while (ready := await client.get("/health/ready")).is_success:
            await asyncio.sleep(0.001)
        assert ready.status_code == 503
        assert ready.json()["type"] == "urn:teddy:problem:shutting-down"
        answer = await client.post("/v1/entities", json={"text": "Ada"})
        assert answer.json()["entities"][0]["text"] == "Ada"
        assert answer.headers["connection"] == "close"
        send(signal.SIGTERM)
        await up.ended


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_what_was_accepted_is_answered_when_the_door_is_closed(
    predictor: Any, number: int
) -> None:
    async with (
        running(predictor, drain_seconds=0.1) as up,
        httpx.AsyncClient(base_url=up.url) as client,
    ):
        predictor.gate.clear()
        tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
        assert await asyncio.to_thread(predictor.entered.wait, SECONDS)
        send(number)
        await up.until_refused()
        assert not up.ended.done()
        predictor.gate.set()
        assert (await tagging).json()["entities"][0]["text"] == "Ada"
        await up.ended


async def test_a_request_after_the_door_was_closed_is_refused_on_the_connection_it_came_by(
    predictor: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("teddy.service.process.server.LINGER_SECONDS", 2)
    async with running(predictor) as up, httpx.AsyncClient(base_url=up.url) as client:
        await client.get("/health/live")
        send(signal.SIGINT)
        await up.until_refused()
        answer = await client.post("/v1/entities", json={"text": "Ada"})
        assert answer.status_code == 503
        assert "close" in answer.headers["connection"]
        assert int(answer.headers["retry-after"]) > 0
        await up.ended


async def test_what_has_not_finished_within_the_grace_period_is_cut_and_the_end_is_clean(
    predictor: Any,
) -> None:
    async with (
        running(predictor, shutdown_grace_seconds=1) as up,
        httpx.AsyncClient(base_url=up.url) as client,
    ):
        predictor.gate.clear()
        tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
        assert await asyncio.to_thread(predictor.entered.wait, SECONDS)
        send(signal.SIGINT)
        with suppress(httpx.TransportError):
            assert (await tagging).is_server_error
        predictor.gate.set()
        await up.ended


async def test_a_second_signal_does_not_wait_for_anybody(predictor: Any) -> None:
    async with running(predictor) as up, httpx.AsyncClient(base_url=up.url) as client:
        predictor.gate.clear()
        tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
        assert await asyncio.to_thread(predictor.entered.wait, SECONDS)
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        await up.ended
        predictor.gate.set()
        assert isinstance(
            (await asyncio.gather(tagging, return_exceptions=True))[0],
            httpx.Response | httpx.HTTPError,
        )


async def test_sighup_loads_the_models_again(predictor: Any, tmp_path: Path) -> None:
    file, loaded = tmp_path / "a.teddy", []
    file.write_bytes(b"one")

    def load(path: Path | None, **_: Any) -> Any:
        loaded.append(path and path.read_bytes())
        return predictor

    async with running(predictor, load, models={"a": file}, reload_poll_seconds=0):
        (tmp_path / "new").write_bytes(b"another")
        (tmp_path / "new").rename(file)
        send(signal.SIGHUP)
        while len(loaded) < 2:
            await asyncio.sleep(0.001)
    assert loaded == [b"one", b"another"]


async def test_signals_do_what_they_did_once_the_server_has_ended(predictor: Any) -> None:
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    async with running(predictor):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


def test_a_model_that_is_refused_stops_the_server_before_it_is_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_: object) -> Any:
        raise ModelFileError("bad.teddy", "not a model")

    ready: list[bool] = []
    monkeypatch.setattr("teddy.service.process.server.model_loader", lambda _: refuse)
    with (
        listen("127.0.0.1", 0) as bound,
        pytest.raises(ModelFileError, match=r"bad.teddy: not a model"),
    ):
        serve(Settings(), bound, on_ready=lambda: ready.append(True))
    assert not ready


async def test_an_answer_is_not_held_back_by_nagles_delay() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


async def test_a_port_in_use_or_a_foreign_address_is_refused_in_one_line() -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(
            AddressError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"
        ):
            listen("127.0.0.1", port)
    with pytest.raises(AddressError, match=r"cannot listen on 192.0.2.1:8000: "):
        listen("192.0.2.1", 8000)


@dataclass
class Garbage:
    """The collector as QuietCollector sees it: new objects, texts in work, and the time."""

    young: int = 0
    is_busy: bool = False
    now: float = 0.0
    collected: list[int] = field(default_factory=list)

    def collector(self) -> QuietCollector:
        return QuietCollector(
            lambda: self.is_busy,
            collect=self.collected.append,
            count_young=lambda: self.young,
            clock=lambda: self.now,
        )


def test_garbage_is_collected_when_much_is_new_and_all_of_it_now_and_then() -> None:
    garbage = Garbage()
    collector = garbage.collector()
    for garbage.young, expected in ((YOUNG_OBJECTS - 1, []), (YOUNG_OBJECTS, [1])):
        collector.tick()
        assert garbage.collected == expected
    garbage.young = 0
    garbage.now = FULL_SECONDS
    collector.tick()
    collector.tick()
    assert garbage.collected == [1, 2]


def test_long_texts_put_garbage_off_but_not_for_ever() -> None:
    garbage = Garbage(young=10 * YOUNG_OBJECTS, is_busy=True)
    collector = garbage.collector()
    for garbage.now in (0.0, PUT_OFF_SECONDS - 1):
        collector.tick()
        assert garbage.collected == []
    garbage.now = PUT_OFF_SECONDS
    collector.tick()
    assert garbage.collected == [2], "all of it is due too"
    garbage.now += PUT_OFF_SECONDS / 2
    collector.tick()
    assert garbage.collected == [2], "the next may be put off as long"
    garbage.is_busy = False
    collector.tick()
    assert garbage.collected == [2, 1], "a quiet moment"


async def test_python_does_not_collect_garbage_by_itself_while_a_server_runs(
    predictor: Any,
) -> None:
    try:
        async with running(predictor):
            assert not gc.isenabled()
    finally:
        gc.enable()
