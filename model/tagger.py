"""Words in, spans and their probabilities out: what training evaluates with and the predictor serves with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from model.batching import group_by_length, make_batch
from model.features import WordFeatures
from model.labels import TagSet
from model.spans import Span

Forward = Callable[[Tensor, Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Tensor, Tensor]]
"""A `model.network.Network`, eager or scripted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedWords:
    """The reading of one sentence.

    `spans` are in words and in order, `scores` their probabilities; `tags` has a tag index for each word and
    `tag_scores` its marginal probability.
    """

    spans: list[Span]
    scores: list[float]
    tags: list[int]
    tag_scores: list[float]


@dataclass(frozen=True, slots=True)
class Tagger:
    """A network with the two things that give its numbers a meaning: the features of words and the names of tags."""

    network: Forward
    features: WordFeatures
    tag_set: TagSet
    batch_words: int = 4096
    """The largest batch, in words with their padding."""

    def tag(self, sentences: Sequence[Sequence[str]]) -> list[TaggedWords]:
        """One result for each sentence of words, in order; a sentence's result does not depend on the others."""
        filled = [position for position, sentence in enumerate(sentences) if sentence]
        results: list[TaggedWords] = [_EMPTY] * len(sentences)
        for group in group_by_length([len(sentences[position]) for position in filled], self.batch_words):
            chosen = [filled[member] for member in group]
            for position, result in zip(chosen, self._tag_batch([sentences[i] for i in chosen]), strict=True):
                results[position] = result
        return results

    def _tag_batch(self, sentences: Sequence[Sequence[str]]) -> list[TaggedWords]:
        batch = make_batch(sentences, self.features)
        with torch.inference_mode():
            tags, marginal, opening, closing = self.network(batch.rows, batch.starts, batch.words, batch.lengths)
        columns = zip(sentences, tags.tolist(), marginal.tolist(), opening.numpy(), closing.numpy(), strict=True)
        results = []
        for sentence, row_tags, row_marginal, row_opening, row_closing in columns:
            n_words = len(sentence)
            spans = self.tag_set.decode(row_tags[:n_words])
            # exp of a sum of four rounded terms: the last digit may pass one.
            scores = [min(1.0, exp(row_opening[span.start] + row_closing[span.end - 1])) for span in spans]
            results.append(
                TaggedWords(spans=spans, scores=scores, tags=row_tags[:n_words], tag_scores=row_marginal[:n_words])
            )
        return results


_EMPTY = TaggedWords(spans=[], scores=[], tags=[], tag_scores=[])
