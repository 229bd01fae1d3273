"""The gradients of an update, summed over its parts, wherever they are computed; in place, where the optimiser looks.

The sums are those of one process on the whole batch but for rounding: each part's loss is divided by the words of the
whole. With two processes, and one part for each, they are the very bits of one process with two parts.
"""

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.linalg import vector_norm

from teddy.model.batching import Batch
from teddy.model.network import Network
from teddy.training.distributed.shard import EmbeddingShard
from teddy.training.distributed.world import World


class Gradients:
    """Where the gradients of a network lie: those of its embedding in a shard, all others one after another."""

    def __init__(self, network: Network, shard: EmbeddingShard, world: World) -> None:
        self._asked = _Asked(network)
        self._shard = shard
        self._world = world
        self._table = torch.empty(0)
        learnt = [each for each in network.parameters() if each.requires_grad and each is not network.embedding]
        # In one piece, they are cleared, sent, measured and scaled at once.
        self._rest = torch.zeros(sum(each.numel() for each in learnt), device=network.embedding.device)
        for parameter, gradient in zip(learnt, torch.split(self._rest, [each.numel() for each in learnt]), strict=True):
            parameter.grad = gradient.view_as(parameter)

    def begin(self, rows: Tensor) -> None:
        """Forget the gradients of the last update; these feature rows, int64 [R], take part in the next. Collective."""
        self._rest.zero_()
        self._table = self._shard.fetch(rows)

    def emissions(self, batch: Batch) -> Tensor:
        """See `Network.emissions`; the batch's rows are places in what `begin` was given."""
        parts = (batch.rows, batch.starts, batch.words, batch.lengths)
        return cast(Tensor, functional_call(self._asked, {"network.embedding": self._table}, parts))

    def combine(self, losses: Tensor) -> tuple[list[float], float]:
        """Add up the gradients of all processes and, float64, their losses. Gives these and the norm. Collective."""
        self._world.sum(self._rest)
        gradient = self._table.grad
        self._shard.give(torch.zeros_like(self._table) if gradient is None else gradient)
        *losses_, squared = self._world.sum(torch.cat((losses, self._shard.squared_norm().view(1)))).tolist()
        return losses_, math.sqrt(vector_norm(self._rest, dtype=torch.float64).item() ** 2 + squared)

    def clip(self, norm: float, most: float) -> None:
        """Shorten the gradients, of this norm, to the norm `most`; shorter ones stay."""
        factor = most / (norm + 1e-6)  # as torch.nn.utils.clip_grad_norm_ does
        if factor < 1.0:
            self._rest *= factor
            self._shard.scale(factor)


class _Asked(nn.Module):
    """A network that answers with emissions, for `functional_call`, which lends it another table."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor, starts: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        return self.network.emissions(rows, starts, words, lengths)
