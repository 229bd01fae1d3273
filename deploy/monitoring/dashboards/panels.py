"""The kinds of panels, as Grafana's JSON. They are few and large: a wall is read from afar."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

GRAFANA = "12.4.10"
"""Whose panels these are; docker-compose.yml has the same. Panels of an older version would be
migrated when read."""
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A query of Prometheus, and what its series are called: `{{label}}` stands for a label's value."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What numbers mean: their unit as Grafana calls it, and from which value on they are which colour."""

    unit: str = "short"
    steps: tuple[tuple[float, str], ...] = ()
    """Value and colour, ascending; below the first, `lowest`. Without any, nothing is coloured."""
    lowest: str = GREEN
    decimals: int | None = None
    least: float | None = 0
    most: float | None = None
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Text and colour to be shown instead of a number."""
    nothing: str = "no data"
    """What is shown where there is no value."""

    @property
    def is_coloured(self) -> bool:
        """Whether a colour says something."""
        return bool(self.steps or self.words)

    def defaults(self) -> Json:
        """The `fieldConfig.defaults` of a panel."""
        steps: list[Json] = [{"value": None, "color": self.lowest if self.is_coloured else GREY}]
        steps += [{"value": value, "color": colour} for value, colour in self.steps]
        optional = {"decimals": self.decimals, "min": self.least, "max": self.most}
        return {
            "unit": self.unit,
            **{name: value for name, value in optional.items() if value is not None},
            "noValue": self.nothing,
            "thresholds": {"mode": "absolute", "steps": steps},
            "mappings": self._mappings(),
        }

    def _mappings(self) -> list[Json]:
        options = {
            str(value): {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(self.words.items())
        }
        return [{"type": "value", "options": options}] if options else []


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel without its place."""

    title: str
    description: str
    kind: str
    queries: tuple[Query, ...] = ()
    defaults: Json = field(default_factory=dict)
    overrides: tuple[Json, ...] = ()
    options: Json = field(default_factory=dict)
    width: int = 0
    """Of the 24 columns; 0: an equal part of what the others of its row leave."""
    runbooks: tuple[str, ...] = ()
    """The alerts that speak of the same, whose sections it links to."""
    instant: bool = False

    def to_json(self) -> Json:
        """Grafana's, but for `id`, `gridPos` and `links`."""
        return {
            "title": self.title,
            "description": self.description,
            "type": self.kind,
            "pluginVersion": GRAFANA,
            **({"datasource": DATA_SOURCE} if self.queries else {}),
            "targets": [self._target(*each) for each in zip("ABCDEF", self.queries, strict=False)],
            "fieldConfig": {"defaults": self.defaults, "overrides": list(self.overrides)},
            "options": self.options,
        }

    def _target(self, name: str, query: Query) -> Json:
        return {
            "refId": name,
            "datasource": DATA_SOURCE,
            "expr": query.expression,
            "legendFormat": query.legend or "__auto",
            "editorMode": "code",
            "instant": self.instant,
            "range": not self.instant,
        }


def stat(
    title: str,
    description: str,
    *queries: Query,
    scale: Scale,
    scales: Mapping[str, Scale] | None = None,
    text: str = "auto",
    runbooks: tuple[str, ...] = (),
    width: int = 0,
) -> Panel:
    """A number to be read across a room.

    If its scale has colours, the whole tile takes the one of its value.

    `scales` are of series, by their names, that have another one. `text` is Grafana's: `name` shows
    a series' name instead of its value.
    """
    return Panel(
        title=title,
        description=description,
        kind="stat",
        queries=queries,
        defaults={"color": {"mode": "thresholds"}, **scale.defaults()},
        overrides=tuple(_scaled(name, other) for name, other in (scales or {}).items()),
        options={
            "colorMode": "background_solid" if scale.is_coloured else "none",
            "graphMode": "none",
            "textMode": text,
            "justifyMode": "center",
            "orientation": "auto",
            "wideLayout": True,
            "reduceOptions": _LAST,
        },
        width=width,
        runbooks=runbooks,
        instant=True,
    )


def graph(
    title: str,
    description: str,
    *queries: Query,
    scale: Scale,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
    logarithmic: bool = False,
    runbooks: tuple[str, ...] = (),
    width: int = 0,
) -> Panel:
    """Lines over time; where the scale has steps, dashed lines show them.

    `colours` are of series, by their names.
    """
    return Panel(
        title=title,
        description=description,
        kind="timeseries",
        queries=queries,
        defaults={
            "color": {"mode": "palette-classic"},
            "custom": {
                "drawStyle": "line",
                "lineWidth": 2,
                "fillOpacity": 40 if stacked else 8,
                "showPoints": "never",
                "spanNulls": False,
                "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
                "thresholdsStyle": {"mode": "dashed" if scale.steps else "off"},
                "scaleDistribution": {"type": "log", "log": 10}
                if logarithmic
                else {"type": "linear"},
            },
            **scale.defaults(),
        },
        overrides=tuple(_coloured(name, colour) for name, colour in (colours or {}).items()),
        options={
            "legend": {
                "showLegend": True,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": ["lastNotNull"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        width=width,
        runbooks=runbooks,
    )


def bars(title: str, description: str, *queries: Query, scale: Scale, width: int = 0) -> Panel:
    """A bar for each series as it is now, side by side to be compared."""
    return Panel(
        title=title,
        description=description,
        kind="bargauge",
        queries=queries,
        defaults={
            "color": {"mode": "thresholds" if scale.is_coloured else "palette-classic"},
            **scale.defaults(),
        },
        options={
            "displayMode": "basic",
            "valueMode": "text",
            "namePlacement": "left",
            "orientation": "horizontal",
            "showUnfilled": True,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 16,
            "maxVizHeight": 300,
            "legend": {
                "showLegend": False,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "reduceOptions": _LAST,
        },
        width=width,
        instant=True,
    )


def timeline(title: str, description: str, *queries: Query, scale: Scale, width: int = 0) -> Panel:
    """A band for each series, coloured by the state that it was in."""
    return Panel(
        title=title,
        description=description,
        kind="state-timeline",
        queries=queries,
        defaults={
            "color": {"mode": "thresholds"},
            "custom": {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False},
            **scale.defaults(),
        },
        options={
            "showValue": "auto",
            "rowHeight": 0.85,
            "mergeValues": True,
            "alignValue": "left",
            "legend": {
                "showLegend": False,
                "displayMode": "list",
                "placement": "bottom",
                "calcs": [],
            },
            "tooltip": {"mode": "single", "sort": "none"},
        },
        width=width,
    )


def prose(title: str, markdown: str) -> Panel:
    """Text, in Markdown."""
    return Panel(
        title=title, description="", kind="text", options={"mode": "markdown", "content": markdown}
    )


_LAST: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}


def _coloured(series: str, colour: str) -> Json:
    return _override(series, color={"mode": "fixed", "fixedColor": colour})


def _scaled(series: str, scale: Scale) -> Json:
    return _override(series, **scale.defaults())


def _override(series: str, **properties: object) -> Json:
    return {
        "matcher": {"id": "byName", "options": series},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }
