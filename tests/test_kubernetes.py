"""The manifests in deploy/kubernetes: valid for Kubernetes, at one with the settings, and as
careful as they say."""

import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from teddy.service.observability.metrics import Metrics
from teddy.service.settings import PREFIX, Settings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "kubernetes"
MANIFESTS = sorted(FOLDER.rglob("*.yaml"))
OBJECTS = [path for path in MANIFESTS if path.name != "kustomization.yaml"]
JOBS = ("train-job.yaml", "train-cronjob.yaml")
NOT_APPLIED = {"prometheus-adapter.yaml", "ingress.yaml", *JOBS}
VERSIONS = ["1.31", kubernetes_validate.latest_version()]


def read(name: str) -> dict[str, Any]:
    """The one object in a file of the folder, or of the folder of jobs."""
    path = FOLDER / ("train" if name in JOBS else "") / name
    (found,) = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return dict(found)


def pod() -> dict[str, Any]:
    return dict(read("deployment.yaml")["spec"]["template"]["spec"])


def container() -> dict[str, Any]:
    (container,) = pod()["containers"]
    return dict(container)


def environment() -> dict[str, str]:
    return {variable["name"]: variable["value"] for variable in container()["env"]}


def settings_of_pod(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_a_manifest_is_valid_and_has_no_unknown_field(path: Path, version: str) -> None:
    kubernetes_validate.validate(read(path.name), version, strict=True)


def images_in(value: Any) -> set[str]:
    """All images that an object names."""
    if isinstance(value, list):
        return set().union(*map(images_in, value))
    if not isinstance(value, dict):
        return set()
    own = {value["image"]} if "image" in value else set()
    return own | images_in(list(value.values()))


@pytest.mark.parametrize("folder", ["", "train"])
def test_no_image_is_pulled_by_a_bare_name(folder: str) -> None:
    named = read(f"{folder}/kustomization.yaml".lstrip("/"))["images"]
    objects = [path for path in OBJECTS if path.parent == FOLDER / folder]
    assert {each["name"] for each in named} == images_in([read(path.name) for path in objects])
    assert all("/" in each["newName"] and each["newTag"] for each in named)


def test_a_job_or_one_every_night_is_applied_by_a_folder_of_its_own() -> None:
    assert read("train/kustomization.yaml")["resources"] == [JOBS[0]]
    assert {path.name for path in (FOLDER / "train").iterdir()} == {"kustomization.yaml", *JOBS}


def test_the_ingress_leads_to_the_service_and_not_to_its_metrics() -> None:
    (rule,) = read("ingress.yaml")["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["path"] == "/v1"
    service = read("service.yaml")
    assert path["backend"]["service"] == {
        "name": service["metadata"]["name"],
        "port": {"name": service["spec"]["ports"][0]["name"]},
    }
    said = read("ingress.yaml")["metadata"]["annotations"]
    timeout = said["nginx.ingress.kubernetes.io/proxy-read-timeout"]
    assert int(timeout) > Settings().request_timeout_seconds


def test_every_manifest_is_applied_but_those_of_the_clusters_monitoring_and_of_jobs() -> None:
    applied = set(read("kustomization.yaml")["resources"])
    assert applied == {path.name for path in OBJECTS} - NOT_APPLIED
    assert [image["name"] for image in read("kustomization.yaml")["images"]] == [
        container()["image"]
    ]


@pytest.mark.parametrize(
    "path", [*MANIFESTS, ROOT / "deploy" / "README.md"], ids=lambda path: path.name
)
def test_every_variable_that_is_named_is_a_setting(path: Path) -> None:
    named = set(re.findall(r"\bTEDDY_[A-Z_]+[A-Z]", path.read_text(encoding="utf-8")))
    assert named <= {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def test_the_settings_of_the_pod_are_good_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of_pod(monkeypatch)
    assert (settings.workers, settings.allow_anonymous) == (1, False)
    assert settings.drain_seconds >= 5


def test_a_pod_has_time_to_finish_before_it_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of_pod(monkeypatch)
    assert (
        pod()["terminationGracePeriodSeconds"]
        >= settings.drain_seconds + settings.shutdown_grace_seconds + 5
    )


def test_a_pod_has_no_rights_and_no_writable_file_system_but_tmp() -> None:
    everywhere, here = pod()["securityContext"], container()["securityContext"]
    assert everywhere["runAsNonRoot"] is True
    assert everywhere["seccompProfile"] == {"type": "RuntimeDefault"}
    assert here == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod()["automountServiceAccountToken"] is False
    assert [
        mount["mountPath"] for mount in container()["volumeMounts"] if not mount.get("readOnly")
    ] == ["/tmp"]  # noqa: S108


def test_the_user_is_the_one_of_the_image() -> None:
    dockerfile = (ROOT / "service" / "Dockerfile").read_text(encoding="utf-8")
    context = pod()["securityContext"]
    assert f"USER {context['runAsUser']}:{context['runAsGroup']}" in dockerfile.splitlines()


def test_kubernetes_sets_no_variables_of_its_own_that_look_like_settings() -> None:
    assert pod()["enableServiceLinks"] is False  # the Service's name makes TEDDY_PORT=tcp://...


def test_keys_come_from_a_file_of_a_secret_that_is_not_in_the_repository() -> None:
    (volume,) = [volume for volume in pod()["volumes"] if "secret" in volume]
    (mount,) = [mount for mount in container()["volumeMounts"] if mount["name"] == volume["name"]]
    assert Path(environment()["TEDDY_API_KEYS_FILE"]).parent == Path(mount["mountPath"])
    assert "TEDDY_API_KEYS" not in environment()
    assert all(read(path.name)["kind"] != "Secret" for path in OBJECTS)


def test_probes_ask_the_right_questions() -> None:
    asked = {
        kind: container()[f"{kind}Probe"]["httpGet"]["path"]
        for kind in ("startup", "readiness", "liveness")
    }
    assert asked == {
        "startup": "/health/ready",
        "readiness": "/health/ready",
        "liveness": "/health/live",
    }
    startup = container()["startupProbe"]
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 60
    assert startup["httpGet"]["port"] in {port["name"] for port in container()["ports"]}


def test_cpu_and_memory_are_asked_for_and_bounded() -> None:
    resources = container()["resources"]
    assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
    # the event loop needs some as well
    assert int(resources["limits"]["cpu"]) > int(environment()["TEDDY_THREADS"])


def test_whoever_selects_pods_selects_these() -> None:
    labels = read("deployment.yaml")["spec"]["template"]["metadata"]["labels"]
    assert read("deployment.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read("service.yaml")["spec"]["selector"] == labels
    assert read("disruption-budget.yaml")["spec"]["selector"]["matchLabels"] == labels
    assert read("network-policy.yaml")["spec"]["podSelector"]["matchLabels"] == labels
    (port,) = read("service.yaml")["spec"]["ports"]
    assert port["targetPort"] in {each["name"] for each in container()["ports"]}


def test_the_autoscaler_alone_says_how_many_pods_there_are_and_one_may_always_go() -> None:
    scaler, deployment = read("autoscaler.yaml")["spec"], read("deployment.yaml")
    assert "replicas" not in deployment["spec"]
    assert scaler["scaleTargetRef"] == {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
    }
    assert scaler["minReplicas"] > int(read("disruption-budget.yaml")["spec"]["maxUnavailable"])


def test_the_metric_that_is_scaled_by_is_one_of_ours_and_the_adapter_serves_it() -> None:
    (metric,) = [
        each["pods"]
        for each in read("autoscaler.yaml")["spec"]["metrics"]
        if each["type"] == "Pods"
    ]
    name = metric["metric"]["name"]
    assert f"\n{name} ".encode() in Metrics().exposition()
    (rule,) = yaml.safe_load(read("prometheus-adapter.yaml")["data"]["config.yaml"])["rules"]
    assert rule["name"]["as"] == name
    assert rule["seriesQuery"].startswith(f"{name}{{")
    assert int(metric["target"]["averageValue"]) < Settings().queue_words


def test_a_model_is_rolled_out_without_a_pod_less() -> None:
    assert read("deployment.yaml")["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


# Training jobs.


def job() -> dict[str, Any]:
    return dict(read("train-job.yaml")["spec"])


def job_container(name: str) -> dict[str, Any]:
    spec = job()["template"]["spec"]
    (found,) = [
        each for each in [*spec["initContainers"], *spec["containers"]] if each["name"] == name
    ]
    return dict(found)


def commands_of_job() -> list[list[str]]:
    """The command lines of its containers, as they are when it runs."""
    train = job_container("train")["args"]
    (script,) = job_container("promote")["args"]
    promote = shlex.split(script.partition("||")[0])[1:]
    return [
        [argument.replace("$(RUN)", "a").replace("$RUN", "a") for argument in each]
        for each in (train, promote)
    ]


def test_the_nightly_job_is_the_job() -> None:
    template = read("train-cronjob.yaml")["spec"]["jobTemplate"]
    assert template["spec"] == job()
    assert template["metadata"]["labels"] == read("train-job.yaml")["metadata"]["labels"]


def test_two_nights_are_never_trained_at_once() -> None:
    cron = read("train-cronjob.yaml")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid"
    assert job()["activeDeadlineSeconds"] < 24 * 3600


def test_a_job_ends_at_once_where_another_attempt_would_end_alike_and_else_goes_on() -> None:
    codes = {
        (each["onExitCodes"]["containerName"], code): each["action"]
        for each in job()["podFailurePolicy"]["rules"]
        if "onExitCodes" in each
        for code in each["onExitCodes"]["values"]
    }
    assert codes == {
        ("train", 2): "FailJob",
        ("train", 3): "FailJob",
        ("promote", 2): "FailJob",
        ("train", 75): "Ignore",
    }
    assert job()["podFailurePolicy"]["rules"][0]["onPodConditions"] == [
        {"type": "DisruptionTarget", "status": "True"}
    ]
    # the policy is refused beside any other
    assert job()["template"]["spec"]["restartPolicy"] == "Never"
    assert "--resume" in job_container("train")["args"]


def test_attempts_of_a_job_share_a_directory_which_the_next_job_does_not() -> None:
    for name in ("train", "promote"):
        (run,) = [each for each in job_container(name)["env"] if each["name"] == "RUN"]
        assert (
            run["valueFrom"]["fieldRef"]["fieldPath"]
            == "metadata.labels['batch.kubernetes.io/job-name']"
        )


def test_the_command_lines_of_the_job_are_ones_that_teddy_takes(tmp_path: Path, shell: Any) -> None:
    """Up to the first file that is missing here."""
    for arguments in commands_of_job():
        code, _, errors = shell(*[each.replace("/runs", str(tmp_path)) for each in arguments])
        assert code == 2
        assert re.fullmatch(
            r"teddy: error: /?\S+: (no such file|cannot be read: No such file or directory)\n",
            errors,
        )


def test_what_is_promoted_is_what_was_trained_and_goes_where_the_deployment_serves_from() -> None:
    train, promote = commands_of_job()
    options = dict(each.removeprefix("--").split("=", 1) for each in train if "=" in each)
    assert promote[1] == f"{options['output']}/{options['set'].removeprefix('name=')}.teddy"
    (models,) = [each for each in job()["template"]["spec"]["volumes"] if each["name"] == "models"]
    commented = (FOLDER / "deployment.yaml").read_text(encoding="utf-8")
    assert models["persistentVolumeClaim"]["claimName"] in commented
    assert promote[promote.index("--to") + 1] == "/models"
    assert "#   value: /models" in commented


def test_a_job_is_as_confined_as_the_service_and_never_taken_for_it() -> None:
    spec = job()["template"]["spec"]
    for key in ("securityContext", "automountServiceAccountToken", "enableServiceLinks"):
        assert spec[key] == pod()[key]
    for name in ("train", "promote"):
        assert job_container(name)["securityContext"] == container()["securityContext"]
        resources = job_container(name)["resources"]
        assert resources["requests"].keys() == resources["limits"].keys() == {"cpu", "memory"}
    selector = read("service.yaml")["spec"]["selector"]
    assert not selector.items() <= job()["template"]["metadata"]["labels"].items()
