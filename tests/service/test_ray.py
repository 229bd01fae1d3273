"""Laws of the Ray Serve deployment, on a real cluster of two nodes: `make ray` installs Ray and
runs this file."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import sleep

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

if find_spec("ray") is None:
    pytest.skip("the extra `ray` is not installed: `make ray` does it", allow_module_level=True)

# it imports Ray, with care
from tests.ray_cluster import cluster, nodes_of, serve, wait_for_replicas

# isort: split
from benchmarks.load.generator import Load
from benchmarks.load.question import Found, entities_of, single_questions
from benchmarks.load.tally import Tally
from teddy.model.predictor import SHIPPED_MODEL, load
from teddy.service.errors import SettingsError
from teddy.service.ray_app import Scale, app, merge

pytestmark = pytest.mark.slow

TEXTS = [
    "Anna Berg went to Oslo .",
    "In New Haven , Jonas Falk met Mira .",
    "Nobody was there .",
    "Ada Lovelace met Charles Babbage in London.",
    "The bears of Port Ellen sleep .",
] * 4
CONNECTIONS = 8

Deploy = Callable[..., None]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with TemporaryDirectory(prefix="ray") as directory, cluster(Path(directory)) as port:
        yield port


@pytest.fixture
def deploy(port: int, monkeypatch: pytest.MonkeyPatch) -> Deploy:  # noqa: ARG001
    """Deploy, or deploy again, with these options; return when Ray says that it is healthy."""

    def run(model: Path = SHIPPED_MODEL, **scale: float) -> None:
        monkeypatch.setenv("TEDDY_MODELS", f"names={model}")
        monkeypatch.setenv("TEDDY_PRECISION", "fp32")
        monkeypatch.setenv("TEDDY_ALLOW_ANONYMOUS", "true")
        monkeypatch.setenv("TEDDY_DRAIN_SECONDS", "0.2")
        serve.run(app(Scale.model_validate({"health_period_seconds": 0.5} | scale)))

    return run


@pytest.fixture(scope="module")
def found(tiny_model: Path) -> Found:
    """What each of the two models finds, by version."""
    predictors = [load(path, precision="fp32") for path in (SHIPPED_MODEL, tiny_model)]
    return {predictor.version: entities_of(predictor, TEXTS) for predictor in predictors}


@pytest.fixture
def client(port: int) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield client


@contextmanager
def load_on(port: int, found: Found) -> Iterator[Tally]:
    """Requests all the time; each answer is compared with what a predictor finds here."""
    load = Load.of(port, single_questions(TEXTS, found))
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: asyncio.run(load.closed(CONNECTIONS, seconds=300)))
        try:
            sleep(1)
            yield load.tally
            sleep(1)
        finally:
            load.stop()
        running.result()


def version(client: httpx.Client) -> str:
    """The version of the model that answers."""
    answer = client.post("/v1/entities", json={"text": TEXTS[0]})
    found: str = answer.json()["model"]["version"]
    return found


def samples(client: httpx.Client, name: str) -> Counter[str]:
    """The values of a metric by replica."""
    counted: Counter[str] = Counter()
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            if sample.name == name:
                counted[sample.labels["replica"]] += int(sample.value)
    return counted


def test_replicas_on_two_nodes_answer_as_a_predictor_here_does_and_their_metrics_add_up(
    deploy: Deploy, client: httpx.Client, port: int, found: Found
) -> None:
    deploy(replicas=2)
    assert len(nodes_of(wait_for_replicas(2))) == 2
    with load_on(port, found) as tally:
        pass
    assert (tally.ok, tally.n_faults) == (tally.sent, 0), tally
    texts = samples(client, "teddy_texts_total")
    assert len(texts) == 2
    assert min(texts.values()) > 0
    assert texts.total() == tally.ok


def test_problems_and_request_ids_pass_through_ray(deploy: Deploy, client: httpx.Client) -> None:
    deploy()
    answer = client.post(
        "/v1/entities",
        content="{",
        headers={"Content-Type": "application/json", "X-Request-ID": "it-1"},
    )
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["request_id"] == "it-1"
    # Ray adds its own header to ours
    assert set(answer.headers.get_list("x-request-id")) == {"it-1"}
    assert client.get("/nowhere").json()["type"] == "urn:teddy:problem:not-found"
    assert client.get("/health/ready").json() == {"status": "ready"}


def chunk(content: bytes) -> bytes:
    """A piece of a body whose length is not known before."""
    return b"%x\r\n%s\r\n" % (len(content), content)


def test_a_stream_is_answered_while_it_is_sent_and_is_no_longer_than_another_body(
    deploy: Deploy, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEDDY_MAX_BODY_BYTES", "100000")
    deploy()
    line = json.dumps({"text": TEXTS[0]}).encode() + b"\n"
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.putrequest("POST", "/v1/entities/stream")
        connection.putheader("Content-Type", "application/x-ndjson")
        connection.putheader("Transfer-Encoding", "chunked")
        connection.endheaders(chunk(line))
        answer = connection.getresponse()
        assert "entities" in json.loads(answer.readline())  # the rest is not sent yet
        connection.send(chunk(line * 20))
        assert all("entities" in json.loads(answer.readline()) for _ in range(20))
        connection.send(chunk(line * (100_000 // len(line))))
        last = json.loads(answer.read().splitlines()[-1])
    print(last)
    assert last["error"]["status"] == 413


def test_a_client_that_leaves_frees_its_place(
    deploy: Deploy, port: int, client: httpx.Client
) -> None:
    deploy()
    body = json.dumps({"text": "Anna Berg went to Oslo. " * 40_000}).encode()
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as leaving:
        leaving.request("POST", "/v1/entities", body, {"Content-Type": "application/json"})
        # the other one asks for the metrics
        while samples(client, "teddy_requests_in_flight").total() < 2:
            sleep(0.05)
    while samples(client, "teddy_requests_in_flight").total() > 1:
        sleep(0.05)
    assert samples(client, "teddy_queue_words").total() == 0
    assert samples(client, "teddy_texts_total").total() == 0  # it was not finished for nobody


def test_a_killed_replica_fails_no_more_than_what_it_was_answering_and_comes_back(
    deploy: Deploy, port: int, found: Found
) -> None:
    deploy(replicas=2)
    before = wait_for_replicas(2)
    with load_on(port, found) as tally:
        victim = before.pop()
        os.kill(victim, signal.SIGKILL)
        wait_for_replicas(2, other_than={victim})
    print(tally)
    assert tally.sent - tally.ok <= CONNECTIONS
    assert tally.ok > 0


def test_no_request_fails_while_a_model_is_replaced(
    deploy: Deploy, client: httpx.Client, port: int, found: Found, tiny_model: Path
) -> None:
    old, new = found
    deploy(replicas=2)
    assert version(client) == old
    before = wait_for_replicas(2)
    with load_on(port, found) as tally:
        deploy(tiny_model, replicas=2)
        wait_for_replicas(2, other_than=before)
        assert version(client) == new
    print(tally)
    assert (tally.ok, tally.n_faults) == (tally.sent, 0), tally


def test_a_model_that_is_refused_leaves_the_old_one_serving(
    deploy: Deploy, client: httpx.Client, port: int, found: Found, tmp_path: Path
) -> None:
    deploy(replicas=1)
    served = version(client)
    bad = tmp_path / "bad.teddy"
    bad.write_bytes(b"no model")
    with load_on(port, found) as tally, pytest.raises(RuntimeError, match="teddy"):
        deploy(bad, replicas=1)
    assert "bad.teddy" in serve.status().applications["default"].deployments["teddy"].message
    assert (tally.ok, tally.n_faults) == (tally.sent, 0), tally
    assert version(client) == served


def test_replicas_are_added_under_load_and_removed_after_it(
    deploy: Deploy, port: int, found: Found
) -> None:
    deploy(
        replicas=1,
        max_replicas=2,
        target_ongoing_requests=2,
        upscale_delay_seconds=1,
        downscale_delay_seconds=1,
    )
    wait_for_replicas(1)
    with load_on(port, found) as tally:
        wait_for_replicas(2)
    wait_for_replicas(1)
    assert (tally.ok, tally.n_faults) == (tally.sent, 0), tally


def test_without_keys_a_cluster_serves_only_if_that_is_wanted() -> None:
    with pytest.raises(SettingsError, match="TEDDY_ALLOW_ANONYMOUS"):
        app(Scale())


def test_metrics_of_several_replicas_keep_apart_and_lose_nothing() -> None:
    exposition = b'# HELP n_total N.\n# TYPE n_total counter\nn_total{a="x"} 2.0\n'
    merged = list(
        text_string_to_metric_families(merge([("one", exposition), ("two", exposition)]).decode())
    )
    assert [family.name for family in merged] == ["n"]
    assert {(s.labels["replica"], s.labels["a"], s.value) for s in merged[0].samples} == {
        ("one", "x", 2),
        ("two", "x", 2),
    }
