import asyncio
import json
import re
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.service import schemas
from tests.service.conftest import LABELS, FakePredictor

pytestmark = pytest.mark.anyio

ENCODINGS = {"character": ("utf-32-le", 4), "utf16": ("utf-16-le", 2), "byte": ("utf-8", 1)}
texts = st.text() | st.text(alphabet="Aé 中\U0001f9f8\u0301\r\n\0\u202e")
with_client = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
    deadline=None,
)


async def test_a_text_is_tagged_with_offsets_scores_and_the_model_that_did_it(
    client: AsyncClient,
) -> None:
    answer = await client.post("/v1/entities", json={"text": "when Ada met grace"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "model": {"name": "en", "version": "0123456789ab"},
        "entities": [{"start": 5, "end": 8, "label": "UPPER", "score": 0.9, "text": "Ada"}],
    }


async def test_a_batch_answers_in_the_order_of_its_texts(client: AsyncClient) -> None:
    answer = await client.post(
        "/v1/entities/batch", json={"texts": ["Ada", "", "nobody", "Grace Hopper"]}
    )
    assert answer.json()["model"] == {"name": "en", "version": "0123456789ab"}
    found = [
        [entity["text"] for entity in result["entities"]] for result in answer.json()["results"]
    ]
    assert found == [["Ada"], [], [], ["Grace", "Hopper"]]


@pytest.mark.parametrize("text", ["", " \n\t", "\r\n"])
async def test_a_text_without_words_has_no_entities(client: AsyncClient, text: str) -> None:
    answer = await client.post("/v1/entities", json={"text": text, "tokens": True})
    assert (answer.json()["entities"], answer.json()["tokens"]) == ([], [])


async def test_no_texts_have_no_results(client: AsyncClient) -> None:
    assert (await client.post("/v1/entities/batch", json={"texts": []})).json()["results"] == []


async def test_tokens_are_given_when_asked_for_and_only_then(client: AsyncClient) -> None:
    asked = await client.post("/v1/entities/batch", json={"texts": ["so Ada"], "tokens": True})
    assert asked.json()["results"][0]["tokens"] == [
        {"start": 0, "end": 2, "tag": "O", "score": 1.0},
        {"start": 3, "end": 6, "tag": "S-UPPER", "score": 1.0},
    ]
    assert "tokens" not in (await client.post("/v1/entities", json={"text": "so Ada"})).json()


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({}, ["Ada", "Mississippian"]),
        ({"labels": ["LONG"]}, ["Mississippian"]),
        ({"labels": []}, []),
        ({"labels": None}, ["Ada", "Mississippian"]),
        ({"min_score": 0.9}, ["Ada"]),
        ({"min_score": 1}, []),
        ({"min_score": 0.5, "labels": ["LONG"]}, []),
    ],
)
async def test_labels_and_min_score_choose_among_the_entities(
    client: AsyncClient, options: dict[str, Any], found: list[str]
) -> None:
    answer = await client.post("/v1/entities", json={"text": "Ada the Mississippian"} | options)
    assert [entity["text"] for entity in answer.json()["entities"]] == found


