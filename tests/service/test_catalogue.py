"""The catalogue of metrics against what a service exposes after all that can happen to it has
happened."""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx import AsyncClient
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.load.server import Server
from teddy.service.observability.catalogue import CATALOGUE, MetricType, all_metrics, metrics_table
from teddy.service.observability.instruments import MetricFactory, Nothing, family
from teddy.service.observability.metrics import Metrics
from teddy.training.job import catalogue as job_catalogue
from tests.service.drift_texts import english

pytestmark = pytest.mark.anyio
ROOT = Path(__file__).parents[2]
NAMES = frozenset(all_metrics())
PATIENCE_SECONDS = 60
PRIVATE = "Xanthippe-of-Athens"


async def exposed(client: AsyncClient) -> dict[str, Metric]:
    """The families at /metrics, by the names that the catalogue gives them."""
    answer = await client.get("/metrics")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


async def use_in_every_way(client: AsyncClient) -> None:
    """Answers, refusals, a failure of the network, unknown routes, names and labels; a text that
    must not be seen."""
    text = {"text": f"{PRIVATE} met Ada"}
    await client.post("/v1/entities", json=text)
    await client.post("/v1/entities/batch", json={"texts": [PRIVATE, "", "Ada"]})
    await client.post(
        "/v1/entities/stream",
        content=json.dumps(text),
        headers={"Content-Type": "application/x-ndjson"},
    )
    await client.post("/v1/entities", json={"text": f"Kaputt {PRIVATE}"})
    await client.post("/v1/entities", json=text | {"model": PRIVATE})
    await client.post("/v1/entities", json=text | {"labels": [PRIVATE]})
    await client.post("/v1/entities", content=b"{")
    await client.post(
        "/v1/entities", json=text, headers={"X-Request-ID": PRIVATE, "X-Request-Timeout": PRIVATE}
    )
    await client.get(f"/{PRIVATE}")
    await client.request(PRIVATE, "/v1/models")
    await client.get(f"/v1/models/{PRIVATE}")


async def test_after_mixed_use_every_metric_of_the_catalogue_is_there_and_no_other(
    serving: Any, predictor: Any, tmp_path: Path
) -> None:
    assemble = predictor.assemble
    predictor.assemble = lambda *given: replace(assemble(*given), used_rules=("a rule",))
    async with serving(feedback_dir=tmp_path) as client:
        await use_in_every_way(client)
        found = await exposed(client)
    computed = {
        metric.name
        for metric in all_metrics().values()
        if metric.kind is MetricType.GAUGE and not metric.across
    }
    assert found.keys() <= all_metrics().keys()
    assert all_metrics().keys() - found.keys() <= computed, (
        "what is computed of much is not there for little"
    )
    assert {name: metric.type for name, metric in found.items()} == {
        name: str(all_metrics()[name].kind) for name in found
    }
    for name, metric in found.items():
        labels = {frozenset(sample.labels) - {"le"} for sample in metric.samples}
        assert labels <= {frozenset(all_metrics()[name].labels)}, name
        assert labels or name in computed, f"{name} has no value"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
async def test_of_much_use_every_last_metric_has_a_value(workers: int, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text("[[dictionary]]\nentries = ['Ada']\nlabel = 'PER'\n")
    with Server.teddy(
        tmp_path / "log",
        "--workers",
        str(workers),
        settings={"feedback_dir": tmp_path / "feedback", "rules": rules},
    ) as server:
        await server.all_ready(workers)
        async with AsyncClient(base_url=server.address, timeout=PATIENCE_SECONDS) as client:
            for texts in batched(english(500, 1), 50):
                await client.post("/v1/entities/batch", json={"texts": texts})
            for text in english(120, 2):
                found = (await client.post("/v1/entities", json={"text": text})).json()["entities"]
                await client.post("/v1/feedback", json={"text": text, "entities": found})
            for _ in range(5 * PATIENCE_SECONDS):
                found = {each.name for each in (await exposed(client)).values() if each.samples}
                if found == NAMES:
                    break
                await asyncio.sleep(0.2)
    assert NAMES - found == set() == found - NAMES


def batched(texts: list[str], size: int) -> list[list[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]


async def test_labels_are_of_a_few_known_values_whatever_clients_send(
    serving: Any, tmp_path: Path
) -> None:
    async with serving(feedback_dir=tmp_path) as client:
        await use_in_every_way(client)
        before = series(await exposed(client))
        for i in range(30):
            name = f"{PRIVATE}{i}"
            await client.get(f"/{name}")
            await client.request(f"METHOD{i}", f"/{name}")
            await client.post(f"/v1/models/{name}/reload")
            await client.post(
                "/v1/entities", json={"text": name, "model": name, "labels": [name], name: name}
            )
            await client.post(
                "/v1/entities",
                json={"text": name},
                headers={"X-Request-ID": name, "User-Agent": name},
            )
        after = series(await exposed(client))
    assert PRIVATE not in str(after)
    assert len(after) - len(before) < 40, "a few routes and statuses more, each with its histogram"


def series(families: dict[str, Metric]) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {
        (sample.name, frozenset(sample.labels.items()))
        for each in families.values()
        for sample in each.samples
    }


async def test_without_metrics_nothing_is_counted_and_everything_else_goes_on(serving: Any) -> None:
    async with serving(metrics=False) as client:
        await use_in_every_way(client)
        assert (await client.post("/v1/entities", json={"text": "Ada"})).json()["entities"]
        answer = await client.get("/metrics")
        assert answer.status_code == 404
        assert "TEDDY_METRICS" in answer.json()["detail"]


def test_every_metric_is_named_as_prometheus_wants_it() -> None:
    names = [metric.name for group in CATALOGUE for metric in group.metrics]
    assert len(set(names)) == len(names)
    for metric in all_metrics().values():
        assert re.fullmatch(r"teddy(_[a-z0-9]+)+", metric.name)
        assert metric.meaning.endswith(".") or metric.name == "teddy_build_info"
        if metric.unit == "seconds" or metric.unit.startswith("seconds since"):
            assert "_seconds" in metric.name
        if metric.unit == "bytes":
            assert metric.name.endswith("_bytes")
        assert bool(metric.edges) == (metric.kind is MetricType.HISTOGRAM)
        assert list(metric.edges) == sorted(set(metric.edges))


def test_the_documentation_has_both_catalogues_as_they_are() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert metrics_table() in page
    assert job_catalogue.metrics_table() in page


def test_a_metric_is_made_as_what_it_is() -> None:
    make = MetricFactory(CollectorRegistry())
    with pytest.raises(ValueError, match="teddy_texts is a counter"):
        make.gauge("teddy_texts")
    assert isinstance(MetricFactory(None).counter("teddy_texts"), Nothing)
    assert family("teddy_drift_psi").documentation == all_metrics()["teddy_drift_psi"].meaning


def test_a_collector_that_fails_costs_its_own_metrics_and_no_others() -> None:
    class Failing:
        def collect(self) -> Iterable[Metric]:
            raise ValueError(PRIVATE)

    class Computed:
        def collect(self) -> Iterable[Metric]:
            psi = family("teddy_drift_psi")
            psi.add_metric(["en", "score"], 0.5)
            return [psi]

    metrics = Metrics()
    metrics.add(Failing())
    metrics.add(Computed())
    shown = metrics.exposition().decode()
    assert 'teddy_drift_psi{feature="score",model="en"} 0.5' in shown
    assert "teddy_requests_total" in shown
