"""The objective `masked`: to guess the words that are missing."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.encoder import Encoder
from teddy.training.pretrain.objective import Guesses, Objective, Puzzle, WordGuess, choose, make_puzzle


class MaskedWords(Objective):
    """Guess words that were masked from all the others (Devlin et al. 2019; the cloze of Taylor 1953).

        loss = - mean over masked t of log P(w_t | the words around t)

    A masked word is shown as the unknown word, as word dropout does while a tagger is trained.
    """

    def __init__(self, encoder_width: int, embedding_width: int, masked_share: float) -> None:
        super().__init__()
        self.masked_share = masked_share
        self.guess = WordGuess(encoder_width, embedding_width)

    def puzzle(self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator) -> Puzzle:
        """See `Objective`."""
        masked = choose(words.shape, self.masked_share, random)
        return make_puzzle(words, np.where(masked, n_distinct, words), masked=masked)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """See `Objective`."""
        n_rows, width = puzzle.shown.shape
        states = encoder(vectors, torch.full((n_rows,), width, device=vectors.device))
        return Guesses(queries=self.guess(states[puzzle.masked]), targets=puzzle.true[puzzle.masked])
