"""The directory of a run with damaged checkpoints, on a full disk, and at every instant between."""

import errno
import os
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.model.errors import ModelFileError, TrainingError
from teddy.training.job.run_directory import RunDirectory
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint, read_torch_file
from tests.training.runs import unequal

Damage = Callable[[Path], None]


@pytest.fixture
def directory(tiny_stopped_run: Path, tmp_path: Path) -> RunDirectory:
    """One that holds two checkpoints, of which the last is at another step."""
    path = tmp_path / "run"
    path.mkdir()
    for name in ("last.checkpoint", "previous.checkpoint"):
        shutil.copy(tiny_stopped_run / name, path)
    return RunDirectory(path)


def step(checkpoint: Checkpoint | None) -> int:
    assert checkpoint is not None
    found: int = checkpoint.progress["position"]["step"]
    return found


def earlier(directory: RunDirectory) -> tuple[Checkpoint | None, list[str]]:
    """What is found to resume from, by the recipe that is there, and what is said of it."""
    said: list[str] = []
    recipe = load_checkpoint(directory.path.parent / "kept.checkpoint").recipe
    return directory.earlier(recipe.__eq__, load_checkpoint, said.append, resume=True), said


@pytest.fixture(autouse=True)
def kept(tiny_stopped_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(tiny_stopped_run / "last.checkpoint", tmp_path / "kept.checkpoint"))


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


def foreign(path: Path) -> None:
    path.write_bytes(b"PK\x03\x04 but nothing else")


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [cut, empty, foreign, flipped, Path.unlink], ids=lambda each: each.__name__
)
def test_a_last_checkpoint_that_is_not_whole_is_passed_over_for_the_one_before(
    directory: RunDirectory, damage: Damage
) -> None:
    before = step(load_checkpoint(directory.previous))
    assert before < step(load_checkpoint(directory.last))
    damage(directory.last)
    found, said = earlier(directory)
    assert step(found) == before
    assert len(said) == (damage is not Path.unlink)
    assert all("going on from previous.checkpoint" in each for each in said)


def test_the_one_before_is_not_lost_to_a_damaged_one_at_the_next_checkpoint(
    directory: RunDirectory,
) -> None:
    cut(directory.last)
    found, _ = earlier(directory)
    assert found is not None
    directory.keep(found)
    for path in (directory.last, directory.previous):
        load_checkpoint(path)


def test_without_any_whole_checkpoint_nothing_is_begun_and_nothing_is_lost(
    directory: RunDirectory,
) -> None:
    cut(directory.last)
    flipped(directory.previous)
    before = {path.name: path.read_bytes() for path in directory.path.iterdir()}
    with pytest.raises(
        TrainingError, match=r"no whole checkpoint: .*last\.checkpoint: .*previous\.checkpoint: "
    ):
        earlier(directory)
    assert {path.name: path.read_bytes() for path in directory.path.iterdir()} == before


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_with_a_flipped_bit_is_refused_or_reads_as_it_was(
    kept: Path, place: float, bit: int
) -> None:
    """Not every bit of a zip file says something: the date of a member does not."""
    content = bytearray(kept.read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    other = kept.with_name("flipped.checkpoint")
    other.write_bytes(content)
    try:
        found = read_torch_file(other, "checkpoint")
    except ModelFileError:
        return
    assert unequal(found, read_torch_file(kept, "checkpoint")) == []


def test_a_checkpoint_with_a_tensor_marked_as_a_directory_is_refused(kept: Path) -> None:
    """torch's reader would return memory that was never written."""
    content = kept.read_bytes()
    with zipfile.ZipFile(kept) as archive:
        names = [member.filename for member in archive.infolist() if "/data/" in member.filename]
    for name in names[:3]:
        header = content.rindex(b"PK\x01\x02", 0, content.rindex(name.encode()))
        marked = bytearray(content)
        marked[header + 38] ^= 0x10
        other = kept.with_name("marked.checkpoint")
        other.write_bytes(marked)
        with pytest.raises(ModelFileError, match="not a whole checkpoint"):
            read_torch_file(other, "checkpoint")


@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_checkpoint_cut_short_anywhere_is_refused(kept: Path, share: float) -> None:
    content = kept.read_bytes()
    other = kept.with_name("cut.checkpoint")
    other.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ModelFileError, match="not a whole checkpoint"):
        load_checkpoint(other)


def test_there_is_a_whole_checkpoint_at_every_instant(
    directory: RunDirectory, kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is there before each call of the system is what a kill leaves."""
    checkpoint = load_checkpoint(kept)
    snapshots: list[Path] = []

    def remembering(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            monkeypatch.undo()
            snapshots.append(Path(shutil.copytree(directory.path, tmp_path / str(len(snapshots)))))
            watch()
            return original(*arguments, **options)

        return call

    def watch() -> None:
        for name in ("mkdir", "open", "fsync", "replace", "rmdir", "unlink"):
            monkeypatch.setattr(os, name, remembering(getattr(os, name)))

    watch()
    directory.keep(checkpoint)
    monkeypatch.undo()
    assert len(snapshots) > 7
    for each in snapshots:
        assert earlier(RunDirectory(each))[0] is not None


# A full disk.


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    """Cuts a write short, as a full disk does, and refuses the next."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_checkpoint_for_which_there_is_no_space_leaves_the_ones_before_it_as_they_are(
    directory: RunDirectory, kept: Path
) -> None:
    before = {path.name: path.read_bytes() for path in directory.path.iterdir()}
    checkpoint = load_checkpoint(kept)
    with (
        files_of_at_most(kept.stat().st_size // 2),
        pytest.raises(OSError, match="checkpoint") as refused,
    ):
        directory.keep(checkpoint)
    assert refused.value.errno == errno.EFBIG
    assert {path.name: path.read_bytes() for path in directory.path.iterdir()} == before
    directory.keep(checkpoint)
    assert earlier(directory)[1] == []
