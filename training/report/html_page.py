"""What pages in HTML are made of: templates, figures as SVG, and texts with highlighted spans."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from io import StringIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from teddy.model.errors import TrainingError
from teddy.model.tags.spans import Span
from teddy.training.evaluation.mistakes import group_labels
from teddy.training.report.background import CorpusCounts
from teddy.training.report.drawings import MOST_LABELS
from teddy.training.report.figures import BLUE, GREEN, GREY, ORANGE
from teddy.training.report.markdown import percent

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_Value = TypeVar("_Value")
_TEMPLATES = Path(__file__).parent / "templates"

_COLOURS: dict[str, str] = {
    "#000000": "currentColor",
    BLUE.lower(): "var(--blue)",
    ORANGE.lower(): "var(--orange)",
    GREEN.lower(): "var(--green)",
    GREY.lower(): "var(--muted)",
    "#b0b0b0": "var(--rule)",  # grid lines
}
_CONTEXT = 140  # characters to show on either side
_SLACK = 20  # by so many fewer, where that makes the excerpt begin and end between words


def render(template: str, **values: object) -> str:
    """Fill a template; every value is escaped.

    Raises: TrainingError where jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ImportError as error:
        raise TrainingError("HTML reports need jinja2: pip install 'teddy[train]'") from error
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "number": "{:,.0f}".format,
        "signed": _signed,
        "interval": lambda each: f"{100 * each.low:.1f} to {100 * each.high:.1f}",
        "signed_interval": lambda each: _signed(each.low, each.high),
        "place": _place,
        "labels_of": _labels_of,
        "grouped": _grouped,
        "frequent": lambda scores, most: most_frequent(scores, most, lambda each: each.gold),
        "surest": lambda bins, most: most_frequent(bins, most, lambda each: each.total.n),
        "excerpt": excerpt,
        "covered": lambda text, span: _printable(text)[span.start : span.end],
    }
    return environment.get_template(template).render(version=version("teddy"), **values)


def _signed(*ratios: float) -> str:
    """Write differences of ratios in percentage points, with signs of one width."""
    return " to ".join(f"{100 * each:+.2f}" for each in ratios).replace("-", "\u2212")


def _place(value: float, lowest: float, highest: float = 1.0) -> str:
    """Return how far along an axis a value lies, as CSS has it."""
    share = (value - lowest) / (highest - lowest)
    return f"{100 * min(max(share, 0.0), 1.0):.2f}%"


def _grouped(parts: Iterable[CorpusCounts]) -> list[CorpusCounts]:
    """Return the counts of parts with the rare labels of all of them together."""
    parts = list(parts)
    total = sum((part.n_entities for part in parts), Counter[str]())
    names = group_labels(total, MOST_LABELS)
    grouped = []
    for part in parts:
        counts: Counter[str] = Counter()
        for label, name in names.items():
            counts[name] += part.n_entities[label]
        grouped.append(replace(part, n_entities=counts))
    return grouped


def most_frequent(
    by_label: Mapping[str, _Value], most: int, count: Callable[[_Value], int]
) -> dict[str, _Value]:
    """Return the `most` frequent labels, in the order in which they stand."""
    kept = set(sorted(by_label, key=lambda label: -count(by_label[label]))[:most])
    return {label: each for label, each in by_label.items() if label in kept}


def _labels_of(parts: Iterable[CorpusCounts]) -> list[str]:
    return list(dict.fromkeys(label for part in parts for label in part.n_entities))


def as_svg(figure: "Figure", name: str) -> str:
    """Write a figure as an `<svg>` element; equal figures give equal text.

    Words stay words, in the font of the page: any script is shown, found by a search and read
    aloud. `name`, of letters, keeps the ids of two figures in one page apart. `figure.savefig`
    would draw it twice.
    """
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = StringIO()
    backgrounds = [figure.patch, *(axes.patch for axes in figure.axes)]
    for each in backgrounds:
        each.set_visible(False)
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        canvas = FigureCanvasSVG(figure)
        canvas.print_svg(  # type: ignore[no-untyped-call]
            buffer, metadata={"Date": None, "Creator": None}
        )
    for each in backgrounds:
        each.set_visible(True)
    return _in_page(buffer.getvalue())


def _in_page(document: str) -> str:
    """Take the element out of an SVG document, without what only a file of its own needs."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    # Groups are numbered again in every figure, and a page must not have two elements of one id.
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _COLOURS.get(colour[0], colour[0]), svg)


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text, and the roles, such as `gold`, of the spans that cover all of it."""

    text: str
    roles: tuple[str, ...]


def excerpt(text: str, spans: Mapping[str, Span | None]) -> list[Segment]:
    """Cut the surroundings of spans into segments; an ellipsis says where the text goes on.

    Args:
        text: the sentence; control characters and lone surrogates become spaces.
        spans: by role, in characters of the text; at least one is not None.
    """
    there = {role: span for role, span in spans.items() if span is not None}
    edges = {edge for span in there.values() for edge in (span.start, span.end)}
    start, end = _begin(text, min(edges)), _end(text, max(edges))
    clean = _printable(text)
    segments = []
    for begin, stop in pairwise(sorted({start, end, *edges})):
        roles = (role for role, span in there.items() if span.start <= begin < span.end)
        segments.append(Segment(clean[begin:stop], tuple(roles)))
    before, after = [Segment("…", ())] * (start > 0), [Segment("…", ())] * (end < len(text))
    return [*before, *segments, *after]


def _begin(text: str, first: int) -> int:
    start = first - _CONTEXT
    if start <= 0:
        return 0
    space = text.find(" ", start, min(start + _SLACK, first))
    return space + 1 if space >= 0 else start


def _end(text: str, last: int) -> int:
    end = last + _CONTEXT
    if end >= len(text):
        return len(text)
    space = text.rfind(" ", max(end - _SLACK, last), end)
    return space if space >= 0 else end


def _printable(text: str) -> str:
    """Keep every character in its place, and the joiners and direction marks that scripts need."""
    return "".join(
        " " if unicodedata.category(character) in ("Cc", "Cs") else character for character in text
    )
