"""The tagger itself: features -> vectors -> recurrent stack -> emissions -> CRF.

The module that trains is the one that is exported.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import NetworkConfig
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.network.encoder import Encoder, LockedDropout
from teddy.model.network.torchscript import exported
from teddy.model.tags.tag_set import TagSet


class Backbone(nn.Module):
    """The part that pre-training learns too: a table of feature rows and the recurrent stack.

    Letters: U distinct words with F feature rows in all, E the embedding width.
    """

    def __init__(self, config: NetworkConfig, n_feature_rows: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(n_feature_rows, config.embedding_width))
        # A word is the sum of some ten rows: this variance gives the sum a spread of about a third.
        nn.init.normal_(self.embedding, std=0.1)
        width = config.embedding_width
        self.normalisation = nn.LayerNorm(width) if config.normalise else nn.Identity()
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.encoder = Encoder(config)

    @exported
    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """Return the vectors of distinct words, each the sum of its rows.

        Shape: int64 [F], [U] -> float32 [U, E].
        """
        sums = functional.embedding_bag(rows, self.embedding, starts, mode="sum")
        vectors: Tensor = self.normalisation(sums)
        return vectors


class Network(Backbone):
    """A tagger over feature rows.

    Letters: B sentences of at most T words; U distinct words with F feature rows in all; K tags
    (see `teddy.model.features.batching.Batch`).
    """

    def __init__(self, config: NetworkConfig, n_feature_rows: int, tags: TagSet) -> None:
        super().__init__(config, n_feature_rows)
        self.emission = nn.Linear(self.encoder.output_width, len(tags.tags))
        self.crf = ConditionalRandomField(
            tags.allowed_transitions(),
            tags.allowed_first(),
            tags.allowed_last(),
            learnt=config.decoder == "crf",
        )

    def emissions(self, rows: Tensor, starts: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        """Return the score of each tag at each word.

        Shape: int64 [F], [U], [B, T], [B] -> float32 [B, T, K]; meaningless at padding.
        """
        return self._emissions(self.word_vectors(rows, starts), words, lengths)

    def _emissions(self, vectors: Tensor, words: Tensor, lengths: Tensor) -> Tensor:
        # Looked up with time first, as the encoder wants its words in memory.
        shown = self.embedding_dropout(functional.embedding(words.t(), vectors).transpose(0, 1))
        scores: Tensor = self.emission(self.encoder(shown, lengths).to(self.emission.weight.dtype))
        return scores.float()

    def forward(
        self, vectors: Tensor, words: Tensor, lengths: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the best tags and how probable they are: see `ConditionalRandomField.posterior`.

        Shape: `vectors` [U, E] of `word_vectors`, in the encoder's number format; int64 `words`
        [B, T], rows of `vectors`; int64 `lengths` [B] -> (tags int64, marginal, opening, closing,
        each float64), all [B, T].
        """
        emissions = self._emissions(vectors, words, lengths)
        tags = self.crf.best_path(emissions, lengths)
        # opening and closing are large sums that cancel: they stay in float64.
        marginal, opening, closing = self.crf.posterior(emissions, lengths, tags)
        return tags, marginal, opening, closing
