"""The programs that watch Teddy: how each is started, watched and ended.

Only options that the oldest of them in use (Debian 12: Prometheus 2.42, Alertmanager 0.25,
node-exporter 1.5) and the newest both know.
"""

import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from deploy.monitoring.configuration import ALERTMANAGER, PROMETHEUS
from teddy.service.errors import ServiceError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
PAUSE_SECONDS = 0.1
ANSWER_SECONDS = 5.0
LAST_LINES = 5
RETENTION = "35d"
"""Longer than the month that an objective is for."""


class MonitoringError(ServiceError):
    """The root; the message says what to do about it."""


class MissingProgramError(MonitoringError):
    """A program that is not installed."""


class PortTakenError(MonitoringError):
    """A port that another process listens on."""


class EndedError(MonitoringError):
    """A program that ended by itself; the message has the last lines that it wrote."""


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
        """Whether it works."""
        connection = HTTPConnection(self.address, timeout=ANSWER_SECONDS)
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status == 200
        except (HTTPException, OSError):
            return False
        finally:
            connection.close()

    def last_lines(self) -> str:
        """Return the end of what it wrote."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LAST_LINES:])


class Daemons:
    """Programs that are running."""

    def __init__(self, processes: "dict[Daemon, subprocess.Popen[bytes]]") -> None:
        self._processes = processes

    def check(self) -> None:
        """Raise EndedError if one of them has ended."""
        for daemon, process in self._processes.items():
            if (status := process.poll()) is not None:
                raise EndedError(f"{daemon.name} has ended with {status}:\n{daemon.last_lines()}")

    def wait_ready(self) -> None:
        """Wait until all programs work. Raises EndedError."""
        end = time.monotonic() + START_SECONDS
        while not all(daemon.is_ready() for daemon in self._processes):
            self.check()
            if time.monotonic() > end:
                slow = ", ".join(daemon.name for daemon in self._processes if not daemon.is_ready())
                raise EndedError(f"not ready after {START_SECONDS:.0f} s: {slow}")
            time.sleep(PAUSE_SECONDS)

    def watch(self) -> None:
        """Wait for ever. Raises EndedError when a program has ended."""
        while True:
            self.check()
            time.sleep(PAUSE_SECONDS)


@contextmanager
def running(daemons: Sequence[Daemon]) -> Iterator[Daemons]:
    """Start them all; when the block ends, however it does, so do they."""
    processes: dict[Daemon, subprocess.Popen[bytes]] = {}
    try:
        for daemon in daemons:
            processes[daemon] = daemon.start()
        yield Daemons(processes)
    finally:
        _end(list(processes.values()))


def _end(processes: "Sequence[subprocess.Popen[bytes]]") -> None:
    """Ask all to end, wait, and kill those that do not."""
    for process in processes:
        process.terminate()
    end = time.monotonic() + STOP_SECONDS
    for process in processes:
        try:
            process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def prometheus(directory: Path, address: str) -> Daemon:
    """Prometheus with the configuration in `directory`; it stores its data there.

    Raises MissingProgramError.
    """
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
    """Alertmanager, alone, with the configuration in `directory`. Raises MissingProgramError."""
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
    """Return what reads the files of training jobs, and nothing of the machine.

    Raises MissingProgramError.
    """
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
    """Return the path of the first program of these names that is installed.

    Raises MissingProgramError.
    """
    for name in names:
        if path := shutil.which(name):
            return path
    raise MissingProgramError(
        f"{names[0]} is not installed. On Debian and Ubuntu: apt install prometheus "
        "prometheus-alertmanager "
        "prometheus-node-exporter; elsewhere: https://prometheus.io/download. "
        "With Docker there is make up"
    )
