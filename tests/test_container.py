"""Docker is seldom where tests run: these read its files, run Teddy under the restrictions that
they name, and the programs of other images, where this machine has them, with the arguments that
they give."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml  # type: ignore[import-untyped]
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.lock import EXTRAS, torch_pin
from deploy.monitoring.configuration import Addresses, write_configuration
from deploy.monitoring.dashboards.panels import GRAFANA
from teddy.service.http.callers import Keys
from teddy.service.settings import Settings, read_settings
from tests.monitoring.binaries import binary
from tests.monitoring.prometheus import Alertmanager

ROOT = Path(__file__).parents[1]
SERVICES = ("teddy", "prometheus", "alertmanager", "grafana", "node-exporter", "train")
SECRET = re.compile(
    r"(?i)(api_?keys?|password|passwd|token|secret|credentials?)\s*[=:]\s*[\"']?[\w+/-]{6,}"
)
MASQUERADE = "com.docker.network.bridge.enable_ip_masquerade"
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
    return [
        (name, arguments)
        for name, _, arguments in (line.strip().partition(" ") for line in lines)
        if name
    ]


def of(name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions() if instruction == name]


COMPOSE_FILE = ROOT / "docker-compose.yml"


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text(encoding="utf-8"))
    return content


def service(name: str) -> dict[str, Any]:
    found: dict[str, Any] = compose()["services"][name]
    return found


def teddy() -> dict[str, Any]:
    return service("teddy")


def mounts(name: str) -> dict[str, str]:
    """What a service has mounted, by where: a path of the repository, or the name of a volume."""
    found = {}
    for mount in service(name).get("volumes", []):
        if isinstance(mount, dict):
            found[mount["target"]] = mount["source"]
        else:
            source, target, *_ = mount.split(":")
            found[target] = source
    return found


def test_the_image_runs_as_a_user_without_a_name_to_look_up_a_shell_or_a_home() -> None:
    last_stage = [name for name, _ in instructions()][::-1]
    assert of("USER") == ["10001:10001"], (
        "by number: orchestrators can then tell that it is not root"
    )
    assert last_stage.index("USER") < last_stage.index("COPY"), (
        "what it runs is not its own to change"
    )
    (created,) = [arguments for arguments in of("RUN") if "useradd" in arguments]
    assert {"--no-create-home", "/usr/sbin/nologin"} <= set(shlex.split(created))


def test_every_image_is_named_by_an_exact_version() -> None:
    (base,) = [
        arguments.partition("=")[2] for arguments in of("ARG") if arguments.startswith("BASE=")
    ]
    stages = [arguments.partition(" AS ")[2] for arguments in of("FROM")]
    assert {arguments.split()[0] for arguments in of("FROM")} <= {"${BASE}", *stages}
    others = [
        each["image"]
        for each in compose()["services"].values()
        if not {"build", "extends"} & each.keys()
    ]
    assert others
    assert [image for image in [base, *others] if not PINNED.fullmatch(image)] == []


def test_the_image_is_built_from_what_is_named_and_nothing_is_fetched_by_address() -> None:
    assert of("ADD") == []
    assert not [
        arguments for arguments in of("RUN") if re.search(r"https?://|curl|wget", arguments)
    ]
    copied = {
        source
        for arguments in of("COPY")
        if "--from" not in arguments
        for source in arguments.split()[:-1]
    }
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert "*" in rules
    used = {rule for rule in let_in for source in copied if f"{source}/".startswith(f"{rule}/")}
    assert used == let_in
    assert all(any(f"{source}/".startswith(f"{rule}/") for rule in let_in) for source in copied)


def pins(name: str) -> dict[str, list[str]]:
    """What a file of deploy/requirements names, with the hashes of each."""
    text = (ROOT / "deploy" / "requirements" / f"{name}.txt").read_text(encoding="utf-8")
    found = {}
    for entry in re.sub(r"\\\n", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines():
        requirement, *hashes = entry.split()
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), entry
        found[requirement] = hashes
    return found


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_what_is_installed_is_locked_with_hashes_and_nothing_else_is_installed() -> None:
    installing = [arguments for arguments in of("RUN") if "pip install" in arguments]
    assert len(installing) == 4
    for arguments in installing:
        assert "--no-deps" in arguments
        assert "--require-hashes" in arguments or "--no-index" in arguments
    for name in ("torch", "teddy", *EXTRAS):
        assert all(hashes for hashes in pins(name).values())


def test_the_lock_has_what_pyproject_asks_for_in_versions_that_it_allows() -> None:
    locked = dict(each.split("==") for name in ("torch", "teddy") for each in pins(name))
    extras = {name: dict(each.split("==") for each in pins(name)) for name in EXTRAS}
    for name, more in [("", {}), *extras.items()]:
        wanted = PROJECT["optional-dependencies"][name] if name else PROJECT["dependencies"]
        found = locked | more
        for requirement in map(Requirement, wanted):
            version = found[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version.removesuffix("+cpu")), requirement
        assert not more.keys() & locked.keys(), "an extra's file has what the extra adds"


def test_the_lock_takes_what_torch_needs_from_its_cpu_only_wheel() -> None:
    (torch,) = pins("torch")
    assert torch == f"torch=={torch_pin()}+cpu", "no wheel for GPUs has this version"
    uv = (ROOT / "deploy" / "requirements" / "uv.toml").read_text(encoding="utf-8")
    (said,) = tomllib.loads(uv)["dependency-metadata"]
    assert said["version"] == torch_pin()
    if metadata.version("torch").endswith("+cpu"):
        needs = [each for each in metadata.requires("torch") or [] if "extra ==" not in each]
        assert sorted(needs) == sorted(said["requires-dist"])


def test_an_image_without_the_index_of_torch_is_refused_before_anything_of_it_is_fetched() -> None:
    after = instructions()[instructions().index(("ARG", "TORCH_INDEX_URL")) + 1]
    assert after[0] == "RUN"
    for given, code in (("", 2), ("http://localhost", 0)):
        ran = subprocess.run(
            ["sh", "-c", after[1]],
            env={"TORCH_INDEX_URL": given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert bool(ran.returncode) == bool(code)
        assert ("--build-arg TORCH_INDEX_URL=..." in ran.stderr) == bool(code)


def test_code_is_the_last_layer_and_what_changes_less_comes_before_it() -> None:
    last = [at for at, (name, _) in enumerate(instructions()) if name == "FROM"][-1]
    layers = [arguments for name, arguments in instructions()[last:] if name == "COPY"]
    assert [each.partition("=")[2].split()[0] for each in layers] == [
        "torch",
        "dependencies",
        "extras",
        "bytecode",
        "code",
        "code",
    ]
    assert layers[-1] == "--from=code /code /opt/teddy"


def test_the_image_says_what_it_is() -> None:
    (labels,) = of("LABEL")
    said = dict(each.split("=", 1) for each in shlex.split(labels))
    prefix = "org.opencontainers.image."
    assert said[f"{prefix}version"] == PROJECT["version"]
    assert said[f"{prefix}licenses"] == PROJECT["license"]
    assert said.keys() >= {f"{prefix}{name}" for name in ("title", "description", "revision")}


def test_no_secret_is_in_an_image_or_beside_it() -> None:
    configuration = (ROOT / "deploy" / "monitoring").rglob("*.yml")
    for path in (ROOT / "service" / "Dockerfile", COMPOSE_FILE, *configuration):
        assert not SECRET.findall(path.read_text(encoding="utf-8")), path
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for private in ("model/teddy.keys", "service/.env", "model/signing.pem"):
        assert any(fnmatch(private, rule) for rule in rules[rules.index("!service") :]), private


def test_the_compose_file_is_what_compose_takes() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        str(COMPOSE_FILE),
    ]
    checked = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert checked.returncode == 0, checked.stdout


def test_what_there_is_to_run() -> None:
    assert compose()["services"].keys() == {*SERVICES, "promote"}
    assert [name for name in SERVICES if "profiles" in service(name)] == ["train"]
    assert service("promote")["extends"] == {"service": "train"}
    needed = re.findall(r"\$\{\w+:?\?", COMPOSE_FILE.read_text(encoding="utf-8"))
    assert not needed, "Compose asks for every variable, also for those of what is not started"


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_can_do_nothing_but_its_work(name: str) -> None:
    confined = service(name)
    assert confined["read_only"] is True
    assert confined["cap_drop"] == ["ALL"]
    assert confined["security_opt"] == ["no-new-privileges:true"]
    ((path, options),) = [mount.split(":") for mount in confined["tmpfs"]]
    assert path == "/tmp"  # noqa: S108
    assert {"noexec", "nosuid", "nodev"} <= set(options.split(","))
    assert {"mem_limit", "pids_limit", "cpus"} <= confined.keys()
    assert confined["logging"]["options"].keys() == {"max-size", "max-file"}
    assert confined.get("network_mode", "none") == "none"
    assert (
        not {"privileged", "cap_add", "pid", "ipc", "devices", "user", "userns_mode"}
        & confined.keys()
    )


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_asked_how_it_is_and_started_again_unless_it_is_a_job(name: str) -> None:
    confined = service(name)
    is_job = name == "train"
    assert confined.get("restart") == (None if is_job else "unless-stopped")
    if is_job:
        assert confined["healthcheck"] == {"disable": True}, "what the image asks is the service"
    elif name == "teddy":
        assert len(of("HEALTHCHECK")) == 1
        assert "healthcheck" not in confined
    else:
        assert confined["healthcheck"]["test"][0] == "CMD", "an image need not have a shell"


def test_nobody_can_be_reached_who_need_not_be() -> None:
    networks = {name: set(service(name).get("networks", [])) for name in SERVICES}
    meet = {
        frozenset(pair)
        for pair in combinations(SERVICES, 2)
        if networks[pair[0]] & networks[pair[1]]
    }
    others = ("teddy", "alertmanager", "grafana", "node-exporter")
    assert meet == {frozenset(("prometheus", other)) for other in others}
    assert set.union(*networks.values()) == compose()["networks"].keys()
    assert service("train")["network_mode"] == "none"


def test_only_alertmanager_and_who_tells_it_of_alerts_can_reach_the_internet() -> None:
    closed = {
        name
        for name, options in compose()["networks"].items()
        if (options or {}).get("internal")
        or (options or {}).get("driver_opts", {}).get(MASQUERADE) == "false"
    }
    assert compose()["networks"].keys() - closed == {"alerts"}
    open_to = [name for name in SERVICES if "alerts" in service(name).get("networks", [])]
    assert open_to == ["prometheus", "alertmanager"]


def test_an_image_that_is_built_here_is_never_looked_for_elsewhere() -> None:
    built = [each for each in compose()["services"].values() if "build" in each]
    assert [each["pull_policy"] for each in built] == ["build", "build"]


def test_one_file_of_variables_is_for_all_lines() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    named = set(re.findall(r"(?m)^(?:# )?([A-Z_]+)=", example))
    file = COMPOSE_FILE.read_text(encoding="utf-8")
    arguments = service("teddy")["build"]["args"]
    assert named == set(re.findall(r"\$\{(\w+)", file)) | arguments.keys()
    assert set(arguments.values()) == {None}, "from `.env` or the shell; else not given"
    assert ".env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_alerts_go_nowhere_until_somebody_says_where() -> None:
    """A placeholder that nothing listens at is an error in the log for every attempt."""
    file = ROOT / "deploy" / "monitoring" / "alertmanager.yml"
    receivers = yaml.safe_load(file.read_text(encoding="utf-8"))["receivers"]
    assert [each["webhook_configs"] for each in receivers] == [[], [], []]


def test_make_up_ends_with_the_addresses(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\n")
    docker.chmod(0o755)
    said = subprocess.run(
        ["make", "--no-print-directory", "up"],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    addresses = re.findall(r"(?m)^http://localhost:(\d+)", said)
    published = [port.split(":")[1] for name in SERVICES for port in service(name).get("ports", [])]
    assert sorted(addresses) == sorted(published)


def test_prometheus_finds_by_their_names_those_whom_it_asks() -> None:
    configuration = yaml.safe_load(
        (ROOT / "deploy" / "monitoring" / "prometheus.yml").read_text(encoding="utf-8")
    )
    asked = [*configuration["scrape_configs"], *configuration["alerting"]["alertmanagers"]]
    targets = {
        target for each in asked for group in each["static_configs"] for target in group["targets"]
    }
    assert {target.partition(":")[0] for target in targets} - {"localhost"} <= set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_what_is_mounted_is_there_and_what_is_a_directory_of_ours_is_its_users(name: str) -> None:
    volumes = compose()["volumes"].keys()
    ((created),) = [arguments for arguments in of("RUN") if "install --directory" in arguments]
    for target, source in mounts(name).items():
        if source.startswith("./"):
            assert (ROOT / source).exists(), source
        elif not source.startswith("${"):
            assert source in volumes
            if name == "train":
                assert target in shlex.split(created), "a volume takes its owner from the image"


def teddys_settings(**variables: str) -> dict[str, str]:
    """What Teddy gets of its environment when Compose has these variables: an empty one is not
    set."""
    environment = {}
    for name, value in teddy()["environment"].items():
        filled = re.sub(
            r"\$\{(\w+):\+([^}]*)\}",
            lambda found: found[2] if variables.get(found[1]) else "",
            value,
        )
        if filled:
            environment[name] = filled
    return environment


def test_corrections_are_stored_where_the_user_may_write_and_only_where_somebody_asked_for_it() -> (
    None
):
    directory = teddys_settings(TEDDY_FEEDBACK="on")["TEDDY_FEEDBACK_DIR"]
    assert mounts("teddy")[directory] in compose()["volumes"]
    assert [
        arguments
        for arguments in of("RUN")
        if "install --directory" in arguments and directory in arguments
    ]
    assert "TEDDY_FEEDBACK_DIR" not in teddys_settings()


def test_whoever_looks_at_grafana_can_only_look() -> None:
    environment = service("grafana")["environment"]
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    assert {environment[f"GF_AUTH_{way}"] for way in ("BASIC_ENABLED", "DISABLE_LOGIN_FORM")} == {
        "false",
        "true",
    }
    assert not [name for name in environment if "PASSWORD" in name]
    assert service("grafana")["image"] == f"grafana/grafana:{GRAFANA}"


def test_what_is_promoted_is_what_was_trained_and_goes_where_teddy_serves_from() -> None:
    promote = service("promote")
    _, model, to, *_ = promote["command"]
    (output,) = [
        each.partition("=")[2]
        for each in service("train")["command"]
        if each.startswith("--output=")
    ]
    assert model == f"{output}/{Path(output).name}.teddy"
    (volume,) = promote["volumes"]
    assert volume == "models:" + to.removeprefix("--to=")
    assert f"{volume}:ro" in teddy()["volumes"]
    assert teddys_settings(TEDDY_OWN_MODELS="on")["TEDDY_MODELS_DIR"] == "/models"
    assert "TEDDY_MODELS_DIR" not in teddys_settings()


def test_the_trainers_command_is_one() -> None:
    command, *arguments = service("train")["command"]
    shown = subprocess.run(
        [sys.executable, "-m", "teddy", command, "--help"],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert [
        each for each in arguments if each.startswith("--") and each.partition("=")[0] not in shown
    ] == []
    assert service("train")["build"]["args"]["EXTRAS"] == "train"


@pytest.mark.parametrize("name", ["prometheus", "alertmanager", "node-exporter"])
def test_the_arguments_of_other_images_are_those_that_their_programs_know(name: str) -> None:
    program = binary(name if name == "prometheus" else f"prometheus-{name}")
    told = subprocess.run(
        [program, "--help"], capture_output=True, text=True, check=False, timeout=60
    )
    known = set(re.findall(r"--(?:\[no-\])?([\w.-]+)", told.stdout + told.stderr))
    given = {argument.removeprefix("--").partition("=")[0] for argument in service(name)["command"]}
    assert given
    assert given - known == set()


def test_the_health_check_of_alertmanager_tells_its_health(tmp_path: Path) -> None:
    write_configuration(tmp_path, Addresses(teddy=[]))
    alertmanager = Alertmanager(tmp_path)
    kind, _, *arguments = service("alertmanager")["healthcheck"]["test"]
    check = [
        binary("amtool"),
        *(each.replace("localhost:9093", alertmanager.address) for each in arguments),
    ]
    assert kind == "CMD"
    with alertmanager:
        assert subprocess.run(check, capture_output=True, check=False, timeout=60).returncode == 0
    assert subprocess.run(check, capture_output=True, check=False, timeout=60).returncode != 0


def test_several_workers_have_a_place_for_their_metrics() -> None:
    variables = dict(
        pair.partition("=")[::2] for arguments in of("ENV") for pair in shlex.split(arguments)
    )
    (mount,) = teddy()["tmpfs"]
    assert mount.startswith(variables["TMPDIR"] + ":")
    assert "mode=1777" in mount


def test_whoever_needs_no_key_is_on_this_machine() -> None:
    assert teddys_settings() == {"TEDDY_ALLOW_ANONYMOUS": "true"}
    for each in compose()["services"].values():
        assert [port for port in each.get("ports", []) if not port.startswith("127.0.0.1:")] == []
    variables = dict(
        pair.partition("=")[::2] for arguments in of("ENV") for pair in shlex.split(arguments)
    )
    assert "TEDDY_ALLOW_ANONYMOUS" not in variables, "the image itself asks for keys"
    assert variables["TEDDY_HOST"] == "0.0.0.0"  # noqa: S104


def test_with_keys_they_come_as_a_file_of_digests_and_nobody_is_let_in_without(
    tmp_path: Path,
) -> None:
    (name,) = teddy()["secrets"]
    assert compose()["secrets"][name] == {"file": "${TEDDY_KEYS:-/dev/null}"}
    inside = teddys_settings(TEDDY_KEYS="./teddy.keys")
    assert inside["TEDDY_API_KEYS_FILE"] == f"/run/secrets/{name}"
    keys = tmp_path / "keys"
    keys.write_text(f"tag {'0' * 64} shop\n")
    settings = Settings(
        allow_anonymous=inside["TEDDY_ALLOW_ANONYMOUS"] == "true", api_keys_file=keys
    )
    assert Keys.read(settings).required, "whatever is said of anonymous callers"


def test_what_is_set_in_a_container_is_a_setting_and_an_empty_one_is_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert set(teddy()["environment"]) <= {
        f"TEDDY_{name.upper()}" for name in Settings.model_fields
    }
    for name in teddy()["environment"]:
        monkeypatch.setenv(name, "")
    assert read_settings() == Settings()


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
    """A process without capabilities, that can write to `directory` and to memory but to no other
    file system."""
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
def test_several_workers_serve_without_capabilities_on_a_file_system_that_is_only_read(
    tmp_path: Path,
) -> None:
    serve = [sys.executable, "-m", "teddy", "serve", "--port", "0", "--workers", "2"]
    with confined(*serve, directory=tmp_path) as process:
        assert process.stdout
        announced = re.search(r"http://[\w.]+:\d+", process.stdout.readline())
        assert announced, "it did not start"
        with httpx.Client(
            base_url=announced[0], transport=httpx.HTTPTransport(retries=50), timeout=60
        ) as client:
            while client.get("/health/ready").status_code == 503:
                pass
            answer = client.post(
                "/v1/entities", json={"text": "He said, Teddy Roosevelt was a great President!"}
            )
            assert [each["text"] for each in answer.json()["entities"]] == ["Teddy Roosevelt"]
            assert "teddy_texts_total" in client.get("/metrics").text
        limits = Path(f"/proc/{process.pid}/status").read_text()
        assert re.findall(r"(?m)^(?:CapEff|CapBnd|NoNewPrivs):\t(\w+)", limits) == [
            "0" * 16,
            "0" * 16,
            "1",
        ]
    assert process.returncode == 0
