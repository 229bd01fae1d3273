"""Which models are served, under what names, and what is told of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import structlog

from teddy.model.errors import ModelFileError, TeddyError
from teddy.service.app import create_app
from teddy.service.errors import NotReadyError, SettingsError, UnknownModelError
from teddy.service.inference.models import Models
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings
from tests.service.conftest import FakePredictor, running

pytestmark = pytest.mark.anyio

Load = Callable[..., Any]


@pytest.fixture
def load(predictor: Any) -> Load:
    """A loader of files that hold their version; any other content is refused."""

    def load(path: Path | None) -> Any:
        if path is None:
            return predictor
        try:
            content = path.read_text()
        except OSError as error:
            raise ModelFileError(path, f"cannot be read: {error.strerror}") from error
        if content.startswith("bad"):
            raise ModelFileError(path, content)
        return type(predictor)(version=content)

    return load


async def served(load: Load, **settings: Any) -> list[tuple[str, str]]:
    """The names and versions that are served, the default one first."""
    models = Models(Settings(**settings), load, Metrics())
    await models.load()
    assert [model.default for model in models.all()] == [True, *[False] * (len(models.all()) - 1)]
    assert models.get(None) is models.all()[0]
    return [(model.name, model.version) for model in models.all()]


def write(directory: Path, **contents: str) -> None:
    """Files `NAME.teddy` with these contents."""
    directory.mkdir(exist_ok=True)
    for name, content in contents.items():
        (directory / f"{name}.teddy").write_text(content)


async def test_without_any_choice_the_model_that_ships_is_served(
    load: Load, predictor: Any
) -> None:
    assert await served(load) == [("en", predictor.version)]


async def test_the_models_of_the_settings_are_served_in_their_order(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, b="1", a="2")
    assert await served(load, models={"x": tmp_path / "b.teddy", "a": tmp_path / "a.teddy"}) == [
        ("x", "1"),
        ("a", "2"),
    ]


async def test_the_files_of_a_directory_are_served_by_stem_and_the_first_by_name_is_the_default(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, b="1", a="2")
    (tmp_path / "c.onnx").write_text("3")
    assert await served(load, models_dir=tmp_path) == [("a", "2"), ("b", "1"), ("c", "3")]


async def test_what_is_no_model_file_or_has_no_legal_name_is_not_looked_at(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="1", **{".hidden": "2", "two words": "3", "n" * 65: "4", "ä": "5"})
    (tmp_path / "notes.txt").write_text("6")
    (tmp_path / "folder.teddy").mkdir()
    (tmp_path / "nowhere.teddy").symlink_to(tmp_path / "missing")
    assert await served(load, models_dir=tmp_path) == [("a", "1")]


async def test_the_settings_go_before_the_directory_and_teddy_before_onnx(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path / "directory", a="1", b="2")
    (tmp_path / "directory" / "b.onnx").write_text("3")
    write(tmp_path, z="4", a="5")
    models = {"z": tmp_path / "z.teddy", "a": tmp_path / "a.teddy"}
    found = await served(load, models=models, models_dir=tmp_path / "directory")
    assert found == [("z", "4"), ("a", "5"), ("b", "2")]


async def test_a_directory_that_cannot_be_read_is_refused_unless_the_settings_name_a_model(
    load: Load, tmp_path: Path
) -> None:
    directory = tmp_path / "models"
    with pytest.raises(
        SettingsError,
        match=r"^TEDDY_MODELS_DIR: .*models cannot be read: No such file or directory, and "
        r"TEDDY_MODELS names none$",
    ):
        await served(load, models_dir=directory)
    write(tmp_path, a="1")
    assert await served(load, models={"a": tmp_path / "a.teddy"}, models_dir=directory) == [
        ("a", "1")
    ]


@asynccontextmanager
async def waiting(load: Load, **settings: Any) -> AsyncIterator[Models]:
    """Models that have nothing to serve yet; at the end of the block they have."""
    models, waits = Models(Settings(**settings), load, Metrics()), asyncio.Event()
    loading = asyncio.create_task(models.load(waits.set))
    async with asyncio.timeout(30):
        await waits.wait()
        yield models
        await loading
    assert models.ready


@pytest.mark.parametrize("contents", [{}, {"a": "bad luck"}], ids=["empty", "with a bad file"])
async def test_a_directory_without_a_model_is_waited_for(
    load: Load, tmp_path: Path, contents: dict[str, str]
) -> None:
    write(tmp_path / "models", **contents)
    reason = r" The file of model a was refused: bad luck\." if contents else ""
    async with waiting(load, models_dir=tmp_path / "models") as models:
        for ask in (models.check_ready, models.all, lambda: models.get(None)):
            with pytest.raises(
                NotReadyError,
                match=rf"^Teddy waits for the first model in TEDDY_MODELS_DIR\.{reason}$",
            ):
                ask()
        await models.reload_all()
        assert not models.ready
        write(tmp_path / "models", b="bad wine")
        await models.reload_all()
        with pytest.raises(NotReadyError, match="model b was refused: bad wine"):
            models.check_ready()
        write(tmp_path / "models", b="2")
        await models.reload_all()
    assert [(model.name, model.default) for model in models.all()] == [("b", True)]


async def test_a_default_model_that_is_named_is_waited_for(load: Load, tmp_path: Path) -> None:
    write(tmp_path, a="1")
    async with waiting(load, models_dir=tmp_path, default_model="z") as models:
        with pytest.raises(NotReadyError, match=r"^Teddy waits for model z\.$"):
            models.get("a")
        write(tmp_path, z="3")
        await models.reload_all()
    assert models.get(None).name == "z"
    write(tmp_path, b="2")
    (tmp_path / "z.teddy").unlink()  # like a model that the settings name, it outlives its file
    await models.reload_all()
    assert [model.name for model in models.all()] == ["z", "a", "b"]


async def test_the_default_model_of_the_settings_goes_first(load: Load, tmp_path: Path) -> None:
    write(tmp_path, a="1", b="2", c="3")
    files = {name: tmp_path / f"{name}.teddy" for name in "ab"}
    assert (await served(load, models=files, models_dir=tmp_path, default_model="c"))[0][0] == "c"
    assert await served(load, models=files, default_model="b") == [("b", "2"), ("a", "1")]
    for name, options in (("c", {"models": files}), ("fr", {})):
        with pytest.raises(
            SettingsError, match=rf"^TEDDY_DEFAULT_MODEL: no model here is called {name}$"
        ):
            await served(load, default_model=name, **options)


@pytest.mark.parametrize("newer", ["0", "a", "z"])
async def test_a_new_model_does_not_become_the_default(
    load: Load, tmp_path: Path, newer: str
) -> None:
    write(tmp_path, m="1")
    models = Models(Settings(models_dir=tmp_path), load, Metrics())
    await models.load()
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logged:
        write(tmp_path, **{newer: "2"})
        for _ in range(3):
            await models.reload_all()
        assert models.get(None).name == "m"
        (tmp_path / "m.teddy").unlink()
        for _ in range(3):
            await models.reload_all()
    assert models.get(None).name == newer
    told = [entry for entry in logged if entry["log_level"] == "warning"]
    assert [(entry["event"], entry.get("default")) for entry in told] == [
        ("TEDDY_DEFAULT_MODEL is not set", "m"),
        ("the default model is another now", None),
    ]


async def test_a_file_that_looks_like_a_model_and_is_not_served_is_named_once(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="1", b="1", **{"two words": "2", "-b": "3", "n" * 65: "4", ".hidden": "5"})
    (tmp_path / "a.onnx").write_text("6")
    (tmp_path / "BIG.TEDDY").write_text("7")
    (tmp_path / "folder.teddy").mkdir()
    (tmp_path / "nowhere.onnx").symlink_to(tmp_path / "missing")
    (tmp_path / "notes.txt").write_text("8")
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as logged:
        models = Models(
            Settings(models_dir=tmp_path, models={"b": tmp_path / "b.teddy"}), load, Metrics()
        )
        await models.load()
        for _ in range(3):
            await models.reload_all()
        write(tmp_path, ä="9")
        for _ in range(3):
            await models.reload_all()
    told = {
        entry["file"]: entry["reason"]
        for entry in logged
        if (entry["event"], entry["log_level"]) == ("a file is not served", "warning")
    }
    assert len([entry for entry in logged if entry["event"] == "a file is not served"]) == len(told)
    named = {file for file, reason in told.items() if reason.startswith("its name must be")}
    assert named == {"two words.teddy", "-b.teddy", f"{'n' * 65}.teddy", "BIG.TEDDY", "ä.teddy"}
    assert {file: told[file] for file in told.keys() - named} == {
        "a.onnx": "a.teddy is served under this name",
        "folder.teddy": "it is not a file, or leads to none",
        "nowhere.onnx": "it is not a file, or leads to none",
        "b.teddy": "TEDDY_MODELS names another file b",
    }


async def test_a_bad_file_stops_the_start_if_the_settings_name_it(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="1", b="bad wine")
    with pytest.raises(ModelFileError, match=r"b\.teddy: bad wine"):
        await served(load, models={"a": tmp_path / "a.teddy", "b": tmp_path / "b.teddy"})
    with pytest.raises(ModelFileError, match=r"c\.teddy: cannot be read"):
        await served(load, models={"c": tmp_path / "c.teddy"})


async def test_what_nobody_has_thought_of_stops_the_start_too_and_is_not_quoted(
    tmp_path: Path,
) -> None:
    def load(_: Path) -> Any:
        raise RuntimeError("the secret")

    write(tmp_path, a="1")
    failures: list[TeddyError] = []
    options = Settings(models={"a": tmp_path / "a.teddy"})
    app = create_app(options, load, on_load_failure=failures.append)
    async with running(app, wait=True):
        assert [str(each) for each in failures] == ["a model cannot be loaded: RuntimeError"]
    async with waiting(load, models_dir=tmp_path) as models:  # there may come another file
        with pytest.raises(NotReadyError, match="model a was refused: it cannot be loaded"):
            models.check_ready()
        models._load = lambda _: FakePredictor(version="2")  # type: ignore[assignment,return-value]
        (tmp_path / "a.teddy").write_text("another")
        await models.reload_all()


async def test_a_bad_file_in_the_directory_is_passed_over_as_long_as_there_is_another(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="bad luck", b="1")
    assert await served(load, models_dir=tmp_path) == [("b", "1")]


async def test_a_digest_is_pinned_by_the_name_and_a_name_that_nothing_has_is_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path, a="1", b="2")
    asked: dict[str, str | None] = {}

    def load(path: Path, sha256: str | None = None) -> Any:
        asked[path.stem] = sha256
        raise ModelFileError(path, "seen")

    digest = "0123456789abcdef" * 4
    pins = {"b": digest, "later": digest}
    waits = asyncio.Event()
    models = Models(Settings(models_dir=tmp_path, model_digests=pins), load, Metrics())
    loading = asyncio.create_task(models.load(waits.set))
    await asyncio.wait_for(waits.wait(), 30)
    loading.cancel()
    assert asked == {"a": None, "b": digest}
    with pytest.raises(
        SettingsError, match=r"^TEDDY_MODEL_DIGESTS: no model here is called misspelt$"
    ):
        await served(load, models={"a": tmp_path / "a.teddy"}, model_digests={"misspelt": digest})


async def test_nothing_is_told_of_models_before_all_are_loaded(load: Load, tmp_path: Path) -> None:
    write(tmp_path, a="1")
    models = Models(Settings(models_dir=tmp_path), load, Metrics())
    for ask in (models.all, models.check_ready, lambda: models.get(None), lambda: models.get("a")):
        with pytest.raises(NotReadyError):
            ask()
    with pytest.raises(NotReadyError):
        await models.reload("a")
    await models.reload_all()  # a signal may come at any time
    await models.load()
    assert models.ready
    with pytest.raises(UnknownModelError, match=r"^There is no model 'b' here; there are: a\.$"):
        models.get("b")


async def test_several_models_are_answered_for_by_name(
    serving: Any, load: Load, tmp_path: Path
) -> None:
    write(tmp_path, zh="1", mine="2")
    models = {"zh": tmp_path / "zh.teddy", "mine": tmp_path / "mine.teddy"}
    async with serving(load=load, models=models) as client:
        for asked, version in (({}, "1"), ({"model": "mine"}, "2"), ({"model": None}, "1")):
            answer = await client.post("/v1/entities", json={"text": "Ada"} | asked)
            assert answer.json()["model"]["version"] == version


async def test_a_model_says_what_it_is_when_it_was_loaded_and_how_it_was_made(client: Any) -> None:
    (summary,) = (await client.get("/v1/models")).json()["models"]
    assert summary.pop("loaded").endswith("+00:00")
    assert summary == {
        "name": "en",
        "version": "0123456789ab",
        "default": True,
        "language": "xx",
        "labels": ["UPPER", "LONG"],
        "precision": "fp32",
    }
    details = (await client.get("/v1/models/en")).json()
    assert details["training_data"] == [{"name": "none", "licence": "CC0-1.0"}]
    assert "recipe" not in details
    assert (await client.get("/v1/models/fr")).status_code == 404


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read_is_refused(load: Load, tmp_path: Path) -> None:
    write(tmp_path, a="1")
    (tmp_path / "a.teddy").chmod(0)
    with pytest.raises(ModelFileError, match="cannot be read: Permission denied"):
        await served(load, models={"a": tmp_path / "a.teddy"})
