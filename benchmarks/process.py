"""Child processes that answer line by line, each line awaited no longer than the time left."""

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from benchmarks.contenders.contender import Entrant
from benchmarks.machine import environment
from benchmarks.rounds import Clock

ROOT = Path(__file__).parents[1]
PATIENCE_SECONDS = 5.0
"""With a process that is to end."""


class OutOfTimeError(Exception):
    """The time of the whole benchmark is over."""


class ContenderError(Exception):
    """A contender could not go on; the message is the last line that it wrote on standard error."""


class Child:
    """A process whose standard output is read by lines; its standard error goes to a file."""

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str], errors: Path, clock: Clock
    ) -> None:
        self._errors = errors
        self._clock = clock
        with errors.open("w") as stderr:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=variables,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                start_new_session=True,
            )
        self._unread = b""

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def write_line(self, line: str) -> None:
        """Raises ContenderError when the process has gone."""
        try:
            _pipe(self._process.stdin).write(line.encode() + b"\n")
            _pipe(self._process.stdin).flush()
        except BrokenPipeError:
            raise self._gone() from None

    def read_line(self) -> str:
        """Raises OutOfTimeError, or ContenderError when the process has gone."""
        output = _pipe(self._process.stdout)
        while b"\n" not in self._unread:
            if not select.select([output], [], [], max(0.0, self._clock.left()))[0]:
                raise OutOfTimeError
            arrived = os.read(output.fileno(), 1 << 16)
            if not arrived:
                raise self._gone()
            self._unread += arrived
        line, _, self._unread = self._unread.partition(b"\n")
        return line.decode()

    def stop(self) -> None:
        """End the process: ask it, and kill it if it takes its time or no time is left."""
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()
        self._process.terminate()
        try:
            self._process.wait(min(PATIENCE_SECONDS, max(0.0, self._clock.left())))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # Processes that it has started itself may be waiting for it still.
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _pipe(self._process.stdout).close()

    def _gone(self) -> ContenderError:
        self._process.wait()
        return ContenderError(
            last_line(self._errors) or f"ended with exit code {self._process.returncode}"
        )


class Worker(Child):
    """A contender in a process of its own (`benchmarks.worker`), pinned to its cores."""

    def __init__(self, entrant: Entrant, cores: Sequence[int], folder: Path, clock: Clock) -> None:
        """Start it and wait for its first answer; `ready` says how long that took."""
        started = time.monotonic()
        task = json.dumps({"entrant": asdict(entrant), "cores": list(cores), "started": started})
        command = [sys.executable, "-m", "benchmarks.worker", task]
        # What spawns processes gives each of them one thread.
        threads = entrant.cores if entrant.kind == "transformer" else 1
        errors = folder / f"{entrant.name.replace(' ', '-')}-{entrant.cores}.stderr"
        super().__init__(command, environment(threads), errors, clock)
        self.entrant = entrant
        try:
            self.ready = self._answer()
        except BaseException:
            self.stop()
            raise

    def ask(self, operation: str, **arguments: object) -> dict[str, Any]:
        """What the worker's operation gives. Raises ContenderError and OutOfTimeError."""
        self.write_line(json.dumps({"operation": operation, **arguments}))
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.read_line())
        return answer


def run_to_end(command: Sequence[str], errors: Path, clock: Clock) -> None:
    """Runs a command that only has to succeed. Raises ContenderError and OutOfTimeError."""
    with errors.open("w") as stderr:
        try:
            limit = max(0.0, clock.left())
            done = subprocess.run(
                command,
                cwd=ROOT,
                env=environment(1),
                stdout=stderr,
                stderr=stderr,
                timeout=limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise OutOfTimeError from None
    if done.returncode:
        raise ContenderError(last_line(errors) or f"exit code {done.returncode}")


def last_line(path: Path) -> str:
    """The last line that is not blank."""
    lines = [
        line
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    return lines[-1].strip() if lines else ""


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream, "the process was started with pipes"
    return stream
