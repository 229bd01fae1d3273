"""A search from its start to its results, in one process or several.

After any interruption, finished trials stay as they are, and an unfinished one resumes from its
last checkpoint with the values that it had.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import accumulate
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch
from optuna.trial import FrozenTrial, TrialState

from teddy.model.errors import DivergedError, JobInterrupted, TeddyError, TrainingError
from teddy.model.system.files import write_atomically
from teddy.model.system.processes import Interruption, interruptions
from teddy.training.job.log import Log, is_terminal
from teddy.training.job.record import Record, Row
from teddy.training.job.run_recorder import Watcher
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.search_config import Scalar
from teddy.training.report.figures import (
    BLUE,
    GREEN,
    GREY,
    new_figure,
    optional_figure,
    save_figure,
)
from teddy.training.run import train
from teddy.training.search.study import Claim, Study

BEST = "best.toml"

_STATES = {TrialState.RUNNING: "interrupted", TrialState.FAIL: "failed"}
"""What differs from Optuna's name."""

Note = Callable[[str], None]
_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialResult:
    """The result of a trial.

    `f1` is its best on dev, 0 to 1; `evaluations` is the number of its evaluations; `error` is the
    reason why it failed, and `same_as` the number of an earlier trial with the same values.
    """

    trial: int
    state: str
    f1: float | None
    evaluations: int
    seconds: float | None
    values: dict[str, Scalar]
    error: str | None
    same_as: int | None

    def __str__(self) -> str:
        score = "" if self.f1 is None else f", dev F1 {self.f1:.2%}"
        why = "" if self.same_as is None else f", the same as {self.same_as}"
        why = f": {self.error}" if self.error else why
        return f"trial {self.trial}: {self.state}{score}{why}"


def result_of(trial: FrozenTrial) -> TrialResult:
    """Return the result of a trial of the database."""
    scores = list(trial.intermediate_values.values())
    if trial.state == TrialState.COMPLETE and trial.value is not None:
        scores.append(trial.value)
    return TrialResult(
        trial=trial.number,
        state=_STATES.get(trial.state, trial.state.name.lower()),
        f1=max(scores, default=None),
        evaluations=len(trial.intermediate_values),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        values=dict(trial.params),
        error=trial.user_attrs.get("error"),
        same_as=trial.user_attrs.get("same_as"),
    )


def write_results(study: Study, note: Callable[[str], None]) -> list[TrialResult]:
    """Write the results so far, and return them, the best first."""
    results = [result_of(trial) for trial in study.all()]
    best = study.best()
    if best is not None:
        # Of equal trials only the first was trained, and `max` takes the first.
        recipe = (study.directory_of(best.number) / "recipe.toml").read_text(encoding="utf-8")
        write_atomically(study.directory / BEST, recipe)
    fields = {
        "name": study.recipe.name,
        "best": None if best is None else best.number,
        "importances": study.importances(),
        "trials": [asdict(result) for result in results],
    }
    content = json.dumps(fields, ensure_ascii=False, indent=1)
    write_atomically(study.directory / "search.json", content + "\n")
    with optional_figure(note, "search.png"):
        _plot(results, study.directory / "search.png")
    return sorted(
        results,
        key=lambda result: (result.state != "complete", -(result.f1 or 0.0), result.trial),
    )


def table(results: Sequence[TrialResult], importances: dict[str, float]) -> list[str]:
    """Return lines: the trials, the best first, and the importance of each value if known."""
    if not results:
        return []
    keys = list(results[0].values)
    rows = [["trial", "state", "dev F1", *keys]]
    for each in results:
        f1 = "" if each.f1 is None else f"{each.f1:.2%}"
        rows.append(
            [str(each.trial), each.state, f1, *(_short(each.values.get(k, "")) for k in keys)]
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)) for row in rows]
    if importances:
        shares = ", ".join(f"{key} {share:.0%}" for key, share in importances.items())
        lines += ["", f"importance: {shares}"]
    return lines


