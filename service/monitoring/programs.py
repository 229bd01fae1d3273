"""The programs that watch Teddy, as Debian or Prometheus's own releases name them, and how each is started.

Only options that the oldest of them in use (Debian 12: Prometheus 2.42, Alertmanager 0.25, node-exporter 1.5) and the
newest both know.
"""

import shutil
from pathlib import Path

from teddy.service.monitoring.configuration import ALERTMANAGER, PROMETHEUS
from teddy.service.monitoring.daemon import Daemon
from teddy.service.monitoring.errors import MissingProgramError

RETENTION = "35d"
"""Longer than the month that an objective is for."""


def prometheus(directory: Path, address: str) -> Daemon:
    """Prometheus with the configuration in `directory`; it stores its data there. Raises MissingProgramError."""
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
    """What reads the files of training jobs, and nothing of the machine. Raises MissingProgramError."""
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
    """The path of the first program of these names that is installed. Raises MissingProgramError."""
    for name in names:
        if path := shutil.which(name):
            return path
    raise MissingProgramError(
        f"{names[0]} is not installed. On Debian and Ubuntu: apt install prometheus prometheus-alertmanager "
        "prometheus-node-exporter; elsewhere: https://prometheus.io/download. With Docker there is make up"
    )
