"""The files of this directory, written elsewhere for other addresses than those that they name.

There is one `prometheus.yml` and one `alertmanager.yml`, so that what is watched in containers and
what is watched without them cannot drift apart: an address is replaced where it stands, and all
else is taken as it is.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.system.files import write_atomically

SOURCE = Path(__file__).parent
PROMETHEUS, ALERTMANAGER = "prometheus.yml", "alertmanager.yml"
RULES = Path("rules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where things are, as `HOST:PORT`; of each kind there may be several, or none.

    `webhook` is a URL.
    """

    teddy: Sequence[str]
    prometheus: Sequence[str] = ()
    alertmanager: Sequence[str] = ()
    node_exporter: Sequence[str] = ()
    webhook: str | None = None

    def in_prometheus(self) -> Mapping[str, str]:
        """Return what stands in prometheus.yml, and what is to stand there."""
        return {
            '["teddy:8000"]': json.dumps(self.teddy),
            '["localhost:9090"]': json.dumps(self.prometheus),
            '["alertmanager:9093"]': json.dumps(self.alertmanager),
            '["node-exporter:9100"]': json.dumps(self.node_exporter),
        }

    def in_alertmanager(self) -> Mapping[str, str]:
        """Return the same of alertmanager.yml, whose receivers have no address of their own."""
        if self.webhook is None:
            return {}
        return {"webhook_configs: []": f"webhook_configs: [{{url: {json.dumps(self.webhook)}}}]"}


def write_configuration(directory: Path, addresses: Addresses) -> None:
    """Write prometheus.yml, alertmanager.yml and the rules into `directory`. Raises OSError."""
    (directory / RULES).mkdir(parents=True, exist_ok=True)
    for path in (SOURCE / RULES).glob("*.yml"):
        write_atomically(directory / RULES / path.name, path.read_text(encoding="utf-8"))
    for name, replaced in (
        (PROMETHEUS, addresses.in_prometheus()),
        (ALERTMANAGER, addresses.in_alertmanager()),
    ):
        write_atomically(
            directory / name, with_replaced((SOURCE / name).read_text(encoding="utf-8"), replaced)
        )


def with_replaced(text: str, replaced: Mapping[str, str]) -> str:
    """Return the text with each key's value in its place.

    Raises ValueError for a key that the text does not have.
    """
    for old, new in replaced.items():
        if old not in text:
            raise ValueError(f"{old} is not there to be replaced")
        text = text.replace(old, new)
    return text
