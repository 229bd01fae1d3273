import asyncio
import gzip
import sys
import zlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from teddy.service.errors import (
    BodyTimeoutError,
    BodyTooLargeError,
    ClientDepartedError,
    CompressionError,
    EncodingError,
    MediaTypeError,
    ServiceError,
)
from teddy.service.http.body import BodyLimits, body_chunks, is_json, read_body
from teddy.service.http.compression import PIECE_BYTES, Unpacker
from teddy.service.http.json_scan import JsonLimits
from teddy.service.settings import Settings

pytestmark = pytest.mark.anyio

LIMITS = BodyLimits(
    max_body_bytes=10_000,
    max_decompressed_bytes=100_000,
    timeout_seconds=30,
    min_bytes_per_second=1,
)
HASTY = BodyLimits(
    max_body_bytes=10_000,
    max_decompressed_bytes=100_000,
    timeout_seconds=0.05,
    min_bytes_per_second=1,
)
PACK: dict[str, Callable[[bytes], bytes]] = {
    "identity": bytes,
    "gzip": gzip.compress,
    "zstd": zstd.compress,
}

Receive = Callable[[], Awaitable[dict[str, Any]]]


def request(receive: Receive, **headers: str) -> Request:
    named = {"content-type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    raw = [(name.encode(), value.encode()) for name, value in named.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def arriving(parts: Iterable[bytes], *, at_once: bool = True, end: bool = True) -> Receive:
    """A server's `receive` that gives these parts, each at once or a turn of the event loop later.

    Without an `end` nothing comes after the last, for ever.
    """
    waiting = list(parts) or [b""]

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()
        if not at_once:
            await asyncio.sleep(0)
        part = waiting.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(waiting) or not end}

    return receive


