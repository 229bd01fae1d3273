"""The objectives `masked`, `replaced`, `both` and `causal`, and the network that learns from one of them."""

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.network.encoder import Encoder, RecurrentLayer
from teddy.model.network.tagger_network import Backbone
from teddy.training.pretrain.objective import (
    Guesses,
    Objective,
    Puzzle,
    TextBatch,
    WordGuess,
    candidate_logits,
    choose,
    exchange,
    make_puzzle,
)
from teddy.training.recipe.sections import PretrainConfig


class MaskedWords(Objective):
    """Guess words that were masked from all the others (Devlin et al.

    2019; the cloze of Taylor 1953).

        loss = - mean over masked t of log P(w_t | the words around t)

    A masked word is shown as the unknown word, as word dropout does while a tagger is trained.
    """

    def __init__(self, encoder_width: int, embedding_width: int, masked_share: float) -> None:
        super().__init__()
        self.masked_share = masked_share
        self.guess = WordGuess(encoder_width, embedding_width)

    def puzzle(
        self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator
    ) -> Puzzle:
        """See `Objective`."""
        masked = choose(words.shape, self.masked_share, random)
        return make_puzzle(words, np.where(masked, n_distinct, words), masked=masked)

    def answer(self, encoder: Encoder, vectors: Tensor, puzzle: Puzzle) -> Guesses:
        """See `Objective`."""
        n_rows, width = puzzle.shown.shape
        states = encoder(vectors, torch.full((n_rows,), width, device=vectors.device))
        return Guesses(
            queries=self.guess(states[puzzle.masked]), targets=puzzle.true[puzzle.masked]
        )


class ReplacedWords(Objective):
    """Tell the words that were replaced from those that were not (ELECTRA, Clark et al. 2020).

        loss = - mean over t of log P(replaced_t | all words as shown)

    Replacements are drawn from the words of the batch, not from a second network as there. One that
    happens to be the word itself counts as not replaced.
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


class MaskedAndReplacedWords(Objective):
    """Guess masked words and detect replaced ones in one reading.

        loss = loss of `MaskedWords` + detection weight * loss of `ReplacedWords`

    A word is masked or replaced, not both; of a masked word it is not asked whether it was
    replaced. A verdict is worth far fewer nats than a guess among thousands of words, hence the
    weight (50 in Clark et al. 2020).
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

    def puzzle(
        self, words: NDArray[np.int64], n_distinct: int, random: np.random.Generator
    ) -> Puzzle:
        """See `Objective`."""
        exchanged = random.random(words.shape) < self.replaced_share
        masked = choose(words.shape, self.masked_share, random)
        if (masked & ~exchanged).any():
            masked &= ~exchanged
        else:  # of a short batch, in which something must be guessed
            exchanged &= ~masked
        shown = exchange(words, exchanged, random)
        replaced = shown != words
        return make_puzzle(
            words, np.where(masked, n_distinct, shown), masked=masked, replaced=replaced
        )

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
        queries = (
            self.next(forwards[:, :-1].flatten(0, 1)),
            self.previous(backwards[:, :-1].flatten(0, 1)),
        )
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
        states = encoder.dropout(
            _one_way(layer, backwards=backwards)(states).transpose(0, 1)
        ).transpose(0, 1)
    return states.transpose(0, 1)


def _one_way(layer: nn.Module, *, backwards: bool) -> nn.Module:
    if not isinstance(layer, RecurrentLayer):
        raise TypeError(f"{type(layer).__name__} is not a layer of two directions")
    return layer.backwards if backwards else layer.forwards


class PretrainingNetwork(Backbone):
    """A backbone and the objective that teaches it."""

    def __init__(self, network: NetworkConfig, n_feature_rows: int, config: PretrainConfig) -> None:
        # Words are noise enough: the dropout of the recipe's network is for few sentences read many
        # times.
        super().__init__(
            replace(network, embedding_dropout=0.0, layer_dropout=config.layer_dropout),
            n_feature_rows,
        )
        self.objective = make_objective(config, network, self.encoder.output_width)

    def guesses(self, batch: TextBatch) -> tuple[Guesses, Tensor]:
        """The answers to a batch's puzzle, and the vectors of its distinct words [U, E]."""
        vectors = self.word_vectors(batch.rows, batch.starts)
        shown = functional.embedding(batch.puzzle.shown, vectors)
        return self.objective.answer(self.encoder, shown, batch.puzzle), vectors[:-1]

    def loss(self, batch: TextBatch) -> Tensor:
        """What the objective says, in nats for each word asked. Shape: float32 []."""
        guesses, candidates = self.guesses(batch)
        loss = torch.zeros((), device=candidates.device)
        if guesses.queries is not None and guesses.targets is not None:
            logits = candidate_logits(guesses.queries, candidates, batch.log_prior)
            loss = loss + functional.cross_entropy(logits, guesses.targets)
        if guesses.verdicts is not None and guesses.replaced is not None:
            detection = functional.binary_cross_entropy_with_logits(
                guesses.verdicts, guesses.replaced
            )
            loss = loss + self.objective.detection_weight * detection
        return loss


def make_objective(config: PretrainConfig, network: NetworkConfig, encoder_width: int) -> Objective:
    """The objective that a recipe names, with fresh weights."""
    width = network.embedding_width
    match config.objective:
        case "masked":
            return MaskedWords(encoder_width, width, config.masked_share)
        case "causal":
            return NextWords(network.hidden_width, width)
        case "replaced":
            return ReplacedWords(encoder_width, config.replaced_share or 0.15)
        case "both":
            return MaskedAndReplacedWords(
                encoder_width,
                width,
                config.masked_share,
                config.replaced_share or 0.1,
                config.detection_weight,
            )
