"""The processes that train one model together: how they exchange tensors and stay alike.

Every operation is collective: all processes call it, in the same order, with tensors of the same
kind. Tensors on the CPU travel by gloo, those on a GPU by NCCL. All processes get the same bits: a
sum is made in one order for all of them.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from zlib import crc32

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from teddy.model.errors import TrainingError
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network

PATIENCE = timedelta(minutes=10)
"""How long to wait for a process that hangs: longer than writing a checkpoint takes. One that died
is noticed at once, by its closed connection."""


class LostProcessError(TrainingError):
    """Another process of the run has died, or hangs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessGroup:
    """A group of `size` processes, `n_here` of them on this machine, as number `rank` sees it."""

    rank: int = 0
    size: int = 1
    n_here: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes files and logs."""
        return self.rank == 0

    def share(self, n_things: int) -> range:
        """Return the range of `n_things` that is this process's; all are about as long."""
        return range(self.rank * n_things // self.size, (self.rank + 1) * n_things // self.size)

    def sum(self, values: Tensor) -> Tensor:
        """Put the sum over all processes in place of `values`, and return it."""
        if self.size > 1:
            with _naming_lost_processes():
                dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Tell whether the flag is set in any of the processes."""
        return bool(self.sum(torch.tensor([int(flag)])).item())

    def exchange(self, rows: Tensor, n_sent: Sequence[int], n_received: Sequence[int]) -> Tensor:
        """Send `n_sent[r]` rows to each process r; return the rows received, in the order of r.

        Shape: [sum of n_sent, ...] -> [sum of n_received, ...].
        """
        if self.size == 1:
            return rows
        received = rows.new_empty((sum(n_received), *rows.shape[1:]))
        with _naming_lost_processes():
            dist.all_to_all_single(received, rows, list(n_received), list(n_sent))
        return received

    def exchange_counts(self, counts: Sequence[int]) -> list[int]:
        """Send each process one number; return the one received from each."""
        each = [1] * self.size
        return self.exchange(torch.tensor(list(counts)), each, each).tolist()

    def complete(self, table: Tensor, starts: Sequence[int]) -> Tensor:
        """Fill in a table, in place; process r has the rows `starts[r]:starts[r + 1]`."""
        if self.size > 1:
            with _naming_lost_processes():
                for owner, (start, end) in enumerate(pairwise(starts)):
                    dist.broadcast(table[start:end], owner)
        return table

    def require_same(self, value: int, what: str) -> None:
        """Raise TrainingError, in all processes, unless all have the same value of `what`."""
        values = self.exchange_counts([value] * self.size)
        if len(set(values)) > 1:
            raise TrainingError(
                f"the processes of this run differ in {what} ({', '.join(map(str, values))})"
            )


SINGLE_PROCESS = ProcessGroup()
"""A process that trains by itself."""


@contextmanager
def join_group(
    rank: int = 0, size: int = 1, local_rank: int = 0, local_size: int = 1, restarts: int = 0
) -> Iterator[ProcessGroup]:
    """Join the group that torchrun has started this process in, as long as the block lasts.

    The process has number `rank` of `size`, on its machine `local_rank` of `local_size`; the group
    has been started again `restarts` times.
    """
    if size == 1:
        yield SINGLE_PROCESS
        return
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(local_rank % torch.cuda.device_count())
    with _naming_lost_processes():
        store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
        # After a restart torchrun's store still has the addresses of processes that are gone.
        store = dist.PrefixStore(  # type: ignore[attr-defined]
            f"restart-{restarts}", store
        )
        backend = "cpu:gloo,cuda:nccl" if has_gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    try:
        yield ProcessGroup(rank=rank, size=size, n_here=local_size)
    finally:
        dist.destroy_process_group()


def current_group(n_here: int = 1) -> ProcessGroup:
    """Return the group that this process has joined, as Ray's workers have, or SINGLE_PROCESS."""
    if not dist.is_initialized():
        return SINGLE_PROCESS
    return ProcessGroup(rank=dist.get_rank(), size=dist.get_world_size(), n_here=n_here)


@contextmanager
def _naming_lost_processes() -> Iterator[None]:
    """Raise LostProcessError where torch raises RuntimeError for a process that does not answer."""
    try:
        yield
    except RuntimeError as error:
        # "[/a/gloo.cc:537] Read error [127.0.0.1]:1458: Connection reset by peer. This is ..."
        reason = re.sub(r"\[\S*:\d+\] ", "", str(error)).split(". ")[0].partition("\n")[0]
        raise LostProcessError(
            f"another process of this run is gone or does not answer ({reason})"
        ) from error


def require_same_beginning(
    group: ProcessGroup, network: Network, features: WordFeatures, step: int
) -> None:
    """Raise TrainingError unless all processes start from the same weights, pieces and step.

    Collective.
    """
    if group.size > 1:
        digest = _digest(network.parameters(), crc32(features.pieces.serialised, step))
        group.require_same(
            digest,
            "what they begin with: they must see the same data, --output and version of Teddy",
        )


def require_same_weights(group: ProcessGroup, network: Network, step: int) -> None:
    """Raise TrainingError unless all weights but the embedding's are the same in all processes.

    Collective.
    """
    if group.size > 1:
        own = (each for each in network.parameters() if each is not network.embedding)
        group.require_same(_digest(own), f"their weights after step {step}")


def _digest(tensors: Iterable[Tensor], start: int = 0) -> int:
    for each in tensors:
        start = crc32(each.detach().cpu().contiguous().numpy().data, start)
    return start
