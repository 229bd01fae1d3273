"""The server process: a socket, uvicorn, one worker or several."""

import os
import socket
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from model.errors import TeddyError
from service.app import OnReady, create_app
from service.errors import AddressError, ServiceError
from service.log import configure_logs
from service.metrics import MULTIPROCESS_DIRECTORY
from service.models import Load
from service.settings import Settings, read_settings

if TYPE_CHECKING:
    from model.predictor import Predictor


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to `host` and `port`; nobody can connect until a server listens on it. Raises AddressError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except OSError as error:
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    # The protocol is named because asyncio turns Nagle's delay off only where it is: 40 ms for each answer.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise AddressError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return bound


def serve(settings: Settings, bound: socket.socket, on_ready: OnReady) -> None:
    """Serve until a signal. Raises ModelFileError if a model is refused, before anything is tagged."""
    if settings.workers > 1:
        serve_with_workers(settings, bound, on_ready)
        return
    refusals: list[TeddyError] = []

    def stop(error: TeddyError) -> None:
        refusals.append(error)
        server.should_exit = True

    app = create_app(settings, model_loader(settings), on_ready=on_ready, on_load_failure=stop)
    server = uvicorn.Server(server_config(app, settings))
    server.run(sockets=[bound])
    if refusals:
        raise refusals[0]


def serve_with_workers(settings: Settings, bound: socket.socket, on_start: OnReady) -> None:
    """Serve with several processes until a signal; one that dies is replaced. Raises ServiceError if none can start.

    The workers read these settings from the environment, and keep what they count in files that they all can read.
    """
    with TemporaryDirectory(prefix="teddy-metrics-") as directory:
        os.environ |= settings.as_environment() | {MULTIPROCESS_DIRECTORY: directory}
        supervisor = Multiprocess(server_config("service.server:worker_app", settings), sockets=[bound])
        on_start()
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise ServiceError("a worker could not start; the log says why")


def worker_app() -> FastAPI:
    """The app of one worker process: its entry point."""
    settings = read_settings()
    configure_logs(settings.log_level)
    # Nothing has been answered yet that could be lost, and this status tells the supervisor not to try again.
    return create_app(settings, model_loader(settings), on_load_failure=lambda _: os._exit(STARTUP_FAILURE))


def server_config(app: FastAPI | str, settings: Settings) -> uvicorn.Config:
    """Uvicorn, with logs and access lines left to us."""
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=settings.workers,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )


def model_loader(settings: Settings) -> Load:
    """`model.predictor.load` with the precision that was set. Torch is imported here, in the thread that loads."""

    def load(path: Path | None) -> "Predictor":
        from model.memory import settle
        from model.predictor import load

        predictor = load(path, precision=settings.precision)
        settle()
        return predictor

    return load
