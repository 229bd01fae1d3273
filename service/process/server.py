"""Serve in one process: a socket, uvicorn on it, and signals.

SIGTERM: readiness fails while requests are still answered (`drain_seconds`); then the socket is
closed, new requests are refused and those in flight finish (`shutdown_grace_seconds`); what has not
finished by then is cut. SIGINT skips the first step, and a second signal skips all of them.
SIGHUP: the model files are checked again.
"""

import asyncio
import gc
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from time import monotonic

import structlog
import uvicorn
from fastapi import FastAPI

from teddy.model.errors import TeddyError
from teddy.service.app import OnReady, create_app
from teddy.service.http.acceptor import Acceptor, ConnectionCounts
from teddy.service.http.protocol import make_protocol
from teddy.service.inference.model_files import model_loader
from teddy.service.process.control import Drain
from teddy.service.settings import Settings

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BACKLOG = 4096
SWITCH_SECONDS = 0.0005
"""How long a thread may hold Python's lock while another waits for it.

For each batch the network releases the lock and takes it back a dozen times, and so does the event
loop for each message. At Python's default of 5 ms they wait for each other: single texts on 64
connections come to 1,760 a second instead of 2,250 (two cores, others quiet)."""
YOUNG_OBJECTS = 20_000
"""So many new objects are searched for garbage at once, which takes 5 to 28 ms."""
FULL_SECONDS = 60.0
"""How often the old objects are searched too."""
PUT_OFF_SECONDS = 60.0
"""The longest time that long texts may put that off."""
BEAT_SECONDS = 1.0
LINGER_SECONDS = 0.2
"""How long idle connections stay open after the socket is closed, so that a request on its way on
one of them is refused, not cut off."""
CLOSE = (b"connection", b"close")

log = structlog.get_logger("service.server")


def serve(settings: Settings, bound: socket.socket, on_ready: OnReady) -> None:
    """Serve in this process until a signal.

    Raises ModelFileError if a model is refused, before anything is tagged.
    """
    refusals: list[TeddyError] = []

    def stop(error: TeddyError) -> None:
        refusals.append(error)
        server.should_exit = True

    app = create_app(settings, model_loader(settings), on_ready=on_ready, on_load_failure=stop)
    server = Server(app, settings)
    server.run(sockets=[bound])
    if refusals:
        raise refusals[0]


class Server(uvicorn.Server):
    """Uvicorn with the signals and the shutdown described above, and an Acceptor for connections.

    A server that is created `closed` does not listen until `open`: a worker takes no connections
    before it is ready. `on_beat` is called every second while the event loop runs.
    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        *,
        closed: bool = False,
        counts: ConnectionCounts | None = None,
        on_beat: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(server_config(app, settings))
        self._app = app
        self._drain: Drain = app.state.drain
        self._drain_seconds = settings.drain_seconds
        self._opens_at_once = not closed
        self._counts = counts
        self._on_beat = on_beat
        self._collector = QuietCollector(lambda: app.state.service.tagging.has_long)
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Listen; for a server that was created `closed`."""
        if not self._drain.closed:
            self._acceptor.open()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, and accept connections from the one socket in `sockets`."""
        if not sockets:
            raise ValueError("a server needs a socket")
        sys.setswitchinterval(SWITCH_SECONDS)
        gc.disable()  # see QuietCollector
        self._acceptor = Acceptor(
            sockets[0],
            self._protocol,
            lambda: len(self.server_state.connections),
            backlog=self.config.backlog,
            counts=self._counts,
        )
        # uvicorn only closes it and waits for it
        self.servers = [self._acceptor]  # type: ignore[list-item]
        await self.lifespan.startup()
        if self.lifespan.should_exit:
            raise SystemExit(uvicorn.config.STARTUP_FAILURE)
        self._in_background(self._beat())
        if self._opens_at_once:
            self._acceptor.open()
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Publish this worker's connection count and collect garbage, ten times a second."""
        self._acceptor.publish()
        self._collector.tick()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse new requests, let those in flight finish within the grace period, cut the rest."""
        self._drain.close()
        self._acceptor.close()
        if not self.force_exit:
            await asyncio.sleep(LINGER_SECONDS)
        await super().shutdown(sockets)
        for task in self._tasks:
            task.cancel()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the loop runs.

        Uvicorn would raise them again at its end, but being stopped is not a failure.
        """
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in HANDLED}
        loop.add_signal_handler(signal.SIGTERM, self.stop, self._drain_seconds)
        loop.add_signal_handler(signal.SIGINT, self.stop, 0.0)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    def stop(self, drain_seconds: float) -> None:
        """Begin to stop, and close the socket after `drain_seconds`; called again, stop at once."""
        if self._drain.begun:
            log.warning("stopping at once", connections=len(self.server_state.connections))
            self.should_exit = self.force_exit = True
            return
        log.info("stopping", drain_seconds=drain_seconds)
        self._drain.begin()
        self._ask_clients_to_leave()
        asyncio.get_running_loop().call_later(drain_seconds, self._close)

    def _close(self) -> None:
        self._drain.close()
        self.should_exit = True

    def _ask_clients_to_leave(self) -> None:
        """Close each connection with its next answer, so that clients connect elsewhere."""
        self.config.encoded_headers.append(CLOSE)
        self.server_state.default_headers = [*self.server_state.default_headers, CLOSE]

    def _reload(self) -> None:
        log.info("reloading the models")
        self._in_background(self._app.state.service.models.reload_all())

    async def _beat(self) -> None:
        while True:
            self._on_beat()
            await asyncio.sleep(BEAT_SECONDS)

    def _in_background(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks = [task, *(each for each in self._tasks if not each.done())]

    def _protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class QuietCollector:
    """Collects cyclic garbage at moments when that is quick; call `tick` now and then.

    Python's collector runs when enough objects have been made, which is in the midst of a long
    text: with 350,000 sentences in memory, everything stopped for 460 ms. What a request leaves
    behind is freed without it; only errors make cycles, through their tracebacks. So it is off,
    and called here, and not while `is_busy`, unless it has been put off for long.
    """

    def __init__(
        self,
        is_busy: Callable[[], bool],
        *,
        collect: Callable[[int], object] = gc.collect,
        count_young: Callable[[], int] = lambda: gc.get_count()[0],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._is_busy = is_busy
        self._collect = collect
        self._count_young = count_young
        self._clock = clock
        self._full = self._last = clock()

    def tick(self) -> None:
        """Collect among the new objects, or among all, if it is time and the moment is good."""
        now = self._clock()
        is_full = now - self._full >= FULL_SECONDS
        if not is_full and self._count_young() < YOUNG_OBJECTS:
            self._last = now
        elif not self._is_busy() or now - self._last >= PUT_OFF_SECONDS:
            self._collect(2 if is_full else 1)
            self._last = now
            if is_full:
                self._full = now


def server_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration: our limits, no logs or access lines of its own."""

    def count(reason: str) -> None:
        app.state.service.metrics.refused.labels(reason).inc()

    return uvicorn.Config(
        app,
        loop="uvloop",
        http=make_protocol(settings, on_refused=count),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )
