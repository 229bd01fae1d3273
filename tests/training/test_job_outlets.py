"""Failures between a job and Prometheus: gateways hang, files vanish, ports are taken."""

import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from teddy.training.job import metrics as job_metrics
from teddy.training.job.catalogue import Address
from teddy.training.job.job import Job
from teddy.training.job.metrics import exposed
from tests.monitoring.exporters import Pushgateway, samples, scrape, state_of
from tests.monitoring.prometheus import wait_until

Shell = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]


@contextmanager
def silent_server() -> Iterator[tuple[str, socket.socket]]:
    """A URL where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", listener


def test_a_pushgateway_that_hangs_keeps_no_job_waiting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(job_metrics, "GATEWAY_SECONDS", 10.0)
    monkeypatch.setattr(job_metrics, "END_SECONDS", 0.1)
    job = Job("mine")
    with silent_server() as (url, listener), exposed(job, None, None, url):
        held, _ = listener.accept()  # the push has begun, and will not end
        for step in range(1000):
            job.show({"kind": "update", "step": step, "words_per_second": 1000.0})
    try:
        (thread,) = (each for each in threading.enumerate() if url in each.name)
        assert capsys.readouterr().err.count("no answer") == 1
    finally:
        held.close()
    thread.join()


def test_a_pushgateway_that_is_away_is_told_once_and_the_job_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with silent_server() as (url, _):
        pass  # now no process listens there
    tries: list[str] = []
    complain = job_metrics._Copies._complain

    def count(self: job_metrics._Copies, reason: str) -> None:
        tries.append(reason)
        complain(self, reason)

    monkeypatch.setattr(job_metrics._Copies, "_complain", count)
    monkeypatch.setattr(job_metrics, "EVERY_SECONDS", 0.01)
    with exposed(Job("mine"), None, None, url):
        wait_until(lambda: len(tries) >= 3, lambda: "it was not tried again")
    told = capsys.readouterr().err
    message = json.loads(told)["message"]
    assert re.fullmatch(
        rf"metrics do not reach {url}: .*refused.*; the training goes on without", message
    ), told


def test_a_pushgateway_that_comes_back_gets_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_metrics, "EVERY_SECONDS", 0.05)
    gateway = Pushgateway(tmp_path)
    with exposed(Job("naïve-名.1"), None, None, f"http://{gateway.address}"):
        with gateway:
            wait_until(lambda: bool(gateway.samples()), lambda: "nothing was pushed")
        with gateway:  # it kept nothing
            wait_until(lambda: bool(gateway.samples()), lambda: "nothing was pushed again")
            assert 'run="naïve-名.1"' in scrape(f"http://{gateway.address}/metrics")
            assert 'job="teddy_training"' in scrape(f"http://{gateway.address}/metrics")


def test_a_file_that_can_no_longer_be_written_is_told_and_the_job_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    with exposed(Job("mine"), folder / "mine.prom", None, None):
        wait_until(lambda: _emptied(folder), lambda: "the file is always there")
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert "metrics do not reach" in told
    assert "No such file or directory" in told


def _emptied(folder: Path) -> bool:
    for each in folder.iterdir():
        each.unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (
            ("--metrics-file", "mine.txt"),
            "mine.txt: the node exporter reads only files whose names end in .prom",
        ),
        (("--metrics-file", "no/mine.prom"), "no/mine.prom: No such file or directory"),
        (("--metrics-file", "folder.prom"), "folder.prom: Is a directory"),
        (("--metrics-port", "many"), "'many' is neither PORT nor HOST:PORT"),
        (("--metrics-port", "65536"), "'65536' is neither PORT nor HOST:PORT"),
        (("--metrics-port", "PORT"), "--metrics-port 127.0.0.1:PORT: Address already in use"),
        (("--metrics-port", "host.invalid:0"), "--metrics-port host.invalid:0: "),
        (("--pushgateway", "localhost"), "not http://HOST:PORT or https://HOST:PORT"),
        (("--pushgateway", "ftp://localhost"), "not http://HOST:PORT or https://HOST:PORT"),
        (("--pushgateway", "http://"), "not http://HOST:PORT or https://HOST:PORT"),
        (("--pushgateway", "http://localhost:many"), "not http://HOST:PORT or https://HOST:PORT"),
        (
            ("--pushgateway", "http://me:secret@localhost"),
            "not http://HOST:PORT or https://HOST:PORT",
        ),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line_before_the_training(
    option: tuple[str, str],
    message: str,
    shell: Shell,
    tiny_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.prom").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        words = [port if word == "PORT" else word for word in option]
        code, printed, told = shell(
            "train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", "run", *words
        )
    assert (code, printed, told.count("\n")) == (2, "", 1), told
    assert message.replace("127.0.0.1:PORT", f"127.0.0.1:{port}") in told
    assert "secret" not in told
    assert [each.name for each in tmp_path.iterdir()] == ["folder.prom"]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_port_is_on_the_host_that_is_asked_for(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    with exposed(Job("mine"), None, Address(host, 0), None):
        (url,) = re.findall(r"http://\S+/metrics", capsys.readouterr().err)
        assert str(Address(host, 1))[:-1] in url
        assert state_of(samples(scrape(url))) == "running"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


# What it costs those who do not ask for it.


def test_a_job_without_an_outlet_needs_no_prometheus() -> None:
    code = """
import sys
from teddy.training.job.job import Job
from teddy.training.job.options import shown
with shown(Job("mine"), None, None, None):
    print({name.split(".")[0] for name in sys.modules} & {"prometheus_client", "torch"})
"""
    command = [sys.executable, "-c", code]
    assert (
        subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        == "set()\n"
    )
