"""The stack that reads a sentence in both directions.

torch's fused CPU kernels serve padded input, but not packed sequences of unequal lengths. So a
layer of two directions is two layers here, and the backward one reads each row reversed *by the
row's own length*: padding stays at the end, and the result is that of packing. (Two layers of
hidden 128, 32 rows of 5 to 44 words on one core: 75 ms instead of 136 packed.)

Inside, time comes first and a batch is a table of T * B words, so that reversing copies whole rows
of memory: 0.01 us a word, where `gather` along the time of [B, T, W] took 0.25, a sixth of the
kernel itself (bf16, width 128).
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.network.cells import make_recurrence
from teddy.model.network.crf import reversed_positions


class LockedDropout(nn.Module):
    """Dropout whose mask is the same for all words of a sentence (Gal & Ghahramani 2016)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, values: Tensor) -> Tensor:
        """Shape: [B, T, W] -> [B, T, W]. Outside training it does nothing."""
        if not self.training or self.probability == 0.0:
            return values
        keep = 1.0 - self.probability
        mask = torch.empty(
            (values.shape[0], 1, values.shape[2]), dtype=values.dtype, device=values.device
        )
        return values * (mask.bernoulli_(keep) / keep)


_BLOCK_ROWS = 16
_MOST_WORDS = 0.85
"""A batch with a smaller share of words is read in blocks of rows, each with its own length.

The kernels cost 3.3 us a place from 16 rows on (T 40, both directions of hidden 128, bf16), 4.5 for
8 rows. The CRF's loops, which cost alike for few rows and many, still take all rows at once."""


def words_read(lengths: NDArray[np.int64], width: int) -> int:
    """Return how many places `Encoder.forward` reads in each layer on a CPU, words and padding."""
    n_rows = len(lengths)
    if n_rows <= _BLOCK_ROWS or int(lengths.sum()) > _MOST_WORDS * n_rows * width:
        return n_rows * width
    starts = np.arange(0, n_rows, _BLOCK_ROWS)
    rows = np.minimum(n_rows - starts, _BLOCK_ROWS)
    longest = np.minimum((np.maximum.reduceat(lengths, starts) + 3) // 4 * 4, width)
    return int(rows @ longest)


def _reorder(values: Tensor, order: Tensor) -> Tensor:
    """Return [T, B, W] with its T * B words in another order, int64 [T * B]."""
    # `embedding` is `index_select` with a backward pass that is twice as fast.
    return functional.embedding(order, values.reshape(-1, values.shape[2])).view(values.shape)


class RecurrentLayer(nn.Module):
    """A layer of one direction or two, whose outputs are side by side or summed."""

    def __init__(self, config: NetworkConfig, input_width: int) -> None:
        super().__init__()
        self.bidirectional = config.bidirectional
        self.summed = config.combine == "sum"
        self.forwards = make_recurrence(config.cell, input_width, config.hidden_width)
        self.backwards: nn.Module = nn.Identity()
        if config.bidirectional:
            self.backwards = make_recurrence(config.cell, input_width, config.hidden_width)
        n_outputs = 2 if config.bidirectional and not self.summed else 1
        self.output_width = config.hidden_width * n_outputs

    def forward(self, values: Tensor, backward_order: Tensor) -> Tensor:
        """Shape: [T, B, input width], int64 [T * B] -> [T, B, output width]."""
        onwards: Tensor = self.forwards(values)
        if not self.bidirectional:
            return onwards
        back = _reorder(self.backwards(_reorder(values, backward_order)), backward_order)
        return onwards + back if self.summed else torch.cat((onwards, back), dim=2)


class Encoder(nn.Module):
    """Recurrent layers, then dense ones, each followed by dropout."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.summed = config.combine == "sum"
        width = config.embedding_width
        layers: list[RecurrentLayer] = []
        for _ in range(config.layers):
            layers.append(RecurrentLayer(config, width))
            width = layers[-1].output_width
        self.recurrent = nn.ModuleList(layers)
        dense: list[nn.Module] = []
        for dense_width in config.dense_widths:
            dense.append(nn.Sequential(nn.Linear(width, dense_width), nn.GELU()))
            width = dense_width
        self.dense = nn.ModuleList(dense)
        self.dropout = LockedDropout(config.layer_dropout)
        self.output_width = width
        self.block_rows, self.most_words = _BLOCK_ROWS, _MOST_WORDS

    def forward(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Shape: [B, T, embedding width], int64 [B] -> [B, T, output width]; padding is void.

        Both lie in memory as [T, B, width]: values that do not are copied. Rows of like length
        should be neighbours.
        """
        n_rows, width = values.shape[0], values.shape[1]
        # Reading the lengths back from a GPU would stall it.
        if (
            not lengths.is_cpu
            or n_rows <= self.block_rows
            or int(lengths.sum()) > self.most_words * n_rows * width
        ):
            return self._read(values, lengths)
        result = values.new_zeros([width, n_rows, self.output_width])
        for start in range(0, n_rows, self.block_rows):
            block = lengths[start : start + self.block_rows]
            # a few widths, for each of which a kernel is made
            longest = min(width, (int(block.max()) + 3) // 4 * 4)
            end = start + self.block_rows
            read = self._read(values[start:end, :longest], block)
            result[:longest, start:end] = read.transpose(0, 1)
        return result.transpose(0, 1)

    def _read(self, values: Tensor, lengths: Tensor) -> Tensor:
        """Read all rows at once, each as long as the longest."""
        n_rows, width = values.shape[0], values.shape[1]
        # Word t of row b is word t * B + b of the table.
        rows = torch.arange(n_rows, device=lengths.device)
        backward_order = (reversed_positions(lengths, width).t() * n_rows + rows).reshape(-1)
        for layer in self.recurrent:
            values = self.dropout(layer(values.transpose(0, 1), backward_order).transpose(0, 1))
        for layer in self.dense:
            values = self.dropout(layer(values))
        return values
