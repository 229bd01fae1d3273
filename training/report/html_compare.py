"""A comparison of two models as one HTML page for people."""

import json
from dataclasses import dataclass
from pathlib import Path

from teddy.model.system.files import write_atomically
from teddy.model.tags.spans import Span
from teddy.training.evaluation.comparing import Change
from teddy.training.evaluation.pair import Pair
from teddy.training.report.html_page import Segment, covered, excerpt, render


@dataclass(frozen=True, slots=True)
class ChangeCase:
    """A change and its surroundings; texts are of the gold span, of A's answer and of B's."""

    change: Change
    segments: list[Segment]
    gold_text: str
    first_text: str
    second_text: str


def write_comparison(pair: Pair, directory: Path, title: str) -> None:
    """Write `compare.json` and `compare.html` into `directory`, which is made if need be.

    Raises: TrainingError where jinja2, which the page needs, is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    write_atomically(
        directory / "compare.json", json.dumps(pair.as_dict(), ensure_ascii=False, indent=1) + "\n"
    )
    write_atomically(directory / "compare.html", as_html(pair, title))


def as_html(pair: Pair, title: str) -> str:
    """Write the comparison as a page.

    Raises: TrainingError where jinja2 is not installed.
    """
    comparison = pair.comparison
    every = [*comparison.by_label.values(), comparison.overall]
    reach = max(
        0.01,
        *(abs(end) for each in every for end in (each.interval.low, each.interval.high, each.f1)),
    )
    return render(
        "compare.html",
        title=title,
        pair=pair,
        comparison=comparison,
        overall=comparison.overall,
        reach=reach,
        groups=[
            (
                "better",
                "What got better",
                "Only B is right here.",
                _cases(comparison.better),
                comparison.n_better,
            ),
            (
                "worse",
                "What got worse",
                "Only A is right here.",
                _cases(comparison.worse),
                comparison.n_worse,
            ),
        ],
    )


def _cases(changes: tuple[Change, ...]) -> list[ChangeCase]:
    return [_case(change) for change in changes]


def _case(change: Change) -> ChangeCase:
    spans = {
        "gold": change.gold,
        "first": change.first.span if change.first else None,
        "second": change.second.span if change.second else None,
    }
    texts = [_text(change.text, span) for span in spans.values()]
    return ChangeCase(change, excerpt(change.text, spans), *texts)


def _text(text: str, span: Span | None) -> str:
    return covered(text, span) if span else ""
