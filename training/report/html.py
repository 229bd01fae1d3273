"""HTML pages: an evaluation with all that is known around it, and a comparison of two models."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from teddy.model.errors import TrainingError
from teddy.model.system.files import write_atomically
from teddy.training.evaluation.bootstrap import Intervals
from teddy.training.evaluation.evaluate import Evaluation, Mistake
from teddy.training.evaluation.mistakes import Confusion, MistakeKind, group_labels
from teddy.training.evaluation.model_comparison import ModelComparison
from teddy.training.evaluation.recall import RecallCurve
from teddy.training.evaluation.reliability import Reliability
from teddy.training.evaluation.robustness import Robustness
from teddy.training.evaluation.scores import Counts
from teddy.training.report.background import Background
from teddy.training.report.drawings import MOST_LABELS, reliability_figure, shaded_cells
from teddy.training.report.figures import Rows, panels
from teddy.training.report.html_page import as_svg, render
from teddy.training.report.machine import Cost, Machine

MOST_ROWS = 100
"""Labels with a row of their own in a table; report.json has all."""
Facts = list[tuple[str, str]]
Matrix = tuple[str, list[str], list[tuple[str, list[tuple[int, float] | None]]]]
"""Caption, names of the columns, and named rows of counts and shades; None is no cell."""
EXPLAINED = {
    MistakeKind.LABEL: "The borders are right, the label is not.",
    MistakeKind.BORDERS: "The label is right, but the entity begins or ends elsewhere.",
    MistakeKind.BOTH: (
        "An entity is here, but it begins or ends elsewhere, and its label is another."
    ),
    MistakeKind.SPURIOUS: "Nothing is annotated here.",
    MistakeKind.MISSED: "Nothing was predicted here.",
}


@dataclass(frozen=True, slots=True)
class InlineFigure:
    """A picture in the page; `alt` says in words what it shows."""

    name: str
    alt: str
    svg: str


def as_html(
    evaluation: Evaluation,
    intervals: Intervals,
    title: str = "Evaluation",
    robustness: Robustness | None = None,
    background: Background | None = None,
    recall: RecallCurve | None = None,
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
        most_rows=MOST_ROWS,
        f1_by_corpus=grouped_scores(
            {name: scores.by_label for name, scores in evaluation.by_corpus.items()}
        ),
        lowest=int(10 * min(0.9, *lows)) / 10,
        robustness=robustness,
        recall=recall,
        confusions=list(_matrices(evaluation.confusion, list(evaluation.scores.by_label))),
        mistakes=list(mistakes_by_kind(evaluation)),
        curves=_drawn(lambda: _curves(background.rows)),
        reliability=next(iter(_drawn(lambda: _reliability(evaluation.calibration))), None),
        background=background,
        machine_tables=list(_machine_tables(background)),
    )


def grouped_scores(
    by_corpus: Mapping[str, Mapping[str, Counts]],
) -> dict[str, dict[str, Counts]]:
    """Return the scores of each corpus by label, with the rare labels of all of them together."""
    counts: Counter[str] = Counter()
    for by_label in by_corpus.values():
        counts.update({label: each.gold + each.predicted for label, each in by_label.items()})
    names = group_labels(counts, MOST_LABELS)
    grouped: dict[str, dict[str, Counts]] = {}
    for corpus, by_label in by_corpus.items():
        own = grouped.setdefault(corpus, {})
        for label, name in names.items():
            own[name] = own.get(name, Counts()) + by_label.get(label, Counts())
    return grouped


def _matrices(confusion: Confusion, labels: Sequence[str]) -> Iterator[Matrix]:
    """Yield the table of spans with equal borders, and that of other overlapping ones, if any."""
    confusion, names = confusion.bounded(labels, MOST_LABELS)
    for caption, cells, shown in (
        ("Equal borders", confusion.equal_borders, [*names, None]),
        ("Overlapping, other borders", confusion.wrong_borders, [*names]),
    ):
        if cells or caption == "Equal borders":
            rows = shaded_cells(cells, shown, confusion)
            named = [(name or "spurious", row) for name, row in zip(shown, rows, strict=True)]
            yield caption, [name or "missed" for name in shown], named


def _machine_tables(background: Background) -> Iterator[tuple[str, Facts]]:
    """Yield tables with their captions; what was not measured has no row."""
    if background.machine is not None:
        yield "The machine", list(_machine(background.machine, background.precision))
    if background.cost is not None:
        yield "The cost", list(_cost(background.cost))


def _machine(machine: Machine, precision: str) -> Iterator[tuple[str, str]]:
    yield "processor", machine.processor
    yield "cores, threads of torch", f"{machine.cores}, {machine.threads}"
    if machine.memory_bytes:
        yield "memory", _bytes(machine.memory_bytes)
    if precision:
        yield "precision", precision
    yield "torch, Python", f"{machine.torch}, {machine.python}"
    yield "system", machine.system


def _cost(cost: Cost) -> Iterator[tuple[str, str]]:
    if cost.n_processes > 1:
        yield "processes", f"{cost.n_processes:,}: it was resumed"
    yield "time", duration(cost.seconds)
    if cost.training_seconds is not None:
        yield "in updates", duration(cost.training_seconds)
    if cost.evaluation_seconds is not None:
        yield "in evaluations on dev", duration(cost.evaluation_seconds)
    yield "processor time, all threads", duration(cost.cpu_seconds)
    if cost.words is not None:
        yield "words read", f"{cost.words:,}"
    if cost.words_per_second is not None:
        yield "words per second of updates", f"{cost.words_per_second:,.0f}"
    yield "most memory", _bytes(cost.peak_bytes)


def duration(seconds: float) -> str:
    """Write seconds as a person says them: `7.3 s`, `4 min 20 s`, `2 h 5 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def _bytes(n: int) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e9 else f"{n / 1e6:,.0f} MB"


def mistakes_by_kind(
    evaluation: Evaluation,
) -> Iterator[tuple[MistakeKind, str, list[Mistake]]]:
    """Yield each kind of which there are mistakes, an explanation, and the mistakes to show."""
    for kind, explained in EXPLAINED.items():
        shown = [mistake for mistake in evaluation.mistakes if mistake.kind is kind]
        if shown:
            n, total = len(shown), evaluation.n_by_kind[kind]
            how_many = f"All {total:,}" if n == total else f"{n:,} of {total:,}"
            has_scores = any(mistake.score is not None for mistake in shown)
            surest = ", those first of which the tagger was surest" if has_scores else ""
            yield kind, f"{explained} {how_many}{surest}.", shown


def _drawn(draw: Callable[[], Iterable[InlineFigure]]) -> list[InlineFigure]:
    """Return the figures, or none where matplotlib is not installed."""
    with suppress(TrainingError):
        return list(draw())
    return []


def _curves(rows: Rows) -> Iterator[InlineFigure]:
    for name, figure in panels(rows):
        values = np.asarray(figure.axes[0].lines[-1].get_ydata())
        alt = f"{name} against the step: from {values[0]:.4g} to {values[-1]:.4g}."
        yield InlineFigure(name, alt, as_svg(figure, re.sub(r"[^a-z]", "", name.lower())))


def _reliability(calibration: Reliability) -> Iterator[InlineFigure]:
    if calibration.total.n:
        name = "Scores against the share that is right; below, how many entities have such scores"
        alt = f"Reliability diagram; the expected calibration error is {calibration.error:.2%}."
        yield InlineFigure(name, alt, as_svg(reliability_figure(calibration), "reliability"))


def write_comparison(models: ModelComparison, directory: Path, title: str) -> None:
    """Write `compare.json` and `compare.html` into `directory`, which is made if need be.

    Raises: TrainingError where jinja2, which the page needs, is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    content = json.dumps(models.as_dict(), ensure_ascii=False, indent=1)
    write_atomically(directory / "compare.json", content + "\n")
    write_atomically(directory / "compare.html", comparison_as_html(models, title))


def comparison_as_html(models: ModelComparison, title: str) -> str:
    """Write the comparison as a page.

    Raises: TrainingError where jinja2 is not installed.
    """
    found = models.comparison
    every = [*found.by_label.values(), found.overall]
    ends = [(each.interval.low, each.interval.high, each.f1) for each in every]
    return render(
        "compare.html",
        title=title,
        models=models,
        comparison=found,
        overall=found.overall,
        reach=max(0.01, *(abs(end) for three in ends for end in three)),
        groups=[
            ("better", "What got better", "Only B is right here.", found.better, found.n_better),
            ("worse", "What got worse", "Only A is right here.", found.worse, found.n_worse),
        ],
    )