@pytest.mark.parametrize(("sentences", "n_windows"), [("lines", 3), ("document", 1), (None, 1)])
async def test_each_line_is_a_sentence_where_a_request_says_so(
    client: AsyncClient, predictor: FakePredictor, sentences: str | None, n_windows: int
) -> None:
    text, options = "Ada met\nGrace\nin Oslo", {"sentences": sentences}
    one = await client.post("/v1/entities", json={"text": text, **options})
    many = await client.post("/v1/entities/batch", json={"texts": [text], **options})
    query = "" if sentences is None else f"?sentences={sentences}"
    lines = await client.post(
        f"/v1/entities/stream{query}",
        content=json.dumps({"text": text}),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert [one.status_code, many.status_code, lines.status_code] == [200, 200, 200]
    assert [len(batch) for batch in predictor.batches[-3:]] == [n_windows] * 3
    assert one.json()["entities"] == many.json()["results"][0]["entities"]
    assert one.json()["entities"] == lines.json()["entities"]
    assert [entity["text"] for entity in one.json()["entities"]] == ["Ada", "Grace", "Oslo"]


@pytest.mark.parametrize("unit", ENCODINGS)
@with_client
@given(text=texts)
async def test_an_entity_is_the_slice_of_its_text_in_each_unit_whatever_the_text(
    client: AsyncClient, unit: str, text: str
) -> None:
    answer = await client.post(
        "/v1/entities", json={"text": text, "offset_unit": unit, "tokens": True}
    )
    assert answer.status_code == 200
    codec, width = ENCODINGS[unit]
    encoded = text.encode(codec)
    for entity in answer.json()["entities"]:
        assert (
            encoded[entity["start"] * width : entity["end"] * width].decode(codec) == entity["text"]
        )
    pieces = [
        encoded[token["start"] * width : token["end"] * width] for token in answer.json()["tokens"]
    ]
    assert [piece.decode(codec) for piece in pieces] == text.split()


@with_client
@given(
    labels=st.none() | st.lists(st.sampled_from(LABELS), unique=True),
    min_score=st.sampled_from([0.0, 0.4, 0.5, 0.9, 1.0]),
    tokens=st.booleans(),
    drawn=st.lists(
        texts | st.sampled_from(["so Ada met GRACE-HOPPER-OF-YALE", 'a "B" \\\\ C']), max_size=3
    ),
    unit=st.sampled_from(list(ENCODINGS)),
)
async def test_an_answer_is_what_the_schemas_make_of_the_predictors_own_words(
    client: AsyncClient,
    predictor: FakePredictor,
    labels: list[str] | None,
    min_score: float,
    tokens: bool,
    drawn: list[str],
    unit: Any,
) -> None:
    """The whole answer, against models of pydantic filled without the service's own code."""

    def counted(text: str, offset: int) -> int:
        encoding, width = ENCODINGS[unit]
        return len(text[:offset].encode(encoding)) // width

    def result(text: str) -> schemas.TextResult:
        document = predictor.prepare(text)
        tagged = predictor.assemble(
            document, [[*map(predictor.tag, w.words)] for w in document.windows]
        )
        places = {place: counted(text, place) for span in document.offsets for place in span}
        return schemas.TextResult(
            entities=[
                schemas.EntityOut(
                    start=places[each.start],
                    end=places[each.end],
                    label=each.label,
                    score=each.score,
                    text=each.text,
                )
                for each in tagged.entities
                if each.score >= min_score and (labels is None or each.label in labels)
            ],
            tokens=[
                schemas.TokenOut(
                    start=places[each.start], end=places[each.end], tag=each.tag, score=each.score
                )
                for each in tagged.tokens
            ]
            if tokens
            else None,
        )

    options = {"offset_unit": unit, "labels": labels, "min_score": min_score, "tokens": tokens}
    model = schemas.ModelReference(name="en", version=predictor.version)
    batch = await client.post("/v1/entities/batch", json={"texts": drawn, **options})
    wanted = schemas.BatchResponse(model=model, results=[*map(result, drawn)])
    assert batch.json() == wanted.model_dump(mode="json", exclude_none=True)
    for text in drawn:
        single = await client.post("/v1/entities", json={"text": text, **options})
        one = schemas.EntitiesResponse(model=model, **result(text).model_dump())
        assert single.json() == one.model_dump(mode="json", exclude_none=True)


@with_client
@given(batch=st.lists(texts, max_size=5))
async def test_a_batch_finds_what_its_texts_have_alone(
    client: AsyncClient, batch: list[str]
) -> None:
    together = (await client.post("/v1/entities/batch", json={"texts": batch})).json()["results"]
    alone = [
        (await client.post("/v1/entities", json={"text": text})).json()["entities"]
        for text in batch
    ]
    assert [result["entities"] for result in together] == alone


async def test_a_long_document_is_not_cut(client: AsyncClient) -> None:
    text = "word Ada " * 20_000
    answer = await client.post("/v1/entities", json={"text": text})
    assert [entity["start"] for entity in answer.json()["entities"]] == list(range(5, len(text), 9))


async def test_several_models_are_served_by_name_and_the_first_is_the_default(serving: Any) -> None:
    async with serving(models="zh=zh.teddy,mine=runs/mine.teddy") as client:
        listed = (await client.get("/v1/models")).json()["models"]
        assert [(model["name"], model["default"]) for model in listed] == [
            ("zh", True),
            ("mine", False),
        ]
        for asked, answers in (({}, "zh"), ({"model": "mine"}, "mine"), ({"model": None}, "zh")):
            answer = await client.post("/v1/entities", json={"text": "Ada"} | asked)
            assert answer.json()["model"]["name"] == answers


async def test_the_service_lives_before_it_is_ready(serving: Any, predictor: Any) -> None:
    def slow_load(_: object) -> Any:
        predictor.gate.wait(timeout=30)
        return predictor

    predictor.gate.clear()
    async with asyncio.timeout(30), serving(load=slow_load, wait=False) as client:
        assert (await client.get("/health/live")).json() == {"status": "live"}
        for refused in (
            await client.get("/health/ready"),
            await client.get("/v1/models"),
            await client.post("/v1/entities", json={"text": "Ada"}),
        ):
            assert refused.status_code == 503
            assert refused.headers["retry-after"] == "1"
            assert refused.json()["type"] == "urn:teddy:problem:not-ready"
        predictor.gate.set()
        while (await client.get("/health/ready")).status_code == 503:
            await asyncio.sleep(0.001)
        assert (await client.get("/health/ready")).json() == {"status": "ready"}


async def test_probes_and_metrics_are_answered_while_the_network_runs(
    client: AsyncClient, predictor: Any
) -> None:
    predictor.gate.clear()
    tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
    assert await asyncio.to_thread(predictor.entered.wait, 30)
    for path in ("/health/live", "/health/ready", "/metrics", "/v1/models"):
        assert (await client.get(path)).status_code == 200
    assert not tagging.done()
    predictor.gate.set()
    assert (await tagging).json()["entities"][0]["text"] == "Ada"


async def test_the_docs_page_loads_all_its_parts_from_this_server(client: AsyncClient) -> None:
    page = await client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    parts = re.findall(r"""(?:src|href)=["']([^"']+)""", page.text)
    assert parts
    for part in parts:
        assert (await client.get(part)).status_code == 200, part
