"""How torch is set up for training: device, threads, number format, memory, seed and optimiser."""

import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from teddy.model.config import CellName
from teddy.model.errors import TrainingError
from teddy.model.network.cells import kernel_has_bf16
from teddy.model.network.precision import processor_has_bf16
from teddy.model.network.tagger_network import Network
from teddy.model.system.memory import bound_kernel_cache
from teddy.model.system.processes import available_cores

_MOST_THREADS = 4
"""The most threads of `threads = 0`; two gained 5 % (see `teddy.training.recipe.recipe`)."""


def choose_device(wanted: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` means here.

    Raises TrainingError for a GPU that is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TrainingError("the recipe's device is cuda, but torch sees no CUDA device here")
    return torch.device(wanted)


def set_up_memory() -> None:
    """Ask for memory pages of 2 MB, and bound oneDNN's cache; to be called before the first tensor.

    The gradient of an embedding is as large as the embedding and lives for one update: in pages of
    4 KB, fetching and clearing them was more than half of the backward pass of a bag of words
    (75,000 rows of 128: 223 ms, and 87 with this, on a busy machine).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    bound_kernel_cache()


def set_threads(wanted: int, n_processes: int = 1) -> None:
    """Let torch use so many CPU threads; 0: the cores, shared by the processes, at most 4."""
    torch.set_num_threads(wanted or max(1, min(available_cores() // n_processes, _MOST_THREADS)))


def autocast(wanted: str, device: torch.device) -> AbstractContextManager[Any]:
    """Let a network compute in `fp32`, `bf16`, or `auto`, the faster of the two, in a block."""
    if wanted == "fp32" or (wanted == "auto" and not has_fast_bf16(device)):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def check_number_format(wanted: str, cell: CellName, device: torch.device) -> None:
    """Raise TrainingError for an LSTM in bf16 on a processor without AVX-512."""
    if wanted == "bf16" and cell == "lstm" and device.type == "cpu" and not kernel_has_bf16():
        raise TrainingError(
            "mixed_precision is bf16, but this processor runs no LSTM in it: leave it at auto"
        )


class FromAnywhere:
    """A network on any device, for a tagger, which is on the CPU."""

    def __init__(self, network: Network, device: torch.device) -> None:
        self._network = network
        self._device = device

    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """See `Network.word_vectors`."""
        return self._network.word_vectors(rows.to(self._device), starts.to(self._device)).cpu()

    def __call__(
        self, vectors: Tensor, words: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Network.forward`. Only the vectors of words that occur are sent to the device."""
        occurring, places = words.unique(return_inverse=True)  # type: ignore[no-untyped-call]
        there = (each.to(self._device) for each in (vectors[occurring], places, lengths))
        tags, marginal, opening, closing = self._network(*there)
        return tags.cpu(), marginal.cpu(), opening.cpu(), closing.cpu()


def has_fast_bf16(device: torch.device) -> bool:
    """Tell whether bf16 is fast: on a GPU, or on a CPU that multiplies in it."""
    return device.type == "cuda" or processor_has_bf16()


def seed_torch(seed: int) -> None:
    """Seed torch's generators, on all devices; they are the only hidden random state here."""
    torch.manual_seed(seed)


def generator(*key: int) -> np.random.Generator:
    """Return a random generator that depends on the key alone, as resuming a run needs it."""
    return np.random.default_rng(np.random.SeedSequence(key))


def schedule(progress: float, warmup_share: float, final_share: float) -> float:
    """Return the share of the learning rate at a point of the run, `progress`, 0 to 1.

    It rises in a line, then falls in a line to `final_share`.
    """
    if progress < warmup_share:
        return max(progress / warmup_share, 1e-3)
    return 1.0 - (1.0 - final_share) * (progress - warmup_share) / max(1.0 - warmup_share, 1e-9)


STARTED = ("embedding", "normalisation.", "encoder.")
"""The names of the weights that pre-training and models to start from bring."""


def make_optimiser(
    network: nn.Module,
    learning_rate: float,
    weight_decay: float,
    started_share: float = 1.0,
    *,
    embedding: nn.Parameter | None = None,
) -> torch.optim.Optimizer:
    """Make AdamW (Loshchilov & Hutter 2019); embedding, biases and CRF do not decay.

    An embedding's rows must not decay while their words are not seen. Embedding and encoder, or
    what else the network names in `STARTED`, learn at `started_share` of the rate. `embedding` are
    the rows that are learnt here, if not all.
    """
    started_names: tuple[str, ...] = getattr(network, "STARTED", STARTED)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            decays = parameter.dim() >= 2 and not name.startswith(("embedding", "crf"))
            started = name.startswith(started_names)
            learnt = embedding if embedding is not None and name == "embedding" else parameter
            groups.setdefault((decays, started), []).append(learnt)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "weight_decay": weight_decay if decays else 0.0,
                "rate_share": started_share if started else 1.0,
            }
            for (decays, started), parameters in groups.items()
        ],
        lr=learning_rate,
        betas=(0.9, 0.99),
        fused=True,
    )
