import asyncio
import json
from typing import Any

import pytest
from httpx import AsyncClient, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.service.errors import InferenceError, QueueFullError
from teddy.service.http.problems import slug

pytestmark = pytest.mark.anyio

PRIVATE = "Zanzibar"


def check_problem(answer: Response, status: int, kind: str) -> dict[str, Any]:
    """Any answer that is not a success has this form; gives its content."""
    content: dict[str, Any] = answer.json()
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert content["type"] == f"urn:teddy:problem:{kind}"
    assert content["status"] == status
    assert content["request_id"] == answer.headers["x-request-id"]
    assert content["title"]
    assert content["detail"]
    assert PRIVATE not in answer.text
    return content


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"text": PRIVATE, "txet": PRIVATE}, ["body", "txet"]),
        ({}, ["body"]),
        ({"text": 7}, ["body", "text"]),
        ({"text": None}, ["body"]),
        ({"text": [PRIVATE]}, ["body", "text"]),
        ({"text": PRIVATE, "min_score": 2}, ["body", "min_score"]),
        ({"text": PRIVATE, "min_score": "0.5"}, ["body", "min_score"]),
        ({"text": PRIVATE, "offset_unit": "word"}, ["body", "offset_unit"]),
        ({"text": PRIVATE, "tokens": 1}, ["body", "tokens"]),
        ({"text": PRIVATE, "labels": [1]}, ["body", "labels", 0]),
        ({"text": PRIVATE, "model": "m" * 65}, ["body", "model"]),
        ([], ["body"]),
        (PRIVATE, ["body"]),
    ],
)
async def test_a_wrong_field_is_named_and_its_value_is_not_repeated(
    client: AsyncClient, body: object, place: list[object]
) -> None:
    content = check_problem(await client.post("/v1/entities", json=body), 422, "invalid-request")
    assert [error["loc"] for error in content["errors"]] == [place]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b'{"text": "\xff"}',
        rb'{"text": "\ud800"}',
        rb'{"\udfff": 1}',
        b"[" * 3_000,
        b'{"text":NaN}',
    ],
)
async def test_what_is_not_json_is_a_problem_that_can_itself_be_written(
    client: AsyncClient, body: bytes
) -> None:
    for path in ("/v1/entities", "/v1/entities/batch"):
        content = check_problem(await client.post(path, content=body), 422, "invalid-request")
        assert content["errors"][0]["loc"][0] == "body"


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
    deadline=None,
)
@given(
    body=st.recursive(
        st.none()
        | st.booleans()
        | st.floats()
        | st.text(alphabet=st.characters(categories=["L", "Cs"])),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["text", "labels"]) | st.text(), inner)
        ),
    )
)
async def test_any_json_whatever_is_answered_by_entities_or_by_a_problem(
    client: AsyncClient, body: object
) -> None:
    answer = await client.post("/v1/entities", content=json.dumps(body).encode())
    if answer.status_code != 200:
        check_problem(
            answer,
            answer.status_code,
            "unknown-label" if "label " in answer.text else "invalid-request",
        )


async def test_many_faults_are_answered_by_a_few_and_long_names_are_cut(
    client: AsyncClient,
) -> None:
    body = {"text": "a"} | {f"{i}" + "x" * 10_000: 1 for i in range(100)}
    content = check_problem(await client.post("/v1/entities", json=body), 422, "invalid-request")
    assert len(content["errors"]) == 16
    assert max(len(error["loc"][1]) for error in content["errors"]) == 64


async def test_a_body_must_call_itself_json(client: AsyncClient) -> None:
    body = b'{"text": "Ada"}'
    for accepted in ("application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"):
        answer = await client.post("/v1/entities", content=body, headers={"Content-Type": accepted})
        assert answer.status_code == 200
    for refused in ("text/plain", "application/x-www-form-urlencoded", "", "json"):
        answer = await client.post("/v1/entities", content=body, headers={"Content-Type": refused})
        check_problem(answer, 415, "media-type")


async def test_an_unknown_path_and_a_wrong_method_are_problems_too(client: AsyncClient) -> None:
    check_problem(await client.get("/nowhere"), 404, "not-found")
    answer = await client.get("/v1/entities")
    check_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "OPTIONS, POST"


