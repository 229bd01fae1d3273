"""`teddy serve` with model files that are bad, gone, late or new: real processes, models and
signals."""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from teddy.model.file.bundle import read_version
from teddy.service.http.acceptor import listen
from teddy.service.inference.kept_models import KEPT_DIRECTORY
from tests.service.test_workers import SECONDS, TEXT, Served, running, until

pytestmark = pytest.mark.slow


@contextmanager
def started(models: Path, log: Path, workers: str, **variables: str) -> Iterator[Served]:
    """`teddy serve` of a directory, from its start; none of its processes is left."""
    with listen("127.0.0.1", 0) as bound:
        port = bound.getsockname()[1]
    settings = {"TEDDY_MODELS_DIR": str(models), "TEDDY_RELOAD_POLL_SECONDS": "0.1"} | variables
    arguments = ("--port", str(port), "--workers", workers)
    with running(*arguments, log=log, variables=settings) as served:
        served.url = f"http://127.0.0.1:{port}"
        yield served


def put(source: Path, path: Path) -> None:
    """A model file, whole from its first moment, as `teddy promote` puts it."""
    shutil.copy(source, path.with_name(".new"))
    path.with_name(".new").rename(path)


def kill(served: Served, worker: int) -> None:
    """Kill a worker, and wait until its successor is ready."""
    n_ready = len(served.events("a worker is ready"))
    os.kill(served.pids()[worker], signal.SIGKILL)
    served.wait_for_events("a worker is ready", n_ready + 1)


def ask(served: Served, **options: Any) -> dict[str, Any]:
    """Ask on a connection of its own."""
    answer = httpx.post(f"{served.url}/v1/entities", json=TEXT | options, timeout=SECONDS)
    assert answer.is_success, answer.text
    model: dict[str, Any] = answer.json()["model"]
    return model


def readiness(served: Served) -> httpx.Response | None:
    with suppress(httpx.TransportError):
        return httpx.get(f"{served.url}/health/ready", timeout=SECONDS)
    return None


def is_ready(served: Served) -> bool:
    answer = readiness(served)
    return answer is not None and answer.is_success


@pytest.mark.parametrize("fate", ["bad", "bad in its place", "gone", "the directory too"])
def test_successors_serve_what_the_workers_before_them_served(
    tiny_model: Path, tmp_path: Path, fate: str
) -> None:
    models, version = tmp_path / "models", read_version(tiny_model)
    models.mkdir()
    put(tiny_model, models / "tiny.teddy")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with started(models, tmp_path / "log", "2", TMPDIR=str(temporary)) as served:
        served.wait_for_events("a worker is ready", 2)
        kept = Path(f"/proc/{served.pids()[0]}/environ").read_bytes().split(b"\0")
        assert any(each.startswith(f"{KEPT_DIRECTORY}={temporary}".encode()) for each in kept)
        if fate == "bad in its place":
            (models / "tiny.teddy").write_bytes(b"not a model")
        elif fate == "bad":
            (tmp_path / "bad").write_bytes(b"not a model")
            put(tmp_path / "bad", models / "tiny.teddy")
        elif fate == "gone":
            (models / "tiny.teddy").unlink()
        else:
            shutil.rmtree(models)
        sign = "a model file was refused" if "bad" in fate else "models directory"
        served.wait_for_events(sign, 2)
        for worker in (0, 1, 0):  # in the end no worker is left that has seen the good file
            kill(served, worker)
        assert [event["cause"] for event in served.events("a worker died")] == [
            "it was ended by SIGKILL"
        ] * 3
        assert ask(served) == {"name": "tiny", "version": version}
        listed = httpx.get(f"{served.url}/v1/models", timeout=SECONDS).json()["models"]
        assert [model.get("refused") for model in listed] == [
            "not a Teddy model file" if "bad" in fate else None
        ]
        if "bad" in fate:
            refused = served.wait_for_events(sign, 5)
            assert {event["serving"] for event in refused} == {version}
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(SECONDS) == 0
    assert not [*temporary.glob("teddy-models-*")]


