"""Drift: what raises it and what does not, what it costs in memory, and that many workers say what
one would."""

import gc
import json
import threading
import time
import urllib.request
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks.load.server import Server, parse_metrics
from teddy.model.drift.profile import Profiler
from teddy.model.drift.reference import Reference
from teddy.model.predictor import Predictor, load
from teddy.model.text.documents import Document, Tagged
from teddy.service.inference.models import ServedModel
from teddy.service.observability.drift import MOST_HELD_WORDS, Drift, DriftIntake
from teddy.service.observability.drift_gauges import (
    LEAST_TEXTS,
    SUBJECT,
    DriftComparison,
    DriftMetrics,
    compare,
)
from teddy.service.observability.drift_windows import DriftWindows
from teddy.service.observability.metrics import Metrics
from teddy.service.observability.worker_metrics import WorkerFiles
from teddy.service.settings import Settings
from tests.service.conftest import Serving
from tests.service.drift_texts import chinese, code, english, lower_cased

FEW = 500
FOREIGN = {"Chinese": chinese, "lower-cased": lower_cased, "code": code}
ALL = frozenset({"en"})


@pytest.fixture(scope="module")
def shipped() -> Predictor:
    return load(precision="fp32")


@pytest.fixture(scope="module")
def at_home(shipped: Predictor) -> Predictor:
    """The model that ships, as if made-up English were what it was measured on."""
    profiler = Profiler(shipped.manifest.labels, shipped.tagger.features.pieces)
    sums = profiler.sums()
    for document, tagged in read(shipped, english(3000, seed=1)):
        profiler.add(sums, profiler.count(document, tagged))
    return with_reference(shipped, profiler.summary(sums))


def with_reference(predictor: Predictor, reference: Reference, version: str = "") -> Predictor:
    manifest = replace(predictor.manifest, reference=reference)
    return Predictor(manifest, version or predictor.version, predictor.precision, predictor.tagger)


def read(predictor: Predictor, texts: Sequence[str]) -> list[tuple[Document, Tagged]]:
    documents = [predictor.prepare(text) for text in texts]
    return list(zip(documents, predictor.tag_documents(texts), strict=True))


def compared(windows: DriftWindows) -> dict[str, DriftComparison]:
    return {each.feature: each for each in compare(windows.as_documents())}


def psi(windows: DriftWindows) -> dict[str, float]:
    """What is said."""
    return {name: each.psi for name, each in compared(windows).items() if each.is_telling}


def windows_of(predictor: Predictor, *texts: Sequence[str], most_texts: int = 1000) -> DriftWindows:
    """A window that these have come to, one after another."""
    windows = DriftWindows(most_texts, lambda: ALL)
    for each in texts:
        windows.count(ServedModel("en", predictor, default=True), read(predictor, each))
    return windows


# What raises it, and what does not.


@pytest.mark.parametrize("tongue", FOREIGN)
def test_texts_that_the_model_was_not_made_for_raise_it_within_a_few_hundred(
    tongue: str, shipped: Predictor
) -> None:
    assert max(psi(windows_of(shipped, FOREIGN[tongue](FEW, seed=2))).values()) > 0.25


@pytest.mark.parametrize("tongue", FOREIGN)
def test_they_raise_it_also_when_the_window_was_full_of_others(
    tongue: str, at_home: Predictor
) -> None:
    before = windows_of(at_home, english(1000, seed=3))
    assert max(psi(before).values()) < 0.1
    after = windows_of(at_home, english(1000, seed=3), FOREIGN[tongue](FEW, seed=4))
    assert max(psi(after).values()) > 0.25


@pytest.mark.parametrize("n_texts", [LEAST_TEXTS, 200, FEW, 1000])
@pytest.mark.parametrize("seed", [5, 6])
def test_other_texts_of_the_same_kind_do_not_raise_it(
    n_texts: int, seed: int, at_home: Predictor
) -> None:
    said = psi(windows_of(at_home, english(n_texts, seed=seed)))
    assert said
    assert max(said.values()) < 0.1


