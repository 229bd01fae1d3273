"""Reasons over HTTP: what is answered equals what the predictor explains, at its true cost, and
what is refused and why."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any

import httpx
import pytest

from teddy.model.predictor import Predictor
from teddy.model.reasons.questions import QUESTION_WORDS, Answer, Question
from teddy.model.text.offsets import OffsetUnit
from teddy.service.api import explain_routes
from teddy.service.api.explain_schemas import ExplainResponse
from teddy.service.client import AsyncClient, Client, Explanation
from tests.service.live import listening
from tests.service.test_problems import PRIVATE, check_problem

pytestmark = pytest.mark.anyio

TEXT = "Anna Berg 🐻 went to Oslo.\n\nIn Ghent, Otto Lind met Mira."
PATH = "/v1/explain"


@pytest.fixture
async def client(serving: Any, tiny_predictor: Predictor) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(load=lambda _: tiny_predictor, max_text_characters=12_000) as client:
        yield client


def explained(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    assert ExplainResponse.model_validate(found).model_dump() == found
    return found


def close(found: Any, wanted: Any) -> bool:
    """Whether two answers are equal but for the last digit, which may be rounded otherwise: a batch
    has other mates here."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    return bool(found == (pytest.approx(wanted, abs=2e-4) if type(wanted) is float else wanted))


@pytest.mark.parametrize("unit", ["character", "utf16", "byte"])
async def test_the_answer_is_what_the_predictor_explains(
    client: httpx.AsyncClient, tiny_predictor: Predictor, unit: OffsetUnit
) -> None:
    answer = await client.post(PATH, json={"text": TEXT, "offset_unit": unit})
    found = explained(answer)
    read = asdict(Explanation.read(answer.json()))
    assert json.loads(json.dumps(read)) == found, "the client reads all of it"
    assert found.pop("model") == {"name": "en", "version": tiny_predictor.version}
    assert close(found, tiny_predictor.explain(TEXT).as_dict(unit))
    assert [each["text"] for each in found["entities"]][:2] == ["Anna Berg", "Oslo"]
    encoded = TEXT.encode({"character": "utf-32-le", "utf16": "utf-16-le", "byte": "utf-8"}[unit])
    width = {"character": 4, "utf16": 2, "byte": 1}[unit]
    ranged = [*found["entities"], *(word for each in found["sentences"] for word in each["words"])]
    for each in ranged:
        said = encoded[each["start"] * width : each["end"] * width]
        assert said == each["text"].encode(
            {"character": "utf-32-le", "utf16": "utf-16-le", "byte": "utf-8"}[unit]
        )


async def test_its_entities_are_those_that_tagging_finds_with_the_same_options(
    client: httpx.AsyncClient,
) -> None:
    for options in ({}, {"labels": ["LOC"]}, {"min_score": 0.9}, {"sentences": "lines"}):
        body = {"text": TEXT, **options}
        tagged = (await client.post("/v1/entities", json=body)).json()["entities"]
        entities = explained(await client.post(PATH, json=body))["entities"]
        assert close([{key: each[key] for key in tagged[0]} for each in entities], tagged)


async def test_spans_are_explained_whether_they_are_found_or_not(
    client: httpx.AsyncClient, tiny_predictor: Predictor
) -> None:
    bear = TEXT.encode("utf-16-le").index("🐻".encode("utf-16-le")) // 2
    spans = [
        {"start": bear, "end": bear + 2, "label": "LOC"},
        {"start": 0, "end": 4, "label": "PER"},
    ]
    body = {"text": TEXT, "offset_unit": "utf16", "spans": spans}
    found = explained(await client.post(PATH, json=body))
    assert [{key: each[key] for key in spans[0]} for each in found["entities"]] == spans
    assert [each["text"] for each in found["entities"]] == ["🐻", "Anna"]
    assert all(each["score"] == each["probability"] for each in found["entities"])
    assert close(
        found["entities"][1]["without"],
        [*tiny_predictor.explain(TEXT, spans=[(0, 4, "PER")]).entities[0].without],
    )


async def test_words_are_explained_with_offsets_in_words(client: httpx.AsyncClient) -> None:
    words = ["In", "New", "Haven", ",", "Mira", "met", "Anna", "Berg"]
    found = explained(await client.post(PATH, json={"words": words}))
    tagged = (await client.post("/v1/entities", json={"words": words})).json()["entities"]
    assert [each["start"] for each in found["entities"]] == [each["start"] for each in tagged]
    (sentence,) = found["sentences"]
    assert [each["text"] for each in sentence["words"]] == words


@pytest.mark.parametrize("text", ["", "  \n ", "🐻", "a" * 5000])
async def test_nothing_is_too_little_or_strange(client: httpx.AsyncClient, text: str) -> None:
    explained(await client.post(PATH, json={"text": text}))


