import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from teddy.service.commands import bound_threads, example_of, names_of, url
from teddy.service.http.acceptor import listen
from teddy.service.settings import Settings
from tests.service.live import listening

SECONDS = 60
"""No test decides by time; this keeps a broken one from hanging."""


def teddy_serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("TEDDY_")
    }
    command = [sys.executable, "-m", "teddy", "serve", *arguments]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


@pytest.mark.parametrize(
    "arguments", [["--port", "99999"], ["--workers", "0"], ["--model", "a b=x.teddy"]]
)
def test_a_bad_option_is_one_line_and_status_2(arguments: list[str]) -> None:
    done = teddy_serve(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"teddy: error: {arguments[0]}: ")
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_port_in_use_is_one_line_and_status_2() -> None:
    with listen("127.0.0.1", 0) as bound:
        bound.listen()
        port = bound.getsockname()[1]
        done = teddy_serve("--port", str(port))
    assert (done.returncode, done.stderr) == (
        2,
        f"teddy: error: cannot listen on 127.0.0.1:{port}: Address already in use\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bad_model_ends_the_server_with_status_2_and_the_reason(
    tmp_path: Path, workers: str
) -> None:
    file = tmp_path / "bad.teddy"
    file.write_bytes(b"not a model")
    done = teddy_serve("--port", "0", "--workers", workers, "--model", f"bad={file}")
    assert done.returncode == 2
    assert "not a Teddy model file" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("teddy: error: ")
    assert "Traceback" not in done.stderr


def test_another_address_than_loopback_needs_keys_or_a_decision() -> None:
    done = teddy_serve("--host", "0.0.0.0", "--port", "0")  # noqa: S104
    assert done.returncode == 2
    assert done.stderr.startswith("teddy: error: other machines can reach 0.0.0.0")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_the_models_are_loaded_ends_the_server_with_status_0(
    workers: str, number: int
) -> None:
    command = [sys.executable, "-m", "teddy", "serve", "--port", "0", "--workers", workers]
    sign = "a worker starts" if workers == "2" else "Application startup complete"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            assert any(sign in line for line in process.stderr)
            process.send_signal(number)
            assert "Traceback" not in process.stderr.read()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_what_is_served_is_told_by_name() -> None:
    assert names_of(Settings()) == "en"
    assert names_of(Settings(models={"a": Path("x"), "b": Path("y")})) == "a, b"
    assert names_of(Settings(models_dir=Path("shelf"))) == "the models in shelf"


@pytest.mark.parametrize("key", ["", "a-key-of-16-letters"])
def test_the_example_that_is_shown_asks_for_what_it_says(predictor: Any, key: str) -> None:
    async def run() -> str:
        async with listening(predictor, **({"api_keys": key} if key else {})) as live:
            example = example_of(Settings(), live.url, with_key=bool(key))
            command = example.partition("\n")[2].replace("curl ", "curl --silent ")
            shell = await asyncio.create_subprocess_shell(
                command, env=os.environ | {"KEY": key}, stdout=asyncio.subprocess.PIPE
            )
            return (await shell.communicate())[0].decode()

    assert '"text":"Roosevelt"' in asyncio.run(run())
    assert ("X-API-Key" in example_of(Settings(), "", with_key=bool(key))) == bool(key)


def test_the_command_is_imported_without_anything_heavy() -> None:
    program = (
        "import sys, teddy.service.commands; "
        "print({'torch', 'fastapi', 'pydantic', 'structlog'} & set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )


def test_threads_are_bounded_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("OMP_WAIT_POLICY", "removed below")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    bound_threads(Settings(threads=3))
    assert (os.environ["OMP_NUM_THREADS"], os.environ["OMP_WAIT_POLICY"]) == ("7", "passive")


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("::", "localhost"), ("", "localhost"), ("::1", "[::1]")],
)
def test_the_address_that_is_shown_can_be_opened_on_this_machine(host: str, shown: str) -> None:
    assert url(host, 8000) == f"http://{shown}:8000"
