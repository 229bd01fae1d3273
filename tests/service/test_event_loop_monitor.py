import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.load.server import parse_metrics
from teddy.service.app import PaddingCount, event_loop_monitor
from teddy.service.observability.metrics import Metrics

pytestmark = pytest.mark.anyio


def model(version: str, padding_words: int) -> Any:
    return SimpleNamespace(
        version=version,
        predictor=SimpleNamespace(tagger=SimpleNamespace(padding_words=padding_words)),
    )


def value(metrics: Metrics, name: str) -> float:
    return parse_metrics(metrics.exposition())[name]


def test_padding_is_counted_from_when_a_model_is_served_and_not_what_loading_it_took() -> None:
    metrics = Metrics()
    padding = PaddingCount(metrics)
    for models, total in (
        ([model("1", 1000)], 0),
        ([model("1", 1007)], 7),
        ([model("1", 1007)], 7),
        ([model("1", 1010), model("2", 500)], 10),
        ([model("2", 504)], 14),
    ):
        padding.update(models)
        assert value(metrics, "teddy_padding_words_total") == total


async def test_an_event_loop_that_stands_still_is_late() -> None:
    metrics = Metrics()
    event_loop_monitoring = asyncio.create_task(event_loop_monitor(metrics, lambda: []))
    await asyncio.sleep(0)
    time.sleep(0.4)  # what nobody should do in an event loop
    async with asyncio.timeout(30):
        while not value(metrics, "teddy_event_loop_lag_seconds_count"):
            await asyncio.sleep(0.01)
    event_loop_monitoring.cancel()
    assert value(metrics, "teddy_event_loop_lag_seconds_sum") >= 0.25
    assert value(metrics, "teddy_event_loop_lag_seconds_bucket[le=0.1]") == 0
