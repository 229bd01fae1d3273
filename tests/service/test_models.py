"""Which models are served, under what names, and what is told of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import ModelFileError
from teddy.service.errors import NotReadyError, SettingsError, UnknownModelError
from teddy.service.inference.models import Models
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

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


@pytest.mark.parametrize("make", [True, False])
async def test_a_directory_without_models_is_refused_unless_the_settings_name_one(
    load: Load, tmp_path: Path, make: bool
) -> None:
    directory = tmp_path / "models"
    if make:
        directory.mkdir()
    cause = "has no model files" if make else "cannot be read: No such file or directory"
    with pytest.raises(
        SettingsError, match=rf"^TEDDY_MODELS_DIR: .*models {cause}, and TEDDY_MODELS names none$"
    ):
        await served(load, models_dir=directory)
    write(tmp_path, a="1")
    assert await served(load, models={"a": tmp_path / "a.teddy"}, models_dir=directory) == [
        ("a", "1")
    ]


async def test_a_bad_file_stops_the_start_if_the_settings_name_it(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="1", b="bad wine")
    with pytest.raises(ModelFileError, match=r"b\.teddy: bad wine"):
        await served(load, models={"a": tmp_path / "a.teddy", "b": tmp_path / "b.teddy"})
    with pytest.raises(ModelFileError, match=r"c\.teddy: cannot be read"):
        await served(load, models={"c": tmp_path / "c.teddy"})


async def test_a_bad_file_in_the_directory_is_passed_over_as_long_as_there_is_another(
    load: Load, tmp_path: Path
) -> None:
    write(tmp_path, a="bad luck", b="1")
    assert await served(load, models_dir=tmp_path) == [("b", "1")]
    (tmp_path / "b.teddy").unlink()
    with pytest.raises(ModelFileError, match=r"a\.teddy: bad luck"):
        await served(load, models_dir=tmp_path)


async def test_a_digest_is_pinned_by_the_name_and_a_name_that_nothing_has_is_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path, a="1", b="2")
    asked: dict[str, str | None] = {}

    def load(path: Path, sha256: str | None = None) -> Any:
        asked[path.stem] = sha256
        raise ModelFileError(path, "seen")

    digest = "0123456789abcdef" * 4
    with pytest.raises(ModelFileError):
        await served(load, models_dir=tmp_path, model_digests={"b": digest, "later": digest})
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
        await served(load, models_dir=tmp_path)
