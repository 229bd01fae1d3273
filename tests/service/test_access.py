import asyncio
import io
import json
from threading import Event
from typing import Any

import pytest
from httpx import AsyncClient
from prometheus_client.parser import text_string_to_metric_families

from teddy.service.observability.log import configure_logs
from teddy.service.observability.metrics import Metrics
from tests.service.conftest import StreamWriter
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

PRIVATE = "Zanzibar"
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(client: AsyncClient) -> Samples:
    text = (await client.get("/metrics")).text
    families = text_string_to_metric_families(text)
    return {
        (each.name, frozenset(each.labels.items())): each.value
        for family in families
        for each in family.samples
    }


def value(samples: Samples, name: str, /, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0)


@pytest.mark.parametrize("given", ["a1b2", "3f0c-77:x/y=z@host~1", "x" * 128])
async def test_a_sane_request_id_is_kept(client: AsyncClient, given: str) -> None:
    for path in ("/health/live", "/nowhere"):
        answer = await client.get(path, headers={"X-Request-ID": given})
        assert answer.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", 'quote"', "\u00e9", "tab\there"])
async def test_any_other_request_id_is_replaced(client: AsyncClient, given: str) -> None:
    answers = [
        await client.get("/health/live", headers={b"X-Request-ID": given.encode()})
        for _ in range(2)
    ]
    ids = [answer.headers.get_list("x-request-id") for answer in answers]
    assert all(len(each) == 1 and len(each[0]) == 32 for each in ids)
    assert given not in ids[0]
    assert ids[0] != ids[1]


async def test_each_request_is_one_line_of_json_without_its_text(serving: Any) -> None:
    stream = io.StringIO()
    async with serving() as client:
        configure_logs("info", StreamWriter(stream))
        await client.post(
            "/v1/entities", json={"text": f"in {PRIVATE}"}, headers={"X-Request-ID": "first"}
        )
        await client.get("/v1/models/en", headers={"X-Request-ID": "second"})
        await client.get(f"/{PRIVATE}", headers={"X-Request-ID": "third"})
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    kept = ("method", "route", "status", "words", "request_id")
    assert [tuple(line[key] for key in kept) for line in lines if line["event"] == "request"] == [
        ("POST", "/v1/entities", 200, 2, "first"),
        ("GET", "/v1/models/{name}", 200, 0, "second"),
        ("GET", "unknown", 404, 0, "third"),
    ]
    assert all(line["seconds"] >= 0 for line in lines)
    assert PRIVATE not in stream.getvalue()


async def test_a_failure_is_logged_with_its_lines_of_code_and_request_id_but_without_the_text(
    serving: Any,
) -> None:
    stream = io.StringIO()
    async with serving() as client:
        configure_logs("info", StreamWriter(stream))
        body = {"text": f"Kaputt {PRIVATE}"}
        assert (
            await client.post("/v1/entities", json=body, headers={"X-Request-ID": "failed"})
        ).status_code == 500
    failure = next(
        json.loads(line) for line in stream.getvalue().splitlines() if "request failed" in line
    )
    assert failure["request_id"] == "failed"
    outer, cause = failure["exception"]
    assert (outer["class"], cause["class"]) == ("InferenceError", "ValueError")
    assert cause["frames"][-1].endswith("predict")
    assert PRIVATE not in stream.getvalue()
    assert "Kaputt" not in stream.getvalue()


async def test_requests_are_counted_by_template_method_and_status_and_nothing_that_a_client_invents(
    client: AsyncClient,
) -> None:
    await client.post("/v1/entities", json={"text": PRIVATE})
    await client.post("/v1/entities", json={})
    await client.get("/v1/models/en")
    await client.get(f"/v1/models/{PRIVATE}")
    for i in range(5):
        await client.get(f"/{PRIVATE}{i}")
        await client.request(f"METHOD{i}", "/v1/models")
    samples = await scrape(client)
    for method, route, status, n in (
        ("POST", "/v1/entities", "200", 1),
        ("POST", "/v1/entities", "422", 1),
        ("GET", "/v1/models/{name}", "200", 1),
        ("GET", "/v1/models/{name}", "404", 1),
        ("GET", "unknown", "404", 5),
        ("other", "/v1/models", "405", 5),
    ):
        assert (
            value(samples, "teddy_requests_total", method=method, route=route, status=status) == n
        )
    assert value(samples, "teddy_request_seconds_count", route="/v1/entities", status="200") == 1
    assert value(samples, "teddy_refused_total", reason="invalid-request") == 1
    assert value(samples, "teddy_refused_total", reason="unknown-model") == 1
    assert value(samples, "teddy_requests_in_flight") == 1  # the one that asks
    assert PRIVATE not in str(samples)


