"""Logs: JSON lines on standard error, through one pipeline, whoever writes them. Never a text that was sent.

An exception's message may quote the text that it failed on, so only the messages of exceptions known not to are logged;
of others the class and the lines of code are.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO

import structlog

from model.errors import TeddyError

SAFE_TO_QUOTE = (TeddyError, OSError)

Event = MutableMapping[str, Any]


def configure_logs(level: str, stream: TextIO | None = None) -> None:
    """Send structlog and the standard library's loggers to `stream` (standard error). For entry points only."""
    target = sys.stderr if stream is None else stream
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        describe_exception,
    ]
    renderer = structlog.processors.JSONRenderer()
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(number, logging.WARNING))  # what other libraries tell about their work might quote a text
    logging.getLogger("uvicorn").setLevel(number)


def describe_exception(logger: object, method: str, event: Event) -> Event:  # noqa: ARG001 (structlog's signature)
    """Replace `exc_info` by `exception`: from the outermost to its first cause, class, frames, and message if safe."""
    error = event.pop("exc_info", None)
    if error is True:
        error = sys.exc_info()[1]
    elif isinstance(error, tuple):
        error = error[1]
    if isinstance(error, BaseException):
        event["exception"] = [_describe(each) for each in _chain(error)]
    return event


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)
    return chain


def _describe(error: BaseException) -> dict[str, Any]:
    described: dict[str, Any] = {"class": type(error).__qualname__, "frames": _frames(error.__traceback__)}
    if isinstance(error, SAFE_TO_QUOTE):
        described["message"] = str(error)
    return described


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
