"""The objective `causal`: two language models, of which each reads one way."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from teddy.model.encoder import Encoder, RecurrentLayer
from teddy.training.pretrain.objective import Guesses, Objective, Puzzle, WordGuess, make_puzzle


class NextWords(Objective):
    """Guess the next word reading forwards, and the one before reading backwards (ELMo, Peters et al. 2018).

        loss = - mean over t of log P(w_t | w_1 ... w_t-1) and of log P(w_t | w_t+1 ... w_T)

    The first word of a reading has nothing to be guessed from, and is not.
    """

    def __init__(self, hidden_width: int, embedding_width: int) -> None:
        super().__init__()
        self.next = WordGuess(hidden_width, embedding_width)
        self.previous = WordGuess(hidden_width, embedding_width)

    def puzzle(
        self,
        words: NDArray[np.int64],
        n_distinct: int,  # noqa: ARG002 - nothing is hidden
        random: np.random.Generator,  # noqa: ARG002
    ) -> Puzzle:
        """See `Objective`; the words are shown as they are."""
        return make_puzzle(words, words)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """See `Objective`: first all guesses of next words, then all of previous ones."""
        forwards = read_one_way(encoder, vectors, backwards=False)
        backwards = read_one_way(encoder, vectors.flip(1), backwards=True)
        queries = (self.next(forwards[:, :-1].flatten(0, 1)), self.previous(backwards[:, :-1].flatten(0, 1)))
        targets = (puzzle.true[:, 1:].flatten(), puzzle.true.flip(1)[:, 1:].flatten())
        return Guesses(queries=torch.cat(queries), targets=torch.cat(targets))


def read_one_way(encoder: Encoder, vectors: Tensor, *, backwards: bool) -> Tensor:
    """The states of one direction of the stack alone: the other's share of what a layer reads is zero.

    With the other's there, a second layer would be told what is still to come.

    Shape: [B, T, E] in the order of reading -> [B, T, hidden width] in the same order.
    """
    # The layers have time first.
    states = vectors.transpose(0, 1)
    for depth, layer in enumerate(encoder.recurrent):
        if depth and not encoder.summed:
            nothing = torch.zeros_like(states)
            states = torch.cat((nothing, states) if backwards else (states, nothing), dim=2)
        states = encoder.dropout(_one_way(layer, backwards=backwards)(states).transpose(0, 1)).transpose(0, 1)
    return states.transpose(0, 1)


def _one_way(layer: nn.Module, *, backwards: bool) -> nn.Module:
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(f"{type(layer).__name__} is not a layer of two directions")
    return layer.backwards if backwards else layer.forwards
