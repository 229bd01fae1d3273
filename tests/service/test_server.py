import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn

from model.errors import ModelFileError
from service.app import create_app
from service.errors import AddressError
from service.server import listen, serve, server_config
from service.settings import Settings

pytestmark = pytest.mark.anyio

REQUEST = b"POST /v1/entities HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n"


@asynccontextmanager
async def server(predictor: Any) -> AsyncIterator[int]:
    """A real server on a free loopback port, which is given."""
    settings = Settings()
    app = create_app(settings, lambda _: predictor)
    bound = listen("127.0.0.1", 0)
    running = uvicorn.Server(server_config(app, settings))
    serving = asyncio.create_task(running._serve(sockets=[bound]))
    port: int = bound.getsockname()[1]
    async with asyncio.timeout(30), httpx.AsyncClient() as client:
        while True:
            try:
                if (await client.get(f"http://127.0.0.1:{port}/health/ready")).is_success:
                    break
            except httpx.ConnectError:
                await asyncio.sleep(0.001)
    yield port
    predictor.gate.set()
    running.should_exit = True
    await serving


async def test_a_client_that_leaves_frees_its_place_and_the_others_are_served(predictor: Any) -> None:
    async with asyncio.timeout(30), server(predictor) as port:
        predictor.gate.clear()
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            first = asyncio.create_task(client.post("/v1/entities", json={"text": "First"}))
            assert await asyncio.to_thread(predictor.entered.wait, 30)

            _, leaving = await asyncio.open_connection("127.0.0.1", port)
            leaving.write(REQUEST + b'{"text":"Gone"}')
            while b"teddy_queue_words 1.0" not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.001)
            leaving.close()
            await leaving.wait_closed()
            while b'teddy_refused_total{reason="client-departed"} 1.0' not in (await client.get("/metrics")).content:
                await asyncio.sleep(0.001)
            assert b"teddy_queue_words 0.0" in (await client.get("/metrics")).content

            predictor.gate.set()
            assert (await first).json()["entities"][0]["text"] == "First"
    assert [window.words for batch in predictor.batches for window in batch] == [["First"]]


async def test_what_was_accepted_is_answered_when_the_server_stops(predictor: Any) -> None:
    async with httpx.AsyncClient() as client:
        async with server(predictor) as port:
            predictor.gate.clear()
            tagging = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/v1/entities", json={"text": "Ada"}))
            assert await asyncio.to_thread(predictor.entered.wait, 30)
        assert (await tagging).json()["entities"][0]["text"] == "Ada"


def test_a_model_that_is_refused_stops_the_server_before_it_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> Any:
        raise ModelFileError("bad.teddy", "not a model")

    ready: list[bool] = []
    monkeypatch.setattr("service.server.model_loader", lambda _: refuse)
    with listen("127.0.0.1", 0) as bound, pytest.raises(ModelFileError, match=r"bad.teddy: not a model"):
        serve(Settings(), bound, on_ready=lambda: ready.append(True))
    assert not ready


async def test_an_answer_is_not_held_back_by_nagles_delay() -> None:
    with listen("127.0.0.1", 0) as bound:
        assert bound.proto == socket.IPPROTO_TCP


async def test_a_port_in_use_or_a_foreign_address_is_refused_in_one_line() -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        with pytest.raises(AddressError, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
            listen("127.0.0.1", port)
    with pytest.raises(AddressError, match=r"cannot listen on 192.0.2.1:8000: "):
        listen("192.0.2.1", 8000)
