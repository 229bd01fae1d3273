"""The state of a training run, whole: what a killed run needs to go on, and what `export` needs."""

import io
import zipfile
from dataclasses import asdict, dataclass
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

_FORMAT = 2
_DIRECTORY = 0x10  # an attribute of MS-DOS in a zip file


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
    """A `teddy.training.evaluation.measurements.Measurements` as JSON; empty until the weights have been
    measured."""
    inherited: tuple[TrainingData, ...] = ()
    """What the weights that the run started from had been learnt from."""

    def build(self) -> tuple[Network, WordFeatures, TagSet]:
        """The network with its weights, in evaluation mode, and what gives its numbers a meaning."""
        tag_set = TagSet(self.labels)
        features = WordFeatures(Pieces(self.pieces), self.features, self.words)
        network = Network(self.network, features.n_rows, tag_set)
        network.load_state_dict(self.weights)
        return network.eval(), features, tag_set

    def save(self, path: Path) -> None:
        """Writes the checkpoint whole or not at all."""
        content = {name: getattr(self, name) for name in self.__slots__}
        stream = io.BytesIO()
        plain = {"features": asdict(self.features), "network": asdict(self.network)}
        credit = {"inherited": [asdict(each) for each in self.inherited]}
        torch.save({"format": _FORMAT, **content, **plain, **credit}, stream)
        write_atomically(path, stream.getvalue())


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint; only plain values and tensors are accepted, so a foreign file cannot run code.

    Raises ModelFileError when the file is missing, damaged or not a checkpoint.
    """
    content = read_torch_file(path, "checkpoint")
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(path, f"not a checkpoint of format {_FORMAT}")
    try:
        features = FeatureConfig(**content.pop("features"))
        network = NetworkConfig(**content.pop("network"))
        inherited = tuple(TrainingData(**each) for each in content.pop("inherited", ()))
        return Checkpoint(features=features, network=network, inherited=inherited, **content)
    except (KeyError, TypeError) as error:
        raise ModelFileError(path, f"a checkpoint without all of its parts ({error})") from error


def read_torch_file(path: Path, kind: str) -> Any:
    """What torch saved in a file, if it is whole and holds only plain values and tensors; else ModelFileError."""
    try:
        _check_sums(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ModelFileError(path, f"no such {kind}") from None
    except Exception as error:  # torch raises a dozen unrelated types for damaged archives
        raise ModelFileError(path, f"not a whole {kind} ({type(error).__name__})") from error


def _check_sums(path: Path) -> None:
    """Finds damage inside the archive, which torch's own reader lets pass as other weights."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.external_attr & _DIRECTORY:  # torch's reader would leave its tensor unread
                raise zipfile.BadZipFile(f"{member.filename} is damaged")
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")
