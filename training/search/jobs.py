"""A search from its start to its findings, in one process or in several.

It may be stopped in any way and begun again: finished trials stay as they are, and one that was
interrupted goes on from its last checkpoint with the values that it had.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
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

_STATES = {
    TrialState.RUNNING: "interrupted",
    TrialState.WAITING: "waiting",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}

Note = Callable[[str], None]
_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known of a trial.

    Attributes: `f1` is its best on dev, 0 to 1, None where it has none; `evaluations` are those
    that it was compared by; `error` says why it failed, `same_as` which earlier trial had the same
    values.
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
        why = (
            f": {self.error}"
            if self.error
            else ""
            if self.same_as is None
            else f", the same as {self.same_as}"
        )
        return f"trial {self.trial}: {self.state}{score}{why}"


def find(trial: FrozenTrial) -> Finding:
    """Read a trial of the database."""
    reached = [
        *trial.intermediate_values.values(),
        *([trial.value] if trial.state == TrialState.COMPLETE else []),
    ]
    scores = [score for score in reached if score is not None]
    return Finding(
        trial=trial.number,
        state=_STATES[trial.state],
        f1=max(scores, default=None),
        evaluations=len(trial.intermediate_values),
        seconds=None if trial.duration is None else round(trial.duration.total_seconds(), 1),
        values=dict(trial.params),
        error=trial.user_attrs.get("error"),
        same_as=trial.user_attrs.get("same_as"),
    )


def write_findings(study: Study, note: Callable[[str], None]) -> list[Finding]:
    """Write what the study has found so far, and return it, the best first."""
    findings = [find(trial) for trial in study.all()]
    best = study.best()
    if best is not None:
        # Of twins it is the first that was trained, and `max` takes the first.
        recipe = (study.directory_of(best.number) / "recipe.toml").read_text(encoding="utf-8")
        write_atomically(study.directory / BEST, recipe)
    fields = {
        "name": study.recipe.name,
        "best": None if best is None else best.number,
        "importances": study.importances(),
        "trials": [asdict(finding) for finding in findings],
    }
    write_atomically(
        study.directory / "search.json", json.dumps(fields, ensure_ascii=False, indent=1) + "\n"
    )
    with optional_figure(note, "search.png"):
        _plot(findings, study.directory / "search.png")
    return sorted(
        findings,
        key=lambda finding: (finding.state != "complete", -(finding.f1 or 0.0), finding.trial),
    )


def table(findings: Sequence[Finding], importances: dict[str, float]) -> list[str]:
    """Return lines: the trials, the best first, and what each value matters where that is known."""
    if not findings:
        return []
    keys = list(findings[0].values)
    rows = [["trial", "state", "dev F1", *keys]]
    rows += [
        [
            str(each.trial),
            each.state,
            "" if each.f1 is None else f"{each.f1:.2%}",
            *_shown(each, keys),
        ]
        for each in findings
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    if importances:
        lines += [
            "",
            "importance: " + ", ".join(f"{key} {share:.0%}" for key, share in importances.items()),
        ]
    return lines


def _shown(finding: Finding, keys: Sequence[str]) -> list[str]:
    values = [finding.values.get(key, "") for key in keys]
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


def _plot(findings: Sequence[Finding], path: Path) -> None:
    """Draw the F1 of each trial, and the best so far, in the order in which they were begun."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    for state, colour in (("complete", GREEN), ("pruned", GREY)):
        points = [
            (each.trial, 100 * each.f1)
            for each in findings
            if each.state == state and each.f1 is not None
        ]
        axes.scatter(
            [x for x, _ in points], [y for _, y in points], color=colour, s=18, label=state
        )
    complete = [
        (each.trial, 100 * each.f1)
        for each in findings
        if each.state == "complete" and each.f1 is not None
    ]
    best = [max(y for _, y in complete[: place + 1]) for place in range(len(complete))]
    axes.step([x for x, _ in complete], best, where="post", color=BLUE, label="best so far")
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
    """Train trials in `output` until the recipe's number is reached, or no more are to be begun; `note` hears of each.

    `until` is the time.time() after which none is begun. Others may work on the same study at the
    same time, in other processes.

    Raises TrainingError where `output` holds the search of another recipe, JobInterrupted when
    `interruption` is wanted, and whatever else is wrong with a trial but that it diverged or wanted
    more memory than the GPU has.
    """
    study = Study(recipe, output)
    while until is None or time.time() < until:
        interruption.check()
        with study.claimed() as claim:
            if claim is None:
                return
            note(f"trial {claim.trial.number}: {_described(claim.trial.params)}")
            _try(study, claim, data, interruption)
            note(str(find(study.all()[claim.trial.number])))
        _tidy(study)


def _described(values: Mapping[str, object]) -> str:
    shown = {
        key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()
    }
    return ", ".join(f"{key} {value}" for key, value in shown.items())


class _PrunedError(Exception):
    """Ends the training of a trial that will not be the best."""


