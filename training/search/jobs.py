"""A search from its start to its findings, in this process or in several."""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from teddy.model.errors import DivergedError, JobInterrupted, TeddyError, TrainingError
from teddy.model.interruption import interruptions
from teddy.training.config import Recipe
from teddy.training.job.log import Log, is_terminal
from teddy.training.search.report import find, table, write_findings
from teddy.training.search.running import search
from teddy.training.search.study import Study

_EVERY_SECONDS = 0.5


def run_search(recipe: Recipe, data: Path, output: Path, *, until: float | None = None, n_jobs: int = 1) -> None:
    """Search in `n_jobs` processes, and write what was found, also when that is interrupted; see `search`.

    Raises what `search` raises, DivergedError when every trial diverged, TrainingError when none came to its end or a
    process did not.
    """
    study = Study(recipe, output)
    try:
        if n_jobs == 1:
            with interruptions() as interruption:
                search(recipe, data, output, until=until, note=Log().note, interruption=interruption)
        else:
            _search_in_processes(study, data, until, n_jobs)
    finally:
        findings = write_findings(study, Log().note)
        if is_terminal(sys.stderr):
            print(*table(findings, study.importances()), sep="\n", file=sys.stderr)
    if not any(each.state == "complete" for each in findings):
        errors = [each.error for each in findings if each.error]
        kind = DivergedError if errors and len(errors) == len(findings) else TrainingError
        raise kind(f"no trial came to its end{': ' if errors else ''}{errors[-1] if errors else ''}")


def _search_in_processes(study: Study, data: Path, until: float | None, n_jobs: int) -> None:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    logs = [study.directory / f"job-{number}.log" for number in range(1, n_jobs + 1)]
    arguments = (study.recipe, data, study.directory, until)
    processes = [spawn.Process(target=_job, args=(*arguments, log)) for log in logs]
    seen = {trial.number for trial in study.ended()}
    with interruptions() as interruption, _ended(processes):
        while any(process.is_alive() for process in processes) and not interruption.wanted:
            wait([process.sentinel for process in processes if process.is_alive()], timeout=_EVERY_SECONDS)
            _tell_ended(study, seen)
    _tell_ended(study, seen)
    interruption.check()
    for process, log in zip(processes, logs, strict=True):
        # What one that was killed had begun, another one may have brought to its end.
        if (process.exitcode or 0) > 0 or (process.exitcode and study.unfinished()):
            raise TrainingError(f"a process of the search ended with {process.exitcode}: {_last_line(log)}")


@contextmanager
def _ended(processes: Sequence[SpawnProcess]) -> Iterator[None]:
    """Start processes, and ask those that are still there at the end of the block to stop where nothing is lost."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
        for process in processes:
            if process.pid is not None:
                process.join()


def _tell_ended(study: Study, seen: set[int]) -> None:
    for trial in study.ended():
        if trial.number not in seen:
            seen.add(trial.number)
            Log().note(str(find(trial)))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((f"{line} (see {log})" for line in reversed(lines) if line), f"it left no word in {log}")


def _job(recipe: Recipe, data: Path, output: Path, until: float | None, log: Path) -> None:
    """Search in a process of its own, which tells a file what it has to tell, and ends when its parent is gone."""
    os.setsid()  # Ctrl-C reaches the parent alone, which passes it on
    with log.open("a", encoding="utf-8", buffering=1) as file:
        sys.stderr = sys.stdout = file
        threading.Thread(target=_follow_parent, daemon=True).start()
        try:
            with interruptions() as interruption:
                search(recipe, data, output, until=until, note=Log().note, interruption=interruption)
        except JobInterrupted:
            sys.exit(os.EX_TEMPFAIL)
        except TeddyError as error:
            print(error)
            sys.exit(2)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
