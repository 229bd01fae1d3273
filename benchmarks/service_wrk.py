"""wrk, a load generator in C that leaves the servers their cores; ours in Python in its absence.

wrk is Debian's package of that name. It asks in a closed loop and counts refusals; it does not look
into answers."""

import asyncio
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.connection import Answer
from benchmarks.load.generator import Load
from benchmarks.load.question import Question

SCRIPT = """
local requests, sent = {}, 0

function init(arguments)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  for line in io.lines(arguments[1]) do
    requests[#requests + 1] = wrk.format(nil, nil, nil, line)
  end
  sent = tonumber(arguments[2])
end

function request()
  sent = sent + 1
  return requests[sent % #requests + 1]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "errors": %d}\\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


class LoadError(Exception):
    """A load generator that failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one turn gave; seconds. `errors` counts refusals and connections that broke."""

    per_second: float
    p50: float
    p99: float
    errors: int


class Unchecked(Question):
    """Yield for contenders whose answers are not known: any 200 will do."""

    def fault(self, answer: Answer, request_id: bytes) -> str | None:  # noqa: ARG002
        """What is wrong with an answer."""
        return None if answer.status == 200 else f"status {answer.status}"


class Wrk:
    """Bodies in a file, sent again and again to whichever server has its turn."""

    def __init__(self, texts: Sequence[str], folder: Path) -> None:
        self._bodies = [json.dumps({"text": text}) for text in texts]
        self._program = shutil.which("wrk")
        self._file = folder / "bodies.jsonl"
        self._file.write_text("\n".join(self._bodies))
        self._script = folder / "wrk.lua"
        self._script.write_text(SCRIPT)
        self._next = 0

    @property
    def is_there(self) -> bool:
        """Whether it is wrk; else Python sends, for all alike, and all rates are lower for it."""
        return self._program is not None

    async def turn(self, port: int, connections: int, seconds: float) -> Measured:
        """One closed loop at a server on this machine, from where the last turn stopped.

        Raises LoadError.
        """
        start = self._next
        self._next += round(4000 * seconds) + 1
        if self._program is None:
            return await self._python(port, start, connections, seconds)
        process = await asyncio.create_subprocess_exec(
            self._program,
            *(
                "-t1",
                f"-c{connections}",
                f"-d{max(1, round(seconds))}s",
                "--timeout",
                "20s",
                "-s",
                str(self._script),
            ),
            f"http://127.0.0.1:{port}/v1/entities",
            *("--", str(self._file), str(start)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        return parse(output.decode())

    async def _python(self, port: int, start: int, connections: int, seconds: float) -> Measured:
        questions = [
            Unchecked(path="/v1/entities", body=body.encode(), found=None) for body in self._bodies
        ]
        tally = await Load.of(port, questions, start).closed(connections, seconds)
        errors = tally.sent - tally.ok
        return Measured(
            per_second=tally.ok_per_second,
            p50=tally.percentile(50),
            p99=tally.percentile(99),
            errors=errors,
        )


def parse(output: str) -> Measured:
    """What the script's last line says. Raises LoadError."""
    try:
        said = json.loads(output.strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise LoadError(f"wrk: {output.strip()[-200:]}") from None
    return Measured(
        per_second=said["requests"] / said["microseconds"] * 1e6,
        p50=said["p50"] / 1e6,
        p99=said["p99"] / 1e6,
        errors=said["errors"],
    )
