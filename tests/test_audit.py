import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import Distribution, version
from pathlib import Path
from typing import Any

import pytest

from tests.audit import audit, installed, parse

ROOT = Path(__file__).parents[1]
Asked = dict[str, Any]


@contextmanager
def vulnerability_service(answer: Callable[[Asked], Asked]) -> Iterator[tuple[str, list[Asked]]]:
    """A service on loopback that speaks the protocol of OSV; gives its address and what it has been
    asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append(question)
            body = json.dumps(answer(question)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/query", asked
        finally:
            server.shutdown()
            thread.join()


def fault_in(package: str) -> Callable[[Asked], Asked]:
    """A service that knows one vulnerability, whatever the version."""
    ranges = [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99"}]}]
    known = {"package": {"name": package, "ecosystem": "PyPI"}, "ranges": ranges}
    vulnerability = {"id": "TEST-1", "summary": "made up", "affected": [known]}
    return lambda question: (
        {"vulns": [vulnerability]} if question["package"]["name"] == package else {}
    )


def run_audit(address: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
        "PIP_AUDIT_OSV_URL": address,
    }
    command = [sys.executable, "-m", "tests.audit"]
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_a_known_vulnerability_fails_the_step_and_is_named() -> None:
    with vulnerability_service(fault_in("torch")) as (address, asked):
        done = run_audit(address)
    assert done.returncode == 1, done.stderr
    published = version("torch").partition("+")[0]
    assert f"audit: torch {published}: TEST-1, mended in 99\n" in done.stdout
    assert done.stdout.endswith("1 known vulnerabilities\n")
    assert {question["package"]["name"] for question in asked} >= {"fastapi", "torch", "uvicorn"}
    assert not any(
        "+" in question["version"] or question["package"]["name"] == "teddy" for question in asked
    )


def test_without_a_service_the_step_says_so_in_one_line_and_goes_on() -> None:
    with vulnerability_service(lambda _: {}) as (address, _):
        pass  # nobody listens there any more
    done = run_audit(address)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr
    assert "nothing was checked" in done.stdout


def test_a_tool_that_breaks_is_not_taken_for_a_clean_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PIP_AUDIT_VULNERABILITY_SERVICE", "nonsense")
    with pytest.raises(RuntimeError, match="pip-audit failed"):
        audit(["idna==3.7"])


def test_packages_that_a_mirror_does_not_know_are_not_taken_for_faultless_ones() -> None:
    skipped = {
        "name": "idna",
        "skip_reason": "Dependency not found on PyPI and could not be audited: idna (3.7)",
    }
    report = parse(json.dumps({"dependencies": [skipped], "fixes": []}))
    assert (report.answered, report.unknown, report.faults) == ((), ("idna",), ())


def test_what_is_accepted_with_a_reason_is_passed_over_by_any_of_its_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = {"id": "PYSEC-1", "fix_versions": [], "aliases": ["CVE-1"], "description": "made up"}
    output = json.dumps(
        {"dependencies": [{"name": "idna", "version": "3.7", "vulns": [fault]}], "fixes": []}
    )
    assert parse(output).faults == ("idna 3.7: PYSEC-1, mended in no version",)
    monkeypatch.setattr("tests.audit.ACCEPTED", {"CVE-1": "Teddy never calls it"})
    assert parse(output).faults == ()


def test_a_local_build_counts_as_the_version_it_was_built_from(tmp_path: Path) -> None:
    found = []
    for name, number in (("Torch", "2.13.0+cpu"), ("idna", "3.7"), ("teddy", "0.1.0")):
        metadata = tmp_path / f"{name}-{number}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n"
        )
        found.append(Distribution.at(metadata))
    assert installed(found) == {"idna": "3.7", "torch": "2.13.0"}
