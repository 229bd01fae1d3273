"""Known vulnerabilities in what is installed: `python -m tests.audit`, a part of `make lint`.

Exit code 1 if any.

pip-audit asks a vulnerability service: the package index's own, or what its variables
`PIP_AUDIT_VULNERABILITY_SERVICE` and `PIP_AUDIT_OSV_URL` say. Where there is none, behind a mirror
that has packages only or without a network, this says so in one line and is content. pip-audit by
itself would fail there, or worse: take a package that the mirror does not know for one without a
fault."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from tempfile import TemporaryDirectory

OURS = "teddy"
PROBE = "pip"  # of all packages the one that every service knows
TIMEOUT_SECONDS = 10
UNREACHABLE = re.compile(
    r"requests\.exceptions\.|pip_audit\S*\.(Connection|Service)Error|vulnerability feed"
)
"""What pip-audit ends with, on standard error, when a service cannot be reached, or is out of
order."""

ACCEPTED: Mapping[str, str] = {}
"""Vulnerabilities by id that do not concern Teddy, and why."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a service said.

    Attributes: `answered` and `unknown`, packages that it knows and does not; `faults`, a line for
    each vulnerability."""

    answered: tuple[str, ...]
    unknown: tuple[str, ...]
    faults: tuple[str, ...]


def main() -> int:
    """Ask, tell, and return the exit code."""
    packages = installed(distributions())
    # One question first: without a service there is nobody to ask the others, and a mirror is not
    # searched by name.
    probe = audit([f"{PROBE}=={packages[PROBE]}"])
    report = (
        audit([f"{name}=={version}" for name, version in packages.items()])
        if probe and probe.answered
        else None
    )
    if report is None:
        print("audit: no vulnerability service can be reached from here; nothing was checked")
        return 0
    for fault in report.faults:
        print(f"audit: {fault}")
    unknown = f"; not known there: {', '.join(report.unknown)}" if report.unknown else ""
    print(
        f"audit: {len(report.answered)} packages, "
        f"{len(report.faults)} known vulnerabilities{unknown}"
    )
    return 1 if report.faults else 0


def installed(found: Iterable[Distribution]) -> dict[str, str]:
    """Versions by name, as they were published: `2.13.0+cpu` is a build of 2.13.0, and services
    know only that."""
    versions = {each.name.lower(): each.version.partition("+")[0] for each in found}
    versions.pop(OURS, None)
    return dict(sorted(versions.items()))


def audit(requirements: Iterable[str]) -> Report | None:
    """What pip-audit finds out about these versions; None if it got no answer.

    Raises RuntimeError if it broke.
    """
    with TemporaryDirectory() as directory:
        listed = Path(directory, "requirements.txt")
        listed.write_text("\n".join(requirements), encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--requirement",
            str(listed),
            "--no-deps",
            "--disable-pip",
        ]
        # Its cache is kept out of it: yesterday's answer is none.
        options = [
            "--format=json",
            "--progress-spinner=off",
            f"--timeout={TIMEOUT_SECONDS}",
            f"--cache-dir={directory}",
        ]
        done = subprocess.run(command + options, capture_output=True, text=True, check=False)
    if not done.stdout and UNREACHABLE.search(done.stderr):
        return None
    if not done.stdout:
        raise RuntimeError(f"pip-audit failed:\n{done.stderr}")
    return parse(done.stdout)


def parse(output: str) -> Report:
    """pip-audit's report."""
    packages = json.loads(output)["dependencies"]
    faults = [
        f"{each['name']} {each['version']}: {fault['id']}, "
        f"mended in {', '.join(fault['fix_versions']) or 'no version'}"
        for each in packages
        for fault in each.get("vulns", ())
        if ACCEPTED.keys().isdisjoint({fault["id"], *fault.get("aliases", ())})
    ]
    answered = (each["name"] for each in packages if "vulns" in each)
    unknown = (each["name"] for each in packages if "vulns" not in each)
    return Report(tuple(answered), tuple(unknown), tuple(faults))


if __name__ == "__main__":
    sys.exit(main())
