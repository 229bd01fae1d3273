"""Writes the dashboards; see service/monitoring/dashboards/__init__.py."""

import json
from pathlib import Path
from typing import Any

from teddy.model.files import write_atomically
from teddy.service.monitoring.dashboards.board import Board
from teddy.service.monitoring.dashboards.quality_board import quality_board
from teddy.service.monitoring.dashboards.runbooks import runbooks_board, sections
from teddy.service.monitoring.dashboards.service_board import service_board
from teddy.service.monitoring.dashboards.training_board import training_board

ROOT = Path(__file__).parents[3]
DIRECTORY = ROOT / "service" / "monitoring" / "grafana" / "dashboards"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
LINE = 120


def files() -> dict[str, str]:
    """The content of each file, by its name. Raises KeyError for a link to a runbook that is not there."""
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
