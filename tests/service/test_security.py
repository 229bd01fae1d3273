import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from teddy.service.errors import SettingsError
from teddy.service.http.openapi import add_docs_page
from teddy.service.http.security import (
    HEADERS,
    check_origins,
    page_policy,
    with_cors,
    with_security_headers,
)

ROOT = Path(__file__).parents[2]
ORIGIN = "https://app.example"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}

pytestmark = pytest.mark.anyio


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    headers = {"X-Request-ID": "1", "Retry-After": "2"}
    await PlainTextResponse("hello", headers=headers)(scope, receive, send)


def refused(_: Request, detail: str) -> Response:
    return PlainTextResponse(detail, 400)


async def ask(origins: tuple[str, ...], method: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(with_cors(answer, origins, refused))
    async with httpx.AsyncClient(transport=transport, base_url="http://teddy") as client:
        return await client.request(
            method, "/v1/entities", headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


def test_every_answer_gets_what_the_rest_cheat_sheet_asks_for() -> None:
    given = [(b"content-type", b"application/json")]
    assert dict(with_security_headers(given)) == {
        b"content-type": b"application/json",
        b"cache-control": b"no-store",
        b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
        b"cross-origin-resource-policy": b"same-origin",
        b"referrer-policy": b"no-referrer",
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
    }
    assert given == [(b"content-type", b"application/json")]


def test_an_answer_keeps_a_header_of_its_own_and_has_none_twice() -> None:
    own = (b"content-security-policy", b"default-src 'self'")
    names = [name for name, _ in with_security_headers([own])]
    assert own in with_security_headers([own])
    assert sorted(names) == sorted(name for name, _ in HEADERS)


def directives(policy: str) -> dict[str, set[str]]:
    return {words[0]: set(words[1:]) for words in map(str.split, policy.split(";"))}


@pytest.mark.parametrize("prefix", ["", "/behind/a/proxy"])
async def test_the_documentation_may_run_the_script_in_its_page_and_no_other(prefix: str) -> None:
    app = FastAPI(docs_url=None, redoc_url=None)
    add_docs_page(app)
    transport = httpx.ASGITransport(app, root_path=prefix)
    async with httpx.AsyncClient(transport=transport, base_url="http://teddy") as client:
        page = await client.get(f"{prefix}/docs")
    allowed = directives(page.headers["content-security-policy"])
    scripts = re.findall(
        r"<script(?P<attributes>[^>]*)>(?P<code>.*?)</script>", page.text, re.DOTALL
    )
    inline = {
        b64encode(sha256(code.encode()).digest()).decode()
        for attributes, code in scripts
        if not attributes
    }
    assert len(inline) == 1
    assert allowed["script-src"] == {"'self'", *(f"'sha256-{digest}'" for digest in inline)}
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert loaded
    assert all(place.startswith(f"{prefix}/docs/assets/") for place in loaded), (
        "'self' would not do"
    )


def test_the_documentation_loads_nothing_from_elsewhere_and_evaluates_nothing() -> None:
    allowed = directives(page_policy(b"<script>run()</script>"))
    assert allowed["default-src"] == allowed["frame-ancestors"] == {"'none'"}
    sources = set().union(*allowed.values())
    assert {source for source in sources if not source.startswith("'sha256-")} == {
        "'none'",
        "'self'",
        "data:",
    }


async def test_without_origins_no_page_of_another_site_is_let_in() -> None:
    assert with_cors(answer, (), refused) is answer
    answered = await ask((), "POST", Origin=ORIGIN)
    assert not [name for name in answered.headers if name.startswith("access-control")]


async def test_a_page_of_a_named_origin_may_call_and_read_what_it_needs() -> None:
    answered = await ask((ORIGIN,), "POST", Origin=ORIGIN)
    assert answered.headers["access-control-allow-origin"] == ORIGIN
    assert answered.headers["access-control-expose-headers"] == (
        "Retry-After, X-Request-ID, X-Teddy-Model, X-Teddy-Model-Version"
    )
    assert answered.headers["vary"] == "Origin"


@pytest.mark.parametrize(
    "header",
    [
        "authorization",
        "x-api-key",
        "content-type",
        "content-encoding",
        "x-request-id",
        "x-request-timeout",
        "traceparent",
    ],
)
async def test_a_browser_gets_leave_for_each_header_that_the_interface_takes(header: str) -> None:
    leave = await ask((ORIGIN,), "OPTIONS", **PREFLIGHT, Access_Control_Request_Headers=header)
    assert (leave.status_code, leave.headers["access-control-allow-origin"]) == (200, ORIGIN)


@pytest.mark.parametrize(
    "request_headers",
    [
        {**PREFLIGHT, "Origin": "https://evil.example"},
        {**PREFLIGHT, "Origin": "null"},
        {**PREFLIGHT, "Origin": "https://app.example.evil"},
        {**PREFLIGHT, "Access-Control-Request-Method": "DELETE"},
        {**PREFLIGHT, "Access-Control-Request-Headers": "cookie"},
    ],
)
async def test_a_browser_gets_no_leave_for_anything_else(request_headers: dict[str, str]) -> None:
    assert (await ask((ORIGIN,), "OPTIONS", **request_headers)).status_code == 400


@pytest.mark.parametrize("origins", [(ORIGIN,), ("*",)])
async def test_credentials_that_a_browser_keeps_are_never_invited(origins: tuple[str, ...]) -> None:
    for answered in (
        await ask(origins, "POST", Origin=ORIGIN),
        await ask(origins, "OPTIONS", **PREFLIGHT),
    ):
        assert "access-control-allow-credentials" not in answered.headers


@pytest.mark.parametrize(
    "origin",
    ["https://a.example/", "a.example", "https://a.example/path", "null", "https://", "**"],
)
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(SettingsError, match="TEDDY_CORS_ORIGINS: "):
        check_origins((ORIGIN, origin))


def test_origins_as_browsers_send_them_will_do() -> None:
    check_origins(("https://a.example", "http://localhost:3000", "https://[::1]:8443", "*"))


async def test_what_is_no_request_passes_through() -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["type"])

    async def nothing() -> Message:
        return {"type": "lifespan.startup"}

    async def drop(message: Message) -> None:
        pass

    await with_cors(app, (ORIGIN,), refused)({"type": "lifespan"}, nothing, drop)
    assert seen == ["lifespan"]


def test_the_threat_model_names_files_and_tests_that_there_are() -> None:
    page = (ROOT / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w./-]+/[\w.-]+|[\w-]+\.yml)`", page))
    files = {name for name in named if not name.startswith("/")}
    assert len(files) > 30
    assert sorted(name for name in files if not (ROOT / name).is_file()) == []


@pytest.mark.parametrize(
    "path", ["/health/live", "/metrics", "/docs", "/openapi.json", "/v1/models", "/nowhere"]
)
async def test_every_answer_of_the_service_has_the_headers_good_or_bad(
    serving: Any, path: str
) -> None:
    async with serving(api_keys=("k" * 16,)) as client:
        answered = (await client.get(path)).headers
    assert {name.decode() for name, _ in HEADERS} <= answered.keys()
    assert len(answered.get_list("content-security-policy")) == 1, "of two, browsers obey both"


async def test_who_shows_no_key_is_told_how_and_a_browser_may_ask_for_leave_without(
    serving: Any,
) -> None:
    async with serving(api_keys=("k" * 16,), cors_origins=(ORIGIN,)) as client:
        refused = await client.post(
            "/v1/entities", json={"text": "Ada"}, headers={"Origin": ORIGIN}
        )
        leave = await client.options("/v1/entities", headers=PREFLIGHT)
        tagged = await client.post(
            "/v1/entities", json={"text": "Ada"}, headers={"X-API-Key": "k" * 16}
        )
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.headers["access-control-allow-origin"] == ORIGIN, (
        "or the page could not read why"
    )
    assert "X-API-Key" in refused.json()["detail"]
    assert (leave.status_code, tagged.status_code) == (200, 200)


@pytest.mark.parametrize(
    "name", ["..%2F..%2Fetc%2Fpasswd", "%2e%2e", "%00", "en.teddy", "C:%5Cen", "%0d%0aX-A:%20b"]
)
async def test_a_models_name_is_never_taken_for_a_path(serving: Any, name: str) -> None:
    async with serving() as client:
        for method, path in (
            ("GET", "/v1/models/"),
            ("POST", "/v1/models/"),
            ("GET", "/docs/assets/"),
        ):
            answered = await client.request(method, path + name)
            assert answered.status_code in (404, 405), path
        assert (
            await client.post("/v1/entities", json={"text": "Ada", "model": unquote(name)})
        ).status_code == 404
