"""The network that is pre-trained: the backbone of a tagger, with an objective on top in place of emissions."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.network import Backbone
from teddy.training.pretrain.batch import TextBatch
from teddy.training.pretrain.both import MaskedAndReplacedWords
from teddy.training.pretrain.candidates import candidate_logits
from teddy.training.pretrain.causal import NextWords
from teddy.training.pretrain.config import PretrainConfig
from teddy.training.pretrain.masked import MaskedWords
from teddy.training.pretrain.objective import Guesses, Objective
from teddy.training.pretrain.replaced import ReplacedWords


class PretrainingNetwork(Backbone):
    """A backbone and the objective that teaches it."""

    def __init__(self, network: NetworkConfig, n_feature_rows: int, config: PretrainConfig) -> None:
        # Words are noise enough: the dropout of the recipe's network is for few sentences read many times.
        super().__init__(replace(network, embedding_dropout=0.0, layer_dropout=config.layer_dropout), n_feature_rows)
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
            detection = functional.binary_cross_entropy_with_logits(guesses.verdicts, guesses.replaced)
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
                encoder_width, width, config.masked_share, config.replaced_share or 0.1, config.detection_weight
            )
