"""The state of a training run, whole: what a killed run needs to go on, and what `export` needs."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from model.config import FeatureConfig, NetworkConfig
from model.errors import ModelFileError
from model.features import WordFeatures
from model.files import write_atomically
from model.labels import TagSet
from model.network import Network
from model.pieces import Pieces

_FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A tagger and, when `progress` is there, the run that made it.

    `weights` are what is evaluated and exported: the moving average where there is one. `progress` holds the raw
    weights, the optimiser, the random state and the counters of the loop.
    """

    labels: tuple[str, ...]
    features: FeatureConfig
    network: NetworkConfig
    pieces: bytes
    weights: dict[str, torch.Tensor]
    recipe: str
    progress: dict[str, Any]
    card: str
    """A `training.card.Card` as JSON; empty until the weights have been measured."""

    def build(self) -> tuple[Network, WordFeatures, TagSet]:
        """The network with its weights, in evaluation mode, and what gives its numbers a meaning."""
        tag_set = TagSet(self.labels)
        features = WordFeatures(Pieces(self.pieces), self.features)
        network = Network(self.network, features.n_rows, tag_set)
        network.load_state_dict(self.weights)
        return network.eval(), features, tag_set

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        content = {name: getattr(self, name) for name in self.__slots__}
        stream = io.BytesIO()
        torch.save(
            {"format": _FORMAT, **content, "features": _plain(self.features), "network": _plain(self.network)}, stream
        )
        write_atomically(path, stream.getvalue())


def _plain(config: FeatureConfig | NetworkConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__slots__}


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; only plain values and tensors are accepted, so a foreign file cannot run code.

    Raises ModelFileError when the file is missing, damaged or not a checkpoint.
    """
    try:
        _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelFileError(path, "no such checkpoint") from None
    except Exception as error:  # torch raises a dozen unrelated types for damaged archives
        raise ModelFileError(path, f"not a whole checkpoint ({type(error).__name__})") from error
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(path, f"not a checkpoint of format {_FORMAT}")
    try:
        features = FeatureConfig(**content.pop("features"))
        network = NetworkConfig(**content.pop("network"))
        return Checkpoint(features=features, network=network, **content)
    except (KeyError, TypeError) as error:
        raise ModelFileError(path, f"a checkpoint without all of its parts ({error})") from error


def _check_sums(path: Path) -> None:
    """Finds damage inside the archive, which torch's own reader lets pass as other weights."""
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
