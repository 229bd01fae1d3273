"""The state of a training run: what a killed run needs to go on, and what `export` needs."""

import io
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import ModelFileError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.network.tagger_network import Network
from teddy.model.system.files import write_atomically
from teddy.model.tags.tag_set import TagSet
from teddy.training.learning.transformer import with_transformer

_FORMAT = 2
_DIRECTORY = 0x10
"""The attribute of a directory in a zip file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tagger and, when `progress` is there, the run that made it.

    `weights` are what is evaluated and exported: the moving average where there is one. `progress`
    holds the raw weights, the optimiser, the random state and the counters of the loop.
    """

    labels: tuple[str, ...]
    features: FeatureConfig
    network: NetworkConfig
    pieces: bytes
    words: tuple[str, ...]
    """Those that have a row of their own."""
    weights: dict[str, torch.Tensor]
    recipe: str
    progress: dict[str, Any]
    card: str
    """`teddy.training.evaluation.measurements.Measurements` as JSON; empty until measured."""
    inherited: tuple[TrainingData, ...] = ()
    """What the weights that the run started from had been learnt from."""
    lexicon: bytes = b""
    """A `teddy.model.features.lexicon.Lexicon`; empty without one."""

    def build(self) -> tuple[Network, WordFeatures, TagSet]:
        """Return the network with its weights, in evaluation mode, its features and its tags."""
        tag_set = TagSet(self.labels)
        network, features = build_network(
            self.network,
            self.features,
            Pieces(self.pieces),
            self.words,
            tag_set,
            lexicon=self.lexicon,
            transformer=tomllib.loads(self.recipe).get("transformer"),
        )
        network.load_state_dict(self.weights)
        return network.eval(), features, tag_set

    def save(self, path: Path, *, resumable: bool = True) -> None:
        """Write the checkpoint whole or not at all.

        If it is not to be `resumable`, all of `progress` but the position is left out: that is
        four fifths of the file.
        """
        if not resumable:
            position = {name: self.progress[name] for name in ("position",) if self.progress}
            weights = {name: _shortened(tensor) for name, tensor in self.weights.items()}
            replace(self, progress=position, weights=weights).save(path)
            return
        content = {name: getattr(self, name) for name in self.__slots__}
        plain = {"features": asdict(self.features), "network": asdict(self.network)}
        credit = {"inherited": [asdict(each) for each in self.inherited]}
        write_torch_file(path, {"format": _FORMAT, **content, **plain, **credit})


def build_network(
    network: NetworkConfig,
    features: FeatureConfig,
    pieces: Pieces,
    words: Sequence[str],
    tag_set: TagSet,
    *,
    lexicon: bytes = b"",
    transformer: Mapping[str, Any] | None = None,
) -> tuple[Network, WordFeatures]:
    """Return a network with new weights and its features.

    It stands on the transformer that a recipe's table `transformer` names, if there is one.

    Raises ModelFileError for a directory that holds no transformer.
    """
    if transformer:
        directory, n_frozen = transformer["directory"], transformer["frozen_layers"]
        return with_transformer(
            directory, n_frozen, network, features, pieces, words, tag_set, lexicon
        )
    found = WordFeatures(pieces, features, words, lexicon)
    return Network(network, found.n_rows, tag_set), found


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint: plain values and tensors only, so that a foreign file cannot run code.

    Raises ModelFileError when the file is missing, damaged or not a checkpoint.
    """
    content = read_torch_file(path, "checkpoint")
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(path, f"not a checkpoint of format {_FORMAT}")
    try:
        features = FeatureConfig(**content.pop("features"))
        network = NetworkConfig(**content.pop("network"))
        inherited = tuple(TrainingData(**each) for each in content.pop("inherited", ()))
        weights = {
            name: tensor.float() if tensor.dtype == torch.float16 else tensor
            for name, tensor in content.pop("weights").items()
        }
        return Checkpoint(
            features=features, network=network, inherited=inherited, weights=weights, **content
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelFileError(path, f"a checkpoint without all of its parts ({error})") from error


def _shortened(tensor: torch.Tensor) -> torch.Tensor:
    """Return the numbers in 16 bits where these hold them exactly, as once they are measured."""
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.float(), tensor) else tensor


def write_torch_file(path: Path, content: dict[str, Any]) -> None:
    """Write plain values and tensors, whole or not at all; empty bytes are left out."""
    stream = io.BytesIO()
    # torch refuses empty bytes when it reads plain values only.
    kept = {name: each for name, each in content.items() if not isinstance(each, bytes) or each}
    torch.save(kept, stream)
    write_atomically(path, stream.getvalue())


def read_torch_file(path: Path, kind: str) -> Any:
    """Read what `write_torch_file` wrote.

    Raises ModelFileError for a file that is not whole, or holds anything but plain values and
    tensors; `kind` is the word for it.
    """
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelFileError(path, f"no such {kind}") from None
    except Exception as error:  # torch raises a dozen unrelated types for damaged archives
        raise ModelFileError(path, f"not a whole {kind} ({type(error).__name__})") from error


def _check_sums(path: Path) -> None:
    """Raise BadZipFile for damage in the archive, which torch would read as other weights."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.external_attr & _DIRECTORY:  # torch's reader would leave its tensor unread
                raise zipfile.BadZipFile(f"{member.filename} is damaged")
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
