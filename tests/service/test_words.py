"""Texts that are given as words, in every endpoint: answered as texts are, with offsets in words,
or refused with one fault."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.client import AsyncClient as AsyncTeddy
from teddy.service.client import Client, Entity, Refusal, Result
from tests.service.conftest import LABELS
from tests.service.live import listening
from tests.service.test_feedback import rows
from tests.service.test_problems import check_problem
from tests.service.test_routes import with_client
from tests.service.test_stream import MEDIA_TYPE

pytestmark = pytest.mark.anyio

WORDS = ["so", "Ada", "met", "New York", "don't", "Mississippian"]
COUNTED = "'offset_unit' must be left out: with 'words', 'start' and 'end' count words"
INVALID = "invalid-request"
words_of_any_kind = st.lists(
    st.text(min_size=1) | st.sampled_from([*WORDS, " ", "\U0001f9f8 É", "New-York", "x" * 300])
)
given_texts = st.text() | words_of_any_kind


def fields(text: str | list[str]) -> dict[str, Any]:
    return {"text": text} if isinstance(text, str) else {"words": text}


def item(text: str | list[str]) -> Any:
    return text if isinstance(text, str) else {"words": text}


async def stream(client: AsyncClient, *lines: Any, query: str = "") -> list[dict[str, Any]]:
    content = b"".join(json.dumps(each).encode() + b"\n" for each in lines)
    answer = await client.post(f"/v1/entities/stream{query}", content=content, headers=MEDIA_TYPE)
    return [json.loads(each) for each in answer.content.split(b"\n")[:-1]]


async def test_words_are_tagged_one_by_one_with_offsets_in_words(client: AsyncClient) -> None:
    answer = await client.post("/v1/entities", json={"words": WORDS, "tokens": True})
    assert answer.json() == {
        "model": {"name": "en", "version": "0123456789ab"},
        "entities": [
            {"start": 1, "end": 2, "label": "UPPER", "score": 0.9, "text": "Ada"},
            {"start": 3, "end": 4, "label": "UPPER", "score": 0.9, "text": "New York"},
            {"start": 5, "end": 6, "label": "LONG", "score": 0.4, "text": "Mississippian"},
        ],
        "tokens": [
            {"start": i, "end": i + 1, "tag": tag, "score": 1.0}
            for i, tag in enumerate(["O", "S-UPPER", "O", "S-UPPER", "O", "S-LONG"])
        ],
    }


@with_client
@given(
    text=st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join),
    labels=st.none() | st.lists(st.sampled_from(LABELS)),
    min_score=st.sampled_from([None, 0.0, 0.5, 1.0]),
    tokens=st.booleans(),
)
async def test_the_words_of_a_text_have_its_answer_counted_in_words(
    client: AsyncClient, text: str, labels: list[str] | None, min_score: float | None, tokens: bool
) -> None:
    """The model here cuts at white space."""
    words = text.split()
    options = {"labels": labels, "min_score": min_score, "tokens": tokens}
    asked = [{"text": text, **options}, {"words": words, **options}]
    of_text, of_words = [(await client.post("/v1/entities", json=one)).json() for one in asked]
    places, end = [], 0
    for word in words:
        places.append(text.index(word, end))
        end = places[-1] + len(word)
    for kind in ("entities", "tokens"):
        for each in of_words.get(kind, ()):
            assert each["end"] == each["start"] + 1
            if kind == "entities":
                assert each["text"] == words[each["start"]]
            each["end"] = places[each["start"]] + len(words[each["start"]])
            each["start"] = places[each["start"]]
    assert of_words == of_text


@with_client
@given(texts=st.lists(given_texts, max_size=5), tokens=st.booleans())
async def test_a_batch_and_a_stream_find_what_single_requests_do(
    client: AsyncClient, texts: list[Any], tokens: bool
) -> None:
    alone = []
    for text in texts:
        answer = await client.post("/v1/entities", json={**fields(text), "tokens": tokens})
        alone.append({name: value for name, value in answer.json().items() if name != "model"})
    batch = {"texts": [*map(item, texts)], "tokens": tokens}
    assert (await client.post("/v1/entities/batch", json=batch)).json()["results"] == alone
    lines = [{**fields(text), "id": number} for number, text in enumerate(texts)]
    streamed = await stream(client, *lines, query=f"?tokens={str(tokens).lower()}")
    assert streamed == [{"id": number, **each} for number, each in enumerate(alone)]


@pytest.mark.parametrize("words", [[], ["Ada"], ["ada"], [" "], ["A"] * 5000, ["Ada" * 5000]])
async def test_few_and_many_words_are_answered(client: AsyncClient, words: list[str]) -> None:
    answer = await client.post("/v1/entities", json={"words": words})
    found = [(each["start"], each["text"]) for each in answer.json()["entities"]]
    assert found == [(i, word) for i, word in enumerate(words) if word != word.lower()]


WRONG: list[tuple[dict[str, Any], list[Any], str]] = [
    ({"words": "Ada"}, ["body", "words"], "Input should be a valid array"),
    ({"words": {"0": "Ada"}}, ["body", "words"], "Input should be a valid array"),
    ({"words": ["Ada", 7]}, ["body", "words", 1], "Input should be a valid string"),
    ({"words": ["Ada", None, 7]}, ["body", "words", 1], "Input should be a valid string"),
    ({"words": [["Ada"], ["met"]]}, ["body", "words", 0], "Input should be a valid string"),
    ({"words": ["Ada", ""]}, ["body", "words", 1], "String should have at least 1 character"),
    ({"words": ["A"], "word": ["A"]}, ["body", "word"], "Extra inputs are not permitted"),
    ({"words": ["A"], "text": "A"}, ["body"], "must have only one of 'text' and 'words'"),
    ({"words": [], "text": ""}, ["body"], "must have only one of 'text' and 'words'"),
    ({}, ["body"], "must have 'text' or 'words'"),
    ({"words": None, "text": None}, ["body"], "must have 'text' or 'words'"),
]


@pytest.mark.parametrize(("body", "place", "said"), WRONG)
async def test_what_is_wrong_is_one_fault(
    client: AsyncClient, body: dict[str, Any], place: list[Any], said: str
) -> None:
    content = check_problem(await client.post("/v1/entities", json=body), 422, INVALID)
    assert content["errors"] == [{"loc": place, "msg": said}]
    bad, good = await stream(client, {"id": "k", **body}, {"words": ["Ada"]})
    assert bad["id"] == "k"
    where = ".".join(map(str, place[1:]))
    assert bad["error"]["detail"] == (f"{where}: {said}" if where else said)
    assert good["entities"][0]["end"] == 1


@pytest.mark.parametrize(
    ("texts", "place", "said"),
    [
        (["a", 7], [1], "must be a string, or an object with 'words'"),
        (["a", None, 7], [1], "must be a string, or an object with 'words'"),
        ([["Ada"]], [0], "must be a string, or an object with 'words'"),
        ([{"words": ["Ada", ""]}], [0, "words", 1], "String should have at least 1 character"),
        ([{"words": "Ada"}], [0, "words"], "Input should be a valid array"),
        (["a", {}], [1, "words"], "Field required"),
        ([{"words": None}], [0, "words"], "Input should be a valid array"),
        ([{"words": ["A"], "text": "A"}], [0, "text"], "Extra inputs are not permitted"),
    ],
)
async def test_what_is_wrong_in_a_batch_is_one_fault(
    client: AsyncClient, texts: Any, place: list[Any], said: str
) -> None:
    answer = await client.post("/v1/entities/batch", json={"texts": texts})
    (error,) = check_problem(answer, 422, INVALID)["errors"]
    assert error == {"loc": ["body", "texts", *place], "msg": said}


@pytest.mark.parametrize("unit", ["character", "utf16", "byte"])
async def test_a_unit_of_offsets_does_not_go_with_words(client: AsyncClient, unit: str) -> None:
    for path, body in (
        ("/v1/entities", {"words": ["Ada"]}),
        ("/v1/entities/batch", {"texts": ["a", {"words": []}]}),
    ):
        assert (await client.post(path, json={**body, "offset_unit": None})).is_success
        answer = await client.post(path, json={**body, "offset_unit": unit})
        content = check_problem(answer, 422, INVALID)
        assert content["errors"] == [{"loc": ["body"], "msg": COUNTED}]
    lines = [{"words": ["Ada"], "id": 1}, {"text": "\U0001f9f8 Ada"}, {"words": []}]
    refused, tagged, empty = await stream(client, *lines, query=f"?offset_unit={unit}")
    assert refused["id"] == 1
    assert refused["error"]["detail"] == empty["error"]["detail"] == COUNTED
    assert tagged["entities"][0]["start"] == {"character": 2, "utf16": 3, "byte": 5}[unit]


async def test_a_lone_surrogate_is_refused_as_it_is_in_a_text(client: AsyncClient) -> None:
    for body in (rb'{"words":["\ud800"]}', rb'{"text":"\ud800"}'):
        content = check_problem(await client.post("/v1/entities", content=body), 422, INVALID)
        assert "surrogate" in content["detail"]


@pytest.mark.parametrize("n_words", [11, 40, 3000])
async def test_words_count_against_the_limit_of_characters_as_the_text_that_they_make(
    serving: Any, n_words: int
) -> None:
    words = ["Ada", "\U0001f9f8", "met"] * n_words
    joined = " ".join(words)
    for spare, status in ((0, 200), (-1, 413)):
        async with serving(max_text_characters=len(joined) + spare) as client:
            for text in (joined, words):
                answers = [
                    await client.post("/v1/entities", json=fields(text)),
                    await client.post("/v1/entities/batch", json={"texts": [item(text)]}),
                ]
                assert [each.status_code for each in answers] == [status, status]
                (line,) = await stream(client, fields(text))
                assert ("error" in line) == (status == 413)
                if status == 413:
                    assert line["error"]["type"] == "urn:teddy:problem:text-too-long"
                    check_problem(answers[0], 413, "text-too-long")


@pytest.mark.parametrize(
    ("unit", "kind"),
    [('"a",', "body-too-large"), ("[],", "body-too-large"), (f'"{"a" * 99}",', "text-too-long")],
)
async def test_far_too_many_words_are_refused_before_they_are_built(
    serving: Any, unit: str, kind: str
) -> None:
    content = f'{{"words":[{unit * 20_000}"a"]}}'.encode()
    async with serving(max_text_characters=10_000) as client:
        answer = await client.post("/v1/entities", content=content)
        assert check_problem(answer, 413, kind)["detail"].startswith("The JSON has more than")


async def test_an_answer_to_words_is_corrected_in_words_and_stored_as_a_text(
    serving: Any, tmp_path: Path
) -> None:
    words = ["\U0001f9f8 so", "Ada", "of", "New York"]
    wanted = [{"start": 1, "end": 4, "label": "UPPER", "text": "Ada of New York"}]
    async with serving(feedback_dir=tmp_path) as client:
        single = await client.post("/v1/entities", json={"words": words})
        batch = await client.post("/v1/entities/batch", json={"texts": ["", {"words": words}]})
        named = [
            {"request_id": single.headers["x-request-id"]},
            {"request_id": batch.headers["x-request-id"], "index": 1},
        ]
        for each in named:
            answer = await client.post("/v1/feedback", json={**each, "entities": wanted})
            assert answer.status_code == 201
            assert (answer.json()["spurious"], answer.json()["missed"]) == (2, 1)
        for other in (
            {"entities": wanted, "offset_unit": "character"},
            {"entities": [{"start": 1, "end": 5, "label": "UPPER"}]},
            {"entities": [{"start": 1, "end": 2, "label": "UPPER", "text": "Ida"}]},
        ):
            answer = await client.post("/v1/feedback", json={**named[0], **other})
            check_problem(answer, 404, "unknown-answer")
    for row in rows(tmp_path):
        assert row["text"] == " ".join(words)
        names = [
            [row["text"][each["start"] : each["end"]] for each in row[kind]]
            for kind in ("entities", "predicted")
        ]
        assert names == [["Ada of New York"], ["Ada", "New York"]]
    assert len(rows(tmp_path)) == 2


async def test_both_clients_take_words_wherever_they_take_a_text(
    predictor: Any, tmp_path: Path
) -> None:
    texts: list[Any] = [WORDS, "so Ada", tuple(WORDS), [], ["Ada"] * 300]

    def use(url: str) -> list[Any]:
        with Client(url) as client:
            single = [client.tag(text) for text in texts]
            assert single[0].answer is not None
            corrected = client.correct(single[0].answer, single[0].entities)
            assert (corrected.correct, corrected.missed) == (3, 0)
            batch = client.tag_batch(texts, together=2)
            return [*single, *batch, *client.stream(iter(texts), tokens=False, together=3)]

    async def use_async(url: str) -> list[Any]:
        async with AsyncTeddy(url) as client:
            single = [await client.tag(text) for text in texts]
            batch = [result async for result in client.tag_batch(texts)]
            refused = [each async for each in client.stream([WORDS], offset_unit="byte")]
            assert [type(each) for each in refused] == [Refusal]
            return [*single, *batch, *[result async for result in client.stream(texts)]]

    async with listening(predictor, feedback_dir=tmp_path) as live:
        found = [*await asyncio.to_thread(use, live.url), *await use_async(live.url)]
    assert found == found[: len(texts)] * 6
    assert all(isinstance(each, Result) for each in found)
    assert found[0].entities[1] == Entity(3, 4, "UPPER", 0.9, "New York")
    assert found[1].entities[0] == Entity(3, 6, "UPPER", 0.9, "Ada")


async def test_a_batch_of_the_client_is_no_longer_for_words_than_for_texts() -> None:
    """The sizes of its requests, in characters as the service counts them."""
    from teddy.service.client.calls import Text
    from teddy.service.client.conduct import Chunks

    texts: list[Text] = [["word"] * 20, "word " * 20] * 5
    assert [len(chunk) for chunk in Chunks[Text](100, 300).of(texts)] == [3, 3, 3, 1]