async def test_an_unknown_model_or_label_is_told_which_there_are(client: AsyncClient) -> None:
    answer = await client.post("/v1/entities", json={"text": "Ada", "model": "xx"})
    assert "there are: en" in check_problem(answer, 404, "unknown-model")["detail"]
    assert (
        "there are: en"
        in check_problem(await client.get("/v1/models/xx"), 404, "unknown-model")["detail"]
    )
    answer = await client.post("/v1/entities", json={"text": "Ada", "labels": ["UPPER", "PERS"]})
    assert "it has UPPER, LONG" in check_problem(answer, 422, "unknown-label")["detail"]


async def test_a_body_over_the_limit_is_refused_announced_or_not(serving: Any) -> None:
    sent: list[int] = []

    async def endless() -> Any:
        while len(sent) < 1000:
            sent.append(1)
            yield b"x" * 100

    async with serving(max_body_bytes=1000) as client:
        check_problem(
            await client.post("/v1/entities", json={"text": "x" * 1000}), 413, "body-too-large"
        )
        check_problem(await client.post("/v1/entities", content=endless()), 413, "body-too-large")
        assert len(sent) == 11
        exact = json.dumps({"text": ""}).encode()
        body = exact[:-2] + b"x" * (1000 - len(exact)) + exact[-2:]
        assert (await client.post("/v1/entities", content=body)).status_code == 200


async def test_a_batch_of_too_many_texts_is_refused(serving: Any) -> None:
    async with serving(max_texts=2) as client:
        assert (
            await client.post("/v1/entities/batch", json={"texts": ["a", "b"]})
        ).status_code == 200
        answer = await client.post("/v1/entities/batch", json={"texts": ["a", "b", "c"]})
        assert "at most 2" in check_problem(answer, 413, "too-many-texts")["detail"]


async def test_a_failure_inside_is_answered_blandly_and_its_neighbours_are_tagged(
    client: AsyncClient,
) -> None:
    asked = [
        client.post("/v1/entities", json={"text": text})
        for text in ("Ada", f"Kaputt {PRIVATE}", "Grace")
    ]
    first, failed, last = await asyncio.gather(*asked)
    content = check_problem(failed, 500, "internal-error")
    assert "Kaputt" not in failed.text
    assert "request_id" in content["detail"]
    assert [answer.json()["entities"][0]["text"] for answer in (first, last)] == ["Ada", "Grace"]


async def test_a_bug_outside_the_network_is_answered_blandly_too(
    client: AsyncClient, predictor: Any
) -> None:
    def broken(text: str) -> None:
        raise KeyError(text)

    predictor.prepare = broken
    check_problem(await client.post("/v1/entities", json={"text": PRIVATE}), 500, "internal-error")


@pytest.mark.parametrize(
    ("share", "status", "kind"), [(1, 503, "queue-full"), (0.5, 429, "client-share")]
)
async def test_when_the_queue_is_full_requests_are_refused_with_a_time_to_come_back(
    serving: Any, predictor: Any, share: float, status: int, kind: str
) -> None:
    predictor.gate.clear()
    async with serving(queue_words=16, client_queue_share=share) as client:
        tagging = [
            asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
            for _ in range(40)
        ]
        answered, waiting = await asyncio.wait(tagging, return_when=asyncio.FIRST_COMPLETED)
        predictor.gate.set()
        answered |= (await asyncio.wait(waiting))[0]
    refused = [task.result() for task in answered if task.result().status_code != 200]
    assert 0 < len(refused) < 40
    for answer in refused:
        check_problem(answer, status, kind)
        assert int(answer.headers["retry-after"]) >= 1


async def test_an_answer_that_takes_too_long_is_given_up_and_its_place_is_freed(
    serving: Any, predictor: Any
) -> None:
    predictor.gate.clear()
    async with serving(request_timeout_seconds=0.01) as client:
        check_problem(await client.post("/v1/entities", json={"text": "Ada"}), 504, "deadline")
        check_problem(await client.post("/v1/entities", json={"text": "Grace"}), 504, "deadline")
        predictor.gate.set()
    assert len(predictor.batches) <= 1


async def test_a_kind_of_problem_is_its_error_in_kebab_case() -> None:
    assert (slug(QueueFullError), slug(InferenceError)) == ("queue-full", "inference")


@pytest.mark.parametrize("escape", [r"\ud800", r"\ud800x", r"\udc00", r"\ud800\u0041"])
async def test_a_lone_surrogate_is_refused_by_name(client: AsyncClient, escape: str) -> None:
    content = b'{"text": "' + escape.encode() + b'"}'
    answer = await client.post(
        "/v1/entities", content=content, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 422
    assert "a lone surrogate" in answer.json()["detail"]
