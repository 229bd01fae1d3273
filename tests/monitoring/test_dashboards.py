"""The dashboards as files: by Python, by Grafana's own types, and as they lie on a screen."""

import json
import re
import warnings
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from deploy.monitoring.dashboards.__main__ import DIRECTORY, RUNBOOKS, files, sections
from deploy.monitoring.dashboards.panels import COLUMNS, GRAFANA, RUNBOOKS_UID
from teddy.service.observability.catalogue import CATALOGUE
from teddy.training.job.catalogue import all_metrics as training_metrics

ROOT = Path(__file__).parents[2]
BOARDS = ("service", "quality", "training")
SCREEN_ROWS = 25
"""Of 38 pixels each, on a screen of 1080 lines with the browser's and Grafana's own bars."""


def board(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    return content


def panels(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = board(name)["panels"]
    return found


def expressions(name: str) -> Iterator[str]:
    yield from (target["expr"] for panel in panels(name) for target in panel["targets"])
    yield from (mark["target"]["expr"] for mark in board(name)["annotations"]["list"])


def read_by_grafanas_types(content: dict[str, Any]) -> dict[str, Any]:
    """What is left of a dashboard that the types of Grafana's own library have read and written."""
    with warnings.catch_warnings():
        # They tell of another form of dashboards, which is the one of Grafana 13.
        warnings.filterwarnings(
            "ignore", category=DeprecationWarning, message="Prefer using dashboardv2"
        )
        from grafana_foundation_sdk.cog.encoder import JSONEncoder
        from grafana_foundation_sdk.cog.plugins import register_default_plugins
        from grafana_foundation_sdk.models.dashboard import Dashboard

        register_default_plugins()
        read: dict[str, Any] = json.loads(JSONEncoder().encode(Dashboard.from_json(content)))
        assert read["schemaVersion"] == Dashboard().schema_version
    return read


def lost(written: Any, read: Any, where: str = "") -> Iterator[str]:
    """The places where `read` does not have what `written` has; it may have more."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            yield from lost(value, read.get(key), f"{where}.{key}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, (one, other) in enumerate(zip(written, read, strict=True)):
            yield from lost(one, other, f"{where}[{index}]")
    elif written != read:
        yield where


def series() -> set[str]:
    """Every name that a query may have: of the service, training jobs, rules and Prometheus."""
    names = {"up", "ALERTS"} | {metric.name for metric in training_metrics()}
    for metric in (metric for group in CATALOGUE for metric in group.metrics):
        names |= {metric.exposed_name} | {
            f"{metric.name}_{part}" for part in ("bucket", "sum", "count") if metric.edges
        }
    rules = yaml.safe_load(
        (ROOT / "deploy" / "monitoring" / "rules" / "recording.yml").read_text(encoding="utf-8")
    )
    return names | {rule["record"] for group in rules["groups"] for rule in group["rules"]}


def test_the_files_are_what_python_makes() -> None:
    made = files()
    committed = {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.glob("*.json")}
    assert committed == made, "run: python -m deploy.monitoring.dashboards"


@pytest.mark.parametrize("name", [*BOARDS, "runbooks"])
def test_grafanas_own_types_read_all_that_is_written(name: str) -> None:
    written = board(name)
    assert [*lost(written, read_by_grafanas_types(written))] == []
    assert {panel["pluginVersion"] for panel in panels(name)} == {GRAFANA}


@pytest.mark.parametrize(
    "place", ["title", "options.colorMode", "fieldConfig.defaults.noValue", "targets.0.expr"]
)
def test_what_grafanas_types_do_not_know_is_seen_to_be_lost(place: str) -> None:
    written = board("service")
    at: Any = written["panels"][0]
    *way, last = place.split(".")
    for each in way:
        at = at[int(each) if each.isdecimal() else each]
    at[f"{last}s"] = at.pop(last)
    assert [*lost(written, read_by_grafanas_types(written))] == [
        f".panels[0].{place}s".replace(".0.", "[0].")
    ]


@pytest.mark.parametrize("name", BOARDS)
def test_a_dashboard_is_few_and_large_panels_that_fill_their_rows_and_no_two_share_a_place(
    name: str,
) -> None:
    places = [panel["gridPos"] for panel in panels(name)]
    cells = [
        {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        for at in places
    ]
    assert 8 <= len(places) <= 12
    assert not [pair for pair in combinations(cells, 2) if pair[0] & pair[1]]
    height = max(at["y"] + at["h"] for at in places)
    assert len(set.union(*cells)) == COLUMNS * height, "no hole and nothing outside"
    assert height <= SCREEN_ROWS
    assert all(at["w"] >= 4 and at["h"] >= 5 for at in places)


@pytest.mark.parametrize("name", BOARDS)
def test_the_first_row_is_of_numbers_to_be_read_from_afar(name: str) -> None:
    top = [panel for panel in panels(name) if panel["gridPos"]["y"] == 0]
    assert {panel["type"] for panel in top} == {"stat"}
    assert [panel["title"] for panel in top if panel["options"]["colorMode"] == "background_solid"]


@pytest.mark.parametrize("name", BOARDS)
def test_every_panel_says_what_it_shows_in_which_unit_and_what_it_shows_if_there_is_nothing(
    name: str,
) -> None:
    for panel in panels(name):
        defaults = panel["fieldConfig"]["defaults"]
        assert panel["description"].endswith("."), panel["title"]
        assert defaults["unit"], panel["title"]
        assert defaults["noValue"], panel["title"]


@pytest.mark.parametrize("name", BOARDS)
def test_names_of_series_are_those_that_there_are(name: str) -> None:
    wanted = {
        each
        for text in expressions(name)
        for each in re.findall(r"[a-z_:]*teddy_\w+(?::\w+)*", text)
    }
    assert wanted
    assert wanted - series() == set()
    variables = {variable["name"] for variable in board(name)["templating"]["list"]}
    used = {each for text in expressions(name) for each in re.findall(r"\$(\w+)", text)}
    assert used | {"datasource"} == variables, "each choice is needed, and nothing else is"


@pytest.mark.parametrize("name", BOARDS)
def test_each_link_leads_to_the_section_of_an_alert_and_each_dashboard_to_the_others(
    name: str,
) -> None:
    titles = {
        f"/d/{RUNBOOKS_UID}?viewPanel=panel-{each['id']}": each["title"]
        for each in panels("runbooks")
    }
    links = [link for panel in panels(name) for link in panel["links"]]
    assert links
    assert [link for link in links if link["title"] != f"Runbook: {titles.get(link['url'])}"] == []
    (to_others,) = board(name)["links"]
    assert all(
        set(to_others["tags"]) <= set(board(other)["tags"]) for other in (*BOARDS, "runbooks")
    )


def test_the_runbooks_are_those_of_the_documentation_and_each_alert_has_one() -> None:
    shown = {panel["title"]: panel["options"]["content"] for panel in panels("runbooks")}
    assert shown == sections(RUNBOOKS.read_text(encoding="utf-8"))
    rules = yaml.safe_load(
        (ROOT / "deploy" / "monitoring" / "rules" / "alerts.yml").read_text(encoding="utf-8")
    )
    assert {rule["alert"] for group in rules["groups"] for rule in group["rules"]} <= shown.keys()


def test_every_dashboard_that_an_alert_names_is_there() -> None:
    text = (ROOT / "deploy" / "monitoring" / "rules" / "alerts.yml").read_text(encoding="utf-8")
    assert set(re.findall(r"(?m)^ *dashboard: *(\S+)$", text)) <= set(BOARDS)


def test_grafana_is_given_the_dashboards_where_it_looks_for_them() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    mounts = [mount.split(":")[:2] for mount in compose["services"]["grafana"]["volumes"]]
    places = {target: ROOT / source for source, target in mounts if source.startswith("./")}
    provisioning = places["/etc/grafana/provisioning"]
    (dashboards,) = (provisioning / "dashboards").glob("*.yml")
    (provider,) = yaml.safe_load(dashboards.read_text(encoding="utf-8"))["providers"]
    assert places[provider["options"]["path"]] == DIRECTORY
    home = Path(
        compose["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    )
    assert (places[str(home.parent)] / home.name).is_file()


def test_grafana_knows_how_often_prometheus_scrapes() -> None:
    monitoring = ROOT / "deploy" / "monitoring"
    (path,) = (monitoring / "grafana" / "provisioning" / "datasources").glob("*.yml")
    (source,) = yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    prometheus = yaml.safe_load((monitoring / "prometheus.yml").read_text(encoding="utf-8"))
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
