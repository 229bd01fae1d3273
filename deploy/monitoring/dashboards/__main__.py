"""Write the dashboards, one of them docs/runbooks.md, into deploy/monitoring/grafana/dashboards.

The JSON is committed, because Grafana reads it as it is; a test compares it with what this makes.
"""

import json
import re
from pathlib import Path
from typing import Any

from deploy.monitoring.dashboards.panels import RUNBOOKS_UID, Dashboard, Panel
from deploy.monitoring.dashboards.quality import QUALITY
from deploy.monitoring.dashboards.service import SERVICE
from deploy.monitoring.dashboards.training import TRAINING
from teddy.model.system.files import write_atomically

HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)
DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"
RUNBOOKS = Path(__file__).parents[3] / "docs" / "runbooks.md"
LINE = 120


def sections(markdown: str) -> dict[str, str]:
    """Return the texts under the headings of the second level, by heading."""
    parts = HEADING.split(markdown)[1:]
    return {
        title.strip("`"): text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def runbooks_dashboard(markdown: str) -> Dashboard:
    """Return the dashboard of the runbooks; the panel of section n has the id n."""
    panels = [
        Panel(kind="text", title=title, about="", options={"mode": "markdown", "content": text})
        for title, text in sections(markdown).items()
    ]
    return Dashboard(
        uid=RUNBOOKS_UID,
        title="Teddy: runbooks",
        about="What to do about each alert: docs/runbooks.md.",
        rows=[(14, panels[start : start + 2]) for start in range(0, len(panels), 2)],
        refresh="",
        has_data=False,
    )


def files() -> dict[str, str]:
    """Return the content of each file by its name.

    Raises KeyError for a link to a missing runbook.
    """
    markdown = RUNBOOKS.read_text(encoding="utf-8")
    runbooks = {title: number for number, title in enumerate(sections(markdown), 1)}
    dashboards = {
        "service.json": SERVICE,
        "quality.json": QUALITY,
        "training.json": TRAINING,
        "runbooks.json": runbooks_dashboard(markdown),
    }
    return {name: readable(each.to_json(runbooks)) + "\n" for name, each in dashboards.items()}


def readable(value: Any, indent: str = "") -> str:
    """Return JSON in which what fits on a line is on one, so that diffs are short."""
    flat = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or len(indent) + len(flat) <= LINE:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {readable(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + readable(each, deeper) for each in value) + f"\n{indent}]"


if __name__ == "__main__":
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        write_atomically(DIRECTORY / name, content)