def _plot(results: Sequence[TrialResult], path: Path) -> None:
    """Draw the F1 of each trial, and the best so far, by number."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    for state, colour in (("pruned", GREY), ("complete", GREEN)):
        shown = [each for each in results if each.state == state and each.f1 is not None]
        numbers = [each.trial for each in shown]
        scores = [100 * (each.f1 or 0.0) for each in shown]
        axes.scatter(numbers, scores, color=colour, s=18, label=state)
    best = list(accumulate(scores, max))  # of the complete ones, which come last
    axes.step(numbers, best, where="post", color=BLUE, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("dev F1, %")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)


def search(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    until: float | None,
    note: Note,
    interruption: Interruption,
) -> None:
    """Train trials in `output`, up to the recipe's number; none begins after the time `until`.

    `note` takes a line about each. Other processes may work on the same study.

    Raises TrainingError when `output` holds the search of another recipe, JobInterrupted when
    `interruption` is wanted, and the error of a trial, unless it diverged or ran out of memory on
    the GPU.
    """
    study = Study(recipe, output)
    while until is None or time.time() < until:
        interruption.check()
        with study.claimed() as claim:
            if claim is None:
                return
            values = (f"{key} {_short(value)}" for key, value in claim.trial.params.items())
            note(f"trial {claim.trial.number}: {', '.join(values)}")
            _try(study, claim, data, interruption)
            note(str(result_of(study.all()[claim.trial.number])))
        _tidy(study)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _PrunedError(Exception):
    """Raised to end the training of a trial that will not be the best."""


def _try(study: Study, claim: Claim, data: Path, interruption: Interruption) -> None:
    """Train a trial, or resume it, and enter its result in the study."""
    try:
        if claim.reported and claim.trial.should_prune():  # its process was killed before
            raise _PrunedError
        watchers, directory = (_pruning(study, claim),), claim.directory
        train(
            claim.recipe, data, directory, resume=True, watchers=watchers, interruption=interruption
        )
        # That of the best evaluation is the F1 of the model file.
        study.complete(claim, max(f1 for _, f1 in _evaluations(directory)))
    except _PrunedError:
        study.prune(claim)
    except (DivergedError, torch.OutOfMemoryError) as error:
        study.fail(claim.trial, " ".join(str(error).split()))
    except JobInterrupted:
        study.interrupt(claim)
        reason = f"interrupted at trial {claim.trial.number}; the same command goes on from there"
        raise JobInterrupted(reason) from None
    except TeddyError as error:
        study.fail(claim.trial, str(error))  # or the next search would stop at it again
        raise


def _pruning(study: Study, claim: Claim) -> Watcher:
    """Return what reports evaluations to the study, and raises _PrunedError if they are too bad."""
    steps: set[int] = set()

    def watch(row: Row) -> None:
        if row["kind"] != "evaluation":
            return
        if not steps:
            # Those of earlier processes, up to the checkpoint that the training resumed from.
            steps.update(step for step, _ in _evaluations(claim.directory))
        steps.add(row["step"])
        if study.report(claim, len(steps), row["f1"]):
            raise _PrunedError

    return watch


def _evaluations(directory: Path) -> list[tuple[int, float]]:
    """Return the step and the F1 of each evaluation of a run."""
    rows = [row for row in Record(directory).rows() if row["kind"] == "evaluation"]
    return [(int(row["step"] or 0), float(row["f1"] or 0.0)) for row in rows]


def _tidy(study: Study) -> None:
    """Remove the checkpoints of the trials that have ended, except the best."""
    if study.config.keep_checkpoints:
        return
    best = study.best()
    for trial in study.ended():
        if best is None or trial.number != best.number:
            for checkpoint in study.directory_of(trial.number).glob("*.checkpoint"):
                checkpoint.unlink(missing_ok=True)


def run_search(
    recipe: Recipe, data: Path, output: Path, *, until: float | None = None, n_jobs: int = 1
) -> None:
    """Search in `n_jobs` processes, and write the results, also when interrupted; see `search`.

    Raises what `search` raises, DivergedError when every trial diverged, TrainingError when no
    trial was completed or a process failed.
    """
    study = Study(recipe, output)
    try:
        if n_jobs == 1:
            _search_here(recipe, data, output, until)
        else:
            _search_in_processes(study, data, until, n_jobs)
    finally:
        results = write_results(study, Log().note)
        if is_terminal(sys.stderr):
            print(*table(results, study.importances()), sep="\n", file=sys.stderr)
    if not any(each.state == "complete" for each in results):
        errors = [each.error for each in results if each.error]
        kind = DivergedError if errors and len(errors) == len(results) else TrainingError
        raise kind(": ".join(["no trial came to its end", *errors[-1:]]))


def _search_here(recipe: Recipe, data: Path, output: Path, until: float | None) -> None:
    with interruptions() as interruption:
        search(recipe, data, output, until=until, note=Log().note, interruption=interruption)


def _search_in_processes(study: Study, data: Path, until: float | None, n_jobs: int) -> None:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    logs = [study.directory / f"job-{number}.log" for number in range(1, n_jobs + 1)]
    arguments = (study.recipe, data, study.directory, until)
    processes = [spawn.Process(target=_job, args=(*arguments, log)) for log in logs]
    seen = {trial.number for trial in study.ended()}
    with interruptions() as interruption, _running(processes):
        while any(process.is_alive() for process in processes) and not interruption.wanted:
            alive = [process.sentinel for process in processes if process.is_alive()]
            wait(alive, timeout=_EVERY_SECONDS)
            _note_ended(study, seen)
    _note_ended(study, seen)
    interruption.check()
    for process, log in zip(processes, logs, strict=True):
        # Another process may have finished the trial of one that was killed.
        code = process.exitcode or 0
        if code > 0 or (code and study.unfinished()):
            raise TrainingError(f"a process of the search ended with {code}: {_last_line(log)}")


@contextmanager
def _running(processes: Sequence[SpawnProcess]) -> Iterator[None]:
    """Start processes; at the end of the block, ask those that still run to stop."""
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


def _note_ended(study: Study, seen: set[int]) -> None:
    for trial in study.ended():
        if trial.number not in seen:
            seen.add(trial.number)
            Log().note(str(result_of(trial)))


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((f"{line} (see {log})" for line in reversed(lines) if line), f"{log} is empty")


def _job(recipe: Recipe, data: Path, output: Path, until: float | None, log: Path) -> None:
    """Search in a process of its own, which logs to a file and ends with its parent."""
    os.setsid()  # Ctrl-C reaches the parent alone, which passes it on
    with log.open("a", encoding="utf-8", buffering=1) as file:
        sys.stderr = sys.stdout = file
        threading.Thread(target=_follow_parent, daemon=True).start()
        try:
            _search_here(recipe, data, output, until)
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
