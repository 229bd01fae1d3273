"""A real Prometheus and a real Alertmanager for a test, on free ports of this machine.

with Prometheus(directory) as prometheus:  # of the configuration of write_configuration()
    prometheus.wait_for('up{job="teddy"} == 1')
"""

import json
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from benchmarks.load.server import free_port
from deploy.monitoring import programs
from tests.monitoring.binaries import binary

PATIENCE_SECONDS = 60.0
"""Only what hangs takes so long."""
PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Sample:
    """One series of a query's result, at one time."""

    labels: Mapping[str, str]
    value: float


class Daemon:
    """A program that serves HTTP on `port`: a context manager, which is ready in its block."""

    def __init__(self, command: Sequence[str | Path], log: Path, port: int) -> None:
        self._command, self._log, self.port = command, log, port

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_until(
                lambda: self._ready(), lambda: f"{self._command[0]} is not ready: {self.tail()}"
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self._log.read_text(errors="replace")[-3000:]

    def get(self, path: str, **parameters: str) -> Any:
        """What it answers in JSON. Raises HTTPError for an answer that is none."""
        with urlopen(
            f"http://{self.address}{path}?{urlencode(parameters)}", timeout=PATIENCE_SECONDS
        ) as answer:
            return json.load(answer)

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.tail()
        try:
            with urlopen(f"http://{self.address}/-/ready", timeout=PATIENCE_SECONDS) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False


class Prometheus(Daemon):
    """Runs the prometheus.yml of `directory`, and stores its data there too."""

    def __init__(self, directory: Path, *arguments: str, port: int | None = None) -> None:
        binary("prometheus")
        port = port or free_port()
        program = programs.prometheus(directory, f"127.0.0.1:{port}")
        super().__init__((*program.command, *arguments), program.log, port)

    def query(self, expression: str) -> list[Sample]:
        """The series that an expression gives now. Raises HTTPError for one that is none."""
        answer = self.get("/api/v1/query", query=expression)["data"]
        if answer["resultType"] == "scalar":
            return [Sample({}, float(answer["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def wait_for(self, expression: str, seconds: float = PATIENCE_SECONDS) -> list[Sample]:
        """The series of an expression, once it gives any. Fails the test if it does not."""
        wait_until(
            lambda: bool(self.query(expression)),
            lambda: f"never came: {expression}; {self.tail()}",
            seconds,
        )
        return self.query(expression)

    def firing(self) -> set[str]:
        """The names of the alerts that fire."""
        alerts = self.get("/api/v1/alerts")["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}


class Alertmanager(Daemon):
    """Runs the alertmanager.yml of `directory`, alone."""

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        binary("prometheus-alertmanager")
        port = port or free_port()
        program = programs.alertmanager(directory, f"127.0.0.1:{port}")
        super().__init__(program.command, program.log, port)


def wait_until(
    is_so: Callable[[], bool], otherwise: Callable[[], str], seconds: float = PATIENCE_SECONDS
) -> None:
    """Return when it is so. Fails the test, with what `otherwise` says, if that takes too long."""
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, otherwise()
        time.sleep(PAUSE_SECONDS)
