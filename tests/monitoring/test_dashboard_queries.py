"""Every query of every dashboard, asked of a real Prometheus that watches real processes."""

import json
import math
from pathlib import Path

import pytest

from deploy.monitoring.dashboards.__main__ import DIRECTORY
from tests.monitoring.grafana import Asked, choices, queries
from tests.monitoring.prometheus import Prometheus, wait_until
from tests.monitoring.watched import watched

PATIENCE_SECONDS = 180.0
"""Only what hangs takes so long."""
BOARDS = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(DIRECTORY.glob("*.json"))]


def has_data(prometheus: Prometheus, asked: Asked) -> bool:
    """Whether there is a series, and every value is a number that can be drawn."""
    samples = prometheus.query(asked.expression)
    return bool(samples) and all(math.isfinite(sample.value) for sample in samples)


@pytest.mark.slow
def test_every_panel_mark_and_choice_of_every_dashboard_has_data(
    tmp_path: Path, tiny_data: Path
) -> None:
    asked = {each for board in BOARDS for each in queries(board)}
    without = set(asked)

    def all_have_data() -> bool:
        for each in list(without):
            if has_data(prometheus, each):
                without.remove(each)
        return not without

    def who_has_none() -> str:
        return "\n".join(
            ["these have no data:", *sorted(f"{each.where}: {each.expression}" for each in without)]
        )

    assert len(asked) > 30
    with watched(tmp_path, tiny_data) as prometheus:
        wait_until(all_have_data, who_has_none, PATIENCE_SECONDS)
        for series, label in (choice for board in BOARDS for choice in choices(board)):
            assert prometheus.get(f"/api/v1/label/{label}/values", **{"match[]": series})["data"], (
                label
            )
