import asyncio
import socket
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.http.connection import Addresses, ConnectionLimits
from teddy.service.http.protocol import Protocol
from teddy.service.settings import Settings
from tests.service.wire import CHUNKED, GET, JSON, LARGE_BYTES, Client, Server, serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"use_uvloop": True}


async def test_an_idle_connection_is_closed_without_a_word() -> None:
    async with serving(keep_alive=0.1) as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        await client.ends()
        await server.empties()
    assert server.refused == []


WAIT = b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n"


async def test_one_connection_too_many_is_refused_and_those_that_work_are_not_touched() -> None:
    async with serving(max_connections=2) as server:
        clients = [await server.connect() for _ in range(2)]
        for client in clients:
            client.send(WAIT)
        while len(server.asked) < 2:
            await asyncio.sleep(0.001)
        late = await server.connect()
        late.send(GET)
        refusal = await late.problem(503, "too-many-connections")
        assert refusal.headers["retry-after"] == "5"
        assert len(server.asked) == 2

        server.gate.set()
        for client in clients:
            assert (await client.answer()).body == b"waited"
            client.send(GET)
            assert (await client.answer()).status == 200
        await clients[0].close()
        while len(server.state.connections) == 2:
            await asyncio.sleep(0.001)
        clients[0] = await server.connect()
        clients[0].send(GET)
        assert (await clients[0].answer()).status == 200
        for client in clients:
            await client.close()
    assert server.refused == ["too-many-connections"]


async def test_a_new_connection_takes_the_place_of_the_one_that_was_idle_for_longest() -> None:
    async with serving(max_connections=4) as server:
        first, second, third, busy = [await server.connect() for _ in range(4)]
        for client in (first, second, third, first):  # and so the second is idle for longest
            client.send(GET)
            assert (await client.answer()).status == 200
        busy.send(WAIT)
        await server.is_asked()
        for idle in (second, third, first):
            new = await server.connect()
            new.send(WAIT)
            await idle.ends()
        while server.asked.count("/wait") < 4:
            await asyncio.sleep(0.001)
        late = await server.connect()
        late.send(GET)
        await late.problem(503, "too-many-connections")
        server.gate.set()
        assert (await busy.answer()).body == b"waited"
    assert server.refused == ["too-many-connections"]


async def test_half_a_head_and_half_a_body_are_not_idle() -> None:
    async with serving(max_connections=3) as server:
        heading, embodying, silent = [await server.connect() for _ in range(3)]
        for client in (heading, embodying):
            client.send(GET)
            await client.answer()
        heading.send(GET[:9])
        embodying.send(JSON, b"Content-Length: 2\r\n\r\n{")
        while "/body" not in server.asked or idle(server):
            await asyncio.sleep(0.001)
        late = await server.connect()
        late.send(GET)
        await late.problem(503, "too-many-connections")
        heading.send(GET[9:])
        embodying.send(b"}")
        assert (await heading.answer()).body == b"/"
        assert (await embodying.answer()).body == b"2 bytes"
        silent.send(GET)
        assert (await silent.answer()).body == b"/"


async def test_whoever_leaves_or_is_closed_is_not_remembered_as_idle() -> None:
    async with serving(keep_alive=0.05) as server:
        clients = [await server.connect() for _ in range(3)]
        for client in clients:
            client.send(GET)
            await client.answer()
        remembered = idle(server)
        await clients[0].close()
        await server.empties()
        assert remembered == {}


def idle(server: Server) -> dict[Protocol, None]:
    return next(iter(server.state.connections)).idle  # type: ignore[no-any-return]


@pytest.fixture
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("teddy.service.http.protocol.LINGER_SECONDS", 0.1)
    monkeypatch.setattr("teddy.service.http.connection.LINGER_SECONDS", 0.1)


