"""What browsers, monitors and proxies ask of a real server besides the interface itself."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from teddy.service.settings import Settings
from tests.service.live import listening
from tests.service.test_problems import check_problem
from tests.service.wire import Client

pytestmark = pytest.mark.anyio

KEY = "a-key-of-16-letters"
GETS = (
    "/",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/v1/models",
    "/v1/models/en",
    "/docs",
    "/docs/assets/swagger-ui.css",
    "/openapi.json",
)


@asynccontextmanager
async def asking(predictor: Any, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        listening(predictor, **settings) as live,
        httpx.AsyncClient(base_url=live.url) as client,
    ):
        yield client


async def test_head_is_answered_as_get_without_a_body_and_the_connection_goes_on(
    predictor: Any,
) -> None:
    async with listening(predictor) as live, httpx.AsyncClient(base_url=live.url) as http:
        client = Client(*await asyncio.open_connection("127.0.0.1", live.port))
        for path in GETS:
            got = await http.get(path)
            for _ in range(2):  # a body after the first head would be taken for the second
                client.send(f"HEAD {path} HTTP/1.1\r\nHost: t\r\n\r\n".encode())
                head = (await client.reader.readuntil(b"\r\n\r\n")).decode()
                assert head.startswith("HTTP/1.1 200 OK\r\n"), path
                assert f"\r\ncontent-type: {got.headers['content-type']}\r\n" in head
                if path != "/metrics":  # which count these requests
                    assert f"\r\ncontent-length: {len(got.content)}\r\n" in head
        live.app.state.drain.begin()
        client.send(b"HEAD /health/ready HTTP/1.1\r\nHost: t\r\n\r\n")
        assert (await client.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 503")
        await client.close()
        counted = (await http.get("/metrics")).text
    assert 'teddy_requests_total{method="HEAD",route="/health/live",status="200"} 2.0' in counted
    assert 'method="HEAD",route="/v1/models/{name}"' in counted


async def test_head_needs_a_key_where_get_does_and_is_not_in_the_documentation(
    predictor: Any,
) -> None:
    async with asking(predictor, api_keys=KEY) as client:
        assert (await client.head("/v1/models")).status_code == 401
        assert (await client.head("/health/live")).status_code == 200
        assert (await client.head("/v1/models", headers={"X-API-Key": KEY})).status_code == 200
        assert (await client.head("/v1/entities", headers={"X-API-Key": KEY})).status_code == 405
        document = (await client.get("/openapi.json")).json()
    assert not any("head" in operations for operations in document["paths"].values())


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        *((path, "GET, HEAD, OPTIONS") for path in GETS),
        ("/v1/entities", "OPTIONS, POST"),
        ("/v1/entities/batch", "OPTIONS, POST"),
        ("/v1/entities/stream", "OPTIONS, POST"),
        ("/v1/feedback", "OPTIONS, POST"),
        ("/v1/models/en/reload", "OPTIONS, POST"),
    ],
)
async def test_options_tells_the_methods_and_so_does_a_wrong_method(
    predictor: Any, path: str, methods: str
) -> None:
    async with asking(predictor) as client:
        told = await client.options(path)
        assert (told.status_code, told.headers["allow"], told.content) == (204, methods, b"")
        refused = await client.delete(path)
        content = check_problem(refused, 405, "method-not-allowed")
        assert refused.headers["allow"] == methods
        assert methods in content["detail"]
        check_problem(await client.options("/nowhere"), 404, "not-found")


async def test_the_check_that_haproxy_makes_by_default_sees_a_server(predictor: Any) -> None:
    async with listening(predictor, api_keys=KEY) as live:
        client = Client(*await asyncio.open_connection("127.0.0.1", live.port))
        client.send(b"OPTIONS / HTTP/1.0\r\n\r\n")
        assert (await client.reader.read()).startswith(b"HTTP/1.1 204 ")
        await client.close()


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nowhere", "here: /docs describes"),
        ("/nowhere/", "here: /docs describes"),
        ("/v1", "here: /docs describes"),
        ("/docs/assets/nothing.js", "here: /docs describes"),
        ("/v1/entities/", "leave out the slash"),
        ("/v1/entities//", "leave out the slash"),
        ("/v1/models/", "leave out the slash"),
        ("/v1/models/en/", "leave out the slash"),
        ("/health/live/", "leave out the slash"),
        ("/docs/", "leave out the slash"),
        ("/metrics/", "leave out the slash"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_path_that_does_not_exist_is_told_where_to_look(
    predictor: Any, path: str, said: str, method: str
) -> None:
    async with asking(predictor) as client:
        if (method, path) == ("POST", "/docs/assets/nothing.js"):
            return
        answer = await client.request(method, path)
        assert said in check_problem(answer, 404, "not-found")["detail"]


async def test_without_the_page_the_root_points_to_the_documentation_without_a_key(
    predictor: Any,
) -> None:
    async with asking(predictor, api_keys=KEY, page=False) as client:
        assert "/docs" in check_problem(await client.get("/"), 404, "not-found")["detail"]
        check_problem(await client.get("/nowhere"), 401, "unauthorized")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Access-Control-Request-Method": "DELETE"},
        {"Access-Control-Request-Headers": "cookie"},
    ],
)
async def test_a_preflight_request_that_gets_no_leave_is_a_problem(
    predictor: Any, headers: dict[str, str]
) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"} | headers
    async with asking(predictor, cors_origins="https://app.example", api_keys=KEY) as client:
        refused = await client.options("/v1/entities", headers=asked)
        content = check_problem(refused, 400, "preflight")
        assert "Disallowed CORS" in content["detail"]
        assert refused.headers["vary"] == "Origin"
        counted = (await client.get("/metrics")).text
    assert 'teddy_refused_total{reason="preflight"} 1.0' in counted


async def test_a_page_may_read_which_model_answers_a_stream(predictor: Any) -> None:
    async with asking(predictor, cors_origins="https://app.example") as client:
        answer = await client.post(
            "/v1/entities/stream",
            content=b'{"text": "Ada"}',
            headers={"Content-Type": "application/x-ndjson", "Origin": "https://app.example"},
        )
    exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
    named = {name for name in answer.headers if name.startswith("x-")}
    assert {"x-teddy-model", "x-teddy-model-version", "x-request-id"} <= named
    assert named - set(exposed) <= {"x-content-type-options", "x-frame-options"}


def links(page: str) -> list[str]:
    return [part.split('"')[0] for part in page.replace("'", '"').split('"/')[1:]]


@pytest.mark.parametrize("strips", [True, False])
async def test_behind_a_path_of_a_proxy_the_documentation_and_everything_else_work(
    predictor: Any, strips: bool
) -> None:
    before = "" if strips else "/behind/me"
    async with asking(predictor, root_path="/behind/me", api_keys=KEY) as client:
        page = await client.get(f"{before}/docs")
        assert page.status_code == 200
        assert {"behind/me/openapi.json", "behind/me/docs/assets/swagger-ui.css"} <= set(
            links(page.text)
        )
        document = await client.get(f"{before}/openapi.json")
        assert document.json()["servers"] == [{"url": "/behind/me"}]
        assert (await client.get(f"{before}/docs/assets/swagger-ui.css")).status_code == 200
        check_problem(await client.get(f"{before}/v1/models"), 401, "unauthorized")
        tagged = await client.post(
            f"{before}/v1/entities", json={"text": "Ada"}, headers={"X-API-Key": KEY}
        )
        assert tagged.status_code == 200
        nothing = check_problem(await client.get(f"{before}/docs/assets/x"), 404, "not-found")
        assert "/behind/me/docs" in nothing["detail"]
        counted = (await client.get(f"{before}/metrics")).text
    assert 'route="/v1/entities",status="200"' in counted


@pytest.mark.parametrize(
    ("said", "trusted", "prefix"),
    [
        ("/teddy", True, "/teddy"),
        ("/a/b/", True, "/a/b"),
        ("/teddy", False, ""),
        ("", True, ""),
        ("teddy", True, ""),
        ("//evil.example", True, ""),
        ("https://evil.example", True, ""),
        ("/a?b", True, ""),
        ('/"><script>alert(1)</script>', True, ""),
    ],
)
async def test_a_prefix_is_believed_of_trusted_proxies_alone_and_only_if_it_is_a_plain_path(
    predictor: Any, said: str, trusted: bool, prefix: str
) -> None:
    proxies = {"trusted_proxies": "127.0.0.1"} if trusted else {}
    headers = {"X-Forwarded-Prefix": said}
    async with asking(predictor, **proxies) as client:
        page = (await client.get("/docs", headers=headers)).text
        assert f"'{prefix}/openapi.json'" in page
        assert "evil" not in page
        assert "alert" not in page
        document = (await client.get("/openapi.json", headers=headers)).json()
        assert document.get("servers", []) == ([{"url": prefix}] if prefix else [])
        assert "servers" not in (await client.get("/openapi.json")).json(), "nothing is kept"
        tagged = await client.post("/v1/entities", json={"text": "Ada"}, headers=headers)
        assert tagged.status_code == 200


@pytest.mark.parametrize("path", ["teddy", "/teddy/", "/", "//a", "/a b", '/"', "/a?b"])
def test_a_root_path_that_is_none_is_refused_at_the_start(path: str) -> None:
    with pytest.raises(ValueError, match="root_path"):
        Settings(root_path=path)


def test_an_idle_connection_outlives_those_of_common_proxies() -> None:
    assert Settings().keep_alive_seconds > 60, "nginx: 60, Node: 5, HAProxy: what its file says"
