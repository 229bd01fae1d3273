"""Processes that train together begin alike and stay alike; whether they do is looked at now and then."""

from collections.abc import Iterable
from zlib import crc32

from torch import Tensor

from teddy.model.features import WordFeatures
from teddy.model.network import Network
from teddy.training.distributed.world import World


def require_same_beginning(world: World, network: Network, features: WordFeatures, step: int) -> None:
    """Raise TrainingError unless all processes start from the same weights, pieces and step. Collective."""
    if world.size > 1:
        digest = _digest(network.parameters(), crc32(features.pieces.serialised, step))
        world.require_same(digest, "what they begin with: they must see the same data, --output and version of Teddy")


def require_same_weights(world: World, network: Network, step: int) -> None:
    """Raise TrainingError unless all weights but the embedding's are the same in all processes. Collective."""
    if world.size > 1:
        own = (each for each in network.parameters() if each is not network.embedding)
        world.require_same(_digest(own), f"their weights after step {step}")


def _digest(tensors: Iterable[Tensor], start: int = 0) -> int:
    for each in tensors:
        start = crc32(each.detach().cpu().contiguous().numpy().data, start)
    return start
