"""Prometheus and Alertmanager from this machine's own binaries, watching a Teddy: `make monitor`.

    python -m deploy.monitoring [--teddy URL ...] [--webhook URL] [--textfile-dir DIR]

Alerts are written here as they come, or sent to the webhook. With --textfile-dir a node-exporter
reads the files that `teddy train --metrics-file` leaves there. All listen on loopback only, and end
with this: on Ctrl-C, on SIGTERM, or when one of them ends by itself. What was measured stays in the
data directory. Exit status 2 if something is missing.

14:02:11  firing    page    TeddyDown: Teddy does not answer (docs/runbooks.md#teddydown)
"""

import argparse
import json
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from deploy.monitoring.configuration import Addresses, write_configuration
from deploy.monitoring.programs import (
    Daemon,
    MonitoringError,
    PortTakenError,
    alertmanager,
    node_exporter,
    prometheus,
    running,
)
from teddy.model.errors import TeddyError

ALIVE = "alive"
"""The receiver of the alert that always fires, which is no news."""

Notification = Mapping[str, Any]
"""Of one or more alerts that belong together, as Alertmanager's webhooks have it (version 4)."""

HOST = "127.0.0.1"
DATA = Path("runs/monitor")


def lines_of(notification: Notification) -> Iterator[str]:
    """Yield a line for each alert."""
    if notification["receiver"] == ALIVE:
        return
    time = datetime.now().astimezone().strftime("%H:%M:%S")
    for alert in notification["alerts"]:
        labels, said = alert["labels"], alert["annotations"]
        urgency = f"{time}  {alert['status']:<8}  {labels['severity']:<6}"
        yield f"{urgency}  {labels['alertname']}: {said['summary']} ({said['runbook_url']})"


@contextmanager
def receiving(tell: Callable[[Notification], None]) -> Iterator[str]:
    """Send each notification to the URL given, on a free port of this machine; from threads."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tell(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log no requests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What to watch, and where the programs that do so listen and write."""

    teddy: Sequence[str]
    webhook: str | None
    text_files: Path | None
    data: Path
    prometheus: str
    alertmanager: str
    node_exporter: str

    def daemons(self) -> Iterator[Daemon]:
        """Yield what is to run. Raises MissingProgramError."""
        yield prometheus(self.data, self.prometheus)
        yield alertmanager(self.data, self.alertmanager)
        if self.text_files is not None:
            yield node_exporter(self.data, self.node_exporter, self.text_files)

    def addresses(self, webhook: str) -> Addresses:
        """Where things are, for the configuration."""
        return Addresses(
            teddy=self.teddy,
            prometheus=[self.prometheus],
            alertmanager=[self.alertmanager],
            node_exporter=[] if self.text_files is None else [self.node_exporter],
            webhook=webhook,
        )


def main() -> int:
    """Run until a signal; gives the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        watch(read_arguments(sys.argv[1:]))
    except KeyboardInterrupt:
        return 0
    except (TeddyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def watch(what: Watch) -> None:
    """Run the programs, and say where they are. Raises MonitoringError and OSError."""
    daemons = list(what.daemons())
    for daemon in daemons:
        check_free(daemon)
    what.data.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        webhook = what.webhook or stack.enter_context(receiving(show))
        write_configuration(what.data, what.addresses(webhook))
        together = stack.enter_context(running(daemons))
        together.wait_ready()
        print(introduction(what), flush=True)
        together.watch()


def show(notification: Notification) -> None:
    """Write a notification on the terminal."""
    for line in lines_of(notification):
        print(line, flush=True)


def introduction(what: Watch) -> str:
    """Return what runs where."""
    told = (
        f"Alerts go to {what.webhook}." if what.webhook else "Alerts are written here as they come."
    )
    return (
        f"Watching {', '.join(what.teddy)}:\n"
        f"  http://{what.prometheus}/  Prometheus: what fires, what is watched, and any question\n"
        f"  http://{what.alertmanager}/  Alertmanager: receivers\n"
        f"{told} Ctrl-C ends it; what was measured stays in {what.data}."
    )


def check_free(daemon: Daemon) -> None:
    """Raise PortTakenError for a port in use: Debian starts the services that it installs."""
    host, _, port = daemon.address.rpartition(":")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, int(port)))
        except OSError as error:
            raise PortTakenError(
                f"{daemon.address} is taken ({error.strerror}). "
                "If by the service that Debian starts, `systemctl stop` "
                f"it; or name another port: --{daemon.name.lower()}-port"
            ) from error


def read_arguments(arguments: Sequence[str]) -> Watch:
    """Return the command line. Raises MonitoringError for what cannot be watched."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.monitoring", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add(
        "--teddy",
        action="append",
        metavar="URL",
        help="what to watch; repeatable [http://127.0.0.1:8000]",
    )
    add("--webhook", metavar="URL", help="where alerts are sent, instead of to this terminal")
    add("--textfile-dir", type=Path, metavar="DIR", help="where training jobs leave their metrics")
    add(
        "--data-dir",
        type=Path,
        metavar="DIR",
        default=DATA,
        help=f"what is measured is kept there [{DATA}]",
    )
    add("--prometheus-port", type=int, metavar="PORT", default=9090, help="[9090]")
    add("--alertmanager-port", type=int, metavar="PORT", default=9093, help="[9093]")
    add("--node-exporter-port", type=int, metavar="PORT", default=9100, help="[9100]")
    given = parser.parse_args(arguments)
    return Watch(
        teddy=[address_of(url) for url in given.teddy or ["http://127.0.0.1:8000"]],
        webhook=given.webhook,
        text_files=given.textfile_dir,
        data=given.data_dir,
        prometheus=f"{HOST}:{given.prometheus_port}",
        alertmanager=f"{HOST}:{given.alertmanager_port}",
        node_exporter=f"{HOST}:{given.node_exporter_port}",
    )


def address_of(url: str) -> str:
    """`HOST:PORT` of a URL. Raises MonitoringError for one that is not plain HTTP."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.netloc or parts.path.strip("/"):
        raise MonitoringError(f"--teddy: {url} is not http://HOST:PORT")
    return parts.netloc


if __name__ == "__main__":
    sys.exit(main())
