"""One of several workers, started by `service/process/supervisor.py`.

Its arguments are its number and two sockets.
"""

import os
import signal
import socket
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.service.process.control import Control

if TYPE_CHECKING:
    from teddy.service.settings import Settings

REFUSED_STATUS = 3
CUT_SECONDS = 2.0


def main(arguments: list[str]) -> int:
    """Serve until a signal, or until the supervisor is gone; return the exit status."""
    for number, handler in ((signal.SIGINT, signal.SIG_DFL), (signal.SIGHUP, signal.SIG_IGN)):
        # until the server has its own handler: no traceback, and nothing to reload yet
        signal.signal(number, handler)
    worker, listening, controlling = map(int, arguments)
    with closing(Control(socket.socket(fileno=controlling))) as control:
        return work(worker, socket.socket(fileno=listening), control)


def work(worker: int, bound: socket.socket, control: Control) -> int:
    """Serve with the settings of the environment; report a refusal to the supervisor."""
    from teddy.model.errors import TeddyError
    from teddy.service.observability.log import configure_logs
    from teddy.service.settings import read_settings

    try:
        settings = read_settings()
        control.watch(lambda: end_without_supervisor(settings))
        configure_logs(settings.log_level)
        return run(settings, worker, bound, control)
    except TeddyError as error:
        control.refuse(str(error))
        return REFUSED_STATUS


def run(settings: "Settings", worker: int, bound: socket.socket, control: Control) -> int:
    """Accept connections once the models are loaded; until then the other workers do.

    If there is no model yet, one worker accepts connections and answers that it is not ready.
    """
    from teddy.model.errors import TeddyError
    from teddy.service.api.routes import tell_other_workers
    from teddy.service.app import create_app
    from teddy.service.http.acceptor import COUNTS_FILE, ConnectionCounts
    from teddy.service.inference.model_files import model_loader
    from teddy.service.observability.worker_metrics import DIRECTORY
    from teddy.service.process.server import Server

    def on_ready() -> None:
        server.open()
        control.ready()
        if waited:
            tell_other_workers()  # they need not wait until they look

    def on_waiting() -> None:
        waited.append(True)
        if counts.no_worker_accepts():  # one is enough to say that nothing can be answered
            server.open()

    def on_load_failure(error: TeddyError) -> None:
        control.refuse(str(error))
        refusals.append(error)
        server.should_exit = True

    def on_beat() -> None:
        control.alive()
        app.state.service.metrics.process.measure()

    refusals: list[TeddyError] = []
    waited: list[bool] = []
    app = create_app(
        settings,
        model_loader(settings),
        on_ready=on_ready,
        on_load_failure=on_load_failure,
        on_waiting=on_waiting,
    )
    counts = ConnectionCounts(Path(os.environ[DIRECTORY]) / COUNTS_FILE, worker)
    server = Server(app, settings, closed=True, counts=counts, on_beat=on_beat)
    server.run(sockets=[bound])
    return REFUSED_STATUS if refusals else 0


def end_without_supervisor(settings: "Settings") -> None:
    """Finish what is in flight, as after SIGINT: the next supervisor may want the port.

    Then exit in any case.
    """
    from shutil import rmtree

    from teddy.service.inference.kept_models import KEPT_DIRECTORY
    from teddy.service.observability.log import flush_logs
    from teddy.service.observability.worker_metrics import DIRECTORY

    for variable in (DIRECTORY, KEPT_DIRECTORY):  # the supervisor cannot any more
        rmtree(os.environ[variable], ignore_errors=True)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(settings.shutdown_grace_seconds + CUT_SECONDS)
    flush_logs()
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
