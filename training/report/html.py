"""An evaluation, with all that is known around it, as one HTML page for people."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teddy.model.errors import TrainingError
from teddy.model.spans import Span
from teddy.training.bootstrap import Intervals
from teddy.training.curves import Rows, panels
from teddy.training.evaluate import Evaluation, Mistake
from teddy.training.reliability import Reliability
from teddy.training.report.background import Background
from teddy.training.report.figures import reliability_figure
from teddy.training.report.html_confusion import matrices
from teddy.training.report.html_figures import as_svg
from teddy.training.report.html_machine import machine_tables
from teddy.training.report.html_page import render
from teddy.training.report.html_spans import Segment, covered, excerpt
from teddy.training.report.mistakes import mistakes_by_kind
from teddy.training.robustness import Robustness

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True)
class InlineFigure:
    """A picture in the page; `alt` says in words what it shows."""

    name: str
    alt: str
    svg: str


@dataclass(frozen=True, slots=True)
class Case:
    """A mistake and its surroundings."""

    mistake: Mistake
    segments: list[Segment]
    gold_text: str
    predicted_text: str


def as_html(
    evaluation: Evaluation,
    intervals: Intervals,
    title: str = "Evaluation",
    robustness: Robustness | None = None,
    background: Background | None = None,
) -> str:
    """Write the evaluation as a page; where matplotlib is not installed, without pictures.

    Raises: TrainingError where jinja2 is not installed.
    """
    background = background or Background()
    lows = [each.f1.low for each in (intervals.micro, *intervals.by_label.values())]
    return render(
        "report.html",
        title=title,
        evaluation=evaluation,
        micro=evaluation.scores.micro,
        by_corpus={name: scores.micro for name, scores in evaluation.by_corpus.items()},
        intervals=intervals,
        lowest=int(10 * min(0.9, *lows)) / 10,
        robustness=robustness,
        confusions=matrices(evaluation.confusion, list(evaluation.scores.by_label)),
        mistakes=[(group, [_case(mistake) for mistake in group.mistakes]) for group in mistakes_by_kind(evaluation)],
        curves=_drawn(lambda: _curves(background.rows)),
        reliability=next(iter(_drawn(lambda: _reliability(evaluation.calibration))), None),
        background=background,
        machine_tables=list(machine_tables(background)),
    )


def _case(mistake: Mistake) -> Case:
    return Case(
        mistake,
        excerpt(mistake.text, {"gold": mistake.gold, "predicted": mistake.predicted}),
        _text(mistake.text, mistake.gold),
        _text(mistake.text, mistake.predicted),
    )


def _text(text: str, span: Span | None) -> str:
    return covered(text, span) if span else ""


def _drawn(draw: Callable[[], Iterable[InlineFigure]]) -> list[InlineFigure]:
    """Give the figures, or none where matplotlib is not installed."""
    with suppress(TrainingError):
        return list(draw())
    return []


def _curves(rows: Rows) -> Iterator[InlineFigure]:
    for name, figure in panels(rows):
        values = [value for line in figure.axes[0].lines[-1:] for value in _floats(line.get_ydata())]
        alt = f"{name} against the step: from {values[0]:.4g} to {values[-1]:.4g}."
        yield InlineFigure(name, alt, as_svg(figure, _letters(name)))


def _reliability(calibration: Reliability) -> Iterator[InlineFigure]:
    if calibration.total.n:
        name = "Scores against the share that is right; below, how many entities have such scores"
        alt = f"Reliability diagram; the expected calibration error is {calibration.error:.2%}."
        yield InlineFigure(name, alt, as_svg(reliability_figure(calibration), "reliability"))


def _floats(values: object) -> list[float]:
    return [float(value) for value in values] if isinstance(values, Iterable) else []


def _letters(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())
