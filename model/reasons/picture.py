"""A picture of explanations: the words of a sentence as a heat map, and what less of it would give.

It is drawn as boxes and pieces of text, which become an SVG, or by matplotlib a PNG.
"""

import unicodedata
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from teddy.model.errors import FileError, MissingExtraError
from teddy.model.reasons.explanation import ExplainedEntity, Explanation, ReadWord

_WIDTH, _MARGIN, _GAP = 860.0, 32.0, 6.0
_CELL_HEIGHT, _LINE_HEIGHT, _BAR_HEIGHT = 34.0, 62.0, 26.0
_WORD_SIZE, _SMALL_SIZE, _HEAD_SIZE = 17.0, 12.0, 19.0
_INK, _PALE, _PAPER, _RULE = "#1f2933", "#61707f", "#ffffff", "#e3e8ee"
_GIVES, _TAKES, _NEUTRAL = (11, 122, 117), (201, 74, 24), (243, 245, 248)
_SHOWN = 0.005
"""What a word gives is written under it from here on."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    stroke: str = "none"
    radius: float = 6.0


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of text; `x` is its start, middle or end, by `anchor`, and `y` its base line."""

    x: float
    y: float
    text: str
    size: float
    colour: str = _INK
    anchor: str = "start"
    bold: bool = False


Shape = Box | Words


def draw(explanations: Sequence[tuple[Explanation, ExplainedEntity]], path: Path) -> None:
    """Draw one entity of each explanation, below each other, to a `.svg` or `.png`.

    Raises FileError for another ending, MissingExtraError where a PNG needs matplotlib, and
    OSError.
    """
    if path.suffix not in (".svg", ".png"):
        raise FileError(path, None, "a picture ends in .svg or .png")
    most = max(abs(each) for _, entity in explanations for each in (*entity.gives, _SHOWN))
    shapes: list[Shape] = []
    y = _MARGIN
    for explanation, entity in explanations:
        if shapes:
            shapes.append(Box(_MARGIN, y, _WIDTH - 2 * _MARGIN, 1, _RULE, radius=0))
            y += _MARGIN
        drawn, y = _panel(explanation, entity, most, y)
        shapes += drawn
    shapes += _legend(y)
    height = y + 16 + _MARGIN
    if path.suffix == ".svg":
        path.write_text(_as_svg(shapes, height, _title(explanations)), encoding="utf-8")
    else:
        _write_png(shapes, height, path)


def _title(explanations: Sequence[tuple[Explanation, ExplainedEntity]]) -> str:
    """Return what a screen reader says of the picture."""
    return " ".join(
        f"{each.entity.text}, {each.entity.label}: {_percent(each.probability or 0.0)}; with the "
        f"words up to it only {_percent(each.left_only or 0.0)}."
        for _, each in explanations
    )


def _panel(
    explanation: Explanation, explained: ExplainedEntity, most: float, y: float
) -> tuple[list[Shape], float]:
    """Draw one entity from `y` on; return the shapes and where they end."""
    entity = explained.entity
    head = f"\u201c{entity.text}\u201d as {entity.label}"
    shapes: list[Shape] = [
        Words(_MARGIN, y + 16, head, _HEAD_SIZE, bold=True),
        Words(
            _WIDTH - _MARGIN,
            y + 16,
            _percent(explained.probability or 0.0),
            _HEAD_SIZE,
            anchor="end",
            bold=True,
        ),
    ]
    y += 36
    words = explanation.sentences[explained.sentence or 0].words
    places = list(_laid_out(words))
    for word, given, (x, line, width) in zip(words, explained.gives, places, strict=True):
        top = y + line * _LINE_HEIGHT
        is_own = entity.start <= word.start < entity.end
        fill, ink = _heat(given / most)
        shapes.append(Box(x, top, width, _CELL_HEIGHT, fill, _INK if is_own else "none"))
        middle = x + width / 2
        shapes.append(Words(middle, top + 23, word.text, _WORD_SIZE, ink, "middle", is_own))
        if abs(given) >= _SHOWN:
            points = f"{given * 100:+.0f}".replace("-", "\u2212")
            shapes.append(Words(middle, top + 50, points, _SMALL_SIZE, _PALE, "middle"))
    y += (1 + max(line for _, line, _ in places)) * _LINE_HEIGHT + 8
    bars = (
        ("words up to it", explained.left_only),
        ("words from it on", explained.right_only),
        ("whole sentence", explained.probability),
    )
    for name, value in bars:
        shapes += _bar(name, value or 0.0, y)
        y += _BAR_HEIGHT
    return shapes, y + 18


def _laid_out(words: Sequence[ReadWord]) -> Iterator[tuple[float, int, float]]:
    """Yield the left side, line and width of each word's cell; from the right where it is read so.

    Words wider than the picture are not broken: they are words.
    """
    inner = _WIDTH - 2 * _MARGIN
    strong = (unicodedata.bidirectional(sign) for word in words for sign in word.text)
    from_right = next((each for each in strong if each in ("L", "R", "AL")), "L") != "L"
    at, line = 0.0, 0
    for word in words:
        width = max(26.0, _text_width(word.text, _WORD_SIZE) + 16)
        if at and at + width > inner:
            at, line = 0.0, line + 1
        yield _MARGIN + (inner - at - width if from_right else at), line, width
        at += width + _GAP


