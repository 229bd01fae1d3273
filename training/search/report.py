"""What a search has found: best.toml, search.json, search.png and a table."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from optuna.trial import FrozenTrial, TrialState

from teddy.model.files import write_atomically
from teddy.training.figures import BLUE, GREEN, GREY, new_figure, optional_figure, save_figure
from teddy.training.search.config import Scalar
from teddy.training.search.study import Study

BEST = "best.toml"

_STATES = {
    TrialState.RUNNING: "interrupted",
    TrialState.WAITING: "waiting",
    TrialState.COMPLETE: "complete",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is known of a trial.

    Attributes: `f1` is its best on dev, 0 to 1, None where it has none; `evaluations` are those that it was compared
    by; `error` says why it failed, `same_as` which earlier trial had the same values.
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
        why = f": {self.error}" if self.error else "" if self.same_as is None else f", the same as {self.same_as}"
        return f"trial {self.trial}: {self.state}{score}{why}"


def find(trial: FrozenTrial) -> Finding:
    """Read a trial of the database."""
    reached = [*trial.intermediate_values.values(), *([trial.value] if trial.state == TrialState.COMPLETE else [])]
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
    write_atomically(study.directory / "search.json", json.dumps(fields, ensure_ascii=False, indent=1) + "\n")
    with optional_figure(note, "search.png"):
        _plot(findings, study.directory / "search.png")
    return sorted(findings, key=lambda finding: (finding.state != "complete", -(finding.f1 or 0.0), finding.trial))


def table(findings: Sequence[Finding], importances: dict[str, float]) -> list[str]:
    """Return lines: the trials, the best first, and what each value matters where that is known."""
    if not findings:
        return []
    keys = list(findings[0].values)
    rows = [["trial", "state", "dev F1", *keys]]
    rows += [
        [str(each.trial), each.state, "" if each.f1 is None else f"{each.f1:.2%}", *_shown(each, keys)]
        for each in findings
    ]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    if importances:
        lines += ["", "importance: " + ", ".join(f"{key} {share:.0%}" for key, share in importances.items())]
    return lines


def _shown(finding: Finding, keys: Sequence[str]) -> list[str]:
    values = [finding.values.get(key, "") for key in keys]
    return [f"{value:.4g}" if isinstance(value, float) else str(value) for value in values]


def _plot(findings: Sequence[Finding], path: Path) -> None:
    """Draw the F1 of each trial, and the best so far, in the order in which they were begun."""
    figure = new_figure(8, 4)
    axes = figure.subplots()
    for state, colour in (("complete", GREEN), ("pruned", GREY)):
        points = [(each.trial, 100 * each.f1) for each in findings if each.state == state and each.f1 is not None]
        axes.scatter([x for x, _ in points], [y for _, y in points], color=colour, s=18, label=state)
    complete = [(each.trial, 100 * each.f1) for each in findings if each.state == "complete" and each.f1 is not None]
    best = [max(y for _, y in complete[: place + 1]) for place in range(len(complete))]
    axes.step([x for x, _ in complete], best, where="post", color=BLUE, label="best so far")
    axes.set_xlabel("trial")
    axes.set_ylabel("dev F1, %")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