def test_it_falls_again_when_the_strange_texts_have_left_the_window(at_home: Predictor) -> None:
    windows = windows_of(at_home, chinese(FEW, seed=7), english(1000, seed=8))
    assert max(psi(windows).values()) < 0.1


# Little data.


def test_nothing_is_said_of_fewer_texts_than_the_least_but_how_many_words_there_were(
    shipped: Predictor,
) -> None:
    files = WorkerFiles()
    files.write(SUBJECT, windows_of(shipped, chinese(LEAST_TEXTS - 1, seed=1)).as_documents())
    found = samples(files)
    assert found["teddy_drift_observations[feature=script][model=en]"] > LEAST_TEXTS
    assert found["teddy_drift_reference_share[bin=latin][feature=script][model=en]"] > 0.5
    names = {name.split("[")[0] for name in found}
    assert names == {"teddy_drift_observations", "teddy_drift_reference_share"}


def test_one_text_among_many_is_not_believed(at_home: Predictor) -> None:
    texts = english(300, seed=9)
    long = "".join(chinese(200, seed=1))
    found = compared(windows_of(at_home, [*texts, long]))["script"]
    assert found.psi > 0.25
    assert not found.is_telling
    assert compared(windows_of(at_home, [*texts, *chinese(30, seed=1)]))["script"].is_telling


def test_a_model_of_an_earlier_teddy_is_compared_by_what_its_reference_has(
    shipped: Predictor,
) -> None:
    features = shipped.manifest.reference.features
    older = Reference(features={name: features[name] for name in ("label", "score", "pieces")})
    assert (
        compared(windows_of(with_reference(shipped, older), english(FEW, seed=1))).keys()
        == older.features.keys()
    )


def test_bins_that_the_reference_does_not_have_are_not_compared(shipped: Predictor) -> None:
    features = dict(shipped.manifest.reference.features)
    features["case"] = replace(features["case"], counts={"small": 1, "capital": 2})
    features["script"] = replace(
        features["script"], counts=dict.fromkeys(features["script"].counts, 0)
    )
    found = compared(
        windows_of(with_reference(shipped, Reference(features=features)), english(10, seed=1))
    )
    assert features.keys() - found.keys() == {"case", "script"}


# Many workers.


def samples(files: WorkerFiles, served: Callable[[], Any] = lambda: ALL) -> dict[str, float]:
    return {
        sample.name
        + "".join(
            f"[{name}={value}]" for name, value in sorted(sample.labels.items())
        ): sample.value
        for family in DriftMetrics(files, served).collect()
        for sample in family.samples
    }


def test_workers_say_together_what_one_would_that_had_seen_all(
    shipped: Predictor, tmp_path: Path
) -> None:
    texts = [*english(300, seed=1), *code(100, seed=1)]
    one = WorkerFiles()
    one.write(SUBJECT, windows_of(shipped, texts).as_documents())
    for worker in range(3):
        files = WorkerFiles(tmp_path, str(worker))
        files.write(SUBJECT, windows_of(shipped, texts[worker::3]).as_documents())
    assert samples(one)
    for asked in ("0", "2", "7"):
        assert samples(WorkerFiles(tmp_path, asked)) == samples(one)


def test_of_workers_with_different_versions_those_with_the_newest_are_heard(
    shipped: Predictor, tmp_path: Path
) -> None:
    newer = with_reference(shipped, shipped.manifest.reference, version="b")
    older = ServedModel(
        "en", with_reference(shipped, shipped.manifest.reference, version="a"), True, "2024-01-01"
    )
    for worker, (model, tongue) in enumerate(
        [(older, chinese), (ServedModel("en", newer, True, "2024-01-02"), english)]
    ):
        windows = DriftWindows(1000, lambda: ALL)
        windows.count(model, read(shipped, tongue(200, seed=1)))
        WorkerFiles(tmp_path, str(worker)).write(SUBJECT, windows.as_documents())
    assert (
        samples(WorkerFiles(tmp_path, "0"))["teddy_drift_share[bin=han][feature=script][model=en]"]
        < 0.01
    )