@pytest.mark.usefixtures("_hasty")
async def test_connections_that_are_turned_away_say_nothing_and_stay_are_closed() -> None:
    async with serving(max_connections=2) as server:
        served = await crowd(server, 2)
        silent = [await server.connect() for _ in range(2)]
        while len(turned_away(server)) < 2:
            await asyncio.sleep(0)
        beyond = await server.connect()
        try:
            await silent[0].ends()  # without an answer: there is no end to such connections
        except ConnectionResetError:
            await silent[0].close()
        for client in (silent[1], beyond):
            assert (await client.answer()).status == 503  # though they do not close
        while turned_away(server):
            await asyncio.sleep(0.001)
        for client in (silent[1], beyond, *served):
            await client.close()
    assert server.refused == ["too-many-connections"] * 3


def turned_away(server: Server) -> dict[Protocol, None]:
    return next(iter(server.state.connections)).turned_away  # type: ignore[no-any-return]


async def crowd(server: Server, n: int, address: str = "127.0.0.1") -> list[Client]:
    """So many connections that say nothing, once they count."""
    wanted = len(server.state.connections) + n
    clients = [await server.connect(address) for _ in range(n)]
    while len(server.state.connections) < wanted:
        await asyncio.sleep(0)
    return clients


PROBES = (b"GET /health/live", b"GET /health/ready", b"HEAD /health/live", b"GET /metrics")


@pytest.mark.parametrize("probe", [*PROBES, b"GET /metrics?name=a"])
async def test_a_probe_is_answered_once_however_many_connections_there_are(probe: bytes) -> None:
    asked = probe + b" HTTP/1.1\r\nHost: t\r\n\r\n"
    async with serving(max_connections=2) as server:
        served = await crowd(server, 2)
        for more in (b"", GET, asked):
            late = await server.connect()
            late.send(asked)
            late.send(more)
            answer = await late.reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200")
            rest = await late.reader.read()  # to the end: nothing else is answered
            assert rest.count(b"HTTP/1.1 200") == 0
        for other in (b"GET /metricsx", b"POST /health/live", b"GET /v1/models", b"GET /healt"):
            late = await server.connect()
            late.send(other + b" HTTP/1.1\r\nHost: t\r\n\r\n")
            await late.problem(503, "too-many-connections")
        for client in served:  # those within the limit may ask for anything
            client.send(asked.replace(b"HEAD", b"GET"), GET)
            assert [(await client.answer()).status for _ in range(2)] == [200, 200]
    assert server.asked.count("/") == 2


async def test_an_address_has_its_share_and_others_have_the_rest() -> None:
    async with serving(max_connections=4, address_connection_share=0.5) as server:
        first = await crowd(server, 2)
        for _ in range(3):
            late = await server.connect()
            late.send(GET)
            refusal = await late.problem(429, "address-share")
            assert refusal.headers["retry-after"] == "5"
        others = await crowd(server, 2, "127.0.0.2")
        late = await server.connect("127.0.0.3")
        late.send(GET)
        await late.problem(503, "too-many-connections")
        for client in (*first, *others):
            client.send(GET)
            assert (await client.answer()).status == 200
        await first[0].close()  # its place is free again, for its own address too
        while len(server.state.connections) > 3:
            await asyncio.sleep(0)
        again = await server.connect()
        again.send(GET)
        assert (await again.answer()).status == 200


async def test_a_trusted_proxy_may_have_all_connections() -> None:
    settings: dict[str, Any] = {"trusted_proxies": ("127.0.0.0/30",)}
    async with serving(max_connections=4, address_connection_share=0.1, **settings) as server:
        for client in await crowd(server, 2):
            client.send(GET)
            assert (await client.answer()).status == 200
        for status in (200, 429):
            other = await server.connect("127.0.0.9")
            other.send(GET)
            assert (await other.answer()).status == status


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3)), max_size=40), st.integers(1, 3))
def test_an_address_enters_until_it_has_its_share(
    steps: list[tuple[bool, int]], share: int
) -> None:
    trusted = ("10.0.0.3/32",)
    limits = ConnectionLimits.of(
        Settings(max_connections=4, address_connection_share=share / 4, trusted_proxies=trusted)
    )
    addresses, there = Addresses(limits), [0] * 4
    for enters, who in steps:
        if not enters and there[who]:
            addresses.leave(f"10.0.0.{who}")
            there[who] -= 1
        elif enters:
            assert addresses.enter(f"10.0.0.{who}") == (who == 3 or there[who] < share)
            there[who] += who == 3 or there[who] < share


