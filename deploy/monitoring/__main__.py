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
from typing import Any, NoReturn
from urllib.parse import urlsplit

from deploy.monitoring.configuration import Addresses, write_configuration
from deploy.monitoring.programs import (
    Daemon,
    MonitoringError,
    alertmanager,
    node_exporter,
    prometheus,
    running,
    wait_ready,
    watch,
)
from teddy.model.errors import TeddyError

ALIVE = "alive"
"""The receiver of the alert that always fires."""

Notification = Mapping[str, Any]
"""One or more alerts, as Alertmanager's webhooks send them (version 4)."""

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

    with ThreadingHTTPServer((HOST, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """The services to watch, and the addresses and the folder of the programs that do so."""

    teddy: Sequence[str]
    webhook: str | None
    text_files: Path | None
    data: Path
    prometheus: str
    alertmanager: str
    node_exporter: str


def main() -> int:
    """Run until a signal; return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    try:
        run(read_arguments(sys.argv[1:]))
    except KeyboardInterrupt:
        return 0
    except (TeddyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run(what: Watch) -> NoReturn:
    """Run the programs, and print their addresses. Raises MonitoringError and OSError."""
    daemons = [
        prometheus(what.data, what.prometheus),
        alertmanager(what.data, what.alertmanager),
    ]
    if what.text_files is not None:
        daemons.append(node_exporter(what.data, what.node_exporter, what.text_files))
    for daemon in daemons:
        check_free(daemon)
    what.data.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        addresses = Addresses(
            teddy=what.teddy,
            prometheus=[what.prometheus],
            alertmanager=[what.alertmanager],
            node_exporter=[] if what.text_files is None else [what.node_exporter],
            webhook=what.webhook or stack.enter_context(receiving(show)),
        )
        write_configuration(what.data, addresses)
        processes = stack.enter_context(running(daemons))
        wait_ready(processes)
        target = f"go to {what.webhook}" if what.webhook else "are written here as they come"
        print(
            f"Watching {', '.join(what.teddy)}:\n"
            f"  http://{what.prometheus}/  Prometheus: alerts, targets, and any query\n"
            f"  http://{what.alertmanager}/  Alertmanager: receivers\n"
            f"Alerts {target}. Ctrl-C ends it; what was measured stays in {what.data}.",
            flush=True,
        )
        watch(processes)


def show(notification: Notification) -> None:
    """Write a notification on the terminal."""
    for line in lines_of(notification):
        print(line, flush=True)


def check_free(daemon: Daemon) -> None:
    """Raise MonitoringError for a port in use: Debian starts the services that it installs."""
    host, _, port = daemon.address.rpartition(":")
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, int(port)))
        except OSError as error:
            raise MonitoringError(
                f"{daemon.address} is taken ({error.strerror}). If by the service that Debian "
                "starts, `systemctl stop` it; or name another port: "
                f"--{daemon.name.lower()}-port"
            ) from error


def read_arguments(arguments: Sequence[str]) -> Watch:
    """Read the command line. Raises MonitoringError for a URL that cannot be watched."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.monitoring", description=__doc__.partition("\n")[0]
    )
    add = parser.add_argument
    add("--teddy", action="append", metavar="URL", help="repeatable [http://127.0.0.1:8000]")
    add("--webhook", metavar="URL", help="where alerts are sent, instead of to this terminal")
    add("--textfile-dir", type=Path, metavar="DIR", help="where training jobs leave their metrics")
    add("--data-dir", type=Path, metavar="DIR", default=DATA, help=f"of what is measured [{DATA}]")
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
    """Return `HOST:PORT` of a URL. Raises MonitoringError for one that is not plain HTTP."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.netloc or parts.path.strip("/"):
        raise MonitoringError(f"--teddy: {url} is not http://HOST:PORT")
    return parts.netloc


if __name__ == "__main__":
    sys.exit(main())
