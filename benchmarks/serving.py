"""The time a `teddy serve` process takes to its first answer, and its memory then."""

import json
import os
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from benchmarks.contenders.contender import FIRST_TEXT
from benchmarks.machine import memory_bytes
from benchmarks.process import Child
from benchmarks.rounds import Clock

COMMAND = "from teddy.cli import main; main()"
ANSWER_SECONDS = 30


def serve_once(model_file: Path | None, folder: Path, clock: Clock) -> dict[str, Any]:
    """Start it on a free port, let it tag one text, and stop it: seconds and bytes.

    Raises ContenderError when it does not start.
    """
    chosen = [] if model_file is None else ["--model", f"bench={model_file.resolve()}"]
    command = [
        sys.executable,
        "-c",
        COMMAND,
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        *chosen,
    ]
    started = time.monotonic()
    server = Child(command, os.environ, folder / "serve.stderr", clock)
    try:
        # "Teddy serves en at http://127.0.0.1:43210 (to try ...": it says so when the model is
        # loaded.
        address = next(word for word in server.read_line().split() if word.startswith("http://"))
        ready = time.monotonic() - started
        _ask(address)
        return {
            "ready_seconds": ready,
            "first_answer_seconds": time.monotonic() - started,
            **memory_bytes(server.pid),
        }
    finally:
        server.stop()


def _ask(address: str) -> None:
    body = json.dumps({"text": FIRST_TEXT}).encode()
    request = urllib.request.Request(
        f"{address}/v1/entities", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
        response.read()
