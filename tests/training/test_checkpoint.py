"""A checkpoint comes back as it was written, and a file that is none is refused, not run."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from teddy.model.errors import ModelFileError
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint


@pytest.fixture
def checkpoint(tiny_run: Path) -> Checkpoint:
    return load_checkpoint(tiny_run / "best.checkpoint")


def same(one: object, other: object) -> bool:
    """Equality that looks into tensors."""
    if isinstance(one, torch.Tensor):
        return (
            isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
        )
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


def test_what_is_written_is_read_again(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "copy.checkpoint"
    checkpoint.save(path)
    copy = load_checkpoint(path)
    for name in Checkpoint.__slots__:
        assert same(getattr(checkpoint, name), getattr(copy, name)), name


def test_the_network_that_is_built_has_the_weights_and_the_shape(checkpoint: Checkpoint) -> None:
    network, features, tag_set = checkpoint.build()
    assert same(dict(network.state_dict()), dict(checkpoint.weights))
    assert not network.training
    assert tag_set.labels == checkpoint.labels
    assert network.embedding.shape == (features.n_rows, checkpoint.network.embedding_width)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99, 0.9999])
def test_a_file_cut_short_is_refused(checkpoint: Checkpoint, tmp_path: Path, share: float) -> None:
    path = tmp_path / "cut.checkpoint"
    checkpoint.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ModelFileError, match=r"cut\.checkpoint: not a whole checkpoint"):
        load_checkpoint(path)


def test_a_changed_weight_is_noticed(checkpoint: Checkpoint, tmp_path: Path) -> None:
    path = tmp_path / "changed.checkpoint"
    checkpoint.save(path)
    content = bytearray(path.read_bytes())
    weights = checkpoint.weights["embedding"].numpy().tobytes()
    content[content.index(weights) + len(weights) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a whole checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"just text\n", b"\x80\x04", b"PK\x03\x04", bytes(range(256)) * 20],
    ids=range(5),
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.checkpoint"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="not a whole checkpoint"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "content", [[1, 2], {"format": 99}, {"weights": {}}, torch.zeros(3)], ids=range(4)
)
def test_what_torch_can_read_but_is_no_checkpoint_is_refused(
    tmp_path: Path, content: object
) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(ModelFileError, match="not a checkpoint of format 2"):
        load_checkpoint(path)


@pytest.mark.parametrize("missing", ["features", "weights", "card"])
def test_a_checkpoint_without_a_part_is_refused(
    checkpoint: Checkpoint, tmp_path: Path, missing: str
) -> None:
    path = tmp_path / "partial.checkpoint"
    checkpoint.save(path)
    content = torch.load(path, weights_only=True)
    del content[missing]
    torch.save(content, path)
    with pytest.raises(ModelFileError, match=f"without all of its parts.*{missing}"):
        load_checkpoint(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such checkpoint"):
        load_checkpoint(tmp_path / "none.checkpoint")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        load_checkpoint(tmp_path)


class Attack:
    """Runs a command when it is unpickled without care."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return os.mkdir, (str(self.trace),)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(
    checkpoint: Checkpoint, tmp_path: Path
) -> None:
    trace = tmp_path / "it-ran"
    bare, dressed = tmp_path / "bare.checkpoint", tmp_path / "dressed.checkpoint"
    bare.write_bytes(pickle.dumps(Attack(trace)))
    replace(checkpoint, progress={"attack": Attack(trace)}).save(dressed)
    for path in (bare, dressed):
        with pytest.raises(ModelFileError, match="not a whole checkpoint"):
            load_checkpoint(path)
    assert not trace.exists()
    pickle.loads(bare.read_bytes())  # noqa: S301
    assert trace.exists(), "the attack itself works"


def test_an_older_checkpoint_stays_when_writing_fails(
    checkpoint: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "kept.checkpoint"
    checkpoint.save(path)
    before = path.read_bytes()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