async def departed() -> dict[str, Any]:
    return {"type": "http.disconnect"}


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({place % (len(data) + 1) for place in places} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


async def chunks_of(receive: Receive, limits: BodyLimits = LIMITS, **headers: str) -> list[bytes]:
    return [chunk async for chunk in body_chunks(request(receive, **headers), limits)]


@given(
    st.binary(max_size=300)
    | st.builds(lambda part, n: part * n, st.binary(min_size=1, max_size=4), st.just(20_000)),
    st.sampled_from(sorted(PACK)),
    st.lists(st.integers(0, 100_000), max_size=5),
    st.lists(st.integers(0, 1_000), max_size=10),
    st.booleans(),
)
def test_any_bytes_packed_in_any_members_and_cut_anywhere_come_out_as_they_went_in(
    data: bytes, coding: str, members: list[int], cuts: list[int], at_once: bool
) -> None:
    packed = b"".join(map(PACK[coding], cut(data, members)))
    limits = BodyLimits(
        max_body_bytes=100_000,
        max_decompressed_bytes=100_000,
        timeout_seconds=30,
        min_bytes_per_second=1,
    )
    parts = cut(packed, cuts)

    async def both_ways() -> tuple[bytes, list[bytes]]:
        whole = await read_body(
            request(arriving(parts, at_once=at_once), content_encoding=coding), limits
        )
        return whole, await chunks_of(
            arriving(parts, at_once=at_once), limits, content_encoding=coding
        )

    whole, chunks = asyncio.run(both_ways())
    assert whole == data
    assert b"".join(chunks) == data
    assert all(0 < len(chunk) <= PIECE_BYTES for chunk in chunks) or data == b""


@given(st.sampled_from(["gzip", "zstd"]), st.binary(max_size=200), st.data())
def test_a_compressed_body_is_refused_when_any_of_its_end_is_missing_or_something_follows_it(
    coding: str, data: bytes, draw: st.DataObject
) -> None:
    packed = PACK[coding](data)
    missing = packed[: draw.draw(st.integers(0, len(packed) - 1))]
    for wrong in (missing, packed + b"\0", packed + b"garbage"):
        with pytest.raises(CompressionError):
            asyncio.run(read_body(request(arriving([wrong]), content_encoding=coding), LIMITS))


@given(st.sampled_from(["gzip", "zstd"]), st.binary(max_size=300))
def test_bytes_that_are_not_compressed_as_they_say_are_never_more_than_refused(
    coding: str, data: bytes
) -> None:
    limits = BodyLimits(
        max_body_bytes=300, max_decompressed_bytes=1000, timeout_seconds=30, min_bytes_per_second=1
    )
    try:
        asyncio.run(read_body(request(arriving([data]), content_encoding=coding), limits))
    except ServiceError as error:
        assert isinstance(error, CompressionError | BodyTooLargeError)  # noqa: PT017


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_bit_that_was_turned_is_noticed(coding: str) -> None:
    checked: dict[int, int] = {zstd.CompressionParameter.checksum_flag: 1}
    data = bytes(i * i * 31 // 7 % 251 for i in range(2000))
    packed = bytearray(
        zstd.compress(data, options=checked) if coding == "zstd" else gzip.compress(data)
    )
    packed[len(packed) // 2] ^= 1
    with pytest.raises(CompressionError, match=r"cannot be unpacked as its Content-Encoding says"):
        await read_body(request(arriving([bytes(packed)]), content_encoding=coding), LIMITS)


async def test_a_body_of_just_the_largest_size_is_read_and_a_byte_more_is_not() -> None:
    assert len(await read_body(request(arriving([b"x" * 6000, b"x" * 4000])), LIMITS)) == 10_000
    with pytest.raises(BodyTooLargeError, match="larger than 10000 bytes"):
        await read_body(request(arriving([b"x" * 6000, b"x" * 4001])), LIMITS)
    for coding in ("gzip", "zstd"):
        just = arriving([PACK[coding](b"x" * 100_000)])
        assert len(await read_body(request(just, content_encoding=coding), LIMITS)) == 100_000
        more = arriving([PACK[coding](b"x" * 100_001)])
        with pytest.raises(BodyTooLargeError, match="larger than 100000 bytes"):
            await read_body(request(more, content_encoding=coding), LIMITS)


@pytest.mark.parametrize("length", ["10001", "9" * 4000])
async def test_a_body_that_is_announced_as_too_large_is_refused_before_it_is_read(
    length: str,
) -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError("it was read")

    with pytest.raises(BodyTooLargeError):
        await read_body(request(receive, content_length=length), LIMITS)


async def test_an_endless_body_is_refused_as_soon_as_it_is_too_large() -> None:
    n_messages = 0

    async def receive() -> dict[str, Any]:
        nonlocal n_messages
        n_messages += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    with pytest.raises(BodyTooLargeError):
        await read_body(request(receive), LIMITS)
    assert n_messages == 11


@pytest.mark.parametrize(
    "content_type", ["", "text/plain", "application/x-www-form-urlencoded", "json"]
)
async def test_a_body_that_does_not_call_itself_json_is_refused(content_type: str) -> None:
    assert not is_json(content_type)
    with pytest.raises(MediaTypeError, match=r"must be JSON"):
        await read_body(request(arriving([b"{}"]), content_type=content_type), LIMITS)


async def test_json_goes_by_several_names() -> None:
    for name in ("application/json", "Application/JSON; charset=utf-8", "application/ld+json"):
        assert await read_body(request(arriving([b"{}"]), content_type=name), LIMITS) == b"{}"


@pytest.mark.parametrize("coding", ["br", "deflate", "gzip, zstd", "gzip,gzip", ""])
async def test_an_encoding_that_is_not_known_is_refused(coding: str) -> None:
    if coding == "":  # which is none
        assert await read_body(request(arriving([b"{}"]), content_encoding=""), LIMITS) == b"{}"
        return
    for read in (read_body, body_chunks):
        with pytest.raises(EncodingError, match=r"'gzip' or 'zstd'"):
            await read(request(arriving([b"{}"]), content_encoding=coding), LIMITS)  # type: ignore[misc]


async def test_the_same_encoding_named_twice_means_packed_twice_which_is_refused() -> None:
    twice = request(arriving([gzip.compress(b"{}")]), content_encoding="gzip")
    twice.scope["headers"].append((b"content-encoding", b"gzip"))
    with pytest.raises(EncodingError):
        await read_body(twice, LIMITS)


async def test_encodings_are_known_by_any_case_and_an_old_name() -> None:
    for name in ("GZip", "x-gzip", " gzip "):
        assert (
            await read_body(
                request(arriving([gzip.compress(b"{}")]), content_encoding=name), LIMITS
            )
            == b"{}"
        )


async def test_a_client_that_leaves_is_not_waited_for() -> None:
    with pytest.raises(ClientDepartedError):
        await read_body(request(departed), LIMITS)
    with pytest.raises(ClientDepartedError):
        await chunks_of(departed)


@pytest.mark.parametrize("parts", [[], [b"x"], [b"x", b"y"]], ids=len)
async def test_a_body_that_does_not_go_on_is_given_up(parts: list[bytes]) -> None:
    receive = arriving(parts or [b""], end=False)
    with pytest.raises(BodyTimeoutError, match=r"too slowly, or its end does not come"):
        await read_body(request(receive), HASTY)
    with pytest.raises(BodyTimeoutError):
        await chunks_of(arriving(parts or [b""], end=False), HASTY)


async def test_a_body_that_goes_on_and_on_but_too_slowly_is_given_up() -> None:
    limits = BodyLimits(
        max_body_bytes=10_000,
        max_decompressed_bytes=10_000,
        timeout_seconds=0.2,
        min_bytes_per_second=1_000_000,
    )
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        await asyncio.sleep(0.01)
        sent += 1
        return {"type": "http.request", "body": b"x", "more_body": True}

    with pytest.raises(BodyTimeoutError):
        await read_body(request(receive), limits)
    assert sent > 1


async def test_time_that_the_reader_takes_is_not_held_against_the_client() -> None:
    limits = BodyLimits(
        max_body_bytes=10,
        max_decompressed_bytes=10,
        timeout_seconds=0.2,
        min_bytes_per_second=1_000_000,
    )
    chunks = []
    async for chunk in body_chunks(request(arriving([b"a", b"b", b"c"], at_once=False)), limits):
        chunks.append(chunk)
        await asyncio.sleep(0.15)
    assert chunks == [b"a", b"b", b"c"]


async def test_a_body_without_limits_to_its_time_is_waited_for() -> None:
    limits = BodyLimits(
        max_body_bytes=10,
        max_decompressed_bytes=10,
        timeout_seconds=float("inf"),
        min_bytes_per_second=0,
    )
    assert await read_body(request(arriving([b"a", b"b"], at_once=False)), limits) == b"ab"
    reading = asyncio.create_task(read_body(request(arriving([b"a"], end=False)), limits))
    done, _ = await asyncio.wait((reading,), timeout=0.05)
    assert not done
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_reading_can_be_cancelled_from_outside() -> None:
    reading = asyncio.create_task(read_body(request(arriving([b"x"], end=False)), LIMITS))
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_stream_is_read_no_further_than_it_is_asked_for() -> None:
    n_messages = 0

    async def receive() -> dict[str, Any]:
        nonlocal n_messages
        n_messages += 1
        return {"type": "http.request", "body": b"x" * 1000, "more_body": True}

    chunks = body_chunks(request(receive), LIMITS)
    assert n_messages == 0
    for expected in (1, 2, 3):
        await anext(chunks)
        assert n_messages == expected
    await chunks.aclose()


async def test_a_frame_that_asks_for_too_large_a_window_is_refused() -> None:
    for log, accepted in ((23, True), (24, False), (31, False)):
        packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
        packed = packer.compress(b"{}") + packer.flush()
        reading = read_body(request(arriving([packed]), content_encoding="zstd"), LIMITS)
        if accepted:
            assert await reading == b"{}"
        else:
            with pytest.raises(CompressionError):
                await reading


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_flood_of_tiny_members_is_refused(coding: str) -> None:
    limits = BodyLimits(
        max_body_bytes=2**20,
        max_decompressed_bytes=2**20,
        timeout_seconds=30,
        min_bytes_per_second=1,
    )
    member = PACK[coding](b"x")
    assert (
        await read_body(request(arriving([member * 4096]), content_encoding=coding), limits)
        == b"x" * 4096
    )
    with pytest.raises(CompressionError, match=r"more than 4096 members"):
        await read_body(request(arriving([member * 4097]), content_encoding=coding), limits)
    flood = await chunks_of(arriving([member * 4097]), limits, content_encoding=coding)
    assert b"".join(flood) == b"x" * 4097


def bomb_of(coding: str) -> tuple[bytes, int]:
    """A body and how much it unpacks to: 16 KB of zstd to 512 MB, or 64 KB of gzip, which cannot do
    more, to 64 MB."""
    n_mebibytes = 512 if coding == "zstd" else 64
    packer = zstd.ZstdCompressor(level=19) if coding == "zstd" else zlib.compressobj(wbits=31)
    packed = b"".join(packer.compress(bytes(2**20)) for _ in range(n_mebibytes)) + packer.flush()
    return packed, n_mebibytes * 2**20


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_what_unpacks_from_a_single_slice_is_given_in_bounded_pieces(coding: str) -> None:
    bomb, n_bytes = bomb_of(coding)
    unpacker = Unpacker(coding)
    sizes = [len(piece) for piece in unpacker.pieces(bomb)]
    unpacker.finish()
    assert sum(sizes) == n_bytes
    assert max(sizes) == PIECE_BYTES


MEASURE = """
import asyncio, re, sys
from pathlib import Path
from starlette.requests import Request
from teddy.service.http.body import BodyLimits, body_chunks, read_body
from teddy.service.errors import BodyTooLargeError

coding, bomb = sys.argv[1], sys.stdin.buffer.read()
limits = BodyLimits(
    max_body_bytes=2**20,
    max_decompressed_bytes=8 * 2**20,
    timeout_seconds=60,
    min_bytes_per_second=1,
)

def request():
    async def receive():
        return {"type": "http.request", "body": bomb, "more_body": False}
    headers = [(b"content-type", b"application/json"), (b"content-encoding", coding.encode())]
    return Request({"type": "http", "headers": headers}, receive)

def peak_bytes():
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

async def main():
    n_turns = 0
    async def others():
        nonlocal n_turns
        while True:
            n_turns += 1
            await asyncio.sleep(0)
    task = asyncio.create_task(others())
    before, n_bytes = peak_bytes(), 0
    async for chunk in body_chunks(request(), limits):
        n_bytes += len(chunk)
    print(n_bytes, peak_bytes() - before, n_turns)
    try:
        await read_body(request(), limits)
    except BodyTooLargeError:
        print(peak_bytes() - before)
    task.cancel()

asyncio.run(main())
"""


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc"
)
@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_a_bomb_costs_no_memory_beyond_the_limit_and_leaves_turns_to_others(
    coding: str,
) -> None:
    bomb, bomb_bytes = bomb_of(coding)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        MEASURE,
        coding,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(bomb), 60)
    streamed, whole = out.decode().splitlines()
    n_bytes, stream_peak, n_turns = map(int, streamed.split())
    assert n_bytes == bomb_bytes
    assert stream_peak < 16 * 2**20  # of which zstd's window is 8
    assert n_turns > 10
    assert int(whole) < 48 * 2**20  # 8 as they grow, and some of the window


def test_limits_are_those_that_are_set() -> None:
    settings = Settings(
        max_body_bytes=1,
        max_decompressed_bytes=2,
        body_timeout_seconds=3.0,
        min_body_bytes_per_second=4,
        max_texts=5,
        max_text_characters=6,
    )
    limits = BodyLimits.of(settings)
    assert limits.json == JsonLimits.of_texts(settings)
    assert replace(limits, json=JsonLimits()) == BodyLimits(
        max_body_bytes=1, max_decompressed_bytes=2, timeout_seconds=3.0, min_bytes_per_second=4
    )
