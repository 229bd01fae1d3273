"""What a network is asked while it learns from plain text: the parts that all objectives share.

Letters: B sentences of T words each; U distinct words; E the embedding width; N words to guess, M to judge.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from teddy.model.encoder import Encoder


@dataclass(frozen=True, slots=True, kw_only=True)
class Puzzle:
    """A batch as it is put to the network, and as it was. All are [B, T].

    `true` and `shown` are int64 positions among the batch's U distinct words; a word that is shown as U is the unknown
    word. `masked` and `replaced` are bool: what was hidden, and what stands for another word now.
    """

    true: Tensor
    shown: Tensor
    masked: Tensor
    replaced: Tensor

    def to(self, device: torch.device) -> "Puzzle":
        """The same puzzle on another device."""
        return Puzzle(
            true=self.true.to(device),
            shown=self.shown.to(device),
            masked=self.masked.to(device),
            replaced=self.replaced.to(device),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guesses:
    """What the network answers, beside what is right; of both parts at least one is there.

    `queries` [N, E] are to lie near the vector of the word that is right, `targets` int64 [N]. `verdicts` float32 [M]
    are the log-odds that a word was replaced, `replaced` float32 [M] is 1 where one was, else 0.
    """

    queries: Tensor | None = None
    targets: Tensor | None = None
    verdicts: Tensor | None = None
    replaced: Tensor | None = None


class Objective(nn.Module):
    """Puts a puzzle and reads the answer off the encoder; holds the layers that only pre-training needs."""

    detection_weight: float = 1.0
    """Of the loss over verdicts, beside that over guessed words."""

    def puzzle(self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator) -> Puzzle:
        """Hides or replaces words [B, T] at random."""
        raise NotImplementedError

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """What is made of the shown words. Shape: float [B, T, E]."""
        raise NotImplementedError


class WordGuess(nn.Module):
    """From a state of the encoder to a query: a vector that is to be like that of the word meant."""

    def __init__(self, input_width: int, embedding_width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(input_width, embedding_width)
        self.normalisation = nn.LayerNorm(embedding_width)

    def forward(self, states: Tensor) -> Tensor:
        """Shape: [N, input width] -> [N, E]."""
        query: Tensor = self.normalisation(self.projection(states))
        return query


def choose(shape: tuple[int, ...], share: float, random: np.random.Generator) -> NDArray[np.bool_]:
    """Chooses each place with this probability, and never none: a short batch must ask something too."""
    chosen = random.random(shape) < share
    if not chosen.any():
        chosen.flat[random.integers(chosen.size)] = True
    return chosen


def exchange(words: NDArray[np.int64], places: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.int64]:
    """The words, with those at some places replaced by others drawn from the batch, frequent ones more often."""
    shuffled = random.permutation(words.reshape(-1)).reshape(words.shape)
    return np.where(places, shuffled, words)


def make_puzzle(
    true: NDArray[np.int64],
    shown: NDArray[np.int64],
    masked: NDArray[np.bool_] | None = None,
    replaced: NDArray[np.bool_] | None = None,
) -> Puzzle:
    """A puzzle of arrays."""
    nowhere = np.zeros(true.shape, dtype=np.bool_)
    return Puzzle(
        true=torch.from_numpy(np.ascontiguousarray(true)),
        shown=torch.from_numpy(np.ascontiguousarray(shown)),
        masked=torch.from_numpy(nowhere if masked is None else masked),
        replaced=torch.from_numpy(nowhere if replaced is None else replaced),
    )