def test_a_file_that_is_no_document_costs_nothing_but_itself(
    shipped: Predictor, tmp_path: Path
) -> None:
    files = WorkerFiles(tmp_path, "0")
    files.write(SUBJECT, windows_of(shipped, english(200, seed=1)).as_documents())
    alone = samples(files)
    (tmp_path / f"{SUBJECT}-1.json").write_bytes(b'[{"model": "en", "vers')
    (tmp_path / f"{SUBJECT}-2.json").symlink_to(tmp_path / "gone")
    assert samples(files) == alone


def test_a_model_that_is_served_no_more_is_not_spoken_of(shipped: Predictor) -> None:
    names = {"en", "other"}
    windows = DriftWindows(1000, lambda: names)
    for name in sorted(names):
        windows.count(ServedModel(name, shipped, default=True), read(shipped, english(100, seed=1)))
    files = WorkerFiles()
    files.write(SUBJECT, windows.as_documents())
    assert {name.split("model=")[1] for name in samples(files, lambda: names)} == {"en]", "other]"}
    names.remove("other")
    assert {name.split("model=")[1] for name in samples(files, lambda: names)} == {"en]"}
    assert windows.forget()
    assert [document["model"] for document in windows.as_documents()] == ["en"]
    assert not windows.forget()


# Versions.


def test_a_new_version_begins_a_new_window_and_slow_requests_of_the_old_one_are_let_go(
    shipped: Predictor,
) -> None:
    old, new = (
        ServedModel(
            "en",
            with_reference(shipped, shipped.manifest.reference, version),
            True,
            f"2024-01-0{day}",
        )
        for day, version in ((1, "a"), (2, "b"))
    )
    windows = DriftWindows(1000, lambda: ALL)
    texts = read(shipped, english(30, seed=1))
    told = []
    for model in (old, new, old, new):
        windows.count(model, texts)
        (document,) = windows.as_documents()
        told.append((document["version"], document["n_texts"]))
    assert told == [("a", 30), ("b", 30), ("b", 30), ("b", 60)]


# What is held.


def intake_of(n_texts: int) -> DriftIntake:
    """An intake that takes so many texts, and next to none after them."""
    return DriftIntake(1e-9, n_texts)


def test_texts_are_held_up_to_the_tokens_and_evenly_chosen_and_the_others_pass(
    shipped: Predictor,
) -> None:
    model = ServedModel("en", shipped, default=True)
    texts = read(shipped, [f"Sentence {i}." for i in range(100)])
    documents, tagged = zip(*texts, strict=True)
    intake = intake_of(10)
    intake.offer(model, documents, tagged)
    held = [document.text for each in intake.release() for document, _ in each.texts]
    assert held == [f"Sentence {i}." for i in range(0, 100, 10)]
    intake.offer(model, documents, tagged)
    assert list(intake.release()) == []
    assert (intake.take_passed(), intake.take_passed()) == (190, 0)


def test_texts_are_held_up_to_so_many_words_however_long_each_is(shipped: Predictor) -> None:
    model = ServedModel("en", shipped, default=True)
    document: Any = SimpleNamespace(text="long")
    tagged: Any = SimpleNamespace(n_words=MOST_HELD_WORDS // 4)
    intake = intake_of(1000)
    for _ in range(50):
        intake.offer(model, [document], [tagged])
    held = list(intake.release())
    assert (len(held), intake.take_passed()) == (4, 46)
    intake.offer(model, [document], [tagged])
    assert len(list(intake.release())) == 1, "there is room again"


def test_a_model_without_a_reference_has_its_texts_pass(shipped: Predictor) -> None:
    bare = ServedModel("en", with_reference(shipped, Reference(features={})), default=True)
    ((document, tagged),) = read(shipped, ["Nothing to compare with."])
    intake = intake_of(10)
    intake.offer(bare, [document], [tagged])
    assert list(intake.release()) == []
    assert intake.take_passed() == 1


@pytest.fixture
def drift() -> Iterator[Drift]:
    drift = Drift(Settings(drift_window_texts=100), Metrics(), lambda: ALL)
    yield drift
    drift.close()


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when it holds; fail after a time that is long enough for any machine."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_no_text_is_kept_when_it_has_been_counted(drift: Drift, shipped: Predictor) -> None:
    ((document, tagged),) = read(shipped, ["Nobody shall remember this."])
    watched = weakref.ref(tagged)
    drift.observe(ServedModel("en", shipped, default=True), [document], [tagged])
    del document, tagged
    wait_for(lambda: gc.collect() >= 0 and watched() is None)
    assert "emember" not in json.dumps(drift._metrics.files.read(SUBJECT))


def test_a_fault_in_counting_is_outlived(shipped: Predictor) -> None:
    windows = DriftWindows(100, lambda: ALL)
    model = ServedModel("en", shipped, default=True)
    faulty: Any = (SimpleNamespace(places=7), None)
    windows.count(model, [faulty])
    windows.count(model, read(shipped, ["All is well."]))
    assert windows.as_documents()[0]["n_texts"] == 1


def drift_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "drift"]


