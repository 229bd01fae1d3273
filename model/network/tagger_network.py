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
    """What reads a text, whatever is then asked of it: a table of feature rows and the recurrent stack.

    Pre-training learns one for the tagger to start from. Letters: U distinct words with F feature
    rows in all, E the embedding width.
    """

    def __init__(self, config: NetworkConfig, n_feature_rows: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(n_feature_rows, config.embedding_width))
        # A word is the sum of some ten rows: this variance gives the sum a spread of about a third.
        nn.init.normal_(self.embedding, std=0.1)
        self.normalisation = (
            nn.LayerNorm(config.embedding_width) if config.normalise else nn.Identity()
        )
        self.embedding_dropout = LockedDropout(config.embedding_dropout)
        self.encoder = Encoder(config)

    @exported
    def word_vectors(self, rows: Tensor, starts: Tensor) -> Tensor:
        """The vectors of distinct words, each the sum of its rows: all that depends on a word alone.

        Shape: int64 [F], [U] -> float32 [U, E].
        """
        vectors: Tensor = self.normalisation(
            functional.embedding_bag(rows, self.embedding, starts, mode="sum")
        )
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
        """The score of each tag at each word.

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
        """The best tags and how probable they are.

        Shape: `vectors` [U, E] are those of `word_vectors`, in the number format that the encoder
        computes in (see model/network/precision.py); int64 `words` [B, T] say which of them stands
        where; int64 `lengths` [B].

        Returns (tags int64, marginal, opening, closing, each float64), all [B, T]: see
        `ConditionalRandomField.posterior`.
        """
        emissions = self._emissions(vectors, words, lengths)
        tags = self.crf.best_path(emissions, lengths)
        marginal, opening, closing = self.crf.posterior(emissions, lengths, tags)
        # Differences of sums over a long sentence: kept in float64 until they are combined.
        return tags, marginal, opening, closing
