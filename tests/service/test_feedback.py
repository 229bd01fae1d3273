"""Corrections over HTTP: what is stored of them, what is answered, and what is refused and why."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.model.text.offsets import OffsetUnit, convert_offsets
from teddy.service.feedback.rows import Correction
from teddy.service.feedback.scores import KINDS
from tests.service.conftest import LABELS
from tests.service.test_problems import PRIVATE, check_problem

pytestmark = pytest.mark.anyio

KEY, OTHER_KEY = "a-key-of-16-letters", "another-key-of-16-letters"
TEXT = "Ada met grace and the Mississippian"
FOUND = [{"start": 0, "end": 3, "label": "UPPER"}, {"start": 22, "end": 35, "label": "LONG"}]
RIGHT = [{"start": 0, "end": 3, "label": "UPPER"}, {"start": 8, "end": 13, "label": "UPPER"}]


def rows(directory: Path) -> list[dict[str, Any]]:
    """All that is stored, in no particular order of files."""
    lines = [
        line for path in directory.glob("*.jsonl") for line in path.read_bytes().split(b"\n")[:-1]
    ]
    return [json.loads(line) for line in lines]


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "feedback"


@pytest.fixture
async def client(serving: Any, directory: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(feedback_dir=directory) as client:
        yield client


async def test_a_corrected_text_is_stored_with_what_the_model_finds_in_it(
    client: httpx.AsyncClient, directory: Path
) -> None:
    answer = await client.post("/v1/feedback", json={"text": TEXT, "entities": RIGHT[::-1]})
    assert answer.status_code == 201
    model = {"name": "en", "version": "0123456789ab"}
    assert answer.json() == {"model": model, "correct": 1, "spurious": 1, "missed": 1}
    (row,) = rows(directory)
    received = row.pop("received")
    assert received.endswith("+00:00")
    assert row == {
        "text": TEXT,
        "entities": RIGHT,
        "predicted": FOUND,
        "model": model,
        "by": "anonymous",
    }


async def test_an_answer_is_corrected_by_its_request_id(
    client: httpx.AsyncClient, directory: Path, predictor: Any
) -> None:
    answered = await client.post("/v1/entities", json={"text": TEXT, "min_score": 0.5})
    request_id = answered.headers["x-request-id"]
    batches = len(predictor.batches)
    answer = await client.post("/v1/feedback", json={"request_id": request_id, "entities": RIGHT})
    assert answer.status_code == 201
    assert len(predictor.batches) == batches, "nothing is tagged again"
    (row,) = rows(directory)
    assert (row["text"], row["entities"], row["request_id"]) == (TEXT, RIGHT, request_id)
    assert row["predicted"] == FOUND, "what was found, whatever of it was asked for"


async def test_an_answer_is_compared_with_what_was_found_then_and_not_now(
    client: httpx.AsyncClient, directory: Path, predictor: Any
) -> None:
    request_id = (await client.post("/v1/entities", json={"text": "Ada"})).headers["x-request-id"]
    predictor.tag = lambda _: "O"
    for named in ({"request_id": request_id}, {"text": "Ada"}):
        assert (await client.post("/v1/feedback", json=named | {"entities": []})).status_code == 201
    assert [len(row["predicted"]) for row in rows(directory)] == [1, 0]


async def test_a_text_of_a_batch_is_named_by_its_index(
    client: httpx.AsyncClient, directory: Path
) -> None:
    answered = await client.post("/v1/entities/batch", json={"texts": ["Ada", "grace", "é Up"]})
    named = {"request_id": answered.headers["x-request-id"], "entities": []}
    assert (await client.post("/v1/feedback", json=named | {"index": 2})).json()["spurious"] == 1
    assert rows(directory)[0]["text"] == "é Up"
    for index in (None, 3, 2**53 - 1):
        answer = await client.post("/v1/feedback", json=named | {"index": index})
        assert "'index'" in check_problem(answer, 404, "unknown-answer")["detail"]


async def test_an_id_that_was_used_for_several_texts_corrects_none_of_them(
    client: httpx.AsyncClient, directory: Path
) -> None:
    used: dict[str, list[dict[str, object]]] = {
        "other": [{"text": "Ada"}, {"text": "Grace"}],
        "some-labels": [{"text": "Ada"}, {"text": "Ada", "labels": ["UPPER"]}],
        "again": [{"text": "Ada"}, {"text": "Ada"}],
    }
    for request_id, bodies in used.items():
        for body in bodies:
            await client.post("/v1/entities", json=body, headers={"X-Request-ID": request_id})
        named = {"request_id": request_id, "entities": []}
        answer = await client.post("/v1/feedback", json=named)
        if request_id == "again":
            assert answer.status_code == 201, "a request that was sent once more"
        else:
            check_problem(answer, 404, "unknown-answer")
    assert [row["text"] for row in rows(directory)] == ["Ada"]


@pytest.mark.parametrize(
    "mention", ['{"request_id":"abc","by":"anonymous",', '\n{"request_id":"abc","by":"anonymous",']
)
async def test_a_text_that_looks_like_an_answer_is_not_taken_for_one(
    client: httpx.AsyncClient, mention: str
) -> None:
    await client.post("/v1/entities", json={"text": mention})
    answer = await client.post("/v1/feedback", json={"request_id": "abc", "entities": []})
    check_problem(answer, 404, "unknown-answer")


async def test_only_who_was_answered_corrects_by_id_and_is_named_in_the_row(
    serving: Any, directory: Path
) -> None:
    async with serving(feedback_dir=directory, api_keys=f"{KEY},{OTHER_KEY}") as client:
        one, other = {"X-API-Key": KEY}, {"X-API-Key": OTHER_KEY}
        await client.post("/v1/entities", json={"text": "Ada"}, headers=one | {"X-Request-ID": "1"})
        await client.post(
            "/v1/entities", json={"text": "Grace"}, headers=other | {"X-Request-ID": "1"}
        )
        await client.post(
            "/v1/entities", json={"text": "Grace"}, headers=other | {"X-Request-ID": "2"}
        )
        mine = await client.post(
            "/v1/feedback", json={"request_id": "1", "entities": []}, headers=one
        )
        assert mine.status_code == 201
        theirs = await client.post(
            "/v1/feedback", json={"request_id": "2", "entities": []}, headers=one
        )
        check_problem(theirs, 404, "unknown-answer")
        check_problem(
            await client.post("/v1/feedback", json={"text": "", "entities": []}),
            401,
            "unauthorized",
        )
    (row,) = rows(directory)
    assert row["text"] == "Ada"
    assert row["by"] not in ("anonymous", KEY)


async def test_an_answer_with_some_labels_alone_is_not_corrected_by_id(
    client: httpx.AsyncClient,
) -> None:
    answered = await client.post("/v1/entities", json={"text": TEXT, "labels": ["UPPER"]})
    named = {"request_id": answered.headers["x-request-id"], "entities": []}
    assert (
        "labels"
        in check_problem(await client.post("/v1/feedback", json=named), 404, "unknown-answer")[
            "detail"
        ]
    )


async def test_without_a_directory_the_endpoint_says_how_to_get_it(serving: Any) -> None:
    async with serving() as client:
        answer = await client.post("/v1/feedback", json={"text": "Ada", "entities": []})
        assert "TEDDY_FEEDBACK_DIR" in check_problem(answer, 404, "feedback-off")["detail"]


async def test_answers_need_not_be_remembered(serving: Any, directory: Path) -> None:
    async with serving(feedback_dir=directory, feedback_remember_bytes=0) as client:
        answered = await client.post("/v1/entities", json={"text": "Ada"})
        named = {"request_id": answered.headers["x-request-id"], "entities": []}
        check_problem(await client.post("/v1/feedback", json=named), 404, "unknown-answer")
        assert (
            await client.post("/v1/feedback", json={"text": "Ada", "entities": []})
        ).status_code == 201
    assert not (directory / ".answers").exists()


ONE = {"start": 0, "end": 3, "label": "UPPER"}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"text": PRIVATE}, ["entities"]),
        ({"entities": []}, ["text"]),
        ({"text": PRIVATE, "request_id": "1", "entities": []}, ["text"]),
        ({"request_id": PRIVATE + " ", "entities": []}, ["request_id"]),
        ({"request_id": None, "entities": []}, ["request_id"]),
        ({"request_id": "1", "model": "en", "entities": []}, ["model"]),
        ({"text": PRIVATE, "index": 0, "entities": []}, ["index"]),
        ({"text": PRIVATE, "entities": [ONE | {"start": -1}]}, ["entities", 0, "start"]),
        ({"text": PRIVATE, "entities": [ONE | {"start": 3}]}, ["entities", 0, "end"]),
        ({"text": PRIVATE, "entities": [ONE | {"start": 9, "end": 10}]}, ["entities", 0, "start"]),
        (
            {"text": PRIVATE, "entities": [ONE, ONE | {"start": 4, "end": 9}]},
            ["entities", 1, "end"],
        ),
        ({"text": PRIVATE, "entities": [ONE | {"end": 10**400}]}, ["entities", 0, "end"]),
        ({"text": PRIVATE, "entities": [ONE | {"end": 2.5}]}, ["entities", 0, "end"]),
        ({"text": PRIVATE, "entities": [ONE | {"label": PRIVATE}]}, ["entities", 0, "label"]),
        ({"text": PRIVATE, "entities": [ONE | {"text": PRIVATE}]}, ["entities", 0, "text"]),
        ({"text": PRIVATE, "entities": [ONE, ONE]}, ["entities", 1]),
        ({"text": PRIVATE, "entities": [ONE | {"start": 2, "end": 5}, ONE]}, ["entities", 0]),
        (
            {"text": "é" + PRIVATE, "offset_unit": "byte", "entities": [ONE | {"start": 1}]},
            ["entities", 0, "start"],
        ),
        (
            {"text": "\U0001f9f8", "offset_unit": "utf16", "entities": [ONE | {"end": 1}]},
            ["entities", 0, "end"],
        ),
        ([], []),
    ],
)
async def test_a_wrong_correction_is_one_problem_that_names_the_field_and_nothing_is_stored(
    client: httpx.AsyncClient, directory: Path, body: object, place: list[object]
) -> None:
    content = check_problem(await client.post("/v1/feedback", json=body), 422, "invalid-request")
    assert [error["loc"] for error in content["errors"]] == [["body", *place]]
    assert rows(directory) == []


async def test_a_correction_is_limited_as_other_requests_are(serving: Any, directory: Path) -> None:
    async with serving(feedback_dir=directory, max_text_characters=3) as client:
        long = {"text": "Adas", "entities": []}
        check_problem(await client.post("/v1/feedback", json=long), 413, "text-too-long")
        unknown = {"text": "Ada", "model": "xx", "entities": []}
        check_problem(await client.post("/v1/feedback", json=unknown), 404, "unknown-model")
        answer = await client.post(
            "/v1/feedback", json=long, headers={"X-Request-Timeout": "never"}
        )
        check_problem(answer, 400, "timeout-header")


async def test_a_correction_waits_in_the_queue_no_longer_than_its_deadline(
    client: httpx.AsyncClient, predictor: Any
) -> None:
    predictor.gate.clear()
    body, soon = {"text": "Ada", "entities": []}, {"X-Request-Timeout": "0.01"}
    check_problem(await client.post("/v1/feedback", json=body, headers=soon), 504, "deadline")
    absent = {"request_id": "1", "entities": []}
    check_problem(await client.post("/v1/feedback", json=absent, headers=soon), 504, "deadline")
    predictor.gate.set()


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]]]:
    """A text, and stretches of it in order, none empty, none overlapping."""
    anything = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
    text = draw(anything | st.text(alphabet='aé中\U0001f9f8\u0301\u2028\r\n\0" \\'))
    cuts = sorted(draw(st.sets(st.integers(0, len(text)))))
    return text, list(zip(cuts[::2], cuts[1::2], strict=False))


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    case=marked_texts(), unit=st.sampled_from(["character", "utf16", "byte"]), turn=st.booleans()
)
async def test_of_any_text_just_what_was_marked_is_stored_whatever_the_client_counts_in(
    client: httpx.AsyncClient,
    directory: Path,
    case: tuple[str, list[tuple[int, int]]],
    unit: OffsetUnit,
    turn: bool,
) -> None:
    text, places = case
    offsets = list(convert_offsets(text, [each for place in places for each in place], unit))
    entities = [
        {"start": start, "end": end, "label": "LONG", "text": text[slice(*place)], "score": 1}
        for start, end, place in zip(offsets[::2], offsets[1::2], places, strict=True)
    ]
    body = {"text": text, "entities": entities[::-1] if turn else entities, "offset_unit": unit}
    answer = await client.post("/v1/feedback", json=body)
    assert answer.status_code == 201
    stored = rows(directory)[-1]
    assert stored["text"] == text
    assert [(each["start"], each["end"]) for each in stored["entities"]] == places


async def test_a_full_store_refuses_and_keeps_what_it_has(serving: Any, directory: Path) -> None:
    body = {"text": "Ada", "entities": []}
    async with serving(feedback_dir=directory, feedback_max_bytes=1000) as client:
        answers = [await client.post("/v1/feedback", json=body) for _ in range(10)]
        stored = sum(answer.status_code == 201 for answer in answers)
        assert 0 < stored < 10
        for answer in answers[stored:]:
            check_problem(answer, 507, "corrections-full")
        assert len(rows(directory)) == stored
        assert (await client.post("/v1/entities", json={"text": "Ada"})).status_code == 200
        for path in directory.glob("*.jsonl"):
            path.unlink()
        assert (await client.post("/v1/feedback", json=body)).status_code == 201, (
            "there is room again"
        )


async def test_a_directory_that_has_gone_refuses_and_the_service_goes_on(
    client: httpx.AsyncClient, directory: Path, tmp_path: Path
) -> None:
    body = {"text": "Ada", "entities": []}
    assert (await client.post("/v1/feedback", json=body)).status_code == 201
    directory.rename(tmp_path / "elsewhere")
    check_problem(await client.post("/v1/feedback", json=body), 503, "corrections-unwritable")
    assert (await client.post("/v1/entities", json={"text": "Ada"})).status_code == 200
    (tmp_path / "elsewhere").rename(directory)
    assert (await client.post("/v1/feedback", json=body)).status_code == 201
    assert len(rows(directory)) == 2


async def test_every_row_is_read_back_as_it_was(client: httpx.AsyncClient, directory: Path) -> None:
    await client.post("/v1/feedback", json={"text": TEXT, "entities": RIGHT})
    (path,) = directory.glob("*.jsonl")
    read = Correction.read(path.read_bytes())
    assert read is not None
    assert read.row() == path.read_bytes()


async def test_corrections_are_counted_from_zero_and_shown_once_there_are_enough(
    client: httpx.AsyncClient,
) -> None:
    def shown(exposition: str) -> dict[str, float]:
        lines = (
            line.rsplit(" ", 1)
            for line in exposition.splitlines()
            if line.startswith("teddy_feedback")
        )
        return {name.removeprefix("teddy_feedback"): float(value) for name, value in lines}

    counted = {
        f'_entities_total{{label="{a}",model="en",outcome="{b}"}}': 0.0
        for a in LABELS
        for b in KINDS
    }
    counted |= {'_total{model="en"}': 0.0, "_stored_bytes": 0.0, "_capacity_bytes": 2.0**30}
    assert shown((await client.get("/metrics")).text) == counted
    for _ in range(20):
        await client.post("/v1/feedback", json={"text": TEXT, "entities": RIGHT})
    after = shown((await client.get("/metrics")).text)
    assert after['_total{model="en"}'] == 20
    assert after['_entities_total{label="LONG",model="en",outcome="spurious"}'] == 20
    assert after['_precision{label="UPPER",model="en"}'] == 1
    assert after['_recall{label="UPPER",model="en"}'] == 0.5
    assert after['_precision{label="LONG",model="en"}'] == 0
    assert '_recall{label="LONG",model="en"}' not in after, "nobody has seen one"
    assert after['_f1{model="en"}'] == 0.5
