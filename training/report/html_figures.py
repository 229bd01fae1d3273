"""Figures of matplotlib as SVG inside a page: in the page's own colours, so that they can be read in the dark too."""

import re
from collections.abc import Mapping
from io import StringIO
from typing import TYPE_CHECKING

from teddy.training.figures import BLUE, GREEN, GREY, ORANGE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS: Mapping[str, str] = {
    "#000000": "currentColor",
    BLUE.lower(): "var(--blue)",
    ORANGE.lower(): "var(--orange)",
    GREEN.lower(): "var(--green)",
    GREY.lower(): "var(--muted)",
    "#b0b0b0": "var(--rule)",  # grid lines
}


def as_svg(figure: "Figure", name: str) -> str:
    """Write a figure as an `<svg>` element; equal figures give equal text.

    Words stay words, in the font of the page: any script is shown, found by a search and read aloud. `name`, of
    letters, keeps the ids of two figures in one page apart.
    """
    import matplotlib

    buffer = StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _in_page(buffer.getvalue())


def _in_page(document: str) -> str:
    """Take the element out of an SVG document, without what only a file of its own needs."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (xmlns(:\w+)?|version)="[^"]*"', "", svg)
    svg = re.sub(r' (width|height)="[\d.]+pt"', "", svg, count=2)
    # Groups are numbered anew in every figure, and a page must not have two elements of one id.
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", svg)
    return re.sub(r"#[0-9a-f]{6}\b", lambda colour: _COLOURS.get(colour[0], colour[0]), svg)
