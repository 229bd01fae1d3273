import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from teddy.service.http.acceptor import (
    TAKEN_AFTER_STEPPING_BACK,
    Acceptor,
    ConnectionCounts,
    listen,
)

pytestmark = pytest.mark.anyio


class Greeter(asyncio.Protocol):
    """Says who it is, and counts itself."""

    def __init__(self, name: bytes, served: set[asyncio.BaseProtocol]) -> None:
        self.name = name
        self.served = served

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.served.add(self)
        transport.write(self.name)

    def connection_lost(self, _: Exception | None) -> None:
        self.served.discard(self)


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0) as bound:
        yield bound


def acceptor(name: bytes, bound: socket.socket, counts: ConnectionCounts | None = None) -> Acceptor:
    """An acceptor on a descriptor of its own, as another process would have one."""
    served: set[asyncio.BaseProtocol] = set()
    return Acceptor(
        bound.dup(), lambda: Greeter(name, served), lambda: len(served), backlog=128, counts=counts
    )


async def connect(
    bound: socket.socket, n: int, stack: ExitStack, address: str = "127.0.0.1"
) -> list[socket.socket]:
    clients = [stack.enter_context(socket.socket()) for _ in range(n)]
    for client in clients:
        client.setblocking(False)
        client.bind((address, 0))
        await asyncio.get_running_loop().sock_connect(client, bound.getsockname())
    return clients


async def greetings(clients: list[socket.socket]) -> list[bytes]:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        return [await loop.sock_recv(client, 1) for client in clients]


async def test_workers_share_connections_evenly(bound: socket.socket, tmp_path: Path) -> None:
    ConnectionCounts.create(tmp_path / "counts", 2)
    with ExitStack() as stack:
        for number in range(2):
            counts = ConnectionCounts(tmp_path / "counts", number)
            stack.enter_context(closing(acceptor(b"%d" % number, bound, counts))).open()
        greeted = await greetings(await connect(bound, 64, stack))
    assert abs(greeted.count(b"0") - greeted.count(b"1")) <= TAKEN_AFTER_STEPPING_BACK


async def test_a_worker_takes_all_when_the_one_with_fewer_does_not(
    bound: socket.socket, tmp_path: Path
) -> None:
    ConnectionCounts.create(tmp_path / "counts", 2)
    ConnectionCounts(tmp_path / "counts", 1).publish(0)
    with ExitStack() as stack:
        stack.enter_context(
            closing(acceptor(b"0", bound, ConnectionCounts(tmp_path / "counts", 0)))
        ).open()
        assert await greetings(await connect(bound, 20, stack)) == [b"0"] * 20


async def test_who_has_connected_before_the_door_closes_is_served(bound: socket.socket) -> None:
    with ExitStack() as stack:
        door = acceptor(b"0", bound)
        door.open()
        clients = [
            stack.enter_context(socket.create_connection(bound.getsockname())) for _ in range(20)
        ]
        door.close()  # the event loop has not had a turn since they connected
        for client in clients:
            client.setblocking(False)
        assert await greetings(clients) == [b"0"] * 20
        await door.wait_closed()


class Roll(asyncio.Protocol):
    """Writes down the addresses in the order in which their connections are set up."""

    def __init__(self, addresses: list[str]) -> None:
        self.addresses = addresses

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.addresses.append(transport.get_extra_info("peername")[0])


@pytest.mark.parametrize(("most", "served"), [(4096, 100), (30, 30)])
async def test_a_crowd_of_one_address_lets_each_other_address_in_at_its_turn(
    most: int, served: int, bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All have connected before any is accepted, and the crowd came first."""
    monkeypatch.setattr("teddy.service.http.acceptor.MOST_OF_ADDRESS", most)
    roll: list[str] = []
    with ExitStack() as stack:
        door = Acceptor(bound, lambda: Roll(roll), lambda: 0, backlog=128)
        bound.listen(128)
        await connect(bound, 100, stack, "127.0.0.9")
        for other in ("127.0.0.2", "127.0.0.3", "127.0.0.2"):
            await connect(bound, 1, stack, other)
        door.open()
        async with asyncio.timeout(30):
            while len(roll) < served + 3:
                await asyncio.sleep(0)
        door.close()
        await door.wait_closed()
    others = ["127.0.0.9", "127.0.0.2", "127.0.0.3", "127.0.0.9", "127.0.0.2"]
    assert roll == [*others, *["127.0.0.9"] * (served - 2)]


async def test_nobody_can_connect_before_the_door_is_open(bound: socket.socket) -> None:
    with (
        closing(acceptor(b"0", bound)),
        socket.socket() as client,
        pytest.raises(ConnectionRefusedError),
    ):
        client.connect(bound.getsockname())


async def test_who_is_absent_has_no_share(tmp_path: Path) -> None:
    ConnectionCounts.create(tmp_path / "counts", 3)
    first, second = (
        ConnectionCounts(tmp_path / "counts", 0),
        ConnectionCounts(tmp_path / "counts", 1),
    )
    assert first.least() == 0
    first.publish(5)
    second.publish(3)
    assert first.least() == 3
    second.leave()
    assert first.least() == 5