async def test_a_client_that_sends_without_end_gets_to_read_why_it_is_refused() -> None:
    async with serving(max_body_bytes=200_000) as server:
        for head in (CHUNKED, JSON + b"Content-Length: 1000000000000\r\n\r\n"):
            client = await server.connect()
            sending = asyncio.create_task(flood(client, head))
            assert (await client.answer()).status == 413
            await client.ends()
            await sending
        await server.empties()


async def flood(client: Client, head: bytes) -> None:
    chunk = b"%x\r\n%s\r\n" % (50_000, b"x" * 50_000)
    client.send(head)
    with suppress(ConnectionError):
        while not client.writer.is_closing():
            client.send(chunk)
            await client.writer.drain()
            await asyncio.sleep(0)


async def test_the_rest_of_a_body_whose_answer_was_given_does_not_keep_the_connection() -> None:
    async with serving(header_timeout_seconds=0.1, keep_alive=0.1) as server:
        client = await server.connect()
        client.send(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n")
        assert (await client.answer()).status == 200
        dripping = asyncio.create_task(client.drip(b"x" * 10_000))
        await client.ends()
        await dripping
        await server.empties()
    assert server.refused == []


async def test_after_a_body_that_was_answered_early_the_connection_goes_on() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(b"POST /early HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        assert (await client.answer()).body == b"/early"
        client.send(b"67890", GET)
        assert (await client.answer()).body == b"/"
        assert not next(iter(server.state.connections))._unread()


async def test_a_client_that_does_not_read_its_answer_is_cut() -> None:
    async with serving(body_timeout_seconds=0.2) as server:
        with deaf_client(server.port) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
            await server.is_asked()
            await server.empties()
    assert server.refused == ["answer-not-read"]


async def test_a_client_that_asks_much_and_reads_nothing_is_cut() -> None:
    async with serving(body_timeout_seconds=0.2) as server:
        with deaf_client(server.port) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n" * 3)
            await server.is_asked()
            await server.empties()
    assert server.asked == ["/large"] * 2  # the second waits in vain for room to answer
    assert server.refused == ["answer-not-read"]


def deaf_client(port: int) -> socket.socket:
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.connect(("127.0.0.1", port))
    return deaf


async def test_a_client_that_reads_slowly_but_steadily_gets_all_of_its_answer() -> None:
    async with serving(body_timeout_seconds=0.1, keep_alive=0.1) as server:
        client = await server.connect()
        client.send(b"GET /large HTTP/1.1\r\nHost: t\r\n\r\n")
        head = await client.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        n_bytes = 0
        while n_bytes < LARGE_BYTES:
            n_bytes += len(await client.reader.readexactly(2**19))
            await asyncio.sleep(0.01)
        await client.ends()
    assert server.refused == []


async def test_a_client_that_vanishes_is_looked_for_by_the_system() -> None:
    async with serving() as server:
        client = await server.connect()
        client.send(GET)
        await client.answer()
        accepted = next(iter(server.state.connections))._lingering._transport.get_extra_info(
            "socket"
        )
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        if hasattr(socket, "TCP_KEEPIDLE"):
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30
        await client.close()


async def test_a_client_that_leaves_is_noticed_by_the_request_that_runs_and_those_that_wait() -> (
    None
):
    async with serving() as server:
        client = await server.connect()
        client.send(CHUNKED.replace(b"/body", b"/half"), b"0\r\n\r\n", CHUNKED)
        await client.close()
        await server.empties()
        while server.state.tasks:
            await asyncio.sleep(0.001)


async def test_a_stopping_server_closes_idle_connections_and_finishes_the_others() -> None:
    async with serving() as server:
        idle, busy = await server.connect(), await server.connect()
        idle.send(GET)
        await idle.answer()
        busy.send(b"GET /wait HTTP/1.1\r\nHost: t\r\n\r\n")
        while "/wait" not in server.asked:
            await asyncio.sleep(0)
        stopping = asyncio.ensure_future(server.stop())
        await idle.ends()
        server.gate.set()
        assert (await busy.answer()).body == b"waited"
        await busy.ends()
        await stopping
