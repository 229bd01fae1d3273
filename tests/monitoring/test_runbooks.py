"""Rules, alerts and runbooks speak of the same things, and of nothing that there is not."""

import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks.load.server import ROOT
from deploy.monitoring.dashboards.__main__ import sections
from teddy.service.observability.catalogue import MetricType
from teddy.service.observability.catalogue import all_metrics as all_of_the_service
from teddy.service.settings import PREFIX, Settings
from teddy.training.job.catalogue import all_metrics as all_of_training
from tests.monitoring.rules import ALERTS, RECORDING, alert_names, rules

RUNBOOKS = ROOT / "docs" / "runbooks.md"
DASHBOARDS = ROOT / "deploy" / "monitoring" / "grafana" / "dashboards"
RECORDED = re.compile(r"\b[a-z_]+:teddy_[a-z0-9_]+:[a-z0-9_]+")
METRIC = re.compile(r"(?<![:\w])teddy_[a-z0-9_]+(?!:)")
SETTING = re.compile(rf"\b{PREFIX}[A-Z_]+")
PARTS_OF_A_HISTOGRAM = ("", "_bucket", "_sum", "_count")
SEVERITIES = {"page", "ticket"}
ALWAYS = "TeddyMonitoringAlive"


def known_metrics() -> set[str]:
    """Return all series of Teddy and its training jobs, by their names in Prometheus."""
    known = {metric.name for metric in all_of_training()}
    for metric in all_of_the_service().values():
        parts = PARTS_OF_A_HISTOGRAM if metric.kind is MetricType.HISTOGRAM else ("",)
        known |= {metric.exposed_name + part for part in parts}
    return known


@pytest.mark.parametrize("path", [RECORDING, ALERTS, RUNBOOKS], ids=lambda path: path.name)
def test_every_metric_that_is_named_is_in_a_catalogue_and_every_recorded_series_is_recorded(
    path: Path,
) -> None:
    text = path.read_text(encoding="utf-8")
    assert set(METRIC.findall(text)) <= known_metrics()
    assert set(RECORDED.findall(text)) <= {rule["record"] for rule in rules(RECORDING)}


def test_every_recorded_series_is_asked_for_by_an_alert_or_a_dashboard_or_another() -> None:
    asking = [rule["expr"] for rule in (*rules(ALERTS), *rules(RECORDING))]
    asking += [path.read_text(encoding="utf-8") for path in DASHBOARDS.glob("*.json")]
    asked = {name for text in asking for name in RECORDED.findall(text)}
    assert {rule["record"] for rule in rules(RECORDING)} == asked


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert list(sections(RUNBOOKS.read_text(encoding="utf-8"))) == alert_names()


def test_every_runbook_says_how_to_look_and_when_it_is_over() -> None:
    written = sections(RUNBOOKS.read_text(encoding="utf-8")).items()
    assert [
        name for name, text in written if "ook" not in text or "**Over when**" not in text
    ] == []


def test_the_settings_that_runbooks_name_exist() -> None:
    named = set(SETTING.findall(RUNBOOKS.read_text(encoding="utf-8")))
    assert named <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize(
    "rule", rules(ALERTS), ids=lambda rule: "-".join([rule["alert"], *rule["labels"].values()])
)
def test_an_alert_says_how_urgent_it_is_what_is_wrong_and_where_to_read_what_to_do(
    rule: dict[str, Any],
) -> None:
    said = rule["annotations"]
    assert rule["labels"]["severity"] in SEVERITIES or rule["alert"] == ALWAYS
    assert said["runbook_url"] == "{{ $externalLabels.runbooks }}#" + rule["alert"].lower()
    assert len(said["summary"]) < len(said["description"])
    assert said.get("dashboard") in {None, *(path.stem for path in DASHBOARDS.glob("*.json"))}
