"""A dashboard: rows of panels, the choices at its head, and what is marked in every graph."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.monitoring.dashboards.panels import DATA_SOURCE, Json, Panel

COLUMNS = 24
SCHEMA_VERSION = 42
"""Of dashboards in Grafana 12.4; an older one would be migrated when read."""
RUNBOOKS_UID = "teddy-runbooks"
TAG = "teddy"
ALL = {"text": ["All"], "value": ["$__all"]}


@dataclass(frozen=True, slots=True)
class Row:
    """Panels beside each other, all of one height: 25 in sum fill a screen of 1080 lines."""

    height: int
    panels: tuple[Panel, ...]

    def widths(self) -> list[int]:
        """The columns of each panel."""
        equal = [panel for panel in self.panels if not panel.width]
        left = COLUMNS - sum(panel.width for panel in self.panels)
        return [panel.width or left // len(equal) for panel in self.panels]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A variable: one, several or all values of a label."""

    name: str
    title: str
    metric: str
    label: str

    def to_json(self) -> Json:
        """Grafana's."""
        query = f"label_values({self.metric}, {self.label})"
        return {
            "type": "query",
            "name": self.name,
            "label": self.title,
            "datasource": DATA_SOURCE,
            "query": {"qryType": 1, "query": query, "refId": self.name},
            "definition": query,
            "refresh": 2,  # with the time range: what came up meanwhile is there
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": ALL,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line at each moment that is the value, in milliseconds since 1970, of an expression's series."""

    name: str
    expression: str
    text: str
    colour: str

    def to_json(self) -> Json:
        """Grafana's."""
        return {
            "name": self.name,
            "datasource": DATA_SOURCE,
            "enable": True,
            "iconColor": self.colour,
            "target": {"refId": "Anno", "expr": self.expression, "interval": "30s"},
            "titleFormat": self.name,
            "textFormat": self.text,
            "useValueForTime": "on",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A whole dashboard."""

    uid: str
    title: str
    description: str
    rows: Sequence[Row]
    choices: Sequence[Choice] = ()
    marks: Sequence[Mark] = ()
    since: str = "now-3h"
    refresh: str = "10s"
    has_data: bool = True

    def to_json(self, runbooks: Mapping[str, int]) -> Json:
        """Grafana's.

        `runbooks` says for each alert which panel of the dashboard of runbooks is its section.
        """
        choices = [each.to_json() for each in self.choices]
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": [TAG],
            "schemaVersion": SCHEMA_VERSION,
            "editable": False,
            "graphTooltip": 1,
            "timezone": "browser",
            "time": {"from": self.since, "to": "now"},
            "refresh": self.refresh,
            "links": [_LINKS],
            "templating": {"list": [_SOURCES, *choices] if self.has_data else []},
            "annotations": {"list": [each.to_json() for each in self.marks]},
            "panels": self._panels(runbooks),
        }

    def _panels(self, runbooks: Mapping[str, int]) -> list[Json]:
        placed: list[Json] = []
        top = 0
        for row in self.rows:
            left = 0
            for panel, width in zip(row.panels, row.widths(), strict=True):
                place = {"x": left, "y": top, "w": width, "h": row.height}
                links = [_runbook_link(alert, runbooks[alert]) for alert in panel.runbooks]
                placed.append(
                    {"id": len(placed) + 1, "gridPos": place, **panel.to_json(), "links": links}
                )
                left += width
            top += row.height
        return placed


def _runbook_link(alert: str, panel: int) -> Json:
    return {
        "title": f"Runbook: {alert}",
        "url": f"/d/{RUNBOOKS_UID}?viewPanel=panel-{panel}",
        "targetBlank": True,
    }


_SOURCES: Json = {
    "type": "datasource",
    "name": "datasource",
    "label": "Prometheus",
    "query": "prometheus",
    "refresh": 1,
    "current": {},
}
_LINKS: Json = {
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
