"""Writes the dashboards, and the runbooks as one of them."""

import json
import re
from pathlib import Path
from typing import Any

from deploy.monitoring.dashboards.board import RUNBOOKS_UID, Board, Row
from deploy.monitoring.dashboards.panels import prose
from deploy.monitoring.dashboards.quality_board import quality_board
from deploy.monitoring.dashboards.service_board import service_board
from deploy.monitoring.dashboards.training_board import training_board
from teddy.model.system.files import write_atomically

HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)

ROOT = Path(__file__).parents[3]
DIRECTORY = Path(__file__).parents[1] / "grafana" / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
LINE = 120


def sections(markdown: str) -> dict[str, str]:
    """What stands under each heading of the second level, by the heading; what is before the first is left out."""
    parts = HEADING.split(markdown)[1:]
    return {
        title.strip("`"): text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)
    }


def runbooks_board(markdown: str) -> Board:
    """Two sections beside each other, in the order of the file: so the panel of the nth section has the id n."""
    panels = [prose(title, text) for title, text in sections(markdown).items()]
    return Board(
        uid=RUNBOOKS_UID,
        title="Teddy: runbooks",
        description="What to do about each alert: docs/runbooks.md.",
        rows=[Row(14, tuple(panels[start : start + 2])) for start in range(0, len(panels), 2)],
        refresh="",
        has_data=False,
    )


def files() -> dict[str, str]:
    """The content of each file, by its name.

    Raises KeyError for a link to a runbook that is not there.
    """
    markdown = RUNBOOKS.read_text(encoding="utf-8")
    panels = {title: number for number, title in enumerate(sections(markdown), 1)}
    boards = {
        "service.json": service_board(),
        "quality.json": quality_board(),
        "training.json": training_board(),
        "runbooks.json": runbooks_board(markdown),
    }
    return {name: _as_text(board, panels) for name, board in boards.items()}


def _as_text(board: Board, runbooks: dict[str, int]) -> str:
    return readable(board.to_json(runbooks)) + "\n"


def readable(value: Any, indent: str = "") -> str:
    """JSON in which what fits on a line is on one: a change of a panel is a change of a line or two."""
    flat = json.dumps(value, ensure_ascii=False)
    if not value or not isinstance(value, dict | list) or len(indent) + len(flat) <= LINE:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {readable(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + readable(each, deeper) for each in value) + f"\n{indent}]"


def main() -> None:
    """Write them all. Raises OSError."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in files().items():
        write_atomically(DIRECTORY / name, content)


if __name__ == "__main__":
    main()
