"""A service that counts in half of its time slices, and the cost of each slice.

    python -m benchmarks.contenders.counting_switch MODEL PRECISION PORT

Two processes of the same program differ by five per cent, which of them is the quicker as chance
will have it, and what is measured a second later on a shared machine differs by as much. So both
halves are in one process, with one model, under one load, and change places twice a second. Where
`PROMETHEUS_MULTIPROC_DIR` is set, the half that counts does so in files, as one of several workers.
Each slice is a line of JSON on standard error."""

import asyncio
import json
import sys
from time import monotonic, process_time

import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from teddy.model.predictor import load
from teddy.service.app import App, create_app
from teddy.service.commands import bound_threads
from teddy.service.http.acceptor import listen
from teddy.service.inference.model_files import warm_up
from teddy.service.observability.log import configure_logs
from teddy.service.process.server import Server
from teddy.service.settings import Settings

SLICE_SECONDS = 0.5
ORDER = (True, False, False, True)
"""With metrics or without, again and again: what becomes slower or faster in time is the same for
both."""
EVENT = "slice"


class Switch:
    """Gives each request to the half whose turn it is."""

    def __init__(self, counting: ASGIApp, silent: ASGIApp) -> None:
        self._halves = {True: counting, False: silent}
        self._began = monotonic()
        self._number = 0
        self._requests = 0
        self._cpu_seconds = process_time()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if monotonic() - self._began >= SLICE_SECONDS:
            self._turn()
        await self._halves[ORDER[self._number % len(ORDER)]](scope, receive, send)
        self._requests += 1

    def _turn(self) -> None:
        now, cpu_seconds = monotonic(), process_time()
        line = {
            "event": EVENT,
            "metrics": ORDER[self._number % len(ORDER)],
            "requests": self._requests,
            "seconds": now - self._began,
            "cpu_seconds": cpu_seconds - self._cpu_seconds,
        }
        print(json.dumps(line), file=sys.stderr, flush=True)
        self._began, self._cpu_seconds, self._requests = now, cpu_seconds, 0
        self._number += 1


async def serve(model: str, precision: str, port: int, *, both_silent: bool) -> None:
    """Serve until the process is ended.

    With `both_silent` neither half counts: what is measured then is chance.
    """
    predictor = load(model, precision=precision)
    warm_up(predictor)
    apps: list[App] = []
    for metrics in (not both_silent, False):
        app = create_app(Settings(metrics=metrics), lambda _: predictor)
        assert isinstance(app, App)
        apps.append(app)
    counting, silent = apps
    outermost = counting.outermost
    server = Server(counting, Settings(port=port))
    async with silent.router.lifespan_context(silent):
        await silent.state.loading
        counting.outermost = Switch(outermost, silent)
        await server._serve(sockets=[listen("127.0.0.1", port)])


if __name__ == "__main__":
    bound_threads(Settings())
    configure_logs("info")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3]), both_silent=len(sys.argv) > 4))
