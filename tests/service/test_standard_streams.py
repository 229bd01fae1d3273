"""`teddy serve` whose standard output is full, closed or not read: nobody is left waiting."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from teddy.service.http.acceptor import listen

pytestmark = pytest.mark.slow

SECONDS = 180
"""No test decides by time; this keeps a broken one from hanging."""


def full_pipe() -> tuple[int, int]:
    """A pipe that takes nothing more, whose other end is open and not read."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


@contextmanager
def standard_output(kind: str) -> Iterator[int | None]:
    """A descriptor of that kind; None where it is to be closed."""
    if kind == "closed":
        yield None
        return
    reading, descriptor = (
        full_pipe() if kind == "not read" else os.pipe() if kind == "broken" else (None, -1)
    )
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    if kind == "broken" and reading is not None:
        os.close(reading)
        reading = None
    try:
        yield descriptor
    finally:
        os.close(descriptor)
        if reading is not None:
            os.close(reading)


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_ready(url: str) -> bool:
    with suppress(httpx.TransportError):
        return httpx.get(f"{url}/health/ready", timeout=SECONDS).is_success
    return False


@pytest.mark.parametrize(
    ("workers", "kind"),
    [("1", "full disk"), ("2", "full disk"), ("2", "broken"), ("1", "closed"), ("2", "not read")],
)
def test_what_is_printed_stops_no_service(
    tiny_model: Path, tmp_path: Path, workers: str, kind: str
) -> None:
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    command = [sys.executable, "-m", "teddy", "serve", "--port", str(port)]
    command += ["--workers", workers, "--model", f"tiny={tiny_model}"]
    if kind == "closed":
        command = ["sh", "-c", 'exec "$@" >&-', "sh", *command]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TEDDY_")}
    log = tmp_path / "log"
    with (
        standard_output(kind) as output,
        log.open("wb") as errors,
        subprocess.Popen(command, env=clean, stdout=output, stderr=errors) as process,
    ):
        try:
            until(lambda: is_ready(f"http://127.0.0.1:{port}") or process.poll() is not None)
            answer = httpx.post(
                f"http://127.0.0.1:{port}/v1/entities", json={"text": "Oslo"}, timeout=SECONDS
            )
            assert answer.is_success
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
        finally:
            process.kill()
    assert "Traceback" not in log.read_text()
    assert "Exception ignored" not in log.read_text()


@pytest.mark.parametrize(
    ("workers", "stream"), [("1", "2>/dev/full"), ("2", "2>&-"), ("1", ">&- 2>&-")]
)
def test_a_refusal_that_cannot_be_told_has_its_exit_code(
    tmp_path: Path, stream: str, workers: str
) -> None:
    bad = tmp_path / "bad.teddy"
    bad.write_bytes(b"not a model")
    command = [sys.executable, "-m", "teddy", "serve", "--port", "0", "--workers", workers]
    shell = ["sh", "-c", f'exec "$@" {stream}', "sh", *command, "--model", f"bad={bad}"]
    assert subprocess.run(shell, timeout=SECONDS, check=False).returncode == 2
