import asyncio
import io
import json
import logging
import re
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.service.app import create_app
from teddy.service.observability.log import MOST_FRAMES, add_timestamp, configure_logs, render
from teddy.service.settings import Settings
from tests.service.conftest import StreamWriter

SECRET = "Zyxomma"  # noqa: S105 (a dragonfly)


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_loggers_write_the_same_lines() -> None:
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    structlog.get_logger().info("tagged", words=3)
    logging.getLogger("uvicorn.error").warning("shutting %s", "down")
    ours, theirs = logged(stream)
    assert (ours["event"], ours["level"], ours["words"]) == ("tagged", "info", 3)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == (
        "shutting down",
        "warning",
        "uvicorn.error",
    )
    assert ours.keys() - {"words"} == theirs.keys() - {"logger"} == {"event", "level", "timestamp"}


def test_other_libraries_chatter_is_not_written() -> None:
    stream = io.StringIO()
    configure_logs("debug", StreamWriter(stream))
    logging.getLogger("some.library").info("sent a text")
    logging.getLogger("some.library").warning("lost its way")
    assert [line["event"] for line in logged(stream)] == ["lost its way"]


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    configure_logs("warning", StreamWriter(stream))
    structlog.get_logger().info("tagged")
    logging.getLogger("uvicorn.error").info("started")
    assert logged(stream) == []


def test_an_exception_is_its_class_and_frames_and_a_message_only_if_that_quotes_no_text() -> None:
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    try:
        try:
            raise ValueError("a text")
        except ValueError as error:
            raise DataError("corpus.txt", 3, "no tag") from error
    except DataError as error:
        structlog.get_logger().error("failed", exc_info=error)
        logging.getLogger("asyncio").exception("failed")
    ours, theirs = logged(stream)
    assert ours["exception"] == theirs["exception"]
    outer, cause = json.loads(json.dumps(ours["exception"]))
    assert (outer["class"], outer["message"]) == ("DataError", "corpus.txt:3: no tag")
    assert outer["frames"][0].endswith("quotes_no_text")
    assert (cause["class"], "message" in cause) == ("ValueError", False)
    assert "a text" not in stream.getvalue()


def test_endless_recursion_is_a_short_line() -> None:
    def descend() -> None:
        descend()

    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    try:
        descend()
    except RecursionError as error:
        structlog.get_logger().error("failed", exc_info=error)
    (line,) = logged(stream)
    (described,) = json.loads(json.dumps(line["exception"]))
    assert len(described["frames"]) == MOST_FRAMES
    assert described["frames"][-1].endswith(" descend")


@pytest.mark.parametrize(
    ("message", "left"),
    [
        (
            f"Task exception was never retrieved\nfuture: <Task exception=ValueError({SECRET!r})>",
            "Task exception was",
        ),
        (
            f"Exception in callback parse({SECRET!r})\nhandle: <Handle>",
            "Exception in callback parse",
        ),
        (f"Executing <Task coro=<tag({SECRET!r})>> took 2 seconds", "Executing"),
    ],
)
def test_what_asyncio_quotes_is_left_out(message: str, left: str) -> None:
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    logging.getLogger("asyncio").error(message)
    (line,) = logged(stream)
    assert str(line["event"]).startswith(left)
    assert SECRET not in stream.getvalue()


def test_a_record_that_does_not_fit_its_arguments_is_a_line_without_them(
    capfd: pytest.CaptureFixture[str],
) -> None:
    stream = io.StringIO()
    configure_logs("info", StreamWriter(stream))
    logging.getLogger("some.library").error("%d words", SECRET)
    (line,) = logged(stream)
    assert (line["event"], line["logger"]) == ("a log line failed", "some.library")
    assert SECRET not in stream.getvalue() + "".join(capfd.readouterr())


@given(
    st.dictionaries(
        st.text(), st.one_of(st.none(), st.booleans(), st.integers(), st.text(st.characters()))
    )
)
def test_an_event_is_one_line_of_printable_ascii_that_reads_back_as_it_was(
    event: dict[str, Any],
) -> None:
    line = render(None, "info", event)
    assert re.fullmatch(rb"[ -~]+\n", line)
    assert json.loads(line) == event


class Unprintable:
    def __repr__(self) -> str:
        return SECRET


@pytest.mark.parametrize(
    "value", [Unprintable(), ValueError(SECRET), [Unprintable()], b"\xff" + SECRET.encode()]
)
@pytest.mark.parametrize("other", ["plain", "\ud800", "\n\x1b[2K\u2028"])
def test_a_value_that_is_not_json_shows_its_class_only(value: object, other: str) -> None:
    line = render(None, "info", {"value": value, "other": other})
    assert re.fullmatch(rb"[ -~]+\n", line)
    assert SECRET.encode() not in line


def test_time_stamps_are_structlogs() -> None:
    theirs = structlog.processors.TimeStamper(fmt="iso", utc=True)
    before = theirs(None, "info", {})["timestamp"]
    ours = add_timestamp(None, "info", {})["timestamp"]
    after = theirs(None, "info", {})["timestamp"]
    assert before <= ours <= after
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", ours)


def requests_with(text: str) -> list[dict[str, Any]]:
    """Requests that the service answers, refuses, or fails at, each with a text where a text may
    stand."""
    path = "/v1/entities"
    return [
        {"url": path, "json": {"text": text}},
        {"url": path, "json": {"text": f"{text} Kaputt"}},
        {"url": path, "json": {"text": [text]}},
        {"url": path, "json": {"text": "Ada", "labels": [text]}},
        {"url": path, "content": text.encode("utf-8")},
        {"url": path, "content": json.dumps({"text": f"\ud800{text}"}).encode()},
        {"url": path, "content": b'{"text":"\xff' + text.encode("utf-8")},
        {"url": f"{path}/batch", "json": {"texts": [text, "Kaputt"]}},
        {"url": path, "json": {"text": text}, "headers": {"X-Request-ID": text.encode("utf-8")}},
    ]


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_no_text_that_was_sent_is_logged(predictor: Any, text: str) -> None:
    stream = io.StringIO()
    configure_logs("debug", StreamWriter(stream))
    asyncio.run(send(predictor, requests_with(f"{SECRET} {text}")))
    assert len(logged(stream)) >= len(requests_with(text))
    assert SECRET not in stream.getvalue()


async def send(predictor: Any, requests: list[dict[str, Any]]) -> None:
    app = create_app(Settings(), lambda _: predictor)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://t") as client,
    ):
        await app.state.loading
        for request in requests:
            headers = {"Content-Type": "application/json"} | request.pop("headers", {})
            assert (await client.post(**request, headers=headers)).status_code < 600
