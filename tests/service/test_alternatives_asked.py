"""What is asked for beyond the best path, over HTTP: thresholds and readings."""

import json
from typing import Any

import pytest
from httpx import AsyncClient

from tests.service.conftest import Serving

pytestmark = pytest.mark.anyio
TEXT = "so \U0001f9f8 Ada met Incomprehensible men"


def found(result: dict[str, Any]) -> list[tuple[str, float]]:
    return [(each["text"], each["score"]) for each in result["entities"]]


async def ask(client: AsyncClient, **fields: object) -> dict[str, Any]:
    answer = await client.post("/v1/entities", json={"text": TEXT, **fields})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_threshold_gives_what_is_that_probable_and_nothing_else(
    client: AsyncClient,
) -> None:
    plain = [("Ada", 0.9), ("Incomprehensible", 0.4)]
    assert found(await ask(client)) == plain
    assert found(await ask(client, threshold=0.5)) == plain[:1]
    assert [text for text, _ in found(await ask(client, threshold=0.1))] == TEXT.split()
    assert found(await ask(client, threshold={"LONG": 0.3})) == plain
    assert found(await ask(client, threshold=0.3, labels=["LONG"])) == plain[1:]
    assert found(await ask(client, threshold=0.1, min_score=0.5)) == plain[:1]


async def test_a_batch_and_a_stream_take_thresholds_too(client: AsyncClient) -> None:
    wanted = [text for text, _ in found(await ask(client, threshold={"LONG": 0.1}))]
    batch = await client.post(
        "/v1/entities/batch", json={"texts": [TEXT, "x"], "threshold": {"LONG": 0.1}}
    )
    assert [text for text, _ in found(batch.json()["results"][0])] == wanted == TEXT.split()
    lines = await client.post(
        "/v1/entities/stream",
        params={"threshold": "LONG:0.1,UPPER:0.5", "n_best": 1},
        content=json.dumps({"text": TEXT}),
        headers={"Content-Type": "application/x-ndjson"},
    )
    line = json.loads(lines.text)
    assert [text for text, _ in found(line)] == wanted
    assert len(line["sentences"][0]["readings"]) == 1


@pytest.mark.parametrize(
    ("unit", "end"), [("character", 33), ("utf16", 34), ("byte", 36), (None, 33)]
)
async def test_readings_have_their_places_in_the_unit_that_was_asked_for(
    client: AsyncClient, unit: str | None, end: int
) -> None:
    sentence = (await ask(client, n_best=3, offset_unit=unit))["sentences"][0]
    assert (sentence["start"], sentence["end"]) == (0, end)
    assert [each["probability"] for each in sentence["readings"]] == [0.2, 0.2, 0.9]
    encoded = {"utf16": "utf-16-le", "byte": "utf-8"}.get(unit or "", "utf-32-le")
    size = {"utf16": 2, "byte": 1}.get(unit or "", 4)
    for reading in sentence["readings"]:
        (entity,) = reading["entities"]
        piece = TEXT.encode(encoded)[size * entity["start"] : size * entity["end"]]
        assert piece.decode(encoded) == entity["text"]


async def test_readings_are_there_only_if_they_are_asked_for(client: AsyncClient) -> None:
    assert "sentences" not in await ask(client, threshold=0.1)
    assert (await ask(client, n_best=2, text=""))["sentences"] == []


@pytest.mark.parametrize(
    "fields",
    [
        {"threshold": 0},
        {"threshold": 1.01},
        {"threshold": {"NONE": 0.1}},
        {"threshold": {"LONG": 0}},
        {"threshold": "0.1"},
        {"n_best": -1},
        {"n_best": 33},
    ],
)
async def test_what_cannot_be_asked_is_refused(
    client: AsyncClient, fields: dict[str, object]
) -> None:
    answer = await client.post("/v1/entities", json={"text": TEXT, **fields})
    assert answer.status_code == 422


async def test_metrics_count_the_best_path_whatever_is_asked_for(serving: Serving) -> None:
    async with serving() as client:
        await ask(client, threshold=0.1)
        scraped = (await client.get("/metrics")).text
    counted = [line for line in scraped.splitlines() if line.startswith("teddy_entities_total{")]
    assert sorted(line.rpartition(" ")[2] for line in counted) == ["1.0", "1.0"]
