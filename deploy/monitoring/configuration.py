"""The files of this directory, written elsewhere for other addresses than those that they name.

There is one `prometheus.yml` and one `alertmanager.yml`, for containers and for programs without
them: an address is replaced where it stands, and all else stays as it is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.system.files import write_atomically

SOURCE = Path(__file__).parent
PROMETHEUS, ALERTMANAGER = "prometheus.yml", "alertmanager.yml"
RULES = Path("rules")


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses, as `HOST:PORT`, of each kind of program; `webhook` is a URL."""

    teddy: Sequence[str]
    prometheus: Sequence[str] = ()
    alertmanager: Sequence[str] = ()
    node_exporter: Sequence[str] = ()
    webhook: str | None = None


def write_configuration(directory: Path, addresses: Addresses) -> None:
    """Write prometheus.yml, alertmanager.yml and the rules into `directory`.

    Raises OSError, and ValueError for an address that is not in the file to be replaced.
    """
    (directory / RULES).mkdir(parents=True, exist_ok=True)
    for path in (SOURCE / RULES).glob("*.yml"):
        write_atomically(directory / RULES / path.name, path.read_text(encoding="utf-8"))
    replaced = {
        PROMETHEUS: {
            '["teddy:8000"]': json.dumps(addresses.teddy),
            '["localhost:9090"]': json.dumps(addresses.prometheus),
            '["alertmanager:9093"]': json.dumps(addresses.alertmanager),
            '["node-exporter:9100"]': json.dumps(addresses.node_exporter),
        },
        ALERTMANAGER: {},
    }
    if addresses.webhook:
        url = json.dumps(addresses.webhook)
        replaced[ALERTMANAGER]["webhook_configs: []"] = f"webhook_configs: [{{url: {url}}}]"
    for name, changes in replaced.items():
        text = (SOURCE / name).read_text(encoding="utf-8")
        for old, new in changes.items():
            if old not in text:
                raise ValueError(f"{old} is not there to be replaced")
            text = text.replace(old, new)
        write_atomically(directory / name, text)
