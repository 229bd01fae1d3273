"""`make monitor`: real programs that are started, watched and ended together."""

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from benchmarks.load.processes import descendants
from benchmarks.load.server import ROOT, free_port
from deploy.monitoring.__main__ import lines_of, read_arguments
from deploy.monitoring.programs import MonitoringError
from tests.monitoring.binaries import binary

NEEDED = ("prometheus", "prometheus-alertmanager", "prometheus-node-exporter")
END_SECONDS = 60


@contextmanager
def monitor(
    data: Path, *arguments: str, path: str | None = None
) -> Iterator["subprocess.Popen[str]"]:
    """The command, with free ports; whatever it has started is ended with the block."""
    ports = [
        f"--{name}-port={free_port()}" for name in ("prometheus", "alertmanager", "node-exporter")
    ]
    command = [sys.executable, "-m", "deploy.monitoring", f"--data-dir={data}", *ports, *arguments]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | ({} if path is None else {"PATH": path}),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        for pid in descendants(process.pid) if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def introduced(process: "subprocess.Popen[str]") -> str:
    """What it says once all is ready."""
    assert process.stdout
    lines: list[str] = []
    while "Ctrl-C" not in "".join(lines):
        line = process.stdout.readline()
        assert line, process.communicate()
        lines.append(line)
    return "".join(lines)


def children(process: "subprocess.Popen[str]") -> dict[str, int]:
    """What it has started: the names of the programs, and their process ids."""
    pids = descendants(process.pid)[1:]
    return {Path(os.readlink(f"/proc/{pid}/exe")).name: pid for pid in pids}


def is_alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_all_run_until_a_signal_and_what_was_measured_stays(
    number: signal.Signals, tmp_path: Path
) -> None:
    names = {binary(name).resolve().name for name in NEEDED}
    with monitor(
        tmp_path / "data", f"--textfile-dir={tmp_path}", "--webhook=http://127.0.0.1:1/"
    ) as process:
        said = introduced(process)
        assert "127.0.0.1:8000" in said
        assert "Alerts go to http://127.0.0.1:1/" in said
        for url in re.findall(r"^  (http://\S+)", said, re.MULTILINE):
            with urlopen(url, timeout=END_SECONDS) as page:
                assert page.status == 200
        started = children(process)
        assert set(started) == names
        process.send_signal(number)
        assert process.wait(END_SECONDS) == 0
    assert [name for name, pid in started.items() if is_alive(pid)] == []
    assert (tmp_path / "data" / "prometheus" / "wal").is_dir()


def test_when_one_ends_by_itself_the_others_do_too_and_its_last_lines_are_shown(
    tmp_path: Path,
) -> None:
    names = [binary(name).resolve().name for name in NEEDED]
    with monitor(tmp_path) as process:
        introduced(process)
        started = children(process)
        os.kill(started[names[1]], signal.SIGKILL)
        assert process.wait(END_SECONDS) == 2
        assert process.stderr
        assert process.stderr.read().startswith("error: Alertmanager has ended with -9:")
    assert not is_alive(started[names[0]])


def test_what_is_missing_is_named_and_how_to_get_it(tmp_path: Path) -> None:
    with monitor(tmp_path, path=str(tmp_path)) as process:
        assert process.wait(END_SECONDS) == 2
        assert process.stderr
        said = process.stderr.read()
    assert said.startswith("error: prometheus is not installed")
    assert "apt install prometheus" in said
    assert said.count("\n") == 1


def test_a_port_that_somebody_has_is_named(tmp_path: Path) -> None:
    binary("prometheus"), binary("prometheus-alertmanager")
    with socket.socket() as somebody:
        somebody.bind(("127.0.0.1", 0))
        somebody.listen()
        with monitor(tmp_path, f"--alertmanager-port={somebody.getsockname()[1]}") as process:
            assert process.wait(END_SECONDS) == 2
            assert process.stderr
            assert "--alertmanager-port" in process.stderr.read()
    assert list(tmp_path.iterdir()) == [], "nothing was begun"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "https://localhost", "http://", "http://localhost:8000/metrics"]
)
def test_what_is_not_the_address_of_a_teddy_is_refused(url: str) -> None:
    with pytest.raises(MonitoringError, match="--teddy"):
        read_arguments(["--teddy", url])


def test_several_can_be_watched() -> None:
    watch = read_arguments(["--teddy", "http://127.0.0.1:8000", "--teddy", "http://[::1]:8001/"])
    assert watch.teddy == ["127.0.0.1:8000", "[::1]:8001"]


def test_an_alert_is_a_line_and_the_one_that_always_fires_none() -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "TeddyDown", "severity": "page"},
        "annotations": {
            "summary": "Teddy does not answer",
            "runbook_url": "docs/runbooks.md#teddydown",
        },
    }
    (line,) = lines_of({"receiver": "page", "alerts": [alert]})
    assert line.endswith(
        "firing    page    TeddyDown: Teddy does not answer (docs/runbooks.md#teddydown)"
    )
    assert list(lines_of({"receiver": "alive", "alerts": [alert]})) == []
