"""What every experiment shares: its size, figures over seeds, and the page that it writes."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Literal

from teddy.model.system.files import write_atomically
from teddy.training.report.figures import BLUE, GREEN, GREY, ORANGE, save_figure
from teddy.training.report.html_page import as_svg, render

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SizeName = Literal["tiny", "quick", "full"]
SEEDS = (1, 2, 3)
COLOURS = (BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, as all figures of Teddy."""
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""The 97.5 % point of Student's t for so many values, of one degree of freedom less."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How large an experiment is, and where it tells how far it is."""

    size: SizeName
    """`tiny` is for tests: it runs everything, and shows nothing."""
    say: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Measured:
    """One figure from several seeds."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean over the seeds."""
        return fmean(self.values)

    @property
    def margin(self) -> float:
        """Half the width of the 95 % interval of the mean (Student's t)."""
        n = len(self.values)
        if n < 2:
            return math.inf
        return _STUDENT[n] * stdev(self.values) / math.sqrt(n)

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.margin

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.margin

    def percent(self) -> str:
        """Write a share with its interval, which shares below 0 and above 1 do not belong to."""
        low, high = max(0.0, self.low), min(1.0, self.high)
        return f"{100 * self.mean:.1f} ({100 * low:.0f} to {100 * high:.0f})"

    def number(self, digits: int = 3) -> str:
        """Write a number with its interval."""
        return f"{self.mean:.{digits}g} ± {self.margin:.2g}"

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON."""
        return {"values": self.values, "mean": self.mean, "low": self.low, "high": self.high}


def over_seeds(rows: Sequence[Sequence[float]]) -> list[Measured]:
    """Measure each column of a table that has a row for each seed."""
    return [Measured(column) for column in zip(*rows, strict=True)]


def differs(first: Measured, second: Measured) -> bool:
    """Tell whether the differences of two figures of the same seeds, seed by seed, are not 0."""
    gaps = Measured(tuple(a - b for a, b in zip(first.values, second.values, strict=True)))
    return gaps.low > 0 or gaps.high < 0


def words_of(names: Sequence[str]) -> str:
    """Join names as a sentence does: `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else [*names])


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a page; the first cell of a row is its head."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What an experiment found."""

    name: str
    title: str
    about: str
    """What is done, in a few sentences."""
    findings: Sequence[str]
    """What came out: sentences made of the figures of this very run."""
    figures: "Sequence[tuple[str, Figure]]"
    """With captions; the first is also written as a picture."""
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    data: Mapping[str, object] = field(default_factory=dict)
    """All figures, ready for JSON."""

    def as_json(self) -> str:
        """Give everything but the drawings."""
        content = {
            "experiment": self.name,
            "title": self.title,
            "about": self.about,
            "findings": self.findings,
            "notes": self.notes,
            "tables": self.tables,
            "data": self.data,
        }
        return json.dumps(content, ensure_ascii=False, indent=1, default=_shown) + "\n"

    def write(self, directory: Path) -> Path:
        """Write NAME.json, NAME.png and NAME.html into a directory; return the last one's path.

        Raises TrainingError where matplotlib or jinja2 is not installed.
        """
        directory.mkdir(parents=True, exist_ok=True)
        write_atomically(directory / f"{self.name}.json", self.as_json())
        figures = [
            {"caption": caption, "svg": as_svg(figure, f"{self.name}{'abcdefgh'[number]}")}
            for number, (caption, figure) in enumerate(self.figures)
        ]
        save_figure(self.figures[0][1], directory / f"{self.name}.png")
        path = directory / f"{self.name}.html"
        write_atomically(path, render("lab.html", title=self.title, page=self, figures=figures))
        return path


def _shown(value: object) -> object:
    if isinstance(value, Measured):
        return value.as_dict()
    if is_dataclass(value):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    raise TypeError(f"{type(value).__name__} is not for JSON")


def draw_measured(
    axes: "Axes",
    places: Sequence[float],
    measured: Sequence[Measured],
    name: str,
    number: int,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    factor: float = 1,
) -> None:
    """Draw means with their intervals, which end at the `bounds`, all times `factor`.

    `number` chooses the colour.
    """
    low, high = bounds
    below = [factor * (each.mean - max(each.low, low)) for each in measured]
    above = [factor * (min(each.high, high) - each.mean) for each in measured]
    axes.errorbar(
        places,
        [factor * each.mean for each in measured],
        yerr=[below, above],
        label=name,
        color=COLOURS[number % len(COLOURS)],
        linestyle=("-", "--", ":", "-.")[number % 4],
        marker="osD^v<>"[number % 7],
        markersize=3.5,
        linewidth=1.4,
        elinewidth=0.8,
        capsize=2,
    )


def draw_bars(
    axes: "Axes",
    places: Sequence[str],
    groups: "Mapping[str, Sequence[Measured | None]]",
    *,
    share: bool = True,
) -> None:
    """Draw groups of bars side by side with their intervals; a share in %, between 0 and 100."""
    width = 0.8 / len(groups)
    factor, highest = (100, 100.0) if share else (1, math.inf)
    for number, (name, measured) in enumerate(groups.items()):
        kept = [(place, each) for place, each in enumerate(measured) if each is not None]
        means = [factor * each.mean for _, each in kept]
        low = [m - max(0.0, factor * each.low) for m, (_, each) in zip(means, kept, strict=True)]
        high = [min(highest, factor * e.high) - m for m, (_, e) in zip(means, kept, strict=True)]
        axes.bar(
            [place + (number + 0.5) * width - 0.4 for place, _ in kept],
            means,
            0.9 * width,
            yerr=[low, high],
            label=name or None,
            color=COLOURS[number],
            error_kw={"elinewidth": 0.8, "capsize": 2, "alpha": 0.6},
        )
    axes.set_xticks(range(len(places)), places)
    axes.set_axisbelow(True)
    if share:
        axes.set_yticks(range(0, 101, 20))
    if len(groups) > 1:
        axes.margins(y=0.25)
        axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=len(groups))


def finish(axes: "Axes", x: str, y: str, title: str = "", *, legend: bool = True) -> None:
    """Name the axes, and draw a quiet grid."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    if legend:
        axes.legend(frameon=False, fontsize=8)
