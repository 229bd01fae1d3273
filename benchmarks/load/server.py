"""A real `teddy serve`, or another server, as a process on a free port of this machine."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load.connection import BrokenConnectionError, Connection
from benchmarks.load.generator import get
from benchmarks.load.processes import descendants, holders

ROOT = Path(__file__).parents[2]
COMMAND_LINE = "from teddy.cli import main; main()"
START_SECONDS = 120.0
STOP_SECONDS = 60.0
PAUSE_SECONDS = 0.02
CONNECTIONS_TO_SEE_ALL = 16


class ServerError(Exception):
    """A server that did not start, or did not stop; the message has the end of its log."""


class Server:
    """A process that serves HTTP on `port`; a context manager that ends it, whatever happened.

    Standard output and error go to `log`, or to `log` and wherever `stderr` says.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        port: int,
        variables: Mapping[str, str] | None = None,
        stderr: Path | None = None,
    ) -> None:
        self.log = log
        self.port = port
        log.write_bytes(b"")
        with log.open("ab") as output, (stderr or log).open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(variables or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )

    @classmethod
    def teddy(
        cls,
        log: Path,
        *arguments: str,
        port: int | None = None,
        stderr: Path | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Self:
        """Start `teddy serve` with such arguments, and the settings by name in its environment."""
        port = port or free_port()
        command = [
            sys.executable,
            "-c",
            COMMAND_LINE,
            "serve",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            *arguments,
        ]
        variables = {
            f"TEDDY_{name.upper()}": str(value) for name, value in (settings or {}).items()
        }
        return cls(command, log, port=port, stderr=stderr, variables=variables)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the process that was started: the supervisor, where there are several workers."""
        return self.process.pid

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def signal(self, number: int) -> None:
        """Send a signal to the process that was started, and to no other."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Its exit status, once it has ended by itself. Raises ServerError if it does not."""
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            raise ServerError(f"did not end: {self.tail()}") from None

    def stop(self) -> int:
        """Ask it to end, as an orchestrator does, and wait. Raises ServerError."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it and all that it has started, at once."""
        for pid in descendants(self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:]

    def entries(self) -> Iterator[dict[str, Any]]:
        """The lines of its log that are JSON."""
        for line in self.log.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry

    def logged_statuses(self, prefix: str) -> Counter[int]:
        """Answers by status as the log has them, of requests whose id begins with `prefix`."""
        return Counter(
            int(entry["status"])
            for entry in self.entries()
            if entry.get("event") == "request" and entry["request_id"].startswith(prefix)
        )

    async def ready(self, path: str = "/health/ready", request: bytes | None = None) -> None:
        """Return when `path`, or `request`, is answered with 200. Raises ServerError."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise ServerError(f"ended with {self.process.returncode}: {self.tail()}")
            with suppress(OSError, BrokenConnectionError):
                if await status_of(self.port, request or get(path)) == 200:
                    return
            await asyncio.sleep(PAUSE_SECONDS)
        raise ServerError(f"not ready after {START_SECONDS:.0f} s: {self.tail()}")

    async def all_ready(self, workers: int, *, without: Iterable[int] = ()) -> set[int]:
        """Return the serving processes once enough are ready; none of them is in `without`.

        Which one a connection reaches is for the system to choose, so several are opened at a time.
        """
        await self.ready()
        seen: set[int] = set()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            seen |= await self._ready_now() - set(without)
            if len(seen) >= workers:
                return seen
            await asyncio.sleep(PAUSE_SECONDS)
        raise ServerError(
            f"{len(seen)} of {workers} workers after {START_SECONDS:.0f} s: {self.tail()}"
        )

    async def _ready_now(self) -> set[int]:
        connections = [
            await Connection.open("127.0.0.1", self.port) for _ in range(CONNECTIONS_TO_SEE_ALL)
        ]
        try:
            answers = await asyncio.gather(
                *(each.ask(get("/health/ready")) for each in connections), return_exceptions=True
            )
            serving = holders(self.port, descendants(self.pid))
            ready = [
                each
                for each, answer in zip(connections, answers, strict=True)
                if not isinstance(answer, BaseException) and answer.status == 200
            ]
            return {serving[each.port] for each in ready if each.port in serving}
        finally:
            await asyncio.gather(*(each.end() for each in connections))

    async def metrics(self) -> dict[str, float]:
        """All samples, by `name[label=value]...`, the labels in alphabetical order."""
        connection = await Connection.open("127.0.0.1", self.port)
        try:
            return parse_metrics((await connection.ask(get("/metrics"))).body)
        finally:
            await connection.end()


def parse_metrics(exposition: bytes) -> dict[str, float]:
    """The samples of Prometheus's text format."""
    return {
        sample.name
        + "".join(
            f"[{name}={value}]" for name, value in sorted(sample.labels.items())
        ): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
    }


def counted_statuses(metrics: Mapping[str, float], route: str | None = None) -> Counter[int]:
    """Requests by status as the metrics have them, of one route or of all."""
    counted: Counter[int] = Counter()
    for sample, value in metrics.items():
        name, *labels = sample.replace("]", "").split("[")
        if name == "teddy_requests_total" and (route is None or f"route={route}" in labels):
            status = next(label for label in labels if label.startswith("status="))
            counted[int(status.removeprefix("status="))] += int(value)
    return counted


async def status_of(port: int, request: bytes) -> int:
    """The status of one answer. Raises OSError and BrokenConnectionError."""
    connection = await Connection.open("127.0.0.1", port)
    try:
        return (await connection.ask(request)).status
    finally:
        await connection.end()


def free_port() -> int:
    """Return a port of this machine that is free now."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
