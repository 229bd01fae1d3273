"""Two runs compared to the last bit: a killed and resumed run must equal one that was not."""

from pathlib import Path
from typing import Any

import torch

from teddy.model.file.bundle import read_bundle
from teddy.model.network.torchscript import from_archive
from teddy.training.learning.checkpoint import load_checkpoint, read_torch_file
from teddy.training.learning.start import load_weights
from teddy.training.pretrain.run import load_pretrain_checkpoint


def differences(one: Path, other: Path) -> list[str]:
    """What of two runs, of training or of pre-training, is not the same."""
    found = (
        [] if _bytes(one, "metrics.jsonl") == _bytes(other, "metrics.jsonl") else ["metrics.jsonl"]
    )
    for name in ("recipe.toml", "misaligned.txt"):
        found += [] if _bytes(one, name) == _bytes(other, name) else [name]
    for name in ("last.checkpoint", "best.checkpoint"):
        found += [
            f"{name}: {place}" for place in unequal(*(_content(run / name) for run in (one, other)))
        ]
    results = [[*run.glob("*.teddy"), *run.glob("*.encoder")] for run in (one, other)]
    if [path.name for path in results[0]] != [path.name for path in results[1]]:
        return [*found, "the result"]
    for path, expected in zip(*results, strict=True):
        found += [f"{path.name}: {place}" for place in unequal(_result(path), _result(expected))]
    return found


def _bytes(run: Path, name: str) -> bytes:
    return (run / name).read_bytes() if (run / name).exists() else b""


def _content(checkpoint: Path) -> Any:
    """All of a checkpoint, which must also be one that can be resumed."""
    if not checkpoint.exists():
        return None
    content = read_torch_file(checkpoint, "checkpoint")
    (load_checkpoint if content["format"] == 2 else load_pretrain_checkpoint)(checkpoint)
    return content


def _result(path: Path) -> Any:
    if path.suffix == ".encoder":
        return load_weights(path).weights
    bundle = read_bundle(path)
    return {
        "digest": bundle.digest,
        **dict(from_archive(bundle.archive).state_dict()),
        "scores": bundle.manifest.scores,
        "labels": bundle.manifest.labels,
    }


def unequal(one: Any, other: Any, place: str = "") -> list[str]:
    """The places where two nested values differ; tensors are compared bit by bit."""
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return [each for key in one for each in unequal(one[key], other[key], f"{place}/{key}")]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [
            each for i, (mine, theirs) in pairs for each in unequal(mine, theirs, f"{place}/{i}")
        ]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        is_same = one.dtype == other.dtype and torch.equal(one, other)
    else:
        is_same = type(one) is type(other) and bool(one == other)
    return [] if is_same else [place]
