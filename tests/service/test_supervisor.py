"""The supervisor with real processes and signals, whose workers are a few lines each: they start in
no time."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from teddy.model.system.processes import reap
from teddy.service.errors import ServiceError
from teddy.service.observability.worker_metrics import DIRECTORY, collect
from teddy.service.process.supervisor import LONGEST_PAUSE_SECONDS, Supervisor, pause_seconds

ALIVE_AND_READY = "told.sendall(b'alive\\nready\\n');"
UNTIL_A_SIGNAL = (
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); " + ALIVE_AND_READY + " time.sleep(60)"
)
DEAF = "signal.signal(signal.SIGTERM, signal.SIG_IGN); " + ALIVE_AND_READY + " time.sleep(60)"
BEATING = (
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    + ALIVE_AND_READY
    + "\nwhile True: time.sleep(0.02); told.sendall(b'alive\\n')"
)


class Team:
    """Starts workers from their programs, one after the other; the last one again and again.

    `then` are called in turn whenever one is started, before it is; the supervisor handles signals
    by then."""

    def __init__(self, *programs: str, then: dict[int, Callable[[], None]] | None = None) -> None:
        self.programs = programs
        self.then = then or {}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, _: int, control: socket.socket) -> subprocess.Popen[bytes]:
        n_started = len(self.processes)
        self.then.get(n_started, lambda: None)()
        program = self.programs[min(n_started, len(self.programs) - 1)]
        code = (
            "import os, signal, socket, sys, time\n"
            f"told = socket.socket(fileno={control.fileno()})\n{program}"
        )
        command = [sys.executable, "-I", "-S", "-c", code]
        process = subprocess.Popen(command, pass_fds=[control.fileno()], stderr=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def exit_codes(self) -> list[int | None]:
        return [process.poll() for process in self.processes]


def ask_to_stop(number: int = signal.SIGTERM) -> Callable[[], None]:
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture(autouse=True)
def metrics_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    return tmp_path


def counted(directory: Path, name: str) -> float:
    families = text_string_to_metric_families(collect(str(directory)).decode())
    return next(
        sample.value for family in families for sample in family.samples if sample.name == name
    )


def test_workers_serve_until_a_signal_and_end_with_status_0(metrics_directory: Path) -> None:
    seen: list[float] = []

    def on_ready() -> None:
        seen.append(counted(metrics_directory, "teddy_workers"))
        ask_to_stop()()

    team = Team(UNTIL_A_SIGNAL)
    stopped: list[bool] = []
    Supervisor(
        team.start, 2, stop_seconds=30, on_ready=on_ready, on_stop=lambda: stopped.append(True)
    ).run()
    assert len(team.processes) == 2
    # One may have been asked before it could listen.
    assert set(team.exit_codes()) <= {0, -signal.SIGTERM}
    assert seen == [1.0]
    assert stopped == [True]
    assert counted(metrics_directory, "teddy_workers") == 0


def test_a_worker_that_is_killed_is_replaced_in_its_place_and_counted(
    metrics_directory: Path,
) -> None:
    team = Team(UNTIL_A_SIGNAL, then={2: ask_to_stop()})
    died: list[int] = []
    Supervisor(
        team.start,
        2,
        stop_seconds=30,
        on_ready=lambda: team.processes[1].kill(),
        on_death=died.append,
    ).run()
    assert died[0] == 1
    assert sorted(died) == [0, 1, 1]
    assert len(team.processes) == 3
    assert team.processes[1].returncode == -signal.SIGKILL
    assert counted(metrics_directory, "teddy_worker_restarts_total") == 1


def test_a_worker_that_cannot_serve_stops_all_with_its_reason() -> None:
    team = Team(
        UNTIL_A_SIGNAL.replace("ready", "alive"),
        "told.sendall(b'refused bad.teddy: not a model\\n')",
    )
    with pytest.raises(ServiceError, match=r"^bad.teddy: not a model$"):
        Supervisor(team.start, 2, stop_seconds=30).run()
    assert None not in team.exit_codes()


def test_when_no_worker_ever_starts_the_supervisor_gives_up_and_says_why() -> None:
    team = Team("sys.exit(7)")
    with pytest.raises(
        ServiceError, match=r"^no worker can start: it ended with status 7, 3 times in a row$"
    ):
        Supervisor(team.start, 1, stop_seconds=30).run()
    assert team.exit_codes() == [7, 7, 7]


def test_a_worker_that_dies_early_again_and_again_does_not_stop_those_that_serve() -> None:
    team = Team(UNTIL_A_SIGNAL, "time.sleep(0.2); sys.exit(7)", then={4: ask_to_stop()})
    Supervisor(team.start, 2, stop_seconds=30).run()
    assert team.exit_codes()[:4] == [0, 7, 7, 7]


def test_a_model_that_is_refused_later_is_tried_again_while_others_serve() -> None:
    refuse = "time.sleep(0.3); told.sendall(b'refused gone.teddy: no such file\\n')"
    team = Team(UNTIL_A_SIGNAL, refuse, then={3: ask_to_stop()})
    Supervisor(team.start, 2, stop_seconds=30).run()
    assert len(team.processes) == 4


def test_the_pauses_between_early_deaths_double_up_to_a_limit() -> None:
    assert [pause_seconds(n) for n in range(6)] == [0.0, 0.0, 0.5, 1.0, 2.0, 4.0]
    assert pause_seconds(1000) == LONGEST_PAUSE_SECONDS


def test_a_worker_that_cannot_be_started_at_all_is_a_failure_with_a_reason() -> None:
    def start(_: int, __: socket.socket) -> subprocess.Popen[bytes]:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with pytest.raises(
        ServiceError, match="could not be started: Resource temporarily unavailable"
    ):
        Supervisor(start, 1, stop_seconds=30).run()


def test_a_worker_whose_event_loop_stands_still_is_killed_and_replaced() -> None:
    # the first beats once, and sleeps
    team = Team(UNTIL_A_SIGNAL, BEATING, then={2: ask_to_stop()})
    Supervisor(team.start, 2, stop_seconds=30, hang_seconds=1.5).run()
    assert team.exit_codes()[:2] == [-signal.SIGKILL, 0]


def test_a_supervisor_that_did_not_look_for_long_kills_nobody() -> None:
    team = Team(BEATING, then={1: ask_to_stop()})

    def on_ready() -> None:
        time.sleep(2)  # as a machine does that is put to sleep
        team.processes[0].send_signal(signal.SIGINT)  # its end is what the supervisor sees next

    Supervisor(team.start, 1, stop_seconds=30, hang_seconds=1.5, on_ready=on_ready).run()
    assert team.exit_codes()[0] == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_that_do_not_stop_in_time_are_killed(number: int) -> None:
    team = Team(DEAF.replace("SIGTERM", signal.Signals(number).name))
    Supervisor(team.start, 1, stop_seconds=0.3, on_ready=ask_to_stop(number)).run()
    assert team.exit_codes() == [-signal.SIGKILL]


def test_a_signal_to_load_models_again_goes_to_every_worker() -> None:
    reload = (
        "signal.signal(signal.SIGHUP, lambda *_: sys.exit(0)); "
        + ALIVE_AND_READY
        + " time.sleep(60)"
    )
    team = Team(reload, then={1: ask_to_stop()})
    Supervisor(team.start, 1, stop_seconds=30, on_ready=ask_to_stop(signal.SIGHUP)).run()
    assert team.exit_codes()[0] == 0


def test_an_ending_is_told_by_the_signals_name() -> None:
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"])
    process.kill()
    assert reap(process, 5.0) == "it was ended by SIGKILL"


def test_signal_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)]
    Supervisor(Team(UNTIL_A_SIGNAL).start, 1, stop_seconds=30, on_ready=ask_to_stop()).run()
    assert [
        signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    ] == before
