import io
import json
import logging

import structlog

from model.errors import DataError
from service.log import configure_logs


def logged(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_loggers_write_the_same_lines() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
    structlog.get_logger().info("tagged", words=3)
    logging.getLogger("uvicorn.error").warning("shutting %s", "down")
    ours, theirs = logged(stream)
    assert (ours["event"], ours["level"], ours["words"]) == ("tagged", "info", 3)
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("shutting down", "warning", "uvicorn.error")
    assert ours.keys() - {"words"} == theirs.keys() - {"logger"} == {"event", "level", "timestamp"}


def test_other_libraries_chatter_is_not_written() -> None:
    stream = io.StringIO()
    configure_logs("debug", stream)
    logging.getLogger("some.library").info("sent a text")
    logging.getLogger("some.library").warning("lost its way")
    assert [line["event"] for line in logged(stream)] == ["lost its way"]


def test_what_is_below_the_level_is_not_written() -> None:
    stream = io.StringIO()
    configure_logs("warning", stream)
    structlog.get_logger().info("tagged")
    logging.getLogger("uvicorn.error").info("started")
    assert logged(stream) == []


def test_an_exception_is_its_class_and_frames_and_its_message_only_if_that_never_quotes_a_text() -> None:
    stream = io.StringIO()
    configure_logs("info", stream)
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
    assert outer["frames"][0].endswith("quotes_a_text")
    assert (cause["class"], "message" in cause) == ("ValueError", False)
    assert "a text" not in stream.getvalue()
