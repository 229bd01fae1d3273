"""From a real fault to a real webhook, with real Prometheus, rules and Alertmanager.

Time runs 60 times faster for both: see tests/monitoring/faster.py. A scrape is due every quarter of
a second."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks.load.model_files import damaged
from benchmarks.load.server import Server, free_port
from deploy.monitoring.__main__ import Notification, receiving
from deploy.monitoring.configuration import Addresses, write_configuration
from teddy.model.predictor import SHIPPED_MODEL
from teddy.model.system.files import write_atomically
from tests.monitoring.exporters import NodeExporter
from tests.monitoring.faster import hasten
from tests.monitoring.prometheus import Alertmanager, Prometheus, wait_until
from tests.monitoring.watched import post

FACTOR = 60
ALWAYS = "TeddyMonitoringAlive"
TRUE_OF_A_BUSY_MACHINE = "TeddyEventLoopLag"
"""Where other tests take the processors for seconds, which are minutes here, it has a right to
fire."""
RESENT = f"--rules.alert.resend-delay={60_000 // FACTOR}ms"
"""What is first told to an Alertmanager that is not known yet is told again after this; otherwise
after a minute."""
QUIET_SCRAPES = 20
ENGLISH = [
    "Anna Berg went to Paris with Jonas Falk.",
    "The committee met in Oslo on Monday.",
    "Nobody was there.",
]
CHINESE = [f"北京大学的{n}名学生昨天去了上海博物馆,然后坐火车回家。" for n in range(400)]
STALLED = """\
teddy_training_state{run="mine",state="running"} 1
teddy_training_updated_timestamp_seconds{run="mine"} 1e9
"""


@dataclass
class Told:
    """What came to the webhook."""

    notifications: list[Notification] = field(default_factory=list)
    n_forgotten: int = 0

    def statuses(self, alert: str) -> list[tuple[str, str]]:
        """The receiver and status of everything that was told of an alert, and not forgotten."""
        return [
            (each["receiver"], said["status"])
            for each in self.notifications[self.n_forgotten :]
            for said in each["alerts"]
            if said["labels"]["alertname"] == alert
        ]

    def forget(self) -> None:
        """What has been told until now is not waited for any more."""
        self.n_forgotten = len(self.notifications)

    def names(self) -> set[str]:
        """The alerts of which anything was ever told."""
        return {
            said["labels"]["alertname"] for each in self.notifications for said in each["alerts"]
        }

    def wait_for(self, alert: str, receiver: str, status: str) -> None:
        wait_until(
            lambda: (receiver, status) in self.statuses(alert),
            lambda: f"{alert} {status} has not come to {receiver}; there came {self.names()}",
        )


@dataclass(frozen=True)
class World:
    """All that watches, and the files on which faults can be worked."""

    directory: Path
    prometheus: Prometheus
    told: Told
    teddy_port: int

    @property
    def model(self) -> Path:
        return self.directory / "en.teddy"

    def teddy(self) -> Server:
        """Teddy, which is being started."""
        settings = {
            "reload_poll_seconds": 0.2,
            "drift_texts_per_second": 1000,
            "drift_window_texts": 400,
        }
        return Server.teddy(
            self.directory / "teddy.log",
            "--model",
            f"en={self.model}",
            port=self.teddy_port,
            settings=settings,
        )


@contextmanager
def watching(directory: Path) -> Iterator[World]:
    """Everything but Teddy is up while the block lasts."""
    told, teddy_port, own_port = Told(), free_port(), free_port()
    (directory / "jobs").mkdir()
    with ExitStack() as up:
        webhook = up.enter_context(receiving(told.notifications.append))
        node = up.enter_context(NodeExporter(directory / "jobs"))
        alertmanager = Alertmanager(directory)
        addresses = Addresses(
            teddy=[f"127.0.0.1:{teddy_port}"],
            prometheus=[f"127.0.0.1:{own_port}"],
            alertmanager=[alertmanager.address],
            node_exporter=[node.address],
            webhook=webhook,
        )
        write_configuration(directory, addresses)
        hasten(directory, FACTOR)
        up.enter_context(alertmanager)
        prometheus = up.enter_context(Prometheus(directory, RESENT, port=own_port))
        yield World(directory, prometheus, told, teddy_port)


@pytest.mark.slow
def test_faults_reach_a_webhook_and_nothing_else_does(tmp_path: Path) -> None:
    write_atomically(tmp_path / "en.teddy", SHIPPED_MODEL.read_bytes())
    with watching(tmp_path) as world:
        with world.teddy() as teddy:
            asyncio.run(teddy.ready())
            see_that_all_is_well(world, teddy)
            post(f"{teddy.address}/v1/entities/batch", {"texts": CHINESE})
            put_a_broken_model_in_place(world)
            let_a_training_job_stall(world)
            world.told.wait_for("TeddyDrift", "ticket", "firing")
            world.told.forget()
        world.told.wait_for("TeddyDown", "page", "firing")
        world.prometheus.wait_for('ALERTS{alertname="TeddyInstanceDown", alertstate="firing"}')
        with world.teddy() as teddy:
            asyncio.run(teddy.ready())
            world.told.wait_for("TeddyDown", "page", "resolved")
        expected = {
            ALWAYS,
            "TeddyModelReloadFailed",
            "TeddyDrift",
            "TeddyTrainingStalled",
            "TeddyDown",
        }
        assert world.told.names() - {TRUE_OF_A_BUSY_MACHINE} == expected, (
            "TeddyInstanceDown, for one, is held back"
        )


def see_that_all_is_well(world: World, teddy: Server) -> None:
    """Nothing fires on a service that is asked something, but the alert that always does."""
    world.prometheus.wait_for('up{job="teddy"} == 1')
    post(f"{teddy.address}/v1/entities/batch", {"texts": ENGLISH})
    world.prometheus.wait_for(f'sum_over_time(up{{job="teddy"}}[1m]) > {QUIET_SCRAPES}')
    world.told.wait_for(ALWAYS, "alive", "firing")
    wait_until(
        lambda: world.prometheus.firing() - {TRUE_OF_A_BUSY_MACHINE} == {ALWAYS},
        lambda: f"there fire {world.prometheus.firing()}",
    )
    told = world.told.names() - {"TeddyDown", TRUE_OF_A_BUSY_MACHINE}
    assert told == {ALWAYS}, "before Teddy was up, it was down, and that is all"


def put_a_broken_model_in_place(world: World) -> None:
    content = world.model.read_bytes()
    write_atomically(world.model, damaged(content))
    world.told.wait_for("TeddyModelReloadFailed", "ticket", "firing")
    write_atomically(world.model, content)
    world.told.wait_for("TeddyModelReloadFailed", "ticket", "resolved")


def let_a_training_job_stall(world: World) -> None:
    write_atomically(world.directory / "jobs" / "mine.prom", STALLED)
    world.told.wait_for("TeddyTrainingStalled", "ticket", "firing")
