"""The objective `both`: to guess words that are missing, and find those that do not belong."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from teddy.model.encoder import Encoder
from teddy.training.pretrain.objective import Guesses, Objective, Puzzle, WordGuess, choose, exchange, make_puzzle


class MaskedAndReplacedWords(Objective):
    """Guess masked words and detect replaced ones in one reading.

        loss = loss of `MaskedWords` + detection weight * loss of `ReplacedWords`

    A word is masked or replaced, not both; of a masked word it is not asked whether it was replaced. A verdict is
    worth far fewer nats than a guess among thousands of words, hence the weight (50 in Clark et al. 2020).
    """

    def __init__(
        self,
        encoder_width: int,
        embedding_width: int,
        masked_share: float,
        replaced_share: float,
        detection_weight: float,
    ) -> None:
        super().__init__()
        self.masked_share = masked_share
        self.replaced_share = replaced_share
        self.detection_weight = detection_weight
        self.guess = WordGuess(encoder_width, embedding_width)
        self.verdict = nn.Linear(encoder_width, 1)

    def puzzle(self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator) -> Puzzle:
        """See `Objective`."""
        exchanged = random.random(words.shape) < self.replaced_share
        masked = choose(words.shape, self.masked_share, random)
        if (masked & ~exchanged).any():
            masked &= ~exchanged
        else:  # of a short batch, in which something must be guessed
            exchanged &= ~masked
        shown = exchange(words, exchanged, random)
        replaced = shown != words
        return make_puzzle(words, np.where(masked, n_distinct, shown), masked=masked, replaced=replaced)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """See `Objective`."""
        n_rows, width = puzzle.shown.shape
        states = encoder(vectors, torch.full((n_rows,), width, device=vectors.device))
        judged = ~puzzle.masked
        return Guesses(
            queries=self.guess(states[puzzle.masked]),
            targets=puzzle.true[puzzle.masked],
            verdicts=self.verdict(states).squeeze(2)[judged].float(),
            replaced=puzzle.replaced[judged].float(),
        )
