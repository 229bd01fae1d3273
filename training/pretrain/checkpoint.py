"""The state of a pre-training run, whole: what a killed run needs to go on, and what a language model samples with."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from teddy.model.errors import ModelFileError
from teddy.model.files import write_atomically
from teddy.training.checkpoint import read_torch_file

_FORMAT = "teddy-pretraining-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainCheckpoint:
    """A network in pre-training and the run that makes it."""

    recipe: str
    """Resolved, in TOML."""
    pieces: bytes
    words: tuple[str, ...]
    """Those that have a row of their own."""
    frequent: tuple[str, ...]
    """The most frequent words as they are written, among which an evaluation and a sample choose."""
    counts: NDArray[np.int64]
    """How often these occur."""
    total: int
    """How often all words do."""
    state: dict[str, Any]
    """See `Pretrainer.state`."""

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        content = {
            "format": _FORMAT,
            "recipe": self.recipe,
            "pieces": self.pieces,
            "words": "\n".join(self.words),
            "frequent": "\n".join(self.frequent),
            "counts": torch.from_numpy(self.counts),
            "total": self.total,
            "state": self.state,
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        write_atomically(path, stream.getvalue())


def load_pretrain_checkpoint(path: Path) -> PretrainCheckpoint:
    """Reads a checkpoint. Raises ModelFileError when it is missing, damaged, or not of a pre-training run."""
    content = read_torch_file(path, "checkpoint")
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(path, "not a checkpoint of a pre-training run of this version")
    try:
        words = content["words"]
        return PretrainCheckpoint(
            recipe=content["recipe"],
            pieces=content["pieces"],
            words=tuple(words.split("\n")) if words else (),
            frequent=tuple(content["frequent"].split("\n")),
            counts=content["counts"].numpy(),
            total=content["total"],
            state=content["state"],
        )
    except (KeyError, AttributeError) as error:
        raise ModelFileError(path, f"a checkpoint without all of its parts ({error})") from error
