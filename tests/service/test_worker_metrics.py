import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from teddy.service.observability.metrics import Metrics
from teddy.service.observability.worker_metrics import DIRECTORY, WORKER, collect, forget

WORK = """
import os, signal
from teddy.service.observability.metrics import Metrics
metrics = Metrics()
metrics.request("GET", "/v1/models", 200, 0.5)
metrics.in_flight += 1
metrics.model_info.labels("en", "0123456789ab", "fp32").set(1)
metrics.process.measure()
metrics.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""
RESIDENT = "teddy_worker_resident_bytes"


def work(directory: Path, worker: int) -> None:
    """A worker counts a request, begins another and is killed."""
    environment = os.environ | {DIRECTORY: str(directory), WORKER: str(worker)}
    assert (
        subprocess.run([sys.executable, "-c", WORK], env=environment, check=False).returncode
        == -signal.SIGKILL
    )


def samples(directory: Path) -> dict[str, float]:
    """The values by name; of those that each worker has, by name and worker."""
    families = text_string_to_metric_families(collect(str(directory)).decode())
    every = [sample for family in families for sample in family.samples]
    return {sample.name + sample.labels.get("worker", ""): sample.value for sample in every}


def test_counts_survive_a_kill_and_go_on_and_gauges_go_with_their_worker(tmp_path: Path) -> None:
    work(tmp_path, 0)
    work(tmp_path, 1)
    seen = samples(tmp_path)
    assert seen["teddy_requests_total"] == seen["teddy_request_seconds_count"] == 2
    assert seen["teddy_requests_in_flight"] == 2
    assert seen[RESIDENT + "0"] > 0
    files = set(tmp_path.iterdir())
    cpu = seen["teddy_worker_cpu_seconds_total0"]

    forget(0, str(tmp_path))
    seen = samples(tmp_path)
    assert seen["teddy_requests_total"] == 2
    assert seen["teddy_requests_in_flight"] == seen["teddy_model_info"] == 1
    assert RESIDENT + "0" not in seen

    work(tmp_path, 0)
    seen = samples(tmp_path)
    assert seen["teddy_requests_total"] == seen["teddy_request_seconds_count"] == 3
    assert seen["teddy_requests_in_flight"] == 2
    assert seen["teddy_worker_cpu_seconds_total0"] > cpu
    assert set(tmp_path.iterdir()) == files


def test_a_file_that_a_worker_is_just_making_is_looked_at_again(tmp_path: Path) -> None:
    (tmp_path / "counter_0.db").touch()
    with pytest.raises(OSError, match="cannot be read"):
        collect(str(tmp_path))
    (tmp_path / "counter_0.db").write_bytes(bytes(8))
    assert collect(str(tmp_path)) == b""


def test_one_worker_alone_tells_its_memory_and_its_time_too() -> None:
    shown = Metrics().exposition().decode()
    assert f'{RESIDENT}{{worker="0"}}' in shown
    assert 'teddy_worker_cpu_seconds_total{worker="0"}' in shown
