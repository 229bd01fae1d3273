"""A client against servers that are slow, that lie, that leave, or that are not Teddy: real
sockets, and bytes that a test writes itself."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.service.client import (
    AnswerReference,
    AsyncClient,
    Client,
    ClientError,
    RetryPolicy,
    StreamBrokenError,
    TeddyServiceError,
    UnreachableError,
    UsageError,
)
from teddy.service.client.conduct import read_retry_after
from tests.service.live import listening
from tests.service.test_feedback import rows

pytestmark = pytest.mark.anyio

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ONCE = RetryPolicy(attempts=1)
SECONDS = 60
"""No test decides by time; this keeps a broken one from hanging."""


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A server of raw connections; gives its URL."""
    connections: set[asyncio.Task[None]] = set()
    stopping = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()
        if stopping.is_set():
            writer.transport.abort()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(SECONDS):
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        stopping.set()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections)
        server.close()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return head + await reader.readexactly(int(lengths[0].split(b":")[1]) if lengths else 0)


def saying(answer: bytes) -> Serve:
    """A server that answers every request with these bytes and leaves."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await writer.drain()

    return serve


def http(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = "".join(f"{header}\r\n" for header in (*headers, f"Content-Length: {len(body)}"))
    return f"HTTP/1.1 {status}\r\nConnection: close\r\n{lines}\r\n".encode("latin-1") + body


JSON = "Content-Type: application/json"
EMPTY = {"model": {"name": "en", "version": "1"}, "entities": []}
MODEL_HEADERS = ("X-Teddy-Model: en", "X-Teddy-Model-Version: 1")


def of(content: object) -> bytes:
    return http(json.dumps(content).encode(), JSON)


STRANGE = {
    "html": http(b"<h1>Welcome to nginx!</h1>", "Content-Type: text/html"),
    "empty": http(b""),
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
    "{}": of({}),
    "[]": of([]),
    "null": of(None),
    "a number": of(5),
    "a string": of("ready"),
    "another's ready": of({"status": "ok"}),
    "no dictionary within": of({"model": 5, "results": 5, "models": 5, "entities": 5}),
    "null within": of({"model": EMPTY["model"], "results": None, "models": [None], "entities": 0}),
    "half an entity": of({**EMPTY, "entities": [{"start": 0}], "results": [{"entities": [{}]}]}),
    "too many results": of({"model": EMPTY["model"], "results": [EMPTY] * 9, "name": "en"}),
    "half of its JSON": http(b'{"model": {"na', JSON),
    "not UTF-8": http(b'{"model": "\xff"}', JSON),
    "deep": http(b"[" * 100_000, JSON),
    "a number without end": http(b"1" * 10_000, JSON),
    "no gzip": http(b"no gzip", JSON, "Content-Encoding: gzip"),
    "half of its gzip": http(gzip.compress(b"{}" * 99)[:-9], JSON, "Content-Encoding: gzip"),
    "no deflate": http(b"\0", JSON, "Content-Encoding: deflate"),
    "lines without a model": http(b'{"entities": []}\n'),
    "lines that are none": http(b"<\n>\n", *MODEL_HEADERS),
    "more lines than texts": http(b'{"entities": []}\n' * 9, *MODEL_HEADERS),
    "an error that is none": http(b'{"error": 5}\n', *MODEL_HEADERS),
    "a redirection": http(b"", "Location: http://127.0.0.1:9/", status="302 Found"),
    "a charset that is none": http(
        b"x", "Content-Type: text/html; charset=base64", status="404 No"
    ),
    "a problem that is none": http(
        b"[5]", "Content-Type: application/problem+json", status="400 Bad Request"
    ),
    "a deep problem": http(
        b"[" * 100_000, "Content-Type: application/problem+json", status="400 Bad Request"
    ),
    "a status that is none": http(b"", status="799 What"),
    "an endless pause": http(b"", "Retry-After: " + "9" * 400, status="503 Busy"),
    "a date that is none": http(
        b"", "Retry-After: Mon, 01 Jan 99999999999 00:00:00 GMT", status="429 Busy"
    ),
    "no HTTP": b"220 smtp ready\r\n",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-",
    "less than announced": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
    "no chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a head that is too long": b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000 + b"\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n{}",
    "an older protocol": b"HTTP/0.9 200 OK\r\n\r\n{}",
}
MANY: Sequence[Callable[[Client], object]] = (
    lambda client: client.tag("Ada"),
    lambda client: list(client.tag_batch(["Ada"])),
    lambda client: list(client.stream(["Ada"])),
    lambda client: client.correct("Ada", []),
    lambda client: client.correct(AnswerReference("1"), []),
    lambda client: client.models(),
    lambda client: client.model("en"),
    lambda client: client.reload("en"),
)


async def many(client: AsyncClient) -> list[Awaitable[object]]:
    async def all_of(results: AsyncIterator[object]) -> list[object]:
        return [result async for result in results]

    return [
        client.tag("Ada"),
        all_of(client.tag_batch(["Ada"])),
        all_of(client.stream(["Ada"])),
        client.correct("Ada", []),
        client.correct(AnswerReference("1"), []),
        client.models(),
        client.model("en"),
        client.reload("en"),
    ]


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE.keys())
async def test_every_method_raises_the_clients_own_errors_whatever_comes_and_is_not_ready(
    answer: bytes,
) -> None:
    def use(url: str) -> None:
        with Client(url, retries=ONCE) as client:
            for method in MANY:
                with pytest.raises((TeddyServiceError, UnreachableError, StreamBrokenError)):
                    method(client)
            assert client.ready() is False

    async with serving(saying(answer)) as url:
        await asyncio.to_thread(use, url)
        async with AsyncClient(url, retries=ONCE) as client:
            for method in await many(client):
                with pytest.raises((TeddyServiceError, UnreachableError, StreamBrokenError)):
                    await method
            assert await client.ready() is False


async def test_an_answer_that_is_not_teddys_says_what_it_is_instead() -> None:
    async with serving(saying(STRANGE["html"])) as url, AsyncClient(url) as client:
        with pytest.raises(TeddyServiceError, match="26 bytes of text/html") as raised:
            await client.tag("Ada")
        assert (raised.value.status, raised.value.kind) == (200, "unexpected-answer")


def test_a_pause_that_is_none_is_none() -> None:
    for value in ("Mon, 01 Jan 99999999999 00:00:00 GMT", "soon", "", "-1", "1.5"):
        assert read_retry_after(value, 0.0) is None


# A server that drips.


async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Send these bytes, then white space without end, one at a time: each is in time."""
    while True:
        writer.write(data[:1] or b" ")
        data = data[1:]
        await writer.drain()
        await asyncio.sleep(0.005)


