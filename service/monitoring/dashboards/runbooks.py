"""The dashboard of runbooks: docs/runbooks.md inside Grafana, a panel for each section, so that links reach them."""

import re

from teddy.service.monitoring.dashboards.board import RUNBOOKS_UID, Board, Row
from teddy.service.monitoring.dashboards.panels import prose

HEADING = re.compile(r"^## +(.+?) *$", re.MULTILINE)


def sections(markdown: str) -> dict[str, str]:
    """What stands under each heading of the second level, by the heading; what is before the first is left out."""
    parts = HEADING.split(markdown)[1:]
    return {title.strip("`"): text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


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
