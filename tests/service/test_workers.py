"""`teddy serve --workers 2` as it is run: real processes, a real model, real signals, under
load."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from teddy.service.observability.worker_metrics import DIRECTORY

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SECONDS = 180
"""No test decides by time; this keeps a broken one from hanging."""
TEXT = {"text": "Anna Berg went to Oslo ."}


class Served:
    """A running `teddy serve`. Its log is a file of JSON lines."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log
        self.url = ""

    def wait_until_served(self) -> None:
        assert self.process.stdout is not None
        first = self.process.stdout.readline()
        found = re.search(r"http://[\d.:]+", first)
        assert found, self._log.read_text()
        self.url = found[0]

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self._log.read_bytes().split(b"\n")[:-1]
        return [event for event in map(json.loads, lines) if event["event"] == name]

    def wait_for_events(self, name: str, n: int) -> list[dict[str, Any]]:
        until(lambda: len(self.events(name)) >= n)
        return self.events(name)

    def pids(self) -> dict[int, int]:
        """The process of each worker, by its number."""
        return {event["worker"]: event["pid"] for event in self.events("a worker starts")}

    def directory(self) -> Path:
        """Where the workers share what they count."""
        environment = Path(f"/proc/{self.pids()[0]}/environ").read_bytes().split(b"\0")
        return next(
            Path(os.fsdecode(each.partition(b"=")[2]))
            for each in environment
            if DIRECTORY.encode() in each
        )

    def metric(self, name: str) -> float:
        families = text_string_to_metric_families(
            httpx.get(f"{self.url}/metrics", timeout=SECONDS).text
        )
        return sum(
            sample.value for family in families for sample in family.samples if sample.name == name
        )


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def running(
    *arguments: str, log: Path, variables: dict[str, str], stdout: int = subprocess.DEVNULL
) -> Iterator[Served]:
    """`teddy serve` from its start, without settings of this process; nothing of it is left."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TEDDY_")}
    command = [sys.executable, "-m", "teddy", "serve", *arguments]
    with (
        log.open("wb") as errors,
        subprocess.Popen(
            command, env=clean | variables, stdout=stdout, stderr=errors, text=True
        ) as process,
    ):
        served = Served(process, log)
        try:
            yield served
        finally:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(SECONDS)
            process.kill()
            for pid in served.pids().values():
                if is_worker(pid):
                    os.kill(pid, signal.SIGKILL)


@contextmanager
def serving(model: Path, log: Path, **variables: str) -> Iterator[Served]:
    """`teddy serve` on a free port with two workers, from when both are ready."""
    arguments = ("--port", "0", "--workers", "2", "--model", f"tiny={model}")
    with running(*arguments, log=log, variables=variables, stdout=subprocess.PIPE) as served:
        served.wait_until_served()
        served.wait_for_events("a worker is ready", 2)
        yield served


def is_worker(pid: int) -> bool:
    """Whether that process runs, and is a worker: numbers are given again."""
    try:
        return b"teddy.service.process.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


@pytest.fixture(scope="module")
def served(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service that every test leaves as it found it: with two workers that serve."""
    with serving(tiny_model, tmp_path_factory.mktemp("served") / "log") as served:
        yield served


async def load(url: str, results: Counter[str], stop: asyncio.Event) -> None:
    """A client that asks again and again, on one connection while it holds; counts how it went, by
    status or error."""
    async with httpx.AsyncClient(base_url=url, timeout=SECONDS) as client:
        while not stop.is_set():
            try:
                answer = await client.post("/v1/entities", json=TEXT)
            except httpx.ConnectError:
                results["refused"] += 1
                return
            except httpx.TransportError:
                results["cut"] += 1
                continue
            results[str(answer.status_code)] += 1
            if answer.is_success:
                assert [entity["text"] for entity in answer.json()["entities"]] == [
                    "Anna Berg",
                    "Oslo",
                ]


async def test_a_killed_worker_takes_only_what_was_in_flight_on_it_and_is_replaced(
    served: Served,
) -> None:
    n_clients, results, stop = 16, Counter[str](), asyncio.Event()
    n_ready = len(served.events("a worker is ready"))
    restarts, victim = served.metric("teddy_worker_restarts_total"), served.pids()[0]
    async with asyncio.TaskGroup() as group, asyncio.timeout(SECONDS):
        for _ in range(n_clients):
            group.create_task(load(served.url, results, stop))
        while results["200"] < 50:
            await asyncio.sleep(0.01)
        os.kill(victim, signal.SIGKILL)
        n_before = results["200"]
        while results["200"] < n_before + 100:  # the other one serves on
            await asyncio.sleep(0.01)
        stop.set()
    await asyncio.to_thread(served.wait_for_events, "a worker is ready", n_ready + 1)
    assert set(results) <= {"200", "cut"}
    assert results["cut"] <= n_clients
    assert served.metric("teddy_worker_restarts_total") == restarts + 1
    assert served.metric("teddy_workers") == 2
    assert served.events("a worker died")[-1]["cause"] == "it was ended by SIGKILL"
    assert served.pids()[0] != victim


async def test_any_worker_answers_for_all(served: Served) -> None:
    before = served.metric("teddy_requests_total")
    for _ in range(20):  # each on a connection of its own, so that both workers get some
        assert httpx.post(f"{served.url}/v1/entities", json=TEXT, timeout=SECONDS).is_success
    seen = set()
    for _ in range(100):  # words are shared among the workers ten times a second
        seen = {served.metric("teddy_words_total") for _ in range(10)}
        if len(seen) == 1:
            break
        await asyncio.sleep(0.1)
    assert len(seen) == 1
    assert served.metric("teddy_requests_total") >= before + 20
    assert served.metric("teddy_worker_resident_bytes") > 2 * 2**20


async def test_sighup_reaches_every_worker(served: Served) -> None:
    n_before = len(served.events("reloading the models"))
    served.process.send_signal(signal.SIGHUP)
    served.wait_for_events("reloading the models", n_before + 2)
    assert served.process.poll() is None


async def test_a_worker_that_stands_still_does_not_stop_the_others(served: Served) -> None:
    standing = served.pids()[1]
    os.kill(standing, signal.SIGSTOP)
    try:
        for _ in range(20):
            assert httpx.post(f"{served.url}/v1/entities", json=TEXT, timeout=SECONDS).is_success
    finally:
        os.kill(standing, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_under_load_answers_all_that_was_accepted(
    tiny_model: Path, tmp_path: Path, number: int
) -> None:
    results, stop = Counter[str](), asyncio.Event()
    with serving(tiny_model, tmp_path / "log", TEDDY_DRAIN_SECONDS="0.5") as served:
        async with asyncio.TaskGroup() as group, asyncio.timeout(SECONDS):
            for _ in range(8):
                group.create_task(load(served.url, results, stop))
            while results["200"] < 50:
                await asyncio.sleep(0.01)
            served.process.send_signal(number)
        assert served.process.wait(SECONDS) == 0
        assert not any(map(is_worker, served.pids().values()))
        told = Counter(
            str(event["status"]) for event in served.events("request") if event["method"] == "POST"
        )
    assert {status: n for status, n in results.items() if status.isdigit()} == told
    assert results["refused"] == 8


async def test_workers_end_when_their_supervisor_is_killed(
    tiny_model: Path, tmp_path: Path
) -> None:
    with serving(tiny_model, tmp_path / "log") as served:
        workers, directory = served.pids().values(), served.directory()
        assert directory.is_dir()
        assert all(map(is_worker, workers))
        served.process.kill()
        until(lambda: not any(map(is_worker, workers)))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{served.url}/health/live")
        assert not directory.exists()