async def test_what_is_tagged_is_counted_by_model_and_label(client: AsyncClient) -> None:
    texts = {"texts": ["Ada met Grace", "Mississippians", ""], "labels": ["LONG"]}
    await client.post("/v1/entities/batch", json=texts)
    samples = await scrape(client)
    assert value(samples, "teddy_texts_total", model="en") == 3
    assert value(samples, "teddy_words_total", model="en") == 4
    assert value(samples, "teddy_entities_total", model="en", label="UPPER") == 2
    assert value(samples, "teddy_entities_total", model="en", label="LONG") == 1
    assert value(samples, "teddy_text_words_sum") == value(samples, "teddy_batch_words_sum") == 4
    assert value(samples, "teddy_entity_score_bucket", model="en", le="0.4") == 1  # of LONG
    assert value(samples, "teddy_entity_score_count", model="en") == 3
    assert value(samples, "teddy_truncated_words_total", model="en") == 0
    assert (
        value(samples, "teddy_model_info", name="en", version="0123456789ab", precision="fp32") == 1
    )
    assert value(samples, "teddy_worker_resident_bytes", worker="0") > 0


async def test_two_apps_do_not_share_their_metrics(serving: Any) -> None:
    async with serving() as one, serving() as other:
        await one.post("/v1/entities", json={"text": "Ada"})
        assert value(await scrape(other), "teddy_texts_total", model="en") == 0


async def test_requests_in_flight_are_counted_until_they_are_answered(
    client: AsyncClient, predictor: Any
) -> None:
    predictor.gate.clear()
    tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
    assert await asyncio.to_thread(predictor.entered.wait, 30)
    assert value(await scrape(client), "teddy_requests_in_flight") == 2
    predictor.gate.set()
    await tagging
    assert value(await scrape(client), "teddy_requests_in_flight") == 1


async def test_a_request_whose_work_is_cancelled_is_counted_as_one_whose_client_left(
    client: AsyncClient, predictor: Any
) -> None:
    predictor.gate.clear()
    tagging = asyncio.create_task(client.post("/v1/entities", json={"text": "Ada"}))
    assert await asyncio.to_thread(predictor.entered.wait, 30)
    tagging.cancel()
    await asyncio.gather(tagging, return_exceptions=True)
    predictor.gate.set()
    samples = await scrape(client)
    assert (
        value(samples, "teddy_requests_total", method="POST", route="/v1/entities", status="499")
        == 1
    )
    assert value(samples, "teddy_queue_words") == 0


@pytest.mark.parametrize("seconds", ["1e-9", "0.0001", "0.099"])
async def test_a_client_that_gives_too_little_time_gets_its_deadline_and_is_no_failure(
    client: AsyncClient, predictor: Any, seconds: str
) -> None:
    """Neither refused for a queue that others fill, nor counted where the objective looks."""
    headers = {"X-Request-Timeout": seconds}
    assert (await client.post("/v1/entities", json={"text": "Ada " * 100})).status_code == 200
    predictor.gate.clear()
    others = [
        asyncio.create_task(client.post("/v1/entities", json={"text": "Ada " * 1000}))
        for _ in range(8)
    ]
    assert await asyncio.to_thread(predictor.entered.wait, 30)
    answer = await client.post("/v1/entities", json={"text": "Ada"}, headers=headers)
    check_problem(answer, 504, "deadline")
    predictor.gate.set()
    assert [each.status_code for each in await asyncio.gather(*others)] == [200] * 8
    samples = await scrape(client)
    statuses = {
        dict(labels)["status"]: n
        for (name, labels), n in samples.items()
        if name == "teddy_requests_total" and ("route", "/v1/entities") in labels and n
    }
    assert statuses == {"200": 9, "499": 1}
    assert value(samples, "teddy_refused_total", reason="deadline") == 1


async def test_scrapes_that_come_while_one_is_made_share_the_next_one(
    client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, calls = Event(), []

    def expose(metrics: Metrics) -> bytes:
        calls.append(metrics)
        assert gate.wait(30)
        return b"%d" % len(calls)

    monkeypatch.setattr(Metrics, "exposition", expose)
    asking = [asyncio.create_task(client.get("/metrics")) for _ in range(5)]
    while not calls or calls[0].in_flight < 5:
        await asyncio.sleep(0)
    gate.set()
    assert [answer.text for answer in await asyncio.gather(*asking)] == ["1", "2", "2", "2", "2"]
    assert (await client.get("/metrics")).text == "3"
