"""Promotion: a new model replaces the one that is served, if it is better; and rollback.

A model is loaded, canary and all, before it is put anywhere; `teddy.training.promotion.folder` puts
it there.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from teddy.model.errors import DataError, ModelFileError, TrainingError
from teddy.model.predictor import Predictor, load
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.card import evaluate_served
from teddy.training.promotion.folder import MODEL_NAME, Action, Promotion, ServedFolder, now

Status = Literal["promoted", "already served", "not better", "too low", "rolled back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The data to compare on, and by how much the new model must be better, in F1 from 0 to 1.

    Below `at_least` no model is promoted, nor one that finds nothing. `read` gives the corpora,
    given all labels that either model knows.
    """

    data: Path
    read: Callable[[Sequence[str]], Sequence[Corpus]]
    margin: float
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result: `version` is served as `name`, or `previous` still is if it is "not better" or "too low".

    F1, strict and of all labels together, from 0 to 1, is there where the two were compared.
    """

    status: Status
    name: str
    version: str
    previous: str | None = None
    f1: float | None = None
    previous_f1: float | None = None
    notes: tuple[str, ...] = ()


def promote(
    model_file: Path,
    folder: ServedFolder,
    *,
    name: str | None = None,
    comparison: Comparison | None = None,
    keep: int,
    note: Callable[[str], None],
) -> Outcome:
    """Serve a model file under `name`, or its own, and keep the last `keep` versions.

    With a `comparison`, only when it is better than what is served there. The same promotion once
    more changes nothing. Raises ModelFileError for a file that cannot be served, DataError for data
    that cannot be read or has nothing.
    """
    if model_file.suffix != ".teddy":
        raise ModelFileError(model_file, "what is promoted is a .teddy file")
    candidate = load(model_file, precision="fp32")
    name = name or candidate.manifest.name
    if not MODEL_NAME.fullmatch(name):
        raise TrainingError(
            f"{name!r} cannot be the name of a served model: give another with --name"
        )
    with _locked(folder, note):
        previous = folder.adopt(name)
        outcome = Outcome(
            status="promoted", name=name, version=candidate.version, previous=previous
        )
        if previous == candidate.version:
            return replace(outcome, status="already served")
        if comparison is not None:
            outcome = _compared(outcome, candidate, folder, comparison)
        if outcome.status == "promoted":
            folder.put(model_file, _record(outcome, "promoted", model_file, comparison))
            folder.prune(name, keep)
        return outcome


def roll_back(
    folder: ServedFolder, *, name: str | None, version: str | None, note: Callable[[str], None]
) -> Outcome:
    """Serve a kept version again, given by its first characters; else the one before.

    Raises TrainingError where there is no such version, or no telling which, ModelFileError where
    its file has been spoilt.
    """
    with _locked(folder, note):
        name = name or _only_name(folder)
        current = folder.adopt(name)
        wanted = _before(folder, name, current) if version is None else _kept(folder, name, version)
        outcome = Outcome(status="rolled back", name=name, version=wanted, previous=current)
        if wanted == current:
            return replace(outcome, status="already served")
        kept = folder.versions(name)[wanted]
        load(kept, precision="fp32")
        folder.put(kept, _record(outcome, "rolled back", kept, None))
        return outcome


def _locked(folder: ServedFolder, note: Callable[[str], None]) -> AbstractContextManager[None]:
    return folder.locked(lambda: note(f"waiting for another promotion in {folder.path}"))


def _compared(
    outcome: Outcome, candidate: Predictor, folder: ServedFolder, comparison: Comparison
) -> Outcome:
    """Return the outcome with what both models score, and whether the new one is better."""
    served, notes = _load_served(folder, outcome.name)
    known = {"new": candidate, **({"served": served} if served else {})}
    labels = tuple(
        dict.fromkeys(label for each in known.values() for label in each.manifest.labels)
    )
    corpora = comparison.read(labels)
    if not any(corpus.dev for corpus in corpora):
        raise DataError(comparison.data, None, "there are no sentences to compare on")
    f1 = {
        which: evaluate_served(each, corpora, labels).scores.micro.f1
        for which, each in known.items()
    }
    notes += [
        note for which, each in known.items() for note in _unknown_labels(which, each, corpora)
    ]
    scored = replace(outcome, f1=f1["new"], previous_f1=f1.get("served"), notes=tuple(notes))
    if "served" in f1 and not _is_better(f1["new"] - f1["served"], comparison.margin):
        return replace(scored, status="not better")
    if not _is_enough(f1["new"], comparison.at_least):
        return replace(scored, status="too low")
    return scored


def _is_better(gain: float, margin: float) -> bool:
    """Return whether the new model is better by the margin; the served one wins a tie."""
    return gain > 0 and gain >= margin - 1e-9


def _is_enough(f1: float, at_least: float) -> bool:
    """Return whether a model may be served at all; one that finds nothing may not."""
    return f1 > 0 and f1 >= at_least - 1e-9


def _load_served(folder: ServedFolder, name: str) -> tuple[Predictor | None, list[str]]:
    path = folder.file(name)
    if not path.exists():
        return None, ["nothing to compare with: no model is served under this name"]
    try:
        return load(path, precision="fp32"), []
    except ModelFileError as error:
        return None, [f"nothing to compare with: what is served cannot be loaded ({error.reason})"]


def _unknown_labels(which: str, predictor: Predictor, corpora: Sequence[Corpus]) -> list[str]:
    there = {span.label for corpus in corpora for sentence in corpus.dev for span in sentence.spans}
    unknown = sorted(there - set(predictor.manifest.labels))
    return (
        [f"the {which} model does not know {', '.join(unknown)}: it misses those entities"]
        if unknown
        else []
    )


def _record(
    outcome: Outcome, action: Action, source: Path, comparison: Comparison | None
) -> Promotion:
    return Promotion(
        time=now(),
        action=action,
        name=outcome.name,
        version=outcome.version,
        previous=outcome.previous,
        f1=outcome.f1,
        previous_f1=outcome.previous_f1,
        data=None if comparison is None else str(comparison.data),
        source=str(source),
    )


def _only_name(folder: ServedFolder) -> str:
    names = folder.names()
    if len(names) != 1:
        found = f"has {', '.join(names)}: say which with --name" if names else "has no model"
        raise TrainingError(f"{folder.path} {found}")
    return names[0]


def _before(folder: ServedFolder, name: str, current: str | None) -> str:
    """Return the version to go back to, whose file must still be there."""
    if current is None:
        # its file is missing or spoilt: what was put there last is the way back
        history = folder.history.of(name)
        before = history[-1].version if history else None
    else:
        before = folder.before(name, current)
    if before is None:
        raise TrainingError(
            f"{folder.path}: there is no version of {name} before {current or 'this'}"
        )
    return _kept(folder, name, before)


def _kept(folder: ServedFolder, name: str, beginning: str) -> str:
    versions = list(folder.versions(name))
    found = [version for version in versions if version.startswith(beginning)]
    if len(found) != 1:
        problem = "is not kept" if not found else "begins more than one version"
        raise TrainingError(
            f"{folder.path}: {beginning} {problem} of {name}; kept: {', '.join(versions) or 'none'}"
        )
    return found[0]
