"""The embedding, divided over the processes of a run: each looks after a run of rows, and learns no others.

The table is by far the largest of the weights and an update touches few of its rows, yet AdamW moves all of them: their
momentum goes on. Dividing the optimiser's work (as ZeRO does, Rajbhandari et al. 2020) costs two exchanges of the
touched rows: their owners send the values that an update needs, and are sent the gradients. Rows of others go stale,
and are completed when the whole table is wanted: for an evaluation and a checkpoint.

A process by itself owns all rows. It gains as well: no gradient of the whole table is made for a few thousand rows.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from teddy.training.distributed.world import World


class EmbeddingShard:
    """The rows of one process of a table [N, E]; see the head of this file."""

    def __init__(self, embedding: nn.Parameter, world: World) -> None:
        """`parameter` is what the optimiser learns: the rows of this process, in the table's own memory."""
        n_rows = len(embedding)
        self._world = world
        self._embedding = embedding
        self._starts = [n_rows * rank // world.size for rank in range(world.size + 1)]
        self._asked: list[int] = []
        self._answered: list[int] = []
        self._served = self._distinct = torch.empty(0, dtype=torch.int64, device=embedding.device)
        self.parameter = embedding if world.size == 1 else nn.Parameter(self.own(embedding.data))
        self._gradient = torch.zeros_like(self.parameter)
        self.parameter.grad = self._gradient

    def own(self, table: Tensor) -> Tensor:
        """The rows of this process of a table [N, ...]: a view."""
        rank = self._world.rank
        return table[self._starts[rank] : self._starts[rank + 1]]

    def complete(self, table: Tensor) -> Tensor:
        """Fill in what other processes hold of a table [N, ...], in place, and return it. Collective."""
        return self._world.complete(table, self._starts)

    def whole(self, own: Tensor) -> Tensor:
        """A table [N, ...] of which each process has its own rows. Collective."""
        if self._world.size == 1:
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
        self._answered = self._world.exchange_counts(self._asked)
        wanted = self._world.exchange(rows.to(self._embedding.device), self._asked, self._answered)
        self._served = wanted - self._starts[self._world.rank]
        with torch.no_grad():
            values = self._world.exchange(self.parameter[self._served], self._answered, self._asked)
        return values.requires_grad_()

    def give(self, gradients: Tensor) -> None:
        """Send the gradients [R, E] of the rows that were fetched to their owners, who add them up. Collective."""
        received = self._world.exchange(gradients, self._asked, self._answered)
        # One process after the other: a sum of three numbers depends on their order.
        parts = zip(torch.split(self._served, self._answered), torch.split(received, self._answered), strict=True)
        for places, values in parts:
            self._gradient.index_add_(0, places, values)
        self._distinct = torch.unique(self._served)

    def squared_norm(self) -> Tensor:
        """Of the gradients of this process's rows, float64 []."""
        return self._gradient[self._distinct].double().square().sum()

    def scale(self, factor: float) -> None:
        """Multiply the gradients of this process's rows."""
        self._gradient[self._distinct] *= factor
