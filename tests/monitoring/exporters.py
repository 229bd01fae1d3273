"""A real Pushgateway, and a real node exporter's textfile collector.

with Pushgateway(directory) as gateway, NodeExporter(directory / "textfiles") as node:
    ...gateway.samples()
"""

from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from benchmarks.load.server import free_port
from teddy.training.job.catalogue import PREFIX
from teddy.training.job.job import State
from tests.monitoring.binaries import binary
from tests.monitoring.prometheus import PATIENCE_SECONDS, Daemon

Samples = dict[tuple[str, str], float]
"""Values by name and, where the series has that label, state; of one run, and none but Teddy's."""


class Exporter(Daemon):
    """Anything with /metrics."""

    def samples(self) -> Samples:
        """The values of training jobs that it has now."""
        return samples(scrape(f"http://{self.address}/metrics"))


class Pushgateway(Exporter):
    """Keeps what is pushed in memory; its log is in `directory`."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        command: list[str | Path] = [
            binary("prometheus-pushgateway"),
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        super().__init__(command, directory / "pushgateway.log", port)


class NodeExporter(Exporter):
    """Reads the .prom files of `directory` at each scrape, and tells nothing of the machine."""

    def __init__(self, directory: Path) -> None:
        port = free_port()
        command: list[str | Path] = [
            binary("prometheus-node-exporter"),
            "--collector.disable-defaults",
            "--collector.textfile",
            f"--collector.textfile.directory={directory}",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        super().__init__(command, directory / "node-exporter.log", port)

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.tail()
        try:
            return "node_textfile_scrape_error" in scrape(f"http://{self.address}/metrics")
        except (URLError, ConnectionError):
            return False


def scrape(url: str) -> str:
    """What is at a URL."""
    with urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        text: str = answer.read().decode()
        return text


def samples(exposition: str) -> Samples:
    """The values of one training job in Prometheus's text format."""
    return {
        (sample.name, sample.labels.get("state", "")): sample.value
        for sample in _all_samples(exposition)
        if sample.name.startswith(PREFIX)
    }


def state_of(found: Samples) -> str:
    """The one state of a job that is 1."""
    states = {state: value for (name, state), value in found.items() if name == f"{PREFIX}state"}
    assert set(states) == set(State)
    assert sorted(states.values()) == [0, 0, 0, 0, 1]
    return next(state for state, value in states.items() if value)


def _all_samples(exposition: str) -> Iterator[Sample]:
    return (
        sample for family in text_string_to_metric_families(exposition) for sample in family.samples
    )
