"""What workers keep for their successors: last good files and the default model."""

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import seal
from teddy.service.errors import NotReadyError
from teddy.service.inference.kept_models import KEPT_DIRECTORY, KeptModels, kept_directory
from teddy.service.inference.model_files import ModelFile, ModelFiles
from teddy.service.inference.models import Models
from teddy.service.observability.metrics import Metrics
from teddy.service.settings import Settings

pytestmark = pytest.mark.anyio

NO_ZIP = b"PK\x05\x06" + b"\x00" * 18


class Plain(NamedTuple):
    version: str
    precision: str = "fp32"
    manifest: Any = SimpleNamespace(created="2024-01-01T00:00:00Z", scores={}, labels=())
    rules: None = None


def sealed(content: str) -> bytes:
    """A file with a digest, as `keep` checks it."""
    body = b"PK\x03\x04" + content.encode() + MARK
    return body + sha256(body).hexdigest().encode()


MARK = seal(NO_ZIP)[len(NO_ZIP) : -64]


def version_of(content: str) -> str:
    return sealed(content)[-64:-52].decode()


def load(path: Path, **pin: str) -> Any:
    """Load what `sealed` made; everything else is refused, and what is not pinned."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(path, f"cannot be read: {error.strerror}") from error
    if pin and sha256(content).hexdigest() != pin["sha256"]:
        raise ModelFileError(path, "another is pinned")
    if content.endswith(b"deadly"):
        os.kill(os.getpid(), signal.SIGKILL)
    if content == b"crash":
        raise RuntimeError("nobody has thought of this")
    if not content.startswith(b"PK"):
        raise ModelFileError(path, "bad")
    return Plain(content[-64:-52].decode())


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the supervisor, of which each Models here is a worker."""
    directory = tmp_path / "kept"
    directory.mkdir()
    monkeypatch.setenv(KEPT_DIRECTORY, str(directory))
    yield directory
    assert not [*directory.glob(".[!d]*")], "no copy is left half done"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    directory = tmp_path / "models"
    directory.mkdir()
    (directory / "a.teddy").write_bytes(sealed("1"))
    return directory


async def worker(**settings: Any) -> Models:
    models = Models(Settings(**settings), load, Metrics())
    await models.load(lambda: pytest.fail("it waits"))
    return models


def serving(models: Models) -> dict[str, str]:
    return {model.name: model.version for model in models.all()}


@pytest.mark.parametrize(
    "bad", [b"bad", b"crash", b"", None], ids=["bad", "crash", "empty", "gone"]
)
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("in_place", [True, False])
async def test_a_successor_serves_the_last_good_file_and_tells_of_the_bad_one(
    files: Path, bad: bytes | None, named: bool, in_place: bool
) -> None:
    path = files / "a.teddy"
    options: dict[str, Any] = {"models": {"a": path}} if named else {"models_dir": files}
    first = await worker(**options)
    path.write_bytes(sealed("2"))
    await first.reload_all()
    if not in_place:
        path.unlink()
    if bad is None:
        path.unlink(missing_ok=True)
    else:
        path.write_bytes(bad)
    await first.reload_all()
    second = await worker(**options)
    (one,), (other,) = first.all(), second.all()
    assert one.version == other.version == version_of("2")
    assert one.refused == other.refused
    assert bool(other.refused) == (named or bad is not None)
    path.write_bytes(sealed("3"))
    await second.reload_all()
    assert serving(second) == {"a": version_of("3")}
    assert second.get("a").refused is None


async def test_a_successor_of_a_directory_that_cannot_be_read_serves_what_the_others_serve(
    files: Path,
) -> None:
    (files / "b.teddy").write_bytes(sealed("2"))
    first = await worker(models_dir=files)
    shutil.rmtree(files)
    second = await worker(models_dir=files)
    assert serving(first) == serving(second) == {"a": version_of("1"), "b": version_of("2")}


async def test_what_has_left_the_directory_is_not_kept(files: Path, kept: Path) -> None:
    (files / "b.teddy").write_bytes(sealed("2"))
    first = await worker(models_dir=files)
    (files / "a.teddy").unlink()
    await first.reload_all()
    assert [path.name for path in kept.glob("[!.]*")] == ["b"]
    assert serving(await worker(models_dir=files)) == {"b": version_of("2")}


async def test_all_left_and_only_a_bad_file_is_there(files: Path) -> None:
    first = await worker(models_dir=files)
    (files / "a.teddy").rename(files / "c.teddy")
    (files / "c.teddy").write_bytes(b"bad")
    await first.reload_all()
    assert serving(first) == serving(await worker(models_dir=files)) == {"a": version_of("1")}


async def test_a_default_model_that_is_named_outlives_its_file_in_successors_too(
    files: Path,
) -> None:
    (files / "b.teddy").write_bytes(sealed("2"))
    first = await worker(models_dir=files, default_model="b")
    (files / "b.teddy").unlink()
    await first.reload_all()
    second = await worker(models_dir=files, default_model="b")
    assert serving(first) == serving(second) == {"a": version_of("1"), "b": version_of("2")}
    assert first.get(None).name == second.get(None).name == "b"


