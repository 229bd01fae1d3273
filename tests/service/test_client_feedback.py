"""The client's corrections, by both clients, against a service that takes them and one that does
not."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.service.client import (
    AnswerReference,
    AsyncClient,
    Client,
    Corrected,
    ModelVersion,
    TeddyServiceError,
)
from teddy.service.client.calls import Marked
from tests.service.live import Live, listening
from tests.service.test_client import Machine, problem
from tests.service.test_feedback import rows

pytestmark = pytest.mark.anyio

TEXT = "\U0001f9f8 Ada met grace"
MODEL = ModelVersion("en", "0123456789ab")


@pytest.fixture
async def live(predictor: Any, tmp_path: Path) -> AsyncIterator[Live]:
    async with listening(predictor, feedback_dir=tmp_path) as live:
        yield live


async def test_both_clients_correct_texts_and_answers(live: Live, tmp_path: Path) -> None:
    def use() -> list[Corrected]:
        with Client(live.url) as client:
            result = client.tag(TEXT, offset_unit="utf16")
            last = list(client.tag_batch(["", TEXT]))[-1]
            assert result.answer is not None
            assert last.answer is not None
            return [
                client.correct(TEXT, [*result.entities, (11, 16, "UPPER")], offset_unit="utf16"),
                client.correct(
                    result.answer, [*result.entities, (11, 16, "UPPER")], offset_unit="utf16"
                ),
                client.correct(last.answer, [*last.entities, (10, 15, "UPPER")]),
            ]

    async def use_async() -> list[Corrected]:
        async with AsyncClient(live.url) as client:
            result = await client.tag(TEXT)
            assert result.answer is not None
            entities: list[Marked] = [*result.entities, (10, 15, "UPPER")]
            return [
                await client.correct(TEXT, entities, model="en"),
                await client.correct(result.answer, entities),
            ]

    found = [*await asyncio.to_thread(use), *await use_async()]
    assert found == [Corrected(MODEL, correct=1, spurious=0, missed=1)] * 5
    marked = [{"start": 2, "end": 5, "label": "UPPER"}, {"start": 10, "end": 15, "label": "UPPER"}]
    assert [(row["text"], row["entities"]) for row in rows(tmp_path)] == [(TEXT, marked)] * 5


async def test_a_result_of_a_stream_has_no_answer_to_correct(live: Live) -> None:
    async with AsyncClient(live.url) as client:
        assert [getattr(result, "answer", "") async for result in client.stream([TEXT])] == [None]


async def test_entities_of_another_unit_are_refused_by_their_text(live: Live) -> None:
    async with AsyncClient(live.url) as client:
        result = await client.tag(TEXT, offset_unit="utf16")
        with pytest.raises(TeddyServiceError, match="offsets and their unit"):
            await client.correct(TEXT, result.entities)


async def test_a_service_that_takes_none_says_so(predictor: Any) -> None:
    async with listening(predictor) as live, AsyncClient(live.url) as client:
        with pytest.raises(TeddyServiceError, match="TEDDY_FEEDBACK_DIR") as refused:
            await client.correct(TEXT, [])
        assert refused.value.kind == "feedback-off"


def test_a_correction_is_sent_once_for_it_would_be_stored_twice() -> None:
    machine = Machine([problem(503, "queue-full", Retry_After="1"), httpx.Response(201)])
    with machine.client() as client, pytest.raises(TeddyServiceError):
        client.correct(AnswerReference("abc", 2), [(0, 1, "A")])
    (request,) = machine.requests
    assert request.url.path == "/v1/feedback"
    entities = [{"start": 0, "end": 1, "label": "A"}]
    assert json.loads(request.content) == {"request_id": "abc", "index": 2, "entities": entities}