def _try(study: Study, claim: Claim, data: Path, interruption: Interruption) -> None:
    """Train a trial, from where it was interrupted if it was, and enter in the study what came of it."""
    try:
        if claim.reported and study.should_prune(claim):  # its process ended before it could say so
            raise _PrunedError
        watchers = (_Pruning(study, claim),)
        train(
            claim.recipe,
            data,
            claim.directory,
            resume=True,
            watchers=watchers,
            interruption=interruption,
        )
        study.complete(claim, _best_f1(claim.directory))
    except _PrunedError:
        study.prune(claim)
    except (DivergedError, torch.OutOfMemoryError) as error:
        study.fail(claim, " ".join(str(error).split()))
    except JobInterrupted:
        study.forgive(claim)
        raise JobInterrupted(
            f"interrupted at trial {claim.trial.number}; the same command goes on from there"
        ) from None
    except TeddyError as error:
        study.fail(claim, str(error))  # or the search would never get beyond it
        raise


class _Pruning:
    """Reports the evaluations of a trial to the study, and raises _PrunedError when they are not good enough."""

    def __init__(self, study: Study, claim: Claim) -> None:
        self._study = study
        self._claim = claim
        self._steps: set[int] = set()

    def __call__(self, row: Row) -> None:
        if row["kind"] != "evaluation":
            return
        if not self._steps:
            # Those of earlier processes; the training has forgotten, by now, what it does again.
            self._steps = {step for step, _ in _evaluations(self._claim.directory)}
        self._steps.add(row["step"])
        if self._study.report(self._claim, len(self._steps), row["f1"]):
            raise _PrunedError("pruned: it will hardly be the best")


def _evaluations(directory: Path) -> list[tuple[int, float]]:
    """Return the step and the F1 of each evaluation that a run has made."""
    rows = [row for row in Record(directory).rows() if row["kind"] == "evaluation"]
    return [(int(row["step"] or 0), float(row["f1"] or 0.0)) for row in rows]


def _best_f1(directory: Path) -> float:
    """Return the F1 of a finished run, which is that of its model file."""
    return max(f1 for _, f1 in _evaluations(directory))


def _tidy(study: Study) -> None:
    """Remove the checkpoints of trials that have ended, but for those of the best."""
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
    """Search in `n_jobs` processes, and write what was found, also when that is interrupted; see `search`.

    Raises what `search` raises, DivergedError when every trial diverged, TrainingError when none
    came to its end or a process did not.
    """
    study = Study(recipe, output)
    try:
        if n_jobs == 1:
            with interruptions() as interruption:
                search(
                    recipe, data, output, until=until, note=Log().note, interruption=interruption
                )
        else:
            _search_in_processes(study, data, until, n_jobs)
    finally:
        findings = write_findings(study, Log().note)
        if is_terminal(sys.stderr):
            print(*table(findings, study.importances()), sep="\n", file=sys.stderr)
    if not any(each.state == "complete" for each in findings):
        errors = [each.error for each in findings if each.error]
        kind = DivergedError if errors and len(errors) == len(findings) else TrainingError
        raise kind(
            f"no trial came to its end{': ' if errors else ''}{errors[-1] if errors else ''}"
        )


def _search_in_processes(study: Study, data: Path, until: float | None, n_jobs: int) -> None:
    spawn = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    logs = [study.directory / f"job-{number}.log" for number in range(1, n_jobs + 1)]
    arguments = (study.recipe, data, study.directory, until)
    processes = [spawn.Process(target=_job, args=(*arguments, log)) for log in logs]
    seen = {trial.number for trial in study.ended()}
    with interruptions() as interruption, _ended(processes):
        while any(process.is_alive() for process in processes) and not interruption.wanted:
            wait(
                [process.sentinel for process in processes if process.is_alive()],
                timeout=_EVERY_SECONDS,
            )
            _tell_ended(study, seen)
    _tell_ended(study, seen)
    interruption.check()
    for process, log in zip(processes, logs, strict=True):
        # What one that was killed had begun, another one may have brought to its end.
        if (process.exitcode or 0) > 0 or (process.exitcode and study.unfinished()):
            raise TrainingError(
                f"a process of the search ended with {process.exitcode}: {_last_line(log)}"
            )


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
    return next(
        (f"{line} (see {log})" for line in reversed(lines) if line), f"it left no word in {log}"
    )


def _job(recipe: Recipe, data: Path, output: Path, until: float | None, log: Path) -> None:
    """Search in a process of its own, which tells a file what it has to tell, and ends when its parent is gone."""
    os.setsid()  # Ctrl-C reaches the parent alone, which passes it on
    with log.open("a", encoding="utf-8", buffering=1) as file:
        sys.stderr = sys.stdout = file
        threading.Thread(target=_follow_parent, daemon=True).start()
        try:
            with interruptions() as interruption:
                search(
                    recipe, data, output, until=until, note=Log().note, interruption=interruption
                )
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
