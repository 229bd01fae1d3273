"""Promotion: a new model replaces the one that is served, if it is better; and rollback.

A model is loaded, canary and all, before it is put anywhere; `teddy.training.promotion.folder` puts
it there.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from teddy.model.errors import DataError, ModelFileError, TrainingError
from teddy.model.predictor import Predictor, load
from teddy.model.text.words import Tokeniser
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.measurements import dev_sentences, evaluate_dev
from teddy.training.promotion.folder import MODEL_NAME, Action, Promotion, ServedFolder, now

Status = Literal["promoted", "already served", "not better", "too low", "rolled back"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """The data to compare on, and by how much the new model must be better, in F1 from 0 to 1.

    Below `at_least` no model is promoted, nor one that finds nothing. `read` gives the corpora in
    the words of a model, given all labels that either model knows.
    """

    data: Path
    read: Callable[[Sequence[str], Tokeniser], Sequence[Corpus]]
    margin: float
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The result: `version` is served as `name`, or `previous` still is.

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
    requirement: Requirement | None = None,
    keep: int,
    note: Callable[[str], None],
) -> Outcome:
    """Serve a model file under `name`, or its own, and keep the last `keep` versions.

    With a `requirement`, only when it is better than what is served there. The same promotion once
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
    with folder.locked(note):
        previous, version = folder.adopt(name), candidate.version
        outcome = Outcome(status="promoted", name=name, version=version, previous=previous)
        if previous == version:
            return replace(outcome, status="already served")
        if requirement is not None:
            outcome = _compared(outcome, candidate, folder, requirement)
        if outcome.status == "promoted":
            data = None if requirement is None else str(requirement.data)
            folder.put(model_file, _record(outcome, "promoted", model_file, data))
            folder.prune(name, keep)
        return outcome


def roll_back(
    folder: ServedFolder, *, name: str | None, version: str | None, note: Callable[[str], None]
) -> Outcome:
    """Serve a kept version again, given by its first characters; else the one before.

    Raises TrainingError where there is no such version, or no telling which, ModelFileError where
    its file has been spoilt.
    """
    with folder.locked(note):
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


def _compared(
    outcome: Outcome, candidate: Predictor, folder: ServedFolder, requirement: Requirement
) -> Outcome:
    """Return the outcome with what both models score, and whether the new one is better."""
    served, notes = _load_served(folder, outcome.name)
    models = {"new": candidate, **({"served": served} if served else {})}
    every = dict.fromkeys(label for each in models.values() for label in each.manifest.labels)
    labels = tuple(every)
    f1 = {}
    for which, each in models.items():
        corpora = requirement.read(labels, each.tokeniser)
        sentences = dev_sentences(corpora)
        if not sentences:
            raise DataError(requirement.data, None, "there are no sentences to compare on")
        annotated = {span.label for sentence in sentences for span in sentence.spans}
        evaluation = evaluate_dev(each.tagger, corpora, labels=labels, worst=0)
        f1[which] = evaluation.scores.micro.f1
        if unknown := sorted(annotated.difference(each.manifest.labels)):
            missed = ", ".join(unknown)
            notes.append(f"the {which} model does not know {missed}: it misses those entities")
    gain = f1["new"] - f1.get("served", -math.inf)
    scored = replace(outcome, f1=f1["new"], previous_f1=f1.get("served"), notes=tuple(notes))
    if not _is_better(gain, requirement.margin):
        return replace(scored, status="not better")
    if not _is_enough(f1["new"], requirement.at_least):
        return replace(scored, status="too low")
    return replace(scored, status="promoted")


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


def _record(outcome: Outcome, action: Action, source: Path, data: str | None) -> Promotion:
    return Promotion(
        time=now(),
        action=action,
        name=outcome.name,
        version=outcome.version,
        previous=outcome.previous,
        f1=outcome.f1,
        previous_f1=outcome.previous_f1,
        data=data,
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
        before = next((last.version for last in folder.history.of(name)[-1:]), None)
    else:
        before = folder.before(name, current)
    if before is None:
        place = f"{name} before {current or 'this'}"
        raise TrainingError(f"{folder.path}: there is no version of {place}")
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
