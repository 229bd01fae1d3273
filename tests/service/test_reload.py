"""Models that are replaced while they are served: what is followed, what is refused, and that
nobody notices."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import extra_files, read_bundle, seal
from teddy.service.errors import ModelRefusedError, NotReloadableError, UnknownModelError
from teddy.service.inference.model_files import model_loader
from teddy.service.inference.models import Models
from teddy.service.observability.metrics import Metrics
from teddy.service.observability.worker_metrics import WORKER as WORKER_NUMBER
from teddy.service.settings import Settings

pytestmark = pytest.mark.anyio

ADMIN, TAGGER = "admin-0123456789", "tagger-0123456789"
KEYS = f"admin:{ADMIN},{TAGGER}"


def put(path: Path, content: str | bytes) -> None:
    """Another file in the place of `path`, whole from its first moment."""
    new = path.with_name(".new")
    new.write_bytes(content.encode() if isinstance(content, str) else content)
    new.replace(path)


class Loader:
    """Loads files that hold a version; what begins with "bad" is refused.

    Counts, and waits for `gate`.
    """

    def __init__(self, kind: type[Any]) -> None:
        self.kind = kind
        self.loaded: list[str] = []
        self.gate, self.entered = Event(), Event()
        self.gate.set()

    def __call__(self, path: Path) -> Any:
        self.entered.set()
        assert self.gate.wait(timeout=30)
        try:
            content = path.read_text()
        except OSError as error:
            raise ModelFileError(path, f"cannot be read: {error.strerror}") from error
        self.loaded.append(content)
        if content.startswith("bad"):
            raise ModelFileError(path, f"{content}, see {path}:3")
        if content == "crash":
            raise RuntimeError(f"the secret of {path}")
        return self.kind(version=content.strip())


class Followed(NamedTuple):
    models: Models
    metrics: Metrics
    load: Loader
    path: Path

    @property
    def serving(self) -> dict[str, str]:
        return {model.name: model.version for model in self.models.all()}

    @property
    def samples(self) -> dict[tuple[str, ...], float]:
        """By name and labels, these in the order of their names."""
        text = self.metrics.exposition().decode()
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }


@pytest.fixture
def load(predictor: Any) -> Loader:
    return Loader(type(predictor))


@pytest.fixture
async def followed(load: Loader, tmp_path: Path) -> Followed:
    """A model `a` of the settings, its file at version 1, that has been loaded; nobody watches."""
    path = tmp_path / "a.teddy"
    put(path, "1")
    metrics = Metrics()
    models = Models(Settings(models={"a": path}), load, metrics)
    await models.load()
    return Followed(models, metrics, load, path)


@pytest.fixture
async def directory(load: Loader, tmp_path: Path) -> Followed:
    """A directory with the models `a` and `b`, both at version 1."""
    path = tmp_path / "models"
    path.mkdir()
    put(path / "a.teddy", "1")
    put(path / "b.teddy", "1")
    metrics = Metrics()
    models = Models(Settings(models_dir=path), load, metrics)
    await models.load()
    return Followed(models, metrics, load, path)


# What is followed.


async def test_a_file_that_is_replaced_is_served_and_a_request_keeps_the_model_that_it_began_with(
    followed: Followed,
) -> None:
    before = followed.models.get("a")
    put(followed.path, "2")
    await followed.models.reload_all()
    assert followed.serving == {"a": "2"}
    assert before.version == "1"
    assert followed.models.get(None).default


async def test_a_file_that_has_not_changed_is_not_loaded_again(followed: Followed) -> None:
    for _ in range(3):
        await followed.models.reload_all()
    assert followed.load.loaded == ["1"]


async def test_a_file_that_is_reached_through_links_is_followed_when_one_of_them_leads_elsewhere(
    load: Loader, tmp_path: Path
) -> None:
    """As Kubernetes updates a ConfigMap: a.teddy -> ..data/a.teddy, ..data -> ..1, then by a rename
    ..data -> ..2."""
    for version in ("1", "2"):
        (tmp_path / f"..{version}").mkdir()
        (tmp_path / f"..{version}" / "a.teddy").write_text(version)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "a.teddy").symlink_to("..data/a.teddy")
    models = Models(Settings(models_dir=tmp_path), load, Metrics())
    await models.load()
    assert models.get("a").version == "1"
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    await models.reload_all()
    assert models.get("a").version == "2"


async def test_a_directory_is_followed_and_its_first_model_by_name_is_the_default(
    directory: Followed,
) -> None:
    put(directory.path / "c.onnx", "3")
    (directory.path / "a.teddy").unlink()
    put(directory.path / "b.teddy", "2")
    await directory.models.reload_all()
    assert directory.serving == {"b": "2", "c": "3"}
    assert [(model.name, model.default) for model in directory.models.all()] == [
        ("b", True),
        ("c", False),
    ]
    with pytest.raises(UnknownModelError):
        directory.models.get("a")
    info = [labels[1:] for labels in directory.samples if labels[0] == "teddy_model_info"]
    assert sorted(info) == [("b", "fp32", "2"), ("c", "fp32", "3")]


@pytest.mark.parametrize("gone", ["empty", "renamed", "a file"])
async def test_a_directory_that_tells_nothing_has_lost_nothing(
    directory: Followed, gone: str
) -> None:
    away = directory.path.with_name("away")
    if gone == "empty":
        for path in directory.path.iterdir():
            path.unlink()
    else:
        directory.path.rename(away)
        if gone == "a file":
            directory.path.write_text("")
    for _ in range(2):
        await directory.models.reload_all()
        assert directory.serving == {"a": "1", "b": "1"}
    if directory.path.is_file():
        directory.path.unlink()
    directory.path.mkdir(exist_ok=True)
    put(directory.path / "b.teddy", "2")
    await directory.models.reload_all()
    assert directory.serving == {"b": "2"}


@pytest.mark.parametrize("gone", ["one", "all", "the directory"])
async def test_a_reload_of_a_file_that_is_gone_says_so_and_not_that_there_is_no_such_model(
    directory: Followed, gone: str
) -> None:
    if gone == "the directory":
        directory.path.rename(directory.path.with_name("away"))
    else:
        for path in [*directory.path.iterdir()][: 1 if gone == "one" else 2]:
            path.unlink()
    (name, *_) = [each for each in "ab" if not (directory.path / f"{each}.teddy").exists()]
    with pytest.raises(ModelRefusedError, match=f"Nothing to load for model {name}") as refused:
        await directory.models.reload(name)
    why = {"one": "lost its file", "all": "no model files", "the directory": "cannot be read"}
    assert why[gone] in str(refused.value)
    assert directory.models.get(name).version == "1"
    with pytest.raises(UnknownModelError, match="there are: a, b"):
        await directory.models.reload("c")


async def test_a_model_that_the_settings_name_outlives_its_file(followed: Followed) -> None:
    away = followed.path.with_name("away")
    followed.path.rename(away)
    for _ in range(3):
        await followed.models.reload_all()
    (model,) = followed.models.all()
    assert (model.version, model.refused) == ("1", "cannot be read: No such file or directory")
    assert followed.samples["teddy_model_reloads_total", "a", "refused"] == 1
    away.rename(followed.path)
    await followed.models.reload_all()
    assert followed.models.get("a").refused is None


class Faulty(Models):
    """Models that cannot be followed while it has faults."""

    faults = 0

    async def reload_all(self) -> None:
        if self.faults:
            self.faults -= 1
            raise RuntimeError("a fault that nobody has thought of")
        await super().reload_all()


async def test_a_watch_follows_by_itself_and_outlives_every_fault(
    load: Loader, tmp_path: Path
) -> None:
    path = tmp_path / "models" / "a.teddy"
    path.parent.mkdir()
    put(path, "1")
    models = Faulty(Settings(models_dir=path.parent, reload_poll_seconds=0.001), load, Metrics())
    watching = asyncio.create_task(models.watch())  # before there is anything to watch
    await models.load()
    models.faults = 3
    async with asyncio.timeout(30):
        put(path, "2")
        while models.get("a").version != "2":
            await asyncio.sleep(0.001)
        shutil.rmtree(path.parent)
        await asyncio.sleep(0.02)
        path.parent.mkdir()
        put(path, "bad")
        while models.get("a").refused is None:
            await asyncio.sleep(0.001)
        put(path, "3")
        while models.get("a").version != "3":
            await asyncio.sleep(0.001)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_nobody_watches_if_the_poll_is_set_to_0(load: Loader) -> None:
    await asyncio.wait_for(Models(Settings(reload_poll_seconds=0), load, Metrics()).watch(), 30)


async def test_a_fault_is_logged_when_it_begins_and_when_it_is_over_and_not_at_every_look(
    directory: Followed,
) -> None:
    away = directory.path.with_name("away")
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logged:
        directory.path.rename(away)
        for _ in range(3):
            await directory.models.reload_all()
        away.rename(directory.path)
        put(directory.path / "a.teddy", "bad")
        for _ in range(3):
            await directory.models.reload_all()
    assert [(entry["log_level"], entry["event"]) for entry in logged] == [
        ("warning", "models directory"),
        ("warning", "models directory"),
        ("error", "a model file was refused"),
    ]
    assert [entry["fault"] for entry in logged[:2]] == [
        "cannot be read: No such file or directory",
        None,
    ]


class Put(NamedTuple):
    """Events of a directory: `content` put under a name, or with None taken away; `look` is when it
    is looked at."""

    name: str
    content: str | None


events = st.lists(
    st.just("look")
    | st.builds(Put, st.sampled_from("abc"), st.sampled_from(["1", "2", "bad", None])),
    max_size=12,
)


@given(happened=events)
@settings(max_examples=60)
def test_whatever_the_order_of_events_the_last_good_version_of_each_file_that_is_there_is_served(
    happened: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    class Plain(NamedTuple):
        version: str
        precision: str = "fp32"
        rules: None = None
        manifest: SimpleNamespace = SimpleNamespace(
            created="2024-01-01T00:00:00Z", scores={}, labels=()
        )

    path = tmp_path_factory.mktemp("models")
    there, expected = {"a": "1"}, {"a": "1"}
    put(path / "a.teddy", "1")
    load = Loader(Plain)

    async def follow() -> None:
        models, default = Models(Settings(models_dir=path), load, Metrics()), "a"
        await models.load()
        for index, event in enumerate([*happened, "look"], start=1):
            if isinstance(event, Put):
                there.pop(event.name, None)
                (path / f"{event.name}.teddy").unlink(missing_ok=True)
                if event.content:
                    there[event.name] = event.content
                    # bytes that were never there
                    put(path / f"{event.name}.teddy", event.content + " " * index)
                continue
            await models.reload_all()
            expected.update({name: content for name, content in there.items() if content != "bad"})
            for name in expected.keys() - there.keys() if expected.keys() & there.keys() else ():
                del expected[name]
            assert {model.name: model.version for model in models.all()} == expected
            names = sorted(expected, key=lambda name: (name not in there, name))
            default = default if default in names else names[0]  # it stays while it is there
            assert [model.name for model in models.all()] == [
                default,
                *(name for name in names if name != default),
            ]
            assert all(
                bool(model.refused) == (there[model.name] == "bad")
                for model in models.all()
                if model.name in there
            )
            n_loaded = len(load.loaded)
            await models.reload_all()
            assert len(load.loaded) == n_loaded

    asyncio.run(follow())


# What is refused.


async def test_a_bad_file_leaves_the_old_model_and_is_not_tried_again_until_it_changes(
    followed: Followed,
) -> None:
    put(followed.path, "bad wine")
    for _ in range(3):
        await followed.models.reload_all()
    assert followed.load.loaded == ["1", "bad wine"]
    (model,) = followed.models.all()
    assert (model.version, model.refused) == ("1", "bad wine, see [...]")
    assert followed.samples["teddy_model_reloads_total", "a", "refused"] == 1
    assert followed.samples["teddy_model_refused", "a"] == 1
    put(followed.path, "2")
    await followed.models.reload_all()
    (model,) = followed.models.all()
    assert (model.version, model.refused) == ("2", None)
    assert followed.samples["teddy_model_reloads_total", "a", "changed"] == 1
    assert followed.samples["teddy_model_refused", "a"] == 0


async def test_what_nobody_has_thought_of_is_refused_too_and_not_quoted(followed: Followed) -> None:
    put(followed.path, "crash")
    with pytest.raises(ModelRefusedError) as refused:
        await followed.models.reload("a")
    assert str(refused.value) == (
        "The file of model a was refused: it cannot be loaded; version 1 goes on serving."
    )


async def test_the_metrics_name_the_model_that_is_served_and_no_other(followed: Followed) -> None:
    loaded = followed.samples["teddy_model_loaded_timestamp_seconds", "a"]
    assert loaded > 1e9
    for version in ("2", "3"):
        put(followed.path, version)
        await followed.models.reload_all()
    found = {
        labels: value
        for labels, value in followed.samples.items()
        if labels[0] == "teddy_model_info"
    }
    assert found == {("teddy_model_info", "a", "fp32", "3"): 1}
    assert followed.samples["teddy_model_loaded_timestamp_seconds", "a"] >= loaded


# What is asked for.


async def test_a_reload_that_is_asked_for_tries_a_refused_file_again_and_finds_a_new_one(
    directory: Followed,
) -> None:
    put(directory.path / "c.teddy", "bad")
    for _ in range(2):
        with pytest.raises(
            ModelRefusedError, match=r"^The file of model c .*: bad, .*; nothing is served under"
        ):
            await directory.models.reload("c")
    assert directory.load.loaded[2:] == ["bad", "bad"]
    put(directory.path / "c.teddy", "3")
    assert (await directory.models.reload("c")).version == "3"
    with pytest.raises(UnknownModelError):
        await directory.models.reload("../models/a")


async def test_of_two_reloads_at_once_the_second_is_refused_and_the_watch_takes_its_turn(
    followed: Followed,
) -> None:
    put(followed.path, "2")
    followed.load.gate.clear()
    followed.load.entered.clear()
    first = asyncio.create_task(followed.models.reload("a"))
    assert await asyncio.to_thread(followed.load.entered.wait, 30)
    with pytest.raises(NotReloadableError) as refused:
        await followed.models.reload("a")
    assert refused.value.retry_after_seconds == 1
    watch = asyncio.create_task(followed.models.reload_all())
    assert followed.serving == {"a": "1"}
    followed.load.gate.set()
    assert (await first).version == "2"
    await watch
    assert followed.load.loaded == ["1", "2"]


async def test_a_reload_that_is_cancelled_changes_nothing_and_can_be_done_again(
    followed: Followed,
) -> None:
    put(followed.path, "2")
    followed.load.gate.clear()
    followed.load.entered.clear()
    stopped = asyncio.create_task(followed.models.reload("a"))
    assert await asyncio.to_thread(followed.load.entered.wait, 30)
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert followed.serving == {"a": "1"}
    followed.load.gate.set()
    await followed.models.reload_all()
    assert followed.serving == {"a": "2"}


@pytest.fixture
def administered(serving: Any) -> Callable[..., Any]:
    """The service with these settings; its client shows the admin's key."""

    @asynccontextmanager
    async def administer(load: Any, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with serving(load=load, api_keys=KEYS, reload_poll_seconds=0, **options) as client:
            client.headers["Authorization"] = f"Bearer {ADMIN}"
            yield client

    return administer


async def test_a_reload_is_answered_with_what_it_came_to(
    administered: Any, load: Loader, tmp_path: Path
) -> None:
    path = tmp_path / "a.teddy"
    put(path, "1")
    async with administered(load, models_dir=tmp_path) as client:
        put(path, "2")
        changed = (await client.post("/v1/models/a/reload")).json()
        assert changed.pop("seconds") >= 0
        assert changed == {"name": "a", "version": "2", "previous_version": "1", "changed": True}
        same = (await client.post("/v1/models/a/reload")).json()
        assert (same["version"], same["previous_version"], same["changed"]) == ("2", "2", False)

        put(path, "bad wine")
        refused = await client.post("/v1/models/a/reload")
        assert (refused.status_code, refused.json()["type"]) == (
            422,
            "urn:teddy:problem:model-refused",
        )
        assert "bad wine" in refused.json()["detail"]
        assert str(tmp_path) not in refused.text
        listed = await client.get("/v1/models")
        assert listed.json()["models"][0]["refused"] == "bad wine, see [...]"
        assert str(tmp_path) not in listed.text
        assert (await client.post("/v1/entities", json={"text": "Ada"})).json()["model"][
            "version"
        ] == "2"

        put(tmp_path / "b.teddy", "1")
        assert "previous_version" not in (await client.post("/v1/models/b/reload")).json()
        assert (await client.post("/v1/models/..%2Fa/reload")).status_code == 404
        assert (await client.post("/v1/models/c/reload")).status_code == 404


async def test_only_an_admin_may_reload(administered: Any, load: Loader, tmp_path: Path) -> None:
    put(tmp_path / "a.teddy", "1")
    async with administered(load, models_dir=tmp_path) as client:
        refused = await client.post(
            "/v1/models/a/reload", headers={"Authorization": f"Bearer {TAGGER}"}
        )
    assert refused.status_code == 403
    assert load.loaded == ["1"]


async def test_while_models_are_swapped_every_request_is_answered_by_one_of_them_and_by_one_only(
    administered: Any, predictor: Any, tmp_path: Path
) -> None:
    class Other(type(predictor)):  # type: ignore[misc]
        """Calls every name LONG."""

        @staticmethod
        def tag(word: str) -> str:
            return "O" if word == word.lower() else "S-LONG"

    labels = {"1": {"UPPER"}, "2": {"LONG"}}
    path = tmp_path / "a.teddy"
    put(path, "1")

    def load(path: Path) -> Any:
        version = path.read_text()
        return (type(predictor) if version == "1" else Other)(version=version)

    answers: list[httpx.Response] = []

    async def ask(client: httpx.AsyncClient) -> None:
        while True:
            text = " ".join(["Ada met Grace"] * (len(answers) % 20 + 1))
            answers.append(await client.post("/v1/entities", json={"text": text}))

    async with asyncio.timeout(60), administered(load, models={"a": path}) as client:
        asking = [asyncio.create_task(ask(client)) for _ in range(4)]
        for swap in range(30):
            n_answers = len(answers)
            put(path, "21"[swap % 2])
            assert (await client.post("/v1/models/a/reload")).json()["changed"]
            while len(answers) < n_answers + 4:
                await asyncio.sleep(0)
        for task in asking:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    assert {answer.status_code for answer in answers} == {200}
    for found in (answer.json() for answer in answers):
        assert {entity["label"] for entity in found["entities"]} == labels[
            found["model"]["version"]
        ]
    assert {answer.json()["model"]["version"] for answer in answers} == {"1", "2"}


# Real files.


@pytest.fixture(scope="module")
def contents(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Two model files with the same network, of different versions."""
    from teddy.model.network.torchscript import from_archive, to_archive

    bundle = read_bundle(tiny_model)
    extras = extra_files(replace(bundle.manifest, name="second"), bundle.pieces, bundle.words)
    second = tmp_path_factory.mktemp("second") / "second.teddy"
    second.write_bytes(seal(to_archive(from_archive(bundle.archive), extras)))
    return tiny_model.read_bytes(), second.read_bytes()


@pytest.fixture
async def real(contents: tuple[bytes, bytes], tmp_path: Path) -> Followed:
    """The tiny model, loaded from a file as the service does."""
    path = tmp_path / "a.teddy"
    put(path, contents[0])
    chosen = Settings(models={"a": path}, precision="fp32")
    metrics = Metrics()
    models = Models(chosen, model_loader(chosen), metrics)
    await models.load()
    return Followed(models, metrics, Loader(object), path)


async def test_a_real_model_is_replaced_by_another_and_a_file_that_was_only_touched_is_not(
    real: Followed, contents: tuple[bytes, bytes]
) -> None:
    first = real.models.get("a")
    os.utime(real.path)
    await real.models.reload_all()
    assert real.samples["teddy_model_reloads_total", "a", "unchanged"] == 1
    assert real.models.get("a").predictor is first.predictor
    put(real.path, contents[1])
    await real.models.reload_all()
    second = real.models.get("a")
    assert second.version != first.version
    text = "Anna Berg went to Oslo."
    assert second.predictor.tag([text]) == first.predictor.tag([text])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[: len(content) // 2], "truncated"),
        (lambda content: content[:5000] + b"?" + content[5001:], "damaged or changed after export"),
        (lambda _: b"", "the file is empty"),
        (lambda _: b"PK", "not a Teddy model file"),
        (lambda _: None, "cannot be read: No such file or directory"),
    ],
    ids=["truncated", "corrupted", "empty", "foreign", "missing"],
)
async def test_a_file_that_is_damaged_or_still_being_written_is_refused_and_taken_when_it_is_whole(
    real: Followed,
    contents: tuple[bytes, bytes],
    damage: Callable[[bytes], bytes | None],
    reason: str,
) -> None:
    damaged = damage(contents[1])
    if damaged is None:
        real.path.unlink()
    else:
        real.path.write_bytes(damaged)  # in its place
    await real.models.reload_all()
    (model,) = real.models.all()
    assert model.version == real.serving["a"] == read_version_of(contents[0])
    assert model.refused
    assert model.refused.startswith(reason)
    real.path.write_bytes(contents[1])
    await real.models.reload_all()
    assert real.serving["a"] == read_version_of(contents[1])


def read_version_of(content: bytes) -> str:
    return content[-64:-52].decode()


async def test_a_pinned_model_can_be_replaced_by_no_other(
    contents: tuple[bytes, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.teddy"
    put(path, contents[0])
    pinned = {"a": sha256(contents[0]).hexdigest()}
    chosen = Settings(models={"a": path}, model_digests=pinned, precision="fp32")
    models = Models(chosen, model_loader(chosen), Metrics())
    await models.load()
    put(path, contents[1])
    with pytest.raises(ModelRefusedError, match="the one that is pinned begins"):
        await models.reload("a")
    assert models.get("a").version == read_version_of(contents[0])
    with pytest.raises(ModelFileError, match="the one that is pinned begins"):
        await Models(chosen, model_loader(chosen), Metrics()).load()


# Several workers.

SUPERVISOR = """
import signal, subprocess, sys
signals = []
signal.signal(signal.SIGHUP, lambda *_: signals.append("SIGHUP"))
worker = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
for line in worker.stdout:
    print(line.strip(), len(signals))
    print(file=worker.stdin, flush=True)
sys.exit(worker.wait())
"""
WORKER = f"""
import os
from teddy.service.api.routes import tell_other_workers
tell_other_workers()
print("alone", flush=True)
input()
os.environ["{WORKER_NUMBER}"] = "1"
tell_other_workers()
print("in company", flush=True)
"""


def test_a_worker_lets_its_supervisor_tell_the_others_and_no_other_parent_hears_of_it() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SUPERVISOR, WORKER],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert told.stdout.splitlines() == ["alone 0", "in company 1"]