DRIPS = {
    "head": (b"", b"HTTP/1.1 200 OK\r\nX-Endless: "),
    "body": (b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", b"{"),
    "error": (b"HTTP/1.1 404 No\r\nContent-Length: 100000000\r\n\r\n", b"{"),
    "interim": (b"HTTP/1.1 100 Continue\r\n\r\n" * 3, b"HTTP/1.1 100 Continue\r\nA: "),
}


def dripping(at_once: bytes, slowly: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(at_once)
        await drip(writer, slowly)

    return serve


@pytest.mark.parametrize("drips", DRIPS.values(), ids=DRIPS.keys())
@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_call_ends_with_its_time_however_a_server_drips(
    drips: tuple[bytes, bytes], repeatable: bool
) -> None:
    def use(url: str) -> None:
        with Client(url, timeout_seconds=0.2) as client, pytest.raises(UnreachableError):
            client.tag("Ada") if repeatable else client.correct("Ada", [])

    async with serving(dripping(*drips)) as url:
        await asyncio.to_thread(use, url)
        async with AsyncClient(url, timeout_seconds=0.2) as client:
            with pytest.raises(UnreachableError):
                await (client.tag("Ada") if repeatable else client.correct("Ada", []))


async def test_a_call_ends_with_its_time_however_slowly_a_server_reads() -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        transport: Any = writer.transport
        transport.pause_reading()
        try:
            while True:  # a little, now and then, so that no single wait takes long
                await asyncio.sleep(0.005)
                with suppress(BlockingIOError):  # a busy machine has sent nothing yet
                    transport.get_extra_info("socket")._sock.recv(1000)
        finally:
            transport.abort()  # what is not read keeps it open otherwise

    def use(url: str, text: str) -> None:
        client = Client(url, timeout_seconds=0.3, gzip_from_bytes=10**9)
        with client, pytest.raises(UnreachableError):
            client.tag(text)

    text = "x" * 30_000_000
    async with serving(serve) as url:
        await asyncio.to_thread(use, url, text)
        async with AsyncClient(url, timeout_seconds=0.3, gzip_from_bytes=10**9) as client:
            with pytest.raises(UnreachableError):
                await client.tag(text)


async def test_a_thread_that_runs_out_of_time_takes_none_from_another(predictor: Any) -> None:
    def use(url: str, slow: str) -> None:
        with Client(slow, timeout_seconds=0.05, retries=ONCE) as client:
            with pytest.raises(UnreachableError):
                client.tag("Ada")
            for _ in range(2):
                with pytest.raises(UnreachableError):
                    client.models()
        with Client(url) as other:
            assert other.tag("Ada").entities
            assert other.ready()

    async with listening(predictor) as live, serving(dripping(*DRIPS["head"])) as slow:
        await asyncio.gather(*(asyncio.to_thread(use, live.url, slow) for _ in range(4)))


def test_httpx_has_the_parts_by_which_connections_keep_the_deadline() -> None:
    """service/client/deadline.py takes these by name, for httpx has no public way."""
    with Client("http://teddy.example") as client:
        for each in (client._http, client._fresh):
            assert isinstance(each._transport, httpx.HTTPTransport)
            backend = each._transport._pool._network_backend
            assert type(backend).__module__ == "teddy.service.client.deadline"
        assert isinstance(client._http._mounts, dict)


def test_connections_through_a_proxy_of_the_environment_keep_it_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with Client("http://teddy.example") as client:
        (proxy,) = [each for each in client._http._mounts.values() if each is not None]
        backend: Any = proxy._pool._network_backend  # type: ignore[attr-defined]
        assert type(backend).__module__ == "teddy.service.client.deadline"


# What cannot be sent.


@pytest.mark.parametrize(
    "url",
    [
        "",
        "teddy",
        "localhost:8000",
        "/v1",
        "ftp://teddy",
        "http://",
        "http://[",
        "http://teddy:99999",
        "http://te ddy",
        "http://teddy:port",
        "http://\x00",
        None,
    ],
)
def test_a_url_that_is_none_is_refused_at_once(url: Any) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(UsageError, match="base_url: "):
            kind(url)


KEYS = [
    "sesame-open-up\n",
    "\nsesame-open-up",
    "sesame\r\nopen-up",
    "s\u00e9same",
    "se same",
    "",
    "\0",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_key_that_no_header_may_have_is_refused_and_not_shown(key: str) -> None:
    for kind in (Client, AsyncClient):
        with pytest.raises(UsageError, match="api_key: ") as refused:
            kind("http://teddy", api_key=key)
        chain: BaseException | None = refused.value
        while chain is not None:
            assert "same" not in f"{chain} {chain!r} {chain.args}"
            chain = chain.__cause__ or chain.__context__


async def test_names_that_are_none_are_the_clients_own_errors(predictor: Any) -> None:
    def use(url: str) -> None:
        with Client(url, retries=ONCE) as client:
            for name in ("\ud800", "", ".", "..", "a/b", "a?b#c", "\n"):
                with pytest.raises(ClientError):
                    client.model(name)
                with pytest.raises(ClientError):
                    client.reload(name)
                with pytest.raises(ClientError):
                    client.tag("Ada", model=name)
                with pytest.raises(ClientError):
                    list(client.stream(["Ada"], model=name or "\ud800"))
        with pytest.raises(UsageError, match="closed"):
            client.tag("Ada")
        assert not client.ready()
        with Client(f"http://{'x' * 300}.example", retries=ONCE) as client:
            with pytest.raises(ClientError):
                client.tag("Ada")
            assert not client.ready()

    async with listening(predictor) as live:
        await asyncio.to_thread(use, live.url)


async def test_an_option_that_is_none_is_not_sent_by_any_method(predictor: Any) -> None:
    options = ("model", "labels", "min_score", "offset_unit", "sentences", "tokens")
    unset: Any = dict.fromkeys(options)
    async with listening(predictor) as live, AsyncClient(live.url) as client:
        plain = await client.tag("Ada")
        assert await client.tag("Ada", **unset) == plain
        assert [result async for result in client.stream(["Ada"], **unset)] == [plain]
        assert [result async for result in client.tag_batch(["Ada"], **unset)] == [plain]


# After a pause.


async def test_a_correction_never_goes_out_on_a_connection_that_was_kept() -> None:
    """The server closes a kept connection just when the next request comes, as after a pause."""
    stored: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await read_request(reader)
        if b"/v1/feedback" in first or b"/reload" in first:
            stored.append(first)
        content = {**EMPTY, "correct": 0, "spurious": 0, "missed": 0, "changed": False}
        content |= {"name": "en", "version": "1"}
        writer.write(
            http(json.dumps(content).encode(), JSON).replace(b"Connection: close\r\n", b"")
        )
        await writer.drain()
        await read_request(reader)  # and no answer: it is gone when the connection is closed

    def use(url: str) -> None:
        with Client(url) as client:
            for _ in range(3):
                client.tag("Ada")
                client.correct("Ada", [])
                client.reload("en")

    async with serving(serve) as url:
        await asyncio.to_thread(use, url)
        async with AsyncClient(url) as client:
            for _ in range(3):
                await client.tag("Ada")
                await client.correct("Ada", [])
                await client.reload("en")
    assert len(stored) == 12


async def test_a_correction_after_the_keep_alive_of_the_service_is_stored_once(
    predictor: Any, tmp_path: Path
) -> None:
    async with listening(predictor, feedback_dir=tmp_path, keep_alive_seconds=1) as live:

        def use() -> None:
            with Client(live.url) as client:
                answer = client.tag("Ada").answer
                assert answer is not None
                while held(live.port):  # until the service has closed it
                    pass
                client.correct(answer, [(0, 3, "UPPER")])

        await asyncio.to_thread(use)
    assert [row["text"] for row in rows(tmp_path)] == ["Ada"]


def held(port: int) -> bool:
    """Whether a connection to this port is open at the service's end."""
    wanted = f":{port:04X} "
    lines = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return any(
        line.split()[1].endswith(wanted.strip()) and line.split()[3] == "01" for line in lines
    )
