"""The programs that watch Teddy: how they are started, watched and ended.

Only options that the oldest of them in use (Debian 12: Prometheus 2.42, Alertmanager 0.25,
node-exporter 1.5) and the newest both know.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import NoReturn

from deploy.monitoring.configuration import ALERTMANAGER, PROMETHEUS
from teddy.model.system.processes import reap
from teddy.service.errors import ServiceError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 5.0
LAST_LINES = 5
RETENTION = "35d"
"""Longer than the 30 days of an objective."""


class MonitoringError(ServiceError):
    """A program is missing or has ended, or a port is taken; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """A program that serves HTTP on `address` (HOST:PORT), and is ready at `ready_path`."""

    name: str
    command: Sequence[str]
    log: Path
    address: str
    ready_path: str

    def start(self) -> "subprocess.Popen[bytes]":
        """Start it, in a process group of its own: a Ctrl-C reaches it once, from here."""
        with self.log.open("wb") as log:
            return subprocess.Popen(  # noqa: S603
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )

    def is_ready(self) -> bool:
        """Tell whether it works."""
        connection = HTTPConnection(self.address, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status == 200
        except (HTTPException, OSError):
            return False
        finally:
            connection.close()


Processes = Mapping[Daemon, "subprocess.Popen[bytes]"]


@contextmanager
def running(daemons: Sequence[Daemon]) -> Iterator[Processes]:
    """Run them all during the block; ask them to end behind it, and kill those that do not."""
    processes: dict[Daemon, subprocess.Popen[bytes]] = {}
    try:
        for daemon in daemons:
            processes[daemon] = daemon.start()
        yield processes
    finally:
        for process in processes.values():
            process.terminate()
        end = time.monotonic() + STOP_SECONDS
        for process in processes.values():
            reap(process, max(0.0, end - time.monotonic()))


def wait_ready(processes: Processes) -> None:
    """Wait until all programs work. Raises MonitoringError."""
    end = time.monotonic() + START_SECONDS
    while slow := [daemon.name for daemon in processes if not daemon.is_ready()]:
        check(processes)
        if time.monotonic() > end:
            raise MonitoringError(f"not ready after {START_SECONDS:.0f} s: {', '.join(slow)}")
        time.sleep(PAUSE_SECONDS)


def watch(processes: Processes) -> NoReturn:
    """Wait for ever. Raises MonitoringError when a program has ended."""
    while True:
        check(processes)
        time.sleep(PAUSE_SECONDS)


def check(processes: Processes) -> None:
    """Raise MonitoringError, with the last lines that it wrote, if a program has ended."""
    for daemon, process in processes.items():
        if (status := process.poll()) is not None:
            said = "\n".join(daemon.log.read_text(errors="replace").splitlines()[-LAST_LINES:])
            raise MonitoringError(f"{daemon.name} has ended with {status}:\n{said}")


def prometheus(directory: Path, address: str) -> Daemon:
    """Return Prometheus, with configuration and data in `directory`. Raises MonitoringError."""
    command = (
        find("prometheus"),
        f"--config.file={directory / PROMETHEUS}",
        f"--storage.tsdb.path={directory / 'prometheus'}",
        f"--storage.tsdb.retention.time={RETENTION}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )
    return Daemon("Prometheus", command, directory / "prometheus.log", address, "/-/ready")


def alertmanager(directory: Path, address: str) -> Daemon:
    """Return Alertmanager, with configuration and data in `directory`. Raises MonitoringError."""
    command = (
        find("alertmanager", "prometheus-alertmanager"),
        f"--config.file={directory / ALERTMANAGER}",
        f"--storage.path={directory / 'alertmanager'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    return Daemon("Alertmanager", command, directory / "alertmanager.log", address, "/-/ready")


def node_exporter(directory: Path, address: str, text_files: Path) -> Daemon:
    """Return a node-exporter of nothing but the files of training jobs. Raises MonitoringError."""
    command = (
        find("node_exporter", "prometheus-node-exporter"),
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={text_files}",
        f"--web.listen-address={address}",
        "--log.level=warn",
    )
    return Daemon("node-exporter", command, directory / "node-exporter.log", address, "/metrics")


def find(*names: str) -> str:
    """Return the path of the first of these programs that there is. Raises MonitoringError."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise MonitoringError(
        f"{names[0]} is not installed. On Debian and Ubuntu: apt install prometheus "
        "prometheus-alertmanager prometheus-node-exporter; elsewhere: "
        "https://prometheus.io/download. With Docker there is make up"
    )
