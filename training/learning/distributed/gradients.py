"""The gradients of an update, summed over its parts and processes, and the embedding divided over the processes.

The sums are those of one process on the whole batch but for rounding: each part's loss is divided
by the words of the whole. With two processes, and one part for each, they are the very bits of one
process with two parts.

The table is by far the largest of the weights and an update touches few of its rows, yet AdamW
moves all of them: their momentum goes on. Dividing the optimiser's work (as ZeRO does, Rajbhandari
et al. 2020) costs two exchanges of the touched rows: their owners send the values that an update
needs, and are sent the gradients. Rows of others go stale, and are completed when the whole table
is wanted: for an evaluation and a checkpoint.

A process by itself owns all rows. It gains as well: no gradient of the whole table is made for a
few thousand rows.
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


class EmbeddingShard:
    """The rows of one process of a table [N, E]; see the head of this file."""

    def __init__(self, embedding: nn.Parameter, group: ProcessGroup) -> None:
        """`parameter` is what the optimiser learns: the rows of this process, in the table's own memory."""
        n_rows = len(embedding)
        self._group = group
        self._embedding = embedding
        self._starts = [n_rows * rank // group.size for rank in range(group.size + 1)]
        self._asked: list[int] = []
        self._answered: list[int] = []
        self._served = self._distinct = torch.empty(0, dtype=torch.int64, device=embedding.device)
        self.parameter = embedding if group.size == 1 else nn.Parameter(self.own(embedding.data))
        self._gradient = torch.zeros_like(self.parameter)
        self.parameter.grad = self._gradient

    def own(self, table: Tensor) -> Tensor:
        """The rows of this process of a table [N, ...]: a view."""
        rank = self._group.rank
        return table[self._starts[rank] : self._starts[rank + 1]]

    def complete(self, table: Tensor) -> Tensor:
        """Fill in what other processes hold of a table [N, ...], in place, and return it.

        Collective.
        """
        return self._group.complete(table, self._starts)

    def whole(self, own: Tensor) -> Tensor:
        """A table [N, ...] of which each process has its own rows. Collective."""
        if self._group.size == 1:
            return own
        table = own.new_empty((self._starts[-1], *own.shape[1:]))
        self.own(table).copy_(own)
        return self.complete(table)

    def fetch(self, rows: Tensor) -> Tensor:
        """The values of distinct rows in order, int64 [R] -> [R, E], for which a gradient can be asked. Collective.

        The gradients of the last update are gone with it.
        """
        self._gradient.index_fill_(0, self._served, 0.0)
        borders = torch.searchsorted(rows, torch.tensor(self._starts)).tolist()
        self._asked = [end - start for start, end in pairwise(borders)]
        self._answered = self._group.exchange_counts(self._asked)
        wanted = self._group.exchange(rows.to(self._embedding.device), self._asked, self._answered)
        self._served = wanted - self._starts[self._group.rank]
        with torch.no_grad():
            values = self._group.exchange(self.parameter[self._served], self._answered, self._asked)
        return values.requires_grad_()

    def give(self, gradients: Tensor) -> None:
        """Send the gradients [R, E] of the rows that were fetched to their owners, who add them up.

        Collective.
        """
        received = self._group.exchange(gradients, self._asked, self._answered)
        # One process after the other: a sum of three numbers depends on their order.
        parts = zip(
            torch.split(self._served, self._answered),
            torch.split(received, self._answered),
            strict=True,
        )
        for places, values in parts:
            self._gradient.index_add_(0, places, values)
        self._distinct = torch.unique(self._served)

    def squared_norm(self) -> Tensor:
        """Of the gradients of this process's rows, float64 []."""
        return self._gradient[self._distinct].double().square().sum()

    def scale(self, factor: float) -> None:
        """Multiply the gradients of this process's rows."""
        self._gradient[self._distinct] *= factor


class Gradients:
    """Where the gradients of a network lie: those of its embedding in a shard, all others one after another."""

    def __init__(self, network: Network, shard: EmbeddingShard, group: ProcessGroup) -> None:
        self._asked = _Asked(network)
        self._shard = shard
        self._group = group
        self._table = torch.empty(0)
        learnt = [
            each
            for each in network.parameters()
            if each.requires_grad and each is not network.embedding
        ]
        # In one piece, they are cleared, sent, measured and scaled at once.
        self._rest = torch.zeros(
            sum(each.numel() for each in learnt), device=network.embedding.device
        )
        for parameter, gradient in zip(
            learnt, torch.split(self._rest, [each.numel() for each in learnt]), strict=True
        ):
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
        """Add up the gradients of all processes and, float64, their losses.

        Gives these and the norm. Collective.
        """
        self._group.sum(self._rest)
        gradient = self._table.grad
        self._shard.give(torch.zeros_like(self._table) if gradient is None else gradient)
        *losses_, squared = self._group.sum(
            torch.cat((losses, self._shard.squared_norm().view(1)))
        ).tolist()
        return losses_, math.sqrt(
            vector_norm(self._rest, dtype=torch.float64).item() ** 2 + squared
        )

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
