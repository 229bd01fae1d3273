"""The objective `replaced`: to find the words that do not belong where they are."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from teddy.model.encoder import Encoder
from teddy.training.pretrain.objective import Guesses, Objective, Puzzle, choose, exchange, make_puzzle


class ReplacedWords(Objective):
    """Tell the words that were replaced from those that were not (ELECTRA, Clark et al. 2020).

        loss = - mean over t of log P(replaced_t | all words as shown)

    Replacements are drawn from the words of the batch, not from a second network as there. One that happens to be the
    word itself counts as not replaced.
    """

    def __init__(self, encoder_width: int, replaced_share: float) -> None:
        super().__init__()
        self.replaced_share = replaced_share
        self.verdict = nn.Linear(encoder_width, 1)

    def puzzle(
        self,
        words: NDArray[np.int64],
        n_distinct: int,  # noqa: ARG002 - nothing is hidden
        random: np.random.Generator,
    ) -> Puzzle:
        """See `Objective`."""
        shown = exchange(words, choose(words.shape, self.replaced_share, random), random)
        return make_puzzle(words, shown, replaced=shown != words)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """See `Objective`: a verdict for each word."""
        n_rows, width = puzzle.shown.shape
        states = encoder(vectors, torch.full((n_rows,), width, device=vectors.device))
        verdicts = self.verdict(states).flatten().float()
        return Guesses(verdicts=verdicts, replaced=puzzle.replaced.flatten().float())
