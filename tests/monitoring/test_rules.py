"""Each alert fires on its fault, in its time, and is silent otherwise; promtool evaluates."""

import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.configuration import (
    ALERTMANAGER,
    PROMETHEUS,
    SOURCE,
    Addresses,
    write_configuration,
)
from tests.monitoring.binaries import binary
from tests.monitoring.burns import BURNS, GRANTED, OF_ALL, Burn
from tests.monitoring.faults import FAULTS, Fault, healthy
from tests.monitoring.rules import ALERTS, RECORDING, alert_names, groups, promtool_test, rules
from tests.monitoring.series import START

ALWAYS = "TeddyMonitoringAlive"
FIRING = f'ALERTS{{alertstate="firing", alertname!="{ALWAYS}"}}'
SPOKEN_OF = re.compile(r"\$labels\.(\w+)")
OBJECTIVES = ("teddy-objectives", "teddy-alerts-objectives")


def firing_at(minute: int, by: str, expected: Iterable[tuple[str, int]]) -> dict[str, Any]:
    """State that at a time so many alerts of each kind fire, and no others."""
    samples = [{"labels": labels, "value": n} for labels, n in expected]
    return {
        "expr": f"count by ({by}) ({FIRING})",
        "eval_time": f"{minute}m",
        "exp_samples": samples,
    }


def without_a_label(minute: int, rule: dict[str, Any]) -> Iterable[dict[str, Any]]:
    """That no alert of a rule fires without a label that its annotations speak of."""
    own = ", ".join(
        f'{name}="{value}"'
        for name, value in {"alertname": rule["alert"], **rule["labels"]}.items()
    )
    for label in SPOKEN_OF.findall(str(rule["annotations"])):
        yield {"expr": f'ALERTS{{{own}, {label}=""}}', "eval_time": f"{minute}m", "exp_samples": []}


def as_test(
    series: dict[str, str], expected: list[dict[str, Any]], step_minutes: int = 1
) -> dict[str, Any]:
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": f"{step_minutes}m", "input_series": inputs, "promql_expr_test": expected}


def test_the_configuration_is_right_as_it_is_and_with_the_addresses_of_this_machine(
    tmp_path: Path,
) -> None:
    addresses = Addresses(teddy=["127.0.0.1:8000", "127.0.0.1:8001"], webhook="http://127.0.0.1:1/")
    write_configuration(tmp_path, addresses)
    for directory in (SOURCE, tmp_path):
        subprocess.run([binary("promtool"), "check", "config", directory / PROMETHEUS], check=True)
        subprocess.run([binary("amtool"), "check-config", directory / ALERTMANAGER], check=True)
    written = (tmp_path / PROMETHEUS).read_text()
    assert "127.0.0.1:8001" in written
    assert "alertmanager:9093" not in written


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_the_alerts_of_a_fault_fire_and_no_others(fault: Fault, tmp_path: Path) -> None:
    kinds = [(f'{{alertname="{alert}"}}', n) for alert, n in fault.alerts.items()]
    expected = [firing_at(START + minute, "alertname", []) for minute in fault.silent]
    expected += [firing_at(START + minute, "alertname", kinds) for minute in fault.firing]
    fired = [rule for rule in rules(ALERTS) if rule["alert"] in fault.alerts]
    expected += [
        each
        for rule in fired
        for minute in fault.firing
        for each in without_a_label(START + minute, rule)
    ]
    test = as_test(healthy() | dict(fault.series), expected)
    assert promtool_test(tmp_path, groups(RECORDING, ALERTS), test, every_minutes=1) == ""


@pytest.mark.parametrize("burn", BURNS, ids=lambda burn: burn.name)
def test_an_objective_that_is_missed_too_fast_is_told_by_its_windows_and_no_others(
    burn: Burn, tmp_path: Path
) -> None:
    expected = [
        firing_at(
            burn.before_minutes + minute,
            "alertname, window",
            [
                (f'{{alertname="{alert}",window="{window}"}}', 1)
                for alert in GRANTED
                for window in windows
            ],
        )
        for minute, windows in burn.at.items()
    ]
    tested = [group for group in groups(RECORDING, ALERTS) if group["name"] in OBJECTIVES]
    test = as_test(burn.series(), expected, burn.step_minutes)
    assert (
        promtool_test(tmp_path, tested, test, every_minutes=10 if burn.step_minutes < 10 else 30)
        == ""
    )


def test_every_alert_has_a_fault_on_which_it_fires() -> None:
    fired = {alert for fault in FAULTS if fault.firing for alert in fault.alerts}
    assert fired | {*GRANTED, ALWAYS} == set(alert_names())
    assert {window for burn in BURNS for windows in burn.at.values() for window in windows} == set(
        OF_ALL
    )
