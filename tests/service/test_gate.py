import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient

from teddy.service.app import App, create_app
from teddy.service.settings import Settings
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

KEY, ADMIN_KEY = "a-key-of-16-letters", "another-key-for-admins"
GUARDED = (
    "/v1/models",
    "/v1/models/en",
    "/v1/nothing",
    "/nothing",
    "/docs/../v1/models",
    "/health/live/",
)
OPEN = (
    "/health/live",
    "/health/ready",
    "/metrics",
    "/docs",
    "/openapi.json",
    "/docs/assets/swagger-ui.css",
)


@asynccontextmanager
async def serving_at(root_path: str, predictor: Any, **settings: Any) -> AsyncIterator[AsyncClient]:
    app = create_app(Settings(**settings), lambda *_: predictor)
    async with app.router.lifespan_context(app):
        await app.state.loading
        transport = ASGITransport(app, root_path=root_path)
        headers = {"Content-Type": "application/json"}
        async with AsyncClient(
            transport=transport, base_url=f"http://teddy{root_path}", headers=headers
        ) as client:
            yield client


@pytest.mark.parametrize("root_path", ["", "/behind/a/proxy"])
async def test_with_keys_everything_but_probes_metrics_and_documentation_needs_one(
    predictor: Any, root_path: str
) -> None:
    async with serving_at(root_path, predictor, api_keys=KEY) as client:
        for path in GUARDED:
            answer = await client.get(path)
            check_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        for path in (
            "/v1/entities",
            "/v1/entities/batch",
            "/v1/entities/stream",
            "/v1/models/en/reload",
        ):
            check_problem(await client.post(path, json={"text": "Ada"}), 401, "unauthorized")
        for path in OPEN:
            assert (await client.get(path)).status_code == 200
        with_key = {"Authorization": f"Bearer {KEY}"}
        assert (await client.get("/v1/models", headers=with_key)).status_code == 200
        answer = await client.post("/v1/entities", json={"text": "Ada"}, headers={"X-API-Key": KEY})
        assert answer.json()["entities"][0]["text"] == "Ada"
        check_problem(await client.get("/nothing", headers=with_key), 404, "not-found")
        wrong = {"Authorization": "Bearer some-other-key-0000"}
        check_problem(
            await client.post("/v1/entities", json={"text": "Ada"}, headers=wrong),
            401,
            "unauthorized",
        )


async def test_only_an_admin_reloads_and_without_keys_nobody_does(serving: Any) -> None:
    async with serving(api_keys=f"{KEY},admin:{ADMIN_KEY}") as client:
        check_problem(
            await client.post("/v1/models/en/reload", headers={"X-API-Key": KEY}), 403, "forbidden"
        )
        assert (
            await client.post("/v1/models/en/reload", headers={"X-API-Key": ADMIN_KEY})
        ).status_code == 200
        assert (
            await client.post("/v1/entities", json={"text": "a"}, headers={"X-API-Key": ADMIN_KEY})
        ).is_success
    async with serving() as client:
        check_problem(await client.post("/v1/models/en/reload"), 403, "forbidden")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/entities", {"text": "When Ada met Grace", "tokens": True, "offset_unit": "byte"}),
        ("/v1/entities", {"text": "Ada", "labels": ["NONE"]}),
        ("/v1/entities", {"text": 1}),
        ("/v1/entities", {"text": "Ada", "model": "other"}),
        ("/v1/entities", {"text": "Kaputt"}),
        ("/v1/entities/batch", {"texts": ["Ada", "", "Grace Hopper"], "min_score": 0.5}),
        ("/v1/entities/batch", {"texts": ["a"] * 2000}),
    ],
)
async def test_one_road_leads_to_the_endpoints_for_entities_and_it_does_not_pass_fastapi(
    serving: Any, monkeypatch: pytest.MonkeyPatch, path: str, body: object
) -> None:
    async with serving() as client:
        with monkeypatch.context() as patched:
            patched.setattr(App, "answer", None)
            answer = await client.post(path, json=body, headers={"X-Request-ID": "one"})
        assert answer.headers["x-request-id"] == "one"
        metrics = (await client.get("/metrics")).text
        assert f'route="{path}",status="{answer.status_code}"}} 1.0' in metrics
        if answer.is_success:
            assert answer.json()["model"]["name"] == "en"
        else:
            assert answer.json()["status"] == answer.status_code
        other = await client.get(path)
        check_problem(other, 405, "method-not-allowed")
        assert other.headers["allow"] == "OPTIONS, POST"


async def test_after_the_door_is_closed_requests_are_refused_and_connections_end(
    predictor: Any,
) -> None:
    app = create_app(Settings(), lambda *_: predictor)
    async with app.router.lifespan_context(app):
        await app.state.loading
        async with AsyncClient(transport=ASGITransport(app), base_url="http://teddy") as client:
            app.state.drain.begin()
            check_problem(await client.get("/health/ready"), 503, "shutting-down")
            assert (await client.post("/v1/entities", json={"text": "Ada"})).status_code == 200
            app.state.drain.close()
            answer = await client.post("/v1/entities", json={"text": "Ada"})
            check_problem(answer, 503, "shutting-down")
            assert (answer.headers["connection"], answer.headers["retry-after"]) == ("close", "1")
            assert (await client.get("/health/live")).status_code == 200


@pytest.mark.parametrize("seconds", ["0.01", "1e-3"])
async def test_a_client_may_ask_for_less_time(serving: Any, predictor: Any, seconds: str) -> None:
    predictor.gate.clear()
    async with serving() as client:
        answer = await client.post(
            "/v1/entities", json={"text": "Ada"}, headers={"X-Request-Timeout": seconds}
        )
        check_problem(answer, 504, "deadline")
        predictor.gate.set()


@pytest.mark.parametrize("seconds", ["", "0", "-1", "nan", "inf", "soon", "1 s"])
async def test_a_time_that_is_none_is_refused(client: AsyncClient, seconds: str) -> None:
    answer = await client.post(
        "/v1/entities", json={"text": "Ada"}, headers={"X-Request-Timeout": seconds}
    )
    check_problem(answer, 400, "timeout-header")


async def test_an_answer_is_what_its_schema_says_for_any_text(client: AsyncClient) -> None:
    from teddy.service.schemas import BatchResponse, EntitiesResponse

    texts = ['Ada "quoted" \\ back\n', "\x00\x1f\x7f Ä\u2028 \U0001f9f8", "Ada" * 5]
    for text in texts:
        answer = await client.post("/v1/entities", json={"text": text, "tokens": True})
        assert EntitiesResponse.model_validate(answer.json(), strict=True).model_dump(
            exclude_none=True
        ) == json.loads(answer.content)
    answer = await client.post("/v1/entities/batch", json={"texts": texts, "tokens": True})
    assert len(BatchResponse.model_validate(answer.json(), strict=True).results) == len(texts)
