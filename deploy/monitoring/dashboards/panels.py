"""The parts of a Grafana dashboard, and the JSON that Grafana reads.

The panels are few and large, to be read from afar. Tests read each one with Grafana's own types.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
GRAFANA = "12.4.10"
SCHEMA_VERSION = 42
"""The version whose panels these are, as in docker-compose.yml, and its form of dashboards."""
DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, ORANGE, RED, BLUE, GREY = "green", "orange", "red", "blue", "text"
COLUMNS = 24
RUNBOOKS_UID, TAG = "teddy-runbooks", "teddy"

LAST_VALUE: Json = {"calcs": ["lastNotNull"], "fields": "", "values": False}
NO_LEGEND: Json = {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The unit of a panel's numbers, as Grafana calls it, and the colours of their ranges."""

    unit: str = "short"
    steps: tuple[tuple[float, str], ...] = ()
    """Value and colour, ascending; below the first, `lowest`. Without steps nothing is coloured."""
    lowest: str = GREEN
    decimals: int | None = None
    least: float | None = 0
    most: float | None = None
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    """Text and colour that replace a number."""
    nothing: str = "no data"
    """The text that replaces a missing value."""

    @property
    def is_coloured(self) -> bool:
        """Whether a colour means something."""
        return bool(self.steps or self.words)

    def defaults(self) -> Json:
        """Return the `fieldConfig.defaults` of a panel."""
        lowest = {"value": None, "color": self.lowest if self.is_coloured else GREY}
        steps = [{"value": value, "color": colour} for value, colour in self.steps]
        optional = {"decimals": self.decimals, "min": self.least, "max": self.most}
        words = {
            str(value): {"text": text, "color": colour, "index": index}
            for index, (value, (text, colour)) in enumerate(self.words.items())
        }
        return {
            "unit": self.unit,
            **{name: value for name, value in optional.items() if value is not None},
            "noValue": self.nothing,
            "thresholds": {"mode": "absolute", "steps": [lowest, *steps]},
            "mappings": [{"type": "value", "options": words}] if words else [],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel without its place."""

    kind: str
    title: str
    about: str
    queries: Mapping[str, str] = field(default_factory=dict)
    """Expressions of Prometheus by the names of their series; `{{label}}` is a label's value."""
    defaults: Json = field(default_factory=dict)
    overrides: Mapping[str, Json] = field(default_factory=dict)
    """Properties of single series, by their names."""
    options: Json = field(default_factory=dict)
    width: int = 0
    """Of 24 columns; 0 is an equal part of what the others in the row leave."""
    runbooks: tuple[str, ...] = ()
    """The alerts whose runbooks the panel links to."""
    instant: bool = False

    def to_json(self) -> Json:
        """Return Grafana's JSON, without `id`, `gridPos` and `links`."""
        return {
            "title": self.title,
            "description": self.about,
            "type": self.kind,
            "pluginVersion": GRAFANA,
            **({"datasource": DATA_SOURCE} if self.queries else {}),
            "targets": [
                {
                    "refId": name,
                    "datasource": DATA_SOURCE,
                    "expr": expression,
                    "legendFormat": legend or "__auto",
                    "editorMode": "code",
                    "instant": self.instant,
                    "range": not self.instant,
                }
                for name, (legend, expression) in zip("ABCDEF", self.queries.items(), strict=False)
            ],
            "fieldConfig": {
                "defaults": self.defaults,
                "overrides": [
                    {
                        "matcher": {"id": "byName", "options": series},
                        "properties": [{"id": id_, "value": value} for id_, value in each.items()],
                    }
                    for series, each in self.overrides.items()
                ],
            },
            "options": self.options,
        }


def stat(
    title: str,
    about: str,
    queries: Mapping[str, str],
    scale: Scale,
    *,
    scales: Mapping[str, Scale] | None = None,
    text: str = "auto",
    **place: Any,
) -> Panel:
    """Return a panel of large numbers; a scale with colours colours the whole tile.

    `scales` are those of single series, by name; `place` is a panel's `width` and `runbooks`.
    """
    options = {
        "colorMode": "background_solid" if scale.is_coloured else "none",
        "graphMode": "none",
        "textMode": text,
        "justifyMode": "center",
        "orientation": "auto",
        "wideLayout": True,
        "reduceOptions": LAST_VALUE,
    }
    return Panel(
        kind="stat",
        title=title,
        about=about,
        queries=queries,
        defaults={"color": {"mode": "thresholds"}, **scale.defaults()},
        overrides={name: other.defaults() for name, other in (scales or {}).items()},
        options=options,
        instant=True,
        **place,
    )


def graph(
    title: str,
    about: str,
    queries: Mapping[str, str],
    scale: Scale,
    *,
    colours: Mapping[str, str] | None = None,
    stacked: bool = False,
    logarithmic: bool = False,
    **place: Any,
) -> Panel:
    """Return a panel of lines over time, coloured by series; steps of the scale are dashed."""
    custom = {
        "drawStyle": "line",
        "lineWidth": 2,
        "fillOpacity": 40 if stacked else 8,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if scale.steps else "off"},
        "scaleDistribution": {"type": "log", "log": 10} if logarithmic else {"type": "linear"},
    }
    return Panel(
        kind="timeseries",
        title=title,
        about=about,
        queries=queries,
        defaults={"color": {"mode": "palette-classic"}, "custom": custom, **scale.defaults()},
        overrides={
            name: {"color": {"mode": "fixed", "fixedColor": colour}}
            for name, colour in (colours or {}).items()
        },
        options={
            "legend": {**NO_LEGEND, "showLegend": True, "calcs": ["lastNotNull"]},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        **place,
    )


def bars(title: str, about: str, queries: Mapping[str, str], scale: Scale) -> Panel:
    """Return a panel of one bar for each series as it is now."""
    mode = "thresholds" if scale.is_coloured else "palette-classic"
    options = {
        "displayMode": "basic",
        "valueMode": "text",
        "namePlacement": "left",
        "orientation": "horizontal",
        "showUnfilled": True,
        "sizing": "auto",
        "minVizWidth": 8,
        "minVizHeight": 16,
        "maxVizHeight": 300,
        "legend": NO_LEGEND,
        "reduceOptions": LAST_VALUE,
    }
    return Panel(
        kind="bargauge",
        title=title,
        about=about,
        queries=queries,
        defaults={"color": {"mode": mode}, **scale.defaults()},
        options=options,
        instant=True,
    )


def timeline(title: str, about: str, queries: Mapping[str, str], scale: Scale) -> Panel:
    """Return a panel of one band for each series, coloured by its state."""
    custom = {"lineWidth": 0, "fillOpacity": 80, "spanNulls": False}
    options = {
        "showValue": "auto",
        "rowHeight": 0.85,
        "mergeValues": True,
        "alignValue": "left",
        "legend": NO_LEGEND,
        "tooltip": {"mode": "single", "sort": "none"},
    }
    return Panel(
        kind="state-timeline",
        title=title,
        about=about,
        queries=queries,
        defaults={"color": {"mode": "thresholds"}, "custom": custom, **scale.defaults()},
        options=options,
    )


def variable(name: str, title: str, values: str) -> Json:
    """Return a choice of one, several or all of the `values`, such as `metric, label`."""
    query = f"label_values({values})"
    return {
        "type": "query",
        "name": name,
        "label": title,
        "datasource": DATA_SOURCE,
        "query": {"qryType": 1, "query": query, "refId": name},
        "definition": query,
        "refresh": 2,  # with the time range, so that new values appear
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def mark(name: str, expression: str, text: str, colour: str) -> Json:
    """Return vertical lines at the values of an expression, in milliseconds since 1970."""
    return {
        "name": name,
        "datasource": DATA_SOURCE,
        "enable": True,
        "iconColor": colour,
        "target": {"refId": "Anno", "expr": expression, "interval": "30s"},
        "titleFormat": name,
        "textFormat": text,
        "useValueForTime": "on",
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A whole dashboard. Its rows are heights and panels; heights of 25 in sum fill a screen."""

    uid: str
    title: str
    about: str
    rows: Sequence[tuple[int, Sequence[Panel]]]
    variables: Sequence[Json] = ()
    marks: Sequence[Json] = ()
    since: str = "now-3h"
    refresh: str = "10s"
    has_data: bool = True

    def to_json(self, runbooks: Mapping[str, int]) -> Json:
        """Return Grafana's JSON. `runbooks` gives the panel of each alert's runbook."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.about,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": self.since, "to": "now"},
            "refresh": self.refresh,
            "links": [LINKS],
            "templating": {"list": [SOURCES, *self.variables] if self.has_data else []},
            "annotations": {"list": list(self.marks)},
            "panels": self._panels(runbooks),
        }

    def _panels(self, runbooks: Mapping[str, int]) -> list[Json]:
        placed: list[Json] = []
        top = 0
        for height, panels in self.rows:
            left = 0
            n_equal = sum(not panel.width for panel in panels)
            rest = COLUMNS - sum(panel.width for panel in panels)
            for panel in panels:
                width = panel.width or rest // n_equal
                place = {"x": left, "y": top, "w": width, "h": height}
                links = [
                    {
                        "title": f"Runbook: {alert}",
                        "url": f"/d/{RUNBOOKS_UID}?viewPanel=panel-{runbooks[alert]}",
                        "targetBlank": True,
                    }
                    for alert in panel.runbooks
                ]
                placed.append(
                    {"id": len(placed) + 1, "gridPos": place, **panel.to_json(), "links": links}
                )
                left += width
            top += height
        return placed


SOURCES: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Prometheus",
    "query": "prometheus",
    "refresh": 1,
    "current": {},
}
LINKS: Json = {
    "type": "dashboards",
    "title": "Teddy",
    "tags": [TAG],
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
    "targetBlank": False,
    "icon": "dashboard",
    "tooltip": "",
    "url": "",
}