def _text_width(text: str, size: float) -> float:
    """Return about how wide a text is in a sans serif font."""
    width = 0.0
    for sign in text:
        if unicodedata.combining(sign):
            continue
        if unicodedata.east_asian_width(sign) in "WF":
            width += 1.05
        elif sign in "iljtfrI.,;:'!|()[]-\u2019":
            width += 0.36
        elif sign in "mwMW@%":
            width += 0.9
        else:
            width += 0.7 if sign.isupper() else 0.58
    return width * size


def _bar(name: str, value: float, y: float) -> list[Shape]:
    left, width = _MARGIN + 150, _WIDTH - 2 * _MARGIN - 210
    return [
        Words(_MARGIN, y + 12, name, _SMALL_SIZE + 1, _PALE),
        Box(left, y, width, 16, _hex(_NEUTRAL), radius=4),
        Box(left, y, max(3.0, width * value), 16, "#4a6fa5", radius=4),
        Words(_WIDTH - _MARGIN, y + 12, _percent(value), _SMALL_SIZE + 1, anchor="end"),
    ]


def _legend(y: float) -> list[Shape]:
    said = "How many percentage points the entity would lose (+) or gain (\u2212) without the word"
    shapes: list[Shape] = [Words(_MARGIN + 138, y + 13, said, _SMALL_SIZE, _PALE)]
    for step in range(9):
        fill, _ = _heat((step - 4) / 4)
        shapes.append(Box(_MARGIN + step * 14, y, 14, 16, fill, radius=0))
    return shapes


def _heat(part: float) -> tuple[str, str]:
    """Return the colour of a cell for -1 to 1, and of the word in it. Small ones are seen too."""
    far = _GIVES if part > 0 else _TAKES
    strength = min(1.0, abs(part)) ** 0.6
    mixed = tuple(
        round(near + (end - near) * strength) for near, end in zip(_NEUTRAL, far, strict=True)
    )
    red, green, blue = mixed
    lightness = (0.21 * red + 0.72 * green + 0.07 * blue) / 255
    return _hex(mixed), _PAPER if lightness < 0.5 else _INK


def _hex(colour: Sequence[int]) -> str:
    return "#" + "".join(f"{part:02x}" for part in colour)


def _percent(value: float) -> str:
    return f"{value * 100:.0f} %"


def _as_svg(shapes: Sequence[Shape], height: float, title: str) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {height:g}" '
        f'width="{_WIDTH:g}" height="{height:g}" role="img" '
        'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif">',
        f"<title>{_clean(title)}</title>",
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1:g}" height="{height - 1:g}" rx="14" '
        f'fill="{_PAPER}" stroke="{_RULE}"/>',
        *map(_element, shapes),
        "</svg>\n",
    ]
    return "\n".join(lines)


def _element(shape: Shape) -> str:
    if isinstance(shape, Box):
        stroke = f' stroke="{shape.stroke}" stroke-width="2"' if shape.stroke != "none" else ""
        return (
            f'<rect x="{shape.x:.1f}" y="{shape.y:.1f}" width="{shape.width:.1f}" '
            f'height="{shape.height:g}" rx="{shape.radius:g}" fill="{shape.fill}"{stroke}/>'
        )
    weight = ' font-weight="600"' if shape.bold else ""
    anchor = f' text-anchor="{shape.anchor}"' if shape.anchor != "start" else ""
    return (
        f'<text x="{shape.x:.1f}" y="{shape.y:.1f}" font-size="{shape.size:g}" '
        f'fill="{shape.colour}"{anchor}{weight}>{_clean(shape.text)}</text>'
    )


def _clean(text: str) -> str:
    """Return a text for XML, which has no place for some characters, not even escaped."""
    return escape("".join(each if _is_xml(each) else "\ufffd" for each in text), quote=False)


def _is_xml(sign: str) -> bool:
    return sign in "\t\n" or (sign >= " " and sign not in "\ufffe\uffff")


def _write_png(shapes: Sequence[Shape], height: float, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import FancyBboxPatch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "a PNG needs the package matplotlib: pip install 'teddy[train]', or write an .svg"
        ) from error
    scale = 100.0
    figure = Figure(figsize=(_WIDTH / scale, height / scale), dpi=2 * scale, facecolor=_PAPER)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, _WIDTH), ylim=(height, 0))
    axes.set_axis_off()
    sides = {"start": "left", "middle": "center", "end": "right"}
    for shape in shapes:
        if isinstance(shape, Box):
            corners = f"round,pad=0,rounding_size={shape.radius}"
            axes.add_patch(
                FancyBboxPatch(
                    (shape.x, shape.y),
                    shape.width,
                    shape.height,
                    boxstyle=corners,
                    facecolor=shape.fill,
                    edgecolor=shape.stroke,
                    linewidth=1.4,
                )
            )
        else:
            axes.text(
                shape.x,
                shape.y,
                shape.text.replace("$", r"\$"),
                fontsize=shape.size * 0.68,
                color=shape.colour,
                horizontalalignment=sides[shape.anchor],
                fontweight="bold" if shape.bold else "normal",
            )
    with warnings.catch_warnings():
        # of a sign that its font lacks it draws a box, as a browser does
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(path)
