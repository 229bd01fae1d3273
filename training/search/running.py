"""The search for the best recipe: trials are trained one after another, each as an ordinary run.

It may be stopped in any way and begun again: finished trials stay as they are, and one that was interrupted goes on
from its last checkpoint with the values that it had.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from teddy.model.errors import DivergedError, JobInterrupted, TeddyError
from teddy.model.interruption import Interruption
from teddy.training.config import Recipe
from teddy.training.record import Record, Row
from teddy.training.run import train
from teddy.training.search.report import find
from teddy.training.search.study import Claim, Study

Note = Callable[[str], None]


def search(
    recipe: Recipe, data: Path, output: Path, *, until: float | None, note: Note, interruption: Interruption
) -> None:
    """Train trials in `output` until the recipe's number is reached, or no more are to be begun; `note` hears of each.

    `until` is the time.time() after which none is begun. Others may work on the same study at the same time, in other
    processes.

    Raises TrainingError where `output` holds the search of another recipe, JobInterrupted when `interruption` is
    wanted, and whatever else is wrong with a trial but that it diverged or wanted more memory than the GPU has.
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
    shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in values.items()}
    return ", ".join(f"{key} {value}" for key, value in shown.items())


class _PrunedError(Exception):
    """Ends the training of a trial that will not be the best."""


def _try(study: Study, claim: Claim, data: Path, interruption: Interruption) -> None:
    """Train a trial, from where it was interrupted if it was, and enter in the study what came of it."""
    try:
        if claim.reported and study.should_prune(claim):  # its process ended before it could say so
            raise _PrunedError
        watchers = (_Pruning(study, claim),)
        train(claim.recipe, data, claim.directory, resume=True, watchers=watchers, interruption=interruption)
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
