"""An evaluation, with all that is known around it, as one HTML page."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from teddy.model.errors import TrainingError
from teddy.model.tags.spans import Span
from teddy.training.evaluation.bootstrap import Intervals
from teddy.training.evaluation.evaluate import Evaluation, Mistake
from teddy.training.evaluation.mistakes import Confusion, Kind
from teddy.training.evaluation.reliability import Reliability
from teddy.training.evaluation.robustness import Robustness
from teddy.training.report.background import Background
from teddy.training.report.drawings import cell_totals, reliability_figure
from teddy.training.report.figures import Rows, panels
from teddy.training.report.html_page import Segment, as_svg, covered, excerpt, render
from teddy.training.report.machine import Cost, Machine

Label = str | None

Facts = list[tuple[str, str]]
EXPLAINED = {
    Kind.LABEL: "The borders are right, the label is not.",
    Kind.BORDERS: "The label is right, but the entity begins or ends elsewhere.",
    Kind.BOTH: "An entity is here, but it begins or ends elsewhere, and its label is another.",
    Kind.SPURIOUS: "Nothing is annotated here.",
    Kind.MISSED: "Nothing was predicted here.",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A count, and how dark it is, 0 to 1."""

    n: int
    shade: float


@dataclass(frozen=True, slots=True)
class Row:
    """A gold label and its cells; None is a cell that nothing can be in."""

    name: str
    cells: list[Cell | None]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Gold labels, downwards, against predicted ones."""

    caption: str
    columns: list[str]
    rows: list[Row]


def matrices(confusion: Confusion, labels: Sequence[str]) -> list[Matrix]:
    """Return a table of the spans with equal borders, and one of those that overlap, if any."""
    used = {
        label for cells in _both(confusion) for pair in cells for label in pair if label is not None
    }
    names: list[Label] = [*labels, *sorted(used.difference(labels))]
    totals = cell_totals(confusion)
    found = [_matrix("Equal borders", confusion.equal_borders, [*names, None], totals)]
    if confusion.wrong_borders:
        found.append(_matrix("Overlapping, other borders", confusion.wrong_borders, names, totals))
    return found


def _both(
    confusion: Confusion,
) -> tuple[Counter[tuple[Label, Label]], Counter[tuple[Label, Label]]]:
    return confusion.equal_borders, confusion.wrong_borders


def _matrix(
    caption: str,
    cells: Counter[tuple[Label, Label]],
    names: Sequence[Label],
    totals: dict[tuple[Label, Label], int],
) -> Matrix:
    return Matrix(
        caption,
        ["missed" if name is None else name for name in names],
        [
            Row(
                "spurious" if gold is None else gold,
                [_cell(cells, (gold, found), totals) for found in names],
            )
            for gold in names
        ],
    )


def _cell(
    cells: Counter[tuple[Label, Label]],
    place: tuple[Label, Label],
    totals: dict[tuple[Label, Label], int],
) -> Cell | None:
    if place == (None, None):
        return None
    n = cells[place]
    # The square root lets a share of a few in a hundred still be seen beside the diagonal.
    return Cell(n, (n / totals[place]) ** 0.5 if n else 0.0)


def machine_tables(background: Background) -> Iterator[tuple[str, Facts]]:
    """Give tables with their captions; what was not measured has no row."""
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


@dataclass(frozen=True, slots=True)
class MistakesOfKind:
    """Those kept of one kind, at least one; `total` is how many there are."""

    kind: Kind
    mistakes: tuple[Mistake, ...]
    total: int

    @property
    def explained(self) -> str:
        """What is wrong, and how many of them are shown."""
        n = len(self.mistakes)
        how_many = f"All {self.total:,}" if n == self.total else f"{n:,} of {self.total:,}"
        has_scores = any(one.score is not None for one in self.mistakes)
        surest = ", those first of which the tagger was surest" if has_scores else ""
        return f"{EXPLAINED[self.kind]} {how_many}{surest}."


def mistakes_by_kind(evaluation: Evaluation) -> Iterator[MistakesOfKind]:
    """Give the kinds of which there are mistakes."""
    for kind in EXPLAINED:
        shown = tuple(mistake for mistake in evaluation.mistakes if mistake.kind is kind)
        if shown:
            yield MistakesOfKind(kind, shown, evaluation.n_by_kind[kind])


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
        mistakes=[
            (group, [_case(mistake) for mistake in group.mistakes])
            for group in mistakes_by_kind(evaluation)
        ],
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
        values = [
            value for line in figure.axes[0].lines[-1:] for value in _floats(line.get_ydata())
        ]
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