# Each two of the choices meet once; all eight together find no more, and take a minute.
@pytest.mark.parametrize(
    ("workers", "told", "there"),
    [
        ("1", "by looking", "nothing"),
        ("2", "by a signal", "nothing"),
        ("1", "by a signal", "a bad file"),
        ("2", "by looking", "a bad file"),
    ],
)
def test_an_empty_directory_waits_for_its_first_model(
    tiny_model: Path, tmp_path: Path, workers: str, told: str, there: str
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    if there == "a bad file":
        (models / "other.teddy").write_bytes(b"not a model")
    seconds = {"by looking": "0.1", "by a signal": "0"}[told]
    with started(models, tmp_path / "log", workers, TEDDY_RELOAD_POLL_SECONDS=seconds) as served:
        until(lambda: readiness(served) is not None)
        served.wait_for_events("waiting for a model", int(workers))
        answer = readiness(served)
        assert answer is not None
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        detail = answer.json()["detail"]
        assert detail.startswith("Teddy waits for the first model in TEDDY_MODELS_DIR.")
        assert ("other was refused: not a Teddy model file" in detail) == (there == "a bad file")
        asked = httpx.post(f"{served.url}/v1/entities", json=TEXT, timeout=SECONDS)
        assert asked.json()["type"] == "urn:teddy:problem:not-ready"
        assert served.process.poll() is None
        put(tiny_model, models / "tiny.teddy")
        if told == "by a signal":
            served.process.send_signal(signal.SIGHUP)
        until(lambda: is_ready(served))
        if workers == "2":
            served.wait_for_events("a worker is ready", 2)
        for _ in range(10):
            assert ask(served)["name"] == "tiny"
        assert not served.events("a worker died")


@pytest.mark.parametrize(("workers", "number"), [("1", signal.SIGTERM), ("2", signal.SIGINT)])
def test_a_signal_ends_a_service_that_waits(tmp_path: Path, workers: str, number: int) -> None:
    with started(tmp_path, tmp_path / "log", workers) as served:
        served.wait_for_events("waiting for a model", int(workers))
        until(lambda: readiness(served) is not None)
        served.process.send_signal(number)
        assert served.process.wait(SECONDS) == 0
    assert "Traceback" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("named", [True, False])
def test_a_new_model_becomes_the_default_of_no_worker(
    tiny_model: Path, tmp_path: Path, named: bool
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    put(tiny_model, models / "mine.teddy")
    options = {"TEDDY_DEFAULT_MODEL": "mine"} if named else {}
    with started(models, tmp_path / "log", "2", **options) as served:
        served.wait_for_events("a worker is ready", 2)
        put(tiny_model, models / "also.teddy")
        until(lambda: len(served.events("model loaded")) >= 4)
        kill(served, 0)
        assert {ask(served)["name"] for _ in range(20)} == {"mine"}
        kill(served, 1)
        assert {ask(served)["name"] for _ in range(20)} == {"mine"}
        assert ask(served, model="also")["name"] == "also"
        warned = served.events("TEDDY_DEFAULT_MODEL is not set")
        assert {event["default"] for event in warned} == (set() if named else {"mine"})


def test_a_file_whose_name_no_model_has_is_named_in_the_log(
    tiny_model: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    models.mkdir()
    put(tiny_model, models / "mine.teddy")
    put(tiny_model, models / "my own.teddy")
    with started(models, tmp_path / "log", "1") as served:
        until(lambda: is_ready(served))
        served.process.send_signal(signal.SIGHUP)
        served.wait_for_events("reloading the models", 1)
        (warned,) = served.events("a file is not served")
    assert (warned["level"], warned["file"]) == ("warning", "my own.teddy")
    assert "NAME" in warned["reason"]
