"""Docker is seldom where tests run: these read its files, and run Teddy under the restrictions that they name."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]

from service.settings import Settings

ROOT = Path(__file__).parents[1]
COMPOSE_FILES = ("docker-compose.yml", "docker-compose.keys.yml")
SECRET = re.compile(r"(?i)(api_?keys?|password|passwd|token|secret|credentials?)\s*[=:]\s*[\"']?[\w+/-]{6,}")
PINNED = re.compile(r"[\w./-]+:v?\d+\.\d+\.\d+(-[\w.-]+)?")

CONFINED = """
mount -t tmpfs -o noexec,nosuid,nodev,mode=1777 tmpfs "$TMPDIR"
mount -o remount,bind,ro /
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), with continued lines joined."""
    text = (ROOT / "service" / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(name, arguments) for name, _, arguments in (line.strip().partition(" ") for line in lines) if name]


def of(name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions() if instruction == name]


def compose(file: str = "docker-compose.yml") -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
    return content


def teddy() -> dict[str, Any]:
    service: dict[str, Any] = compose()["services"]["teddy"]
    return service


def test_the_image_runs_as_a_user_without_a_name_to_look_up_a_shell_or_a_home() -> None:
    last_stage = [name for name, _ in instructions()][::-1]
    assert of("USER") == ["10001:10001"], "by number: orchestrators can then tell that it is not root"
    assert last_stage.index("USER") < last_stage.index("COPY"), "what it runs is not its own to change"
    (created,) = [arguments for arguments in of("RUN") if "useradd" in arguments]
    assert {"--no-create-home", "/usr/sbin/nologin"} <= set(shlex.split(created))


def test_every_image_is_named_by_an_exact_version() -> None:
    (base,) = [arguments.partition("=")[2] for arguments in of("ARG") if arguments.startswith("BASE=")]
    assert [arguments.split()[0] for arguments in of("FROM")] == ["${BASE}", "${BASE}"]
    others = [each["image"] for each in compose()["services"].values() if "build" not in each]
    assert others
    assert [image for image in [base, *others] if not PINNED.fullmatch(image)] == []


def test_the_image_is_built_from_what_is_named_and_nothing_is_fetched_by_address() -> None:
    assert of("ADD") == []
    assert not [arguments for arguments in of("RUN") if re.search(r"https?://|curl|wget", arguments)]
    copied = {source for arguments in of("COPY") if "--from" not in arguments for source in arguments.split()[:-1]}
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    assert let_in == copied


def test_no_secret_is_in_an_image_or_beside_it() -> None:
    for path in ("service/Dockerfile", *COMPOSE_FILES, "service/monitoring/prometheus.yml"):
        assert not SECRET.findall((ROOT / path).read_text(encoding="utf-8")), path
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for private in ("model/teddy.keys", "service/.env", "model/signing.pem"):
        assert any(fnmatch(private, rule) for rule in rules[rules.index("!service") :]), private


@pytest.mark.parametrize("name", ["teddy", "prometheus"])
def test_a_container_can_do_nothing_but_its_work(name: str) -> None:
    service = compose()["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108
    assert service["mem_limit"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices", "user"} & service.keys()


def test_several_workers_have_a_place_for_their_metrics() -> None:
    variables = dict(pair.partition("=")[::2] for arguments in of("ENV") for pair in shlex.split(arguments))
    (mount,) = teddy()["tmpfs"]
    assert mount.startswith(variables["TMPDIR"] + ":")
    assert "mode=1777" in mount


def test_whoever_needs_no_key_is_on_this_machine() -> None:
    assert teddy()["environment"] == {"TEDDY_ALLOW_ANONYMOUS": "true"}
    for service in compose()["services"].values():
        assert [port for port in service["ports"] if not port.startswith("127.0.0.1:")] == []
    variables = dict(pair.partition("=")[::2] for arguments in of("ENV") for pair in shlex.split(arguments))
    assert "TEDDY_ALLOW_ANONYMOUS" not in variables, "the image itself asks for keys"
    assert variables["TEDDY_HOST"] == "0.0.0.0"  # noqa: S104


def test_with_keys_they_come_as_a_file_of_digests_and_nobody_is_let_in_without() -> None:
    service = compose("docker-compose.keys.yml")["services"]["teddy"]
    (name,) = service["secrets"]
    assert service["environment"] == {
        "TEDDY_ALLOW_ANONYMOUS": "false",
        "TEDDY_API_KEYS_FILE": f"/run/secrets/{name}",
    }
    assert compose("docker-compose.keys.yml")["secrets"][name]["file"].startswith("${TEDDY_KEYS:?")


@pytest.mark.parametrize("file", COMPOSE_FILES)
def test_what_is_set_in_a_container_is_a_setting(file: str) -> None:
    known = {f"TEDDY_{name.upper()}" for name in Settings.model_fields}
    assert set(compose(file)["services"]["teddy"]["environment"]) <= known


def test_a_container_gets_the_time_to_answer_what_it_has_accepted() -> None:
    settings = Settings()
    grace = int(teddy()["stop_grace_period"].removesuffix("s"))
    assert of("STOPSIGNAL") == ["SIGTERM"]
    assert grace > settings.drain_seconds + settings.shutdown_grace_seconds


def can_confine() -> bool:
    command = ["unshare", "--mount", "setpriv", "--version"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0
    except OSError:
        return False


@contextmanager
def confined(*command: str, directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process without capabilities, that can write to `directory` and to memory but to no other file system."""
    confining = ["unshare", "--mount", "sh", "-e", "-c", CONFINED, "sh"]
    with subprocess.Popen(
        [*confining, *command],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(60)
            finally:
                process.kill()


@pytest.mark.slow
@pytest.mark.skipif(not can_confine(), reason="this user may not make a mount namespace")
def test_several_workers_serve_without_capabilities_on_a_file_system_that_is_only_read(tmp_path: Path) -> None:
    serve = [sys.executable, "-m", "teddy", "serve", "--port", "0", "--workers", "2"]
    with confined(*serve, directory=tmp_path) as process:
        assert process.stdout
        announced = re.search(r"http://[\w.]+:\d+", process.stdout.readline())
        assert announced, "it did not start"
        with httpx.Client(base_url=announced[0], transport=httpx.HTTPTransport(retries=50), timeout=60) as client:
            while client.get("/health/ready").status_code == 503:
                pass
            answer = client.post("/v1/entities", json={"text": "He said, Teddy Roosevelt was a great President!"})
            assert [each["text"] for each in answer.json()["entities"]] == ["Teddy Roosevelt"]
            assert "teddy_texts_total" in client.get("/metrics").text
        limits = Path(f"/proc/{process.pid}/status").read_text()
        assert re.findall(r"(?m)^(?:CapEff|CapBnd|NoNewPrivs):\t(\w+)", limits) == ["0" * 16, "0" * 16, "1"]
    assert process.returncode == 0
