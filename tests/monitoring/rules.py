"""The rules as they are in the repository, and what promtool makes of them and given series."""

import json
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from deploy.monitoring.configuration import RULES, SOURCE
from tests.monitoring.binaries import binary

RECORDING, ALERTS = (SOURCE / RULES / name for name in ("recording.yml", "alerts.yml"))
RUNBOOKS = {"runbooks": "docs/runbooks.md"}


@cache
def groups(*paths: Path) -> list[dict[str, Any]]:
    """The groups of rules in these files, in order. Read them; change none."""
    return [
        group
        for path in paths
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
    ]


def rules(path: Path) -> list[dict[str, Any]]:
    """The rules of a file."""
    return [rule for group in groups(path) for rule in group["rules"]]


def alert_names() -> list[str]:
    """The names of all alerts, in order; several rules may have one."""
    return list(dict.fromkeys(rule["alert"] for rule in rules(ALERTS)))


def promtool_test(
    directory: Path, tested: Sequence[dict[str, Any]], test: dict[str, Any], every_minutes: int
) -> str:
    """Return what promtool says of one test on these groups; empty if all is as expected."""
    (directory / "rules.json").write_text(json.dumps({"groups": tested}))
    content = {
        "rule_files": ["rules.json"],
        "group_eval_order": [group["name"] for group in tested],
        "evaluation_interval": f"{every_minutes}m",
        "tests": [{"external_labels": RUNBOOKS, **test}],
    }
    (directory / "test.json").write_text(json.dumps(content))
    command = [str(binary("promtool")), "test", "rules", "test.json"]
    ended = subprocess.run(
        command, cwd=directory, capture_output=True, text=True, check=False, timeout=120
    )
    return "" if ended.returncode == 0 else ended.stdout + ended.stderr
