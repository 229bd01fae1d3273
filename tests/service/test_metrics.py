import os
import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from service.metrics import MULTIPROCESS_DIRECTORY, Metrics

WORKER = """
from service.metrics import Metrics
metrics = Metrics()
metrics.request("GET", "/v1/models", 200, 0.5)
metrics.in_flight.inc()
metrics.model_info.labels("en", "0123456789ab", "fp32").set(1)
print(metrics.exposition().decode())
"""


def samples(text: str) -> dict[str, float]:
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def work(directory: Path) -> dict[str, float]:
    environment = os.environ | {MULTIPROCESS_DIRECTORY: str(directory)}
    done = subprocess.run([sys.executable, "-c", WORKER], env=environment, capture_output=True, text=True, check=True)
    return samples(done.stdout)


def test_workers_add_up_and_a_dead_one_leaves_its_counts_but_nothing_in_flight(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        seen = work(tmp_path)
        assert seen["teddy_requests_total"] == n
        assert seen["teddy_request_seconds_count"] == n
        assert seen["teddy_requests_in_flight"] == 1
        assert seen["teddy_model_info"] == 1


def test_an_objective_of_latency_is_an_edge_of_the_histogram() -> None:
    metrics = Metrics()
    metrics.request("GET", "/health/live", 200, 0.009)
    text = metrics.exposition().decode()
    assert 'teddy_request_seconds_bucket{le="0.005",route="/health/live"} 0.0' in text
    assert 'teddy_request_seconds_bucket{le="0.01",route="/health/live"} 1.0' in text
