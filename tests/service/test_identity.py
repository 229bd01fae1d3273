"""Who a log line says has called: by real connections to a real server."""

import io
import json
from typing import Any

import httpx
import pytest

from teddy.service.observability.log import configure_logs
from tests.service.conftest import StreamWriter
from tests.service.live import listening

pytestmark = pytest.mark.anyio

KEY, NAMELESS, ADMIN = "a-key-of-16-letters", "one-without-a-name", "another-key-for-admins"
TEXT = {"text": "in Zanzibar"}


async def logged(predictor: Any, *requests: dict[str, Any], **settings: Any) -> tuple[Any, str]:
    """The access lines of requests, in order, and all that was logged."""
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    async with (
        listening(predictor, **settings) as live,
        httpx.AsyncClient(base_url=live.url) as client,
    ):
        for request in requests:
            await client.request(
                **{"method": "POST", "url": "/v1/entities", "json": TEXT} | request
            )
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    return [line for line in lines if line["event"] == "request"], stream.getvalue()


async def test_a_line_names_the_key_by_its_name_or_place_and_never_shows_it(
    predictor: Any, tmp_path: Any
) -> None:
    from hashlib import sha256

    file = tmp_path / "keys"
    digests = [sha256(key.encode()).hexdigest() for key in (KEY, NAMELESS, ADMIN)]
    file.write_text(f"# ours\ntag {digests[0]} shop\ntag {digests[1]}\n")
    shown = (KEY, NAMELESS, ADMIN)
    lines, everything = await logged(
        predictor,
        *({"headers": {"X-API-Key": key}} for key in shown),
        {"url": "/health/live", "method": "GET"},
        api_keys=f"admin:{ADMIN}",
        api_keys_file=file,
    )
    assert [line["caller"] for line in lines] == ["shop", "line:3", "key:1", None]
    assert {(line["address"], line["reason"]) for line in lines} == {("127.0.0.1", None)}
    for secret in (*shown, *(digest[:8] for digest in digests), TEXT["text"]):
        assert secret not in everything


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ({}, "no-key"),
        ({"Authorization": "Basic dTpw"}, "no-key"),
        ({"X-API-Key": "no-key-of-anybody"}, "unknown-key"),
        ({"Authorization": "Bearer x"}, "unknown-key"),
        ({"X-API-Key": KEY, "Authorization": f"Bearer {KEY}"}, "several-keys"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/entities", "/v1/feedback", "/nowhere"])
async def test_a_401_has_its_reason_and_its_address_and_no_caller(
    predictor: Any, headers: dict[str, str], reason: str, path: str
) -> None:
    (line,), everything = await logged(predictor, {"url": path, "headers": headers}, api_keys=KEY)
    assert (line["status"], line["caller"]) == (401, None)
    assert (line["reason"], line["address"]) == (reason, "127.0.0.1")
    assert KEY not in everything
    assert "no-key-of-anybody" not in everything


async def test_without_keys_a_line_has_the_address_that_a_trusted_proxy_tells(
    predictor: Any,
) -> None:
    forwarded = {"headers": {"X-Forwarded-For": "203.0.113.9"}}
    (plain, lied), _ = await logged(predictor, {}, forwarded)
    assert plain["caller"] == "anonymous"
    assert plain["address"] == lied["address"] == "127.0.0.1"
    (told,), _ = await logged(predictor, forwarded, trusted_proxies="127.0.0.1")
    assert (told["caller"], told["address"]) == ("anonymous", "203.0.113.9")


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"json": {}}, "invalid-request"),
        ({"json": {"text": "a", "model": "xx"}}, "unknown-model"),
        ({"url": "/v1/models/en/reload"}, "forbidden"),
        ({"url": "/nowhere"}, "not-found"),
    ],
)
async def test_what_is_refused_has_its_kind_as_its_reason(
    predictor: Any, request_: dict[str, Any], reason: str
) -> None:
    (line,), _ = await logged(predictor, request_)
    assert line["reason"] == reason
