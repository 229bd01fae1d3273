"""What a body that is not plain UTF-8 JSON is told, and what else a request must not hide."""

import asyncio
import codecs
import json
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.service.api import reading
from tests.service.live import RawStream, listening
from tests.service.test_problems import check_problem

pytestmark = pytest.mark.anyio

BOM = codecs.BOM_UTF8
PATHS = {
    "/v1/entities": {"text": "é Ada"},
    "/v1/entities/batch": {"texts": ["é Ada"]},
    "/v1/feedback": {"text": "é Ada", "entities": []},
}


def encoded(body: object, encoding: str) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode(encoding)


@pytest.fixture
async def client(serving: Any, tmp_path: Any) -> Any:
    async with serving(feedback_dir=tmp_path) as client:
        yield client


@pytest.mark.parametrize(("path", "body"), PATHS.items())
async def test_a_body_in_latin_1_is_told_the_byte_and_where_it_stands(
    client: AsyncClient, path: str, body: object
) -> None:
    content = encoded(body, "latin-1")
    position = content.index(b"\xe9")
    detail = check_problem(await client.post(path, content=content), 422, "invalid-request")[
        "detail"
    ]
    assert detail == f"body: must be UTF-8: the byte 0xe9 at position {position} is not"


@pytest.mark.parametrize(
    ("encoding", "named"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16"),
        ("utf-16-be", "UTF-16"),
        ("utf-32", "UTF-32"),
        ("utf-32-be", "UTF-32"),
    ],
)
@pytest.mark.parametrize(("path", "body"), PATHS.items())
async def test_a_body_in_another_unicode_encoding_is_called_by_its_name(
    client: AsyncClient, path: str, body: object, encoding: str, named: str
) -> None:
    answer = await client.post(path, content=encoded(body, encoding))
    assert named in check_problem(answer, 422, "invalid-request")["detail"]


@pytest.mark.parametrize(("path", "body"), PATHS.items())
async def test_a_byte_order_mark_of_utf_8_is_passed_over(
    client: AsyncClient, path: str, body: object
) -> None:
    answer = await client.post(path, content=encoded(body, "utf-8-sig"))
    assert answer.is_success


async def test_a_mark_does_not_hide_other_faults_nor_does_it_count_for_the_position(
    client: AsyncClient,
) -> None:
    for content, said in (
        (BOM + b'{"text": 1}', "body.text"),
        (BOM, "EOF"),
        (BOM + BOM + b'{"text": ""}', "line 1 column 1"),
        (BOM * 5000 + b'{"text": ""}', "line 1 column 1"),
        (BOM + b'{"text": "\xff"}', "0xff at position 13"),
    ):
        answer = await client.post("/v1/entities", content=content)
        assert said in check_problem(answer, 422, "invalid-request")["detail"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40), st.integers(1, 9))
def test_the_first_wrong_byte_is_the_one_that_pythons_decoder_finds(
    data: bytes, piece_bytes: int
) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(reading, "PIECE_BYTES", piece_bytes + 3)
        found = reading.first_wrong_byte(data)
    assert found == start_of_fault(data)


def start_of_fault(data: bytes) -> int | None:
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


async def test_no_line_of_a_stream_is_lost_to_a_mark_and_others_are_told_what_they_are(
    predictor: Any,
) -> None:
    async with listening(predictor) as live:
        stream = await RawStream.open(live.port)
        lines = [
            BOM + b'{"text": "Ada", "id": 1}\n',
            b'{"text": "Ada", "id": 2}\n',
            BOM + b'{"text": "Ada", "id": 3}\n',
            '{"text": "é"}\n'.encode("latin-1"),
            b"\xff\xfe{\x00}\x00\n",
            b'{"text": "Ada", "id": 6}\n',
        ]
        for byte in b"".join(lines):  # the mark itself may come in pieces
            await stream.send(bytes((byte,)))
            await asyncio.sleep(0)
        await stream.finish()
        await stream.head()
        answers = [line async for line in stream.lines()]
        await stream.close()
    assert [answer.get("id") for answer in answers] == [1, 2, 3, None, None, 6]
    assert "0xe9 at position 10" in answers[3]["error"]["detail"]
    assert "UTF-16" in answers[4]["error"]["detail"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("offset_unit=utf16", ["offset_unit"]),
        ("offset_unit", ["offset_unit"]),
        ("labels=PER&labels=LOC&tokens=true", ["labels", "tokens"]),
        ("text=Zanzibar", ["text"]),
        ("%ff=1", ["\ufffd"]),
        ("x" * 100, ["x" * 64]),
    ],
)
async def test_options_in_the_query_are_refused_by_name_and_told_where_they_belong(
    client: AsyncClient, path: str, query: str, names: list[str]
) -> None:
    answer = await client.post(f"{path}?{query}", json=PATHS[path])
    content = check_problem(answer, 422, "invalid-request")
    assert [error["loc"] for error in content["errors"]] == [["query", name] for name in names]
    assert all("the body" in error["msg"] for error in content["errors"])


@pytest.mark.parametrize("query", ["?", "?&", "?&&"])
async def test_a_query_without_parameters_is_none(client: AsyncClient, query: str) -> None:
    assert (await client.post(f"/v1/entities{query}", json={"text": "Ada"})).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/entities", {"text": "\U0001f9f8 Ada"}),
        ("/v1/entities/batch", {"texts": ["\U0001f9f8 Ada", ""]}),
        (
            "/v1/feedback",
            {
                "text": "\U0001f9f8 Ada",
                "entities": [{"start": 2, "end": 5, "label": "UPPER", "text": None, "score": None}],
            },
        ),
    ],
)
async def test_null_means_that_an_option_is_not_set(
    client: AsyncClient, path: str, body: dict[str, Any]
) -> None:
    options = ["model", "offset_unit"]
    if path != "/v1/feedback":
        options += ["labels", "min_score", "tokens"]
    plain = await client.post(path, json=body)
    assert plain.is_success
    for option in options:
        assert (await client.post(path, json=body | {option: None})).content == plain.content
    assert (await client.post(path, json=body | dict.fromkeys(options))).content == plain.content
