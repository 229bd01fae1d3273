import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.errors import QueueFullError
from teddy.service.http.body import BodyBudget
from teddy.service.http.compression import PIECE_BYTES
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

BODY = json.dumps({"text": "a " * 50_000}).encode()


async def pieces(body: bytes, gate: asyncio.Event | None = None) -> Any:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]
    if gate:
        await gate.wait()
    yield b""


async def send(client: AsyncClient, gate: asyncio.Event | None = None) -> Any:
    return await client.post("/v1/entities", content=pieces(BODY, gate))


async def test_bodies_that_together_are_too_large_are_refused_and_their_room_comes_back(
    serving: Any,
) -> None:
    gate = asyncio.Event()
    async with serving(max_held_bytes=3 * len(BODY)) as client, asyncio.timeout(30):
        held = [asyncio.create_task(send(client, gate)) for _ in range(3)]
        await asyncio.sleep(0)
        while not (refused := await send(client)).is_error:
            await asyncio.sleep(0.001)
        check_problem(refused, 503, "queue-full")
        assert refused.headers["retry-after"] == "1"
        gate.set()
        assert [answer.status_code for answer in await asyncio.gather(*held)] == [200] * 3
        for _ in range(5):
            assert (await send(client)).status_code == 200


async def test_one_body_may_be_larger_than_the_whole_budget(serving: Any) -> None:
    async with serving(max_held_bytes=1) as client:
        assert (await send(client)).status_code == 200


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 50)), max_size=30))
def test_what_is_held_is_what_was_not_released_and_never_too_much_for_more_than_one(
    steps: list[tuple[int, int]],
) -> None:
    budget, scopes, held = BodyBudget(100), [{} for _ in range(4)], [0] * 4  # type: ignore[var-annotated]
    for who, n_bytes in steps:
        if n_bytes < 0:
            budget.release(scopes[who])
            held[who] = 0
            continue
        alone = sum(held) == held[who]
        if alone or sum(held) + n_bytes <= 100:
            budget.hold(scopes[who], n_bytes)
            held[who] += n_bytes
        else:
            with pytest.raises(QueueFullError):
                budget.hold(scopes[who], n_bytes)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, PIECE_BYTES + 60)), max_size=30))
def test_a_stream_counts_for_what_it_holds_beyond_a_piece_and_less_is_never_refused(
    steps: list[tuple[int, int]],
) -> None:
    budget, scopes, held = BodyBudget(100), [{} for _ in range(4)], [0] * 4  # type: ignore[var-annotated]
    for who, n_bytes in steps:
        counted = max(0, n_bytes - PIECE_BYTES)
        others = sum(held) - held[who]
        if counted <= held[who] or not others or others + counted <= 100:
            budget.hold_line(scopes[who], n_bytes)
            held[who] = counted
        else:
            with pytest.raises(QueueFullError):
                budget.hold_line(scopes[who], n_bytes)
        assert budget._held_bytes == sum(held)
    for scope in scopes:
        budget.release(scope)
    assert budget._held_bytes == 0