@pytest.mark.parametrize("off", [{"drift_window_texts": 0}, {"metrics": False}])
def test_when_it_is_off_nothing_runs_and_nothing_is_held(
    off: Mapping[str, Any], shipped: Predictor
) -> None:
    drift = Drift(Settings(**off), Metrics(enabled=off.get("metrics", True)), lambda: ALL)
    ((document, tagged),) = read(shipped, ["Nobody looks."])
    drift.observe(ServedModel("en", shipped, default=True), [document], [tagged])
    assert drift_threads() == []
    assert list(drift._intake.release()) == []
    drift.close()


# In the service.


@pytest.mark.anyio
async def test_the_service_says_what_it_was_sent_and_its_thread_ends_with_it(
    serving: Serving, at_home: Predictor
) -> None:
    async with serving(load=lambda _: at_home, drift_texts_per_second=1e6) as client:
        name = (await client.get("/v1/models")).json()["models"][0]["name"]
        for texts in (english(300, seed=1), chinese(300, seed=1)):
            sent = await client.post("/v1/entities/batch", json={"texts": texts})
            assert sent.status_code == 200
        assert len(drift_threads()) == 1
        found: dict[str, float] = {}
        end = time.monotonic() + 60
        while f"teddy_drift_psi[feature=script][model={name}]" not in found or seen(found) < 600:
            assert time.monotonic() < end
            found = parse_metrics((await client.get("/metrics")).content)
    assert found[f"teddy_drift_psi[feature=script][model={name}]"] > 0.25
    assert 0 < found[f"teddy_drift_jensen_shannon[feature=script][model={name}]"] < 1
    assert found["teddy_drift_texts_total[outcome=passed]"] == 0
    bins = [
        name for name in found if name.startswith("teddy_drift_share") and "feature=script" in name
    ]
    assert sum(found[name] for name in bins) == pytest.approx(1)
    assert drift_threads() == []


def post(address: str, texts: Sequence[str]) -> None:
    """By a connection of its own: which worker it reaches is for the system to choose."""
    body = json.dumps({"texts": texts}).encode()
    request = urllib.request.Request(
        f"{address}/v1/entities/batch", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request).close()


def seen(found: Mapping[str, float]) -> float:
    return found.get("teddy_drift_texts_total[outcome=seen]", 0)


@pytest.mark.slow
@pytest.mark.anyio
async def test_two_workers_tell_of_all_the_texts_whichever_is_asked(tmp_path: Path) -> None:
    settings = {"workers": 2, "drift_texts_per_second": 10_000}
    with Server.teddy(tmp_path / "log", settings=settings) as server:
        await server.all_ready(2)
        texts = chinese(FEW, seed=1)
        for start in range(0, FEW, 20):
            post(server.address, texts[start : start + 20])
        end = time.monotonic() + 60
        n_cases = "teddy_drift_observations[feature=case][model=en]"
        # A scrape adds up counters first and windows then: a worker may have counted in between.
        while (found := await server.metrics()).get(n_cases, 0) < FEW or seen(found) < FEW:
            assert time.monotonic() < end
        assert [(await server.metrics())[n_cases] for _ in range(8)] == [FEW] * 8
        assert found["teddy_drift_psi[feature=script][model=en]"] > 0.25
        assert seen(found) == FEW
        assert server.stop() == 0
