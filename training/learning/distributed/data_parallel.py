"""The gradients of an update, summed over processes that train one network.

The sums are those of one process on the whole batch but for rounding: each micro-batch's loss is
divided by the words of the whole batch. Two processes with one micro-batch each give the very bits
of one process with two.

The embedding is by far the largest weight and an update touches few of its rows, yet AdamW moves
all of them. So each process owns some rows (ZeRO, Rajbhandari et al. 2020): owners send the values
of the touched rows and receive their gradients. A process's copies of other rows go stale; they are
completed when the whole table is needed, for an evaluation and a checkpoint.

One process owns all rows and exchanges nothing. It gains too: no gradient of the whole table is
made for a few thousand rows (48 -> 34 ms an update; see docs/distributed.md).
"""

import math
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.linalg import vector_norm

from teddy.model.features.batching import Batch
from teddy.model.network.tagger_network import Network
from teddy.training.learning.distributed.process_group import ProcessGroup


class DataParallel:
    """The gradients of a network in one process of a group.

    All methods but `emissions`, `clip` and `own` are collective.
    """

    def __init__(self, network: Network, group: ProcessGroup) -> None:
        table = network.embedding
        self._group = group
        self._starts = [len(table) * rank // group.size for rank in range(group.size + 1)]
        self._n_asked: list[int] = []
        self._n_served: list[int] = []
        self._served = self._distinct = torch.empty(0, dtype=torch.int64, device=table.device)
        self.embedding = table if group.size == 1 else nn.Parameter(self.own(table.data))
        """The rows of this process, in the table's own memory; the optimiser learns them."""
        self._gradient = self.embedding.grad = torch.zeros_like(self.embedding)
        self._values = torch.empty(0)
        self._asked = _Emissions(network)
        learnt = [each for each in network.parameters() if each.requires_grad and each is not table]
        # In one piece, they are cleared, sent, measured and scaled at once.
        self._rest = torch.zeros(sum(each.numel() for each in learnt), device=table.device)
        pieces = torch.split(self._rest, [each.numel() for each in learnt])
        for parameter, gradient in zip(learnt, pieces, strict=True):
            parameter.grad = gradient.view_as(parameter)

    def own(self, table: Tensor) -> Tensor:
        """Return the rows of this process of a table [N, ...]: a view."""
        return table[self._starts[self._group.rank] : self._starts[self._group.rank + 1]]

    def complete(self, table: Tensor) -> Tensor:
        """Fill in other processes' rows of a table [N, ...], in place, and return it."""
        return self._group.complete(table, self._starts)

    def whole(self, own: Tensor) -> Tensor:
        """Return the table [N, ...] of which each process has its own rows."""
        if self._group.size == 1:
            return own
        table = own.new_empty((self._starts[-1], *own.shape[1:]))
        self.own(table).copy_(own)
        return self.complete(table)

    def zero_grad(self, rows: Tensor) -> None:
        """Clear the gradients, and fetch the feature rows, int64 [R], of the next update."""
        self._rest.zero_()
        self._gradient.index_fill_(0, self._served, 0.0)
        borders = torch.searchsorted(rows, torch.tensor(self._starts)).tolist()
        self._n_asked = [end - start for start, end in pairwise(borders)]
        self._n_served = self._group.exchange_counts(self._n_asked)
        wanted = self._group.exchange(rows.to(self.embedding.device), self._n_asked, self._n_served)
        self._served = wanted - self._starts[self._group.rank]
        with torch.no_grad():
            values = self._group.exchange(
                self.embedding[self._served], self._n_served, self._n_asked
            )
        self._values = values.requires_grad_()

    def emissions(self, batch: Batch) -> Tensor:
        """Call `Network.emissions`; the batch's rows are places in those of `zero_grad`."""
        parts = (batch.rows, batch.starts, batch.words, batch.lengths)
        table = {"network.embedding": self._values}
        return cast(Tensor, functional_call(self._asked, table, parts))

    def reduce(self, losses: Tensor) -> tuple[list[float], float]:
        """Sum gradients and losses, float64, over processes; return the losses and the norm."""
        self._group.sum(self._rest)
        values = self._values
        given = self._group.exchange(
            torch.zeros_like(values) if values.grad is None else values.grad,
            self._n_asked,
            self._n_served,
        )
        # One process after the other: a sum of three numbers depends on their order.
        for places, gradients in zip(
            torch.split(self._served, self._n_served),
            torch.split(given, self._n_served),
            strict=True,
        ):
            self._gradient.index_add_(0, places, gradients)
        self._distinct = torch.unique(self._served)
        squared = self._gradient[self._distinct].double().square().sum()
        *sums, squared_sum = self._group.sum(torch.cat((losses, squared.view(1)))).tolist()
        rest = vector_norm(self._rest, dtype=torch.float64).item()
        return sums, math.sqrt(rest**2 + squared_sum)

    def clip(self, norm: float, most: float) -> None:
        """Shorten the gradients, of this norm, to the norm `most`; shorter ones stay."""
        factor = most / (norm + 1e-6)  # as torch.nn.utils.clip_grad_norm_ does
        if factor < 1.0:
            self._rest *= factor
            self._gradient[self._distinct] *= factor


class _Emissions(nn.Module):
    """A network whose output is emissions, for `functional_call`, which lends it a table."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, rows: Tensor, starts: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        return self.network.emissions(rows, starts, words, lengths)