async def test_a_pin_holds_for_the_kept_file(files: Path, kept: Path) -> None:
    pins = {"a": sha256(sealed("1")).hexdigest()}
    await worker(models_dir=files, model_digests=pins)
    (files / "a.teddy").write_bytes(b"bad")
    assert serving(await worker(models_dir=files, model_digests=pins)) == {"a": version_of("1")}
    (kept / "a").write_bytes(sealed("2"))
    models = Models(Settings(models={"a": files / "a.teddy"}, model_digests=pins), load, Metrics())
    with pytest.raises(ModelFileError, match="another is pinned"):
        await models.load()


async def test_without_a_kept_file_a_bad_one_is_refused_as_before(files: Path, kept: Path) -> None:
    await worker(models_dir=files)
    (files / "a.teddy").write_bytes(b"crash")
    (kept / "a").write_bytes(b"bad too")
    with pytest.raises(RuntimeError, match="nobody has thought"):
        await Models(Settings(models={"a": files / "a.teddy"}), load, Metrics()).load()
    shutil.rmtree(kept)
    kept.mkdir()


async def test_a_file_that_changes_while_it_is_kept_is_not_kept(files: Path, kept: Path) -> None:
    file = ModelFile("a", files / "a.teddy", None, True, None)
    KeptModels(kept).keep(file, version_of("another"))
    assert KeptModels(kept).names() == frozenset()
    KeptModels(kept).keep(file, version_of("1"))
    assert KeptModels(kept).names() == {"a"}


def dies(files: Path) -> bool:
    """Start a worker in a process of its own; return whether it was killed."""
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(worker(models_dir=files))
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


async def test_a_file_that_kills_who_loads_it_is_not_loaded_by_the_successor(
    files: Path, kept: Path
) -> None:
    (files / "b.teddy").write_bytes(sealed("2"))
    await worker(models_dir=files)
    (files / "a.teddy").write_bytes(b"PK deadly")
    assert dies(files)
    for _ in range(2):
        second = await worker(models_dir=files)
        assert serving(second) == {"a": version_of("1"), "b": version_of("2")}
        assert second.get("a").refused == "a worker died while it loaded this file"
    await second.reload_all()  # nor does it look again
    (files / "a.teddy").write_bytes(sealed("3"))
    await second.reload_all()
    assert second.get("a").version == version_of("3")
    assert not [*kept.glob(".trying*")]


async def test_a_worker_that_died_while_it_loaded_the_file_that_is_kept_proves_nothing(
    files: Path, kept: Path
) -> None:
    await worker(models_dir=files)
    (signature,) = [
        file.signature for file in ModelFiles(Settings(models_dir=files)).look().files.values()
    ]
    for content in (str(signature), "of another file", ""):
        (kept / ".trying.0.a").write_text(content)
        assert (await worker(models_dir=files)).get("a").refused is None
        assert not (kept / ".trying.0.a").exists()


async def test_without_room_a_model_is_served_and_not_kept(
    files: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = len(sealed("1"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2 * size - 1))
    models = await worker(models_dir=files)
    assert serving(models) == {"a": version_of("1")}
    assert KeptModels(kept).names() == frozenset()
    shutil.rmtree(kept)  # nor is a directory needed that has gone
    (files / "a.teddy").write_bytes(sealed("2"))
    await models.reload_all()
    assert serving(models) == {"a": version_of("2")}
    kept.mkdir()


async def test_the_directory_is_on_a_disk_or_in_memory_where_no_disk_can_be_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("disk", "memory"):
        (tmp_path / folder).mkdir()
    for disk, found in ((tmp_path / "disk", "disk"), (tmp_path / "none", "memory")):
        monkeypatch.setattr(tempfile, "tempdir", str(disk))
        with kept_directory(str(tmp_path / "memory")) as directory:
            assert Path(directory).parent == tmp_path / found


async def test_all_workers_have_the_same_default(files: Path) -> None:
    (files / "m.teddy").write_bytes(sealed("2"))
    (files / "a.teddy").rename(files / "z.teddy")
    first = await worker(models_dir=files)
    assert first.get(None).name == "m"
    (files / "b.teddy").write_bytes(sealed("3"))
    second = await worker(models_dir=files)  # before the first has seen it
    await first.reload_all()
    assert first.get(None).name == second.get(None).name == "m"
    (files / "m.teddy").unlink()
    third = await worker(models_dir=files)
    for models in (second, first):
        await models.reload_all()
    assert {each.get(None).name for each in (first, second, third)} == {"b"}
    (files / "a.teddy").write_bytes(sealed("4"))
    (files / "m.teddy").write_bytes(sealed("2"))
    fourth = await worker(models_dir=files)
    for models in (first, second, third):
        await models.reload_all()
    assert {each.get(None).name for each in (first, second, third, fourth)} == {"b"}


async def test_nothing_is_kept_without_a_supervisor(
    files: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(KEPT_DIRECTORY)
    await worker(models_dir=files)
    assert not [*kept.iterdir()]
    (files / "a.teddy").write_bytes(b"bad")
    models = Models(Settings(models_dir=files), load, Metrics())
    with pytest.raises(NotReadyError):
        models.check_ready()