@pytest.mark.parametrize(
    ("spans", "kind"),
    [
        ([{"start": 1, "end": 4, "label": "PER"}], "text"),  # not of whole words
        ([{"start": 4, "end": 0, "label": "PER"}], "text"),
        ([{"start": 20, "end": 33, "label": "PER"}], "text"),  # across two sentences
        ([{"start": 0, "end": 4, "label": "XYZ"}], "text"),
        ([{"start": 0, "end": 99, "label": "PER"}], "invalid-request"),  # beyond the text
        ([{"start": 0, "end": 4, "label": "PER"}] * 65, "invalid-request"),
        ([{"start": 2**53 - 1, "end": 2**53 - 1, "label": "PER"}], "invalid-request"),
    ],
)
async def test_spans_that_are_none_are_refused_without_a_word_of_the_text(
    client: httpx.AsyncClient, spans: list[dict[str, Any]], kind: str
) -> None:
    text = f"Anna Berg went to Oslo.\n\n{PRIVATE} was there."
    check_problem(await client.post(PATH, json={"text": text, "spans": spans}), 422, kind)


async def test_a_request_is_refused_that_would_cost_more_than_tagging_the_longest_text(
    client: httpx.AsyncClient,
) -> None:
    body = {"text": "Anna Berg and Otto Lind like apples . " * 40}
    assert len(body["text"]) < 2000
    problem = check_problem(await client.post(PATH, json=body), 413, "text-too-long")
    assert "at most 2000" in problem["detail"]
    explained(await client.post(PATH, json={"text": body["text"][:38]}))
    check_problem(await client.post(PATH, json={"text": "a" * 6001}), 413, "text-too-long")


async def test_no_batch_of_questions_costs_more_than_a_batch_may(
    serving: Any, tiny_predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others wait for one batch, whatever is asked: names that stand alone are short, not cheap."""
    batches: list[Sequence[Question]] = []
    answer = tiny_predictor.reasons.answer

    def record(questions: Sequence[Question]) -> list[Answer]:
        batches.append(questions)
        return answer(questions)

    monkeypatch.setattr(tiny_predictor.reasons, "answer", record)
    async with serving(load=lambda _: tiny_predictor, batch_words=200) as client:
        found = explained(await client.post(PATH, json={"text": "Oslo\n\nGhent\n\n" * 10}))
    assert len(found["entities"]) == 20
    costs = [
        sum(QUESTION_WORDS + len(each.words) * (2 if each.n_readings else 1) for each in questions)
        for questions in batches
    ]
    assert max(costs) <= 200 < sum(costs)


async def test_a_long_answer_is_written_a_piece_at_a_time(
    serving: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the pieces Python's lock is free for other requests."""
    pieces: list[str] = []

    def record(value: object) -> str:
        pieces.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")))
        return pieces[-1]

    body = {"text": "Ada met Grace in Oslo. " * 20}
    async with serving() as client:
        wanted = await client.post(PATH, json=body)
        monkeypatch.setattr(explain_routes, "write_json", record)
        answer = await client.post(PATH, json=body)
    assert explained(answer) == explained(wanted)
    assert max(map(len, pieces)) < len(answer.text) / 40


async def test_it_counts_what_it_reads(serving: Any, tiny_predictor: Predictor) -> None:
    async with serving(load=lambda _: tiny_predictor) as client:
        before = counted(await client.get("/metrics"))
        await client.post(PATH, json={"text": "Mira went to Oslo ."})
        after = counted(await client.get("/metrics"))
    document = tiny_predictor.prepare("Mira went to Oslo .")
    (entities,) = tiny_predictor.tag(["Mira went to Oslo ."])
    plan = tiny_predictor.reasons.plan(document, entities)
    n_words = sum(each.n_words for each in plan.questions)
    assert after - before == 5 + n_words <= 5 + plan.cost


def counted(scrape: httpx.Response) -> float:
    """Return the words that have been through the network."""
    (line,) = [
        line for line in scrape.text.splitlines() if line.startswith("teddy_batch_words_sum")
    ]
    return float(line.rpartition(" ")[2])


async def test_the_query_and_unknown_fields_are_refused(client: httpx.AsyncClient) -> None:
    check_problem(
        await client.post(f"{PATH}?text=Oslo", json={"text": "Oslo"}), 422, "invalid-request"
    )
    check_problem(
        await client.post(PATH, json={"text": "Oslo", "tokens": True}), 422, "invalid-request"
    )
    check_problem(
        await client.post(PATH, content=json.dumps({"text": "\ud800"})), 422, "invalid-request"
    )


async def test_both_clients_ask_for_it(predictor: Any) -> None:
    async with listening(predictor) as live:

        def ask() -> Explanation:
            with Client(live.url) as client:
                return client.explain("Ada met Grace", labels=["UPPER"])

        wanted = await asyncio.to_thread(ask)
        async with AsyncClient(live.url) as client:
            assert await client.explain("Ada met Grace", labels=["UPPER"]) == wanted
            spans = await client.explain("Ada met", spans=[(4, 7, "LONG")], offset_unit="byte")
    assert [each.text for each in wanted.entities] == ["Ada", "Grace"]
    assert [(each.start, each.end, each.text) for each in spans.entities] == [(4, 7, "met")]
