"""The cost of counting one request, to 0.1 us: the app is called, the network's answer remembered.

    python -m benchmarks.contenders.counting_calls MODEL PRECISION

The network takes most of a request's time and is where most of the noise is; what is counted is the
same without it. Apps with metrics and without take turns of 20 ms in one process. Where
`PROMETHEUS_MULTIPROC_DIR` is set, those that count do so in files. Prints the median of the
differences between neighbouring turns, in microseconds a request."""

import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from time import process_time

import uvloop
from fastapi import FastAPI
from starlette.types import Message, Scope

from teddy.model.predictor import Predictor, load
from teddy.model.tagger import TaggedWords
from teddy.model.text.windows import Window
from teddy.service.app import create_app
from teddy.service.commands import bound_threads
from teddy.service.observability.log import configure_logs
from teddy.service.settings import Settings

BODY = json.dumps(
    {
        "text": "In 1987 the mayor of Oslo , Anna Berg , told reporters that Lindholm AB would "
        "build a new library near the harbour before next winter ."
    }
).encode()
SCOPE = {
    "type": "http",
    "method": "POST",
    "path": "/v1/entities",
    "headers": [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
    "query_string": b"",
    "client": ("127.0.0.1", 1),
}
AT_ONCE, A_TURN = 32, 160
TURNS = 400


def with_remembered_answer(predictor: Predictor) -> Predictor:
    """The same model, whose network is asked no more."""
    windows = predictor.prepare(json.loads(BODY)["text"]).windows
    (answer,) = predictor.predict(windows)

    def remembered(windows: Sequence[Window]) -> list[TaggedWords]:
        return [answer] * len(windows)

    predictor.predict = remembered  # type: ignore[method-assign, assignment]
    return predictor


async def ask(app: FastAPI) -> None:
    """One request, from its head to the end of its answer."""
    messages: list[Message] = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> Message:
        if not messages:
            await asyncio.Event().wait()
        return messages.pop()

    async def send(_: Message) -> None:
        pass

    scope: Scope = dict(SCOPE)
    await app(scope, receive, send)


async def turn(app: FastAPI) -> float:
    """Microseconds of CPU a request, in all threads of this process."""
    before = process_time()
    for _ in range(A_TURN // AT_ONCE):
        await asyncio.gather(*(ask(app) for _ in range(AT_ONCE)))
    return 1e6 * (process_time() - before) / A_TURN


async def compare(model: str, precision: str) -> float:
    """The median difference."""
    predictor = with_remembered_answer(load(model, precision=precision))
    apps = [create_app(Settings(metrics=metrics), lambda _: predictor) for metrics in (True, False)]
    differences: list[float] = []
    async with AsyncExitStack() as stack:
        for app in apps:
            await stack.enter_async_context(app.router.lifespan_context(app))
            await app.state.loading
        for number in range(TURNS):
            order = apps if number % 2 else apps[::-1]
            spent = {app: await turn(app) for app in order}
            differences.append(spent[apps[0]] - spent[apps[1]])
    return statistics.median(differences)


if __name__ == "__main__":
    bound_threads(Settings())
    configure_logs("info")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(compare(sys.argv[1], sys.argv[2])))
