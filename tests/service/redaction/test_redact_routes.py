"""Redaction over HTTP: what is answered, who may restore, and that no name or key gets out."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from pydantic import SecretStr

import teddy
from teddy.service.observability.log import configure_logs
from tests.service.conftest import Serving, StreamWriter
from tests.service.live import listening

pytestmark = pytest.mark.anyio
KEY = "s3cr3t-of-redaction-" * 2
ADMIN = {"Authorization": "Bearer boss-of-this-service"}
KEYS = (SecretStr("admin:boss-of-this-service"), SecretStr("worker-of-this-service"))
TEXT = "so \U0001f9f8 Ada met Incomprehensible Ada"


async def ask(client: AsyncClient, path: str = "/v1/redact", **fields: object) -> dict[str, Any]:
    answer = await client.post(path, json=fields, headers=ADMIN)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_a_text_is_redacted_with_the_places_of_what_was_there(client: AsyncClient) -> None:
    assert await ask(client, text="so Ada met Ada") == {
        "model": {"name": "en", "version": "0123456789ab"},
        "text": "so <UPPER_1> met <UPPER_1>",
        "items": [
            {
                "start": 3,
                "end": 6,
                "new_start": 3,
                "new_end": 12,
                "label": "UPPER",
                "operator": "replace",
                "score": 0.9,
            },
            {
                "start": 11,
                "end": 14,
                "new_start": 17,
                "new_end": 26,
                "label": "UPPER",
                "operator": "replace",
                "score": 0.9,
            },
        ],
    }


@pytest.mark.parametrize(("unit", "start"), [("character", 5), ("utf16", 6), ("byte", 8)])
async def test_items_count_in_the_unit_that_was_asked_for(
    client: AsyncClient, unit: str, start: int
) -> None:
    items = (await ask(client, text=TEXT, offset_unit=unit))["items"]
    assert (items[0]["start"], items[0]["new_start"]) == (start, start)
    assert items[2]["new_end"] - items[2]["new_start"] == len("<UPPER_1>")


async def test_operators_go_by_label_and_a_star_is_the_others(client: AsyncClient) -> None:
    operators = {"LONG": {"operator": "mask", "character": "X", "keep_last": 3}, "*": "keep"}
    done = await ask(client, text=TEXT, operators=operators)
    assert done["text"] == "so \U0001f9f8 Ada met XXXXXXXXXXXXXble Ada"
    assert [each["operator"] for each in done["items"]] == ["keep", "mask", "keep"]


async def test_a_batch_numbers_each_text_by_itself_and_reads_formats(client: AsyncClient) -> None:
    texts = ['{"a": "Ada Bob"}', '["x", "Bob"]']
    done = await ask(client, "/v1/redact/batch", texts=texts, format="json")
    assert [each["text"] for each in done["results"]] == [
        '{"a": "<UPPER_1> <UPPER_2>"}',
        '["x", "<UPPER_1>"]',
    ]


async def test_a_stream_answers_each_line_and_goes_on_after_a_wrong_one(
    client: AsyncClient,
) -> None:
    lines = [{"id": 1, "text": '["Ada"]'}, {"id": 2, "text": "Ada"}, {"text": '{"x": "Bob"}'}]
    answer = await client.post(
        "/v1/redact/stream",
        params={"format": "json", "operators": "UPPER:mask:X:1,*:keep", "threshold": 0.5},
        content="\n".join(map(json.dumps, lines)),
        headers={"Content-Type": "application/x-ndjson"},
    )
    assert answer.status_code == 200, answer.text
    first, second, third = map(json.loads, answer.text.splitlines())
    assert (first["id"], first["text"]) == (1, '["XXa"]')
    assert (second["id"], second["error"]["detail"]) == (2, "The text is not JSON.")
    assert third["text"] == '{"x": "XXb"}'


async def test_what_was_encrypted_comes_back_to_an_admin_alone(serving: Serving) -> None:
    async with serving(api_keys=KEYS, redact_key=SecretStr(KEY)) as client:
        done = await ask(client, text=TEXT, operators={"*": "encrypt"})
        assert "Ada" not in done["text"]
        back = await ask(client, "/v1/restore", text=done["text"])
        assert back == {"text": TEXT, "restored": 3, "unreadable": 0}
        refused = await client.post(
            "/v1/restore",
            json={"text": ""},
            headers={"Authorization": "Bearer worker-of-this-service"},
        )
        assert refused.status_code == 403


async def test_under_the_key_of_a_file_all_texts_are_consistent(
    serving: Serving, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text(KEY)
    async with serving(redact_key_file=tmp_path / "key") as client:
        texts = ["Ada met Bob", "Bob met Ada"]
        done = await ask(client, "/v1/redact/batch", texts=texts, scope="key")
        first, second = (each["text"].split(" met ") for each in done["results"])
        assert first == second[::-1]
        assert len({*first}) == 2


async def test_the_thresholds_of_the_service_hold_unless_a_request_has_its_own(
    serving: Serving, tmp_path: Path
) -> None:
    (tmp_path / "thresholds.json").write_text('{"LONG": 0.1, "OTHER": 0.5}')
    async with serving(redact_thresholds=tmp_path / "thresholds.json") as client:
        assert (await ask(client, text="so Ada"))["text"] == "<LONG_1> <UPPER_1>"
        assert (await ask(client, text="so Ada", threshold=0.5))["text"] == "so <UPPER_1>"


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "Ada", "operators": {"UPPER": "encrypt"}},
        {"text": "Ada", "operators": {"UPPER": "shred"}},
        {"text": "Ada", "operators": {"UPPER": {"operator": "mask", "character": "<"}}},
        {"text": "Ada", "scope": "key"},
        {"text": "Ada", "format": "json"},
        {"text": "Ada", "format": "csv", "fields": ["x"]},
        {"text": "Ada", "threshold": {"NONE": 0.5}},
        {"text": "Ada\ud800"},
    ],
)
async def test_what_cannot_be_done_is_refused_and_never_quoted(
    client: AsyncClient, fields: dict[str, object]
) -> None:
    answer = await client.post(
        "/v1/redact",
        content=json.dumps(fields),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert "Ada" not in answer.text


async def test_no_key_text_or_name_is_logged_counted_or_told(serving: Serving) -> None:
    lines = io.StringIO()
    configure_logs("debug", StreamWriter(lines))
    seen: list[str] = []
    async with serving(api_keys=KEYS, redact_key=SecretStr(KEY)) as client:
        for operator in ("replace", "mask", "hash", "pseudonym", "encrypt"):
            done = await ask(client, text="Xantippe met Kaputtnik", operators={"*": operator})
            seen.append(json.dumps(done))
        bad: tuple[dict[str, object], ...] = (
            {"text": "Xantippe", "format": "json"},
            {"text": "Xantippe Kaputt"},  # at which the network fails
            {"text": "Xantippe", "operators": {"Xantippe": "Xantippe"}},
        )
        for fields in bad:
            answer = await client.post("/v1/redact", json=fields, headers=ADMIN)
            assert answer.status_code in (422, 500)
            seen.append(answer.text.replace('"operators","Xantippe"', ""))
        seen.append((await client.get("/metrics", headers=ADMIN)).text)
        seen.append(
            (
                await client.post(
                    "/v1/restore", json={"text": "<PER:" + "a" * 64 + ">"}, headers=ADMIN
                )
            ).text
        )
    everything = "\n".join([lines.getvalue(), *seen])
    assert "request" in lines.getvalue()
    assert "s3cr3t" not in everything
    assert "Kaputtnik" not in everything
    assert "Xantippe" not in "\n".join([lines.getvalue(), *seen[:5], *seen[-2:]])


async def test_the_clients_redact_restore_and_ask_for_readings(predictor: Any) -> None:
    options = {"api_keys": KEYS, "redact_key": SecretStr(KEY)}
    key = "boss-of-this-service"
    async with listening(predictor, **options) as live:
        async with teddy.AsyncClient(live.url, api_key=key) as client:
            done = await client.redact(TEXT, operators={"*": "encrypt"})
            assert (await client.restore(done.text)).text == TEXT
            assert [each.label for each in done.items] == ["UPPER", "LONG", "UPPER"]
            texts = ["Ada", '["Bob"]']
            several = [each.text async for each in client.redact_batch(texts, scope="text")]
            assert several == ["<UPPER_1>", "<UPPER_1>"]

        def blocking() -> None:
            with teddy.Client(live.url, api_key=key) as client:
                assert client.restore(client.redact(TEXT).text).unreadable == 0
                (only,) = client.redact_batch(['{"x": "Ada"}'], format="json")
                assert only.text == '{"x": "<UPPER_1>"}'
                result = client.tag("so Ada", threshold={"LONG": 0.1}, n_best=2)
                assert [each.text for each in result.entities] == ["so", "Ada"]
                assert result.sentences
                assert [each.probability for each in result.sentences[0].readings] == [0.2, 0.9]
                (line,) = client.stream(["so Ada"], threshold={"LONG": 0.1})
                assert line.entities == result.entities  # type: ignore[union-attr]

        await asyncio.to_thread(blocking)
