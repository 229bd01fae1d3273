"""What a tagger thinks of annotations that it has not learnt from: the probability of each, and of what else it may be.

All are exact probabilities of spans under the CRF, summed over everything that may stand around them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from teddy.model.batching import Batch, group_by_length, make_batch
from teddy.model.features import WordFeatures
from teddy.model.labels import TagSet
from teddy.model.network import Network
from teddy.model.spans import Span
from teddy.training.corpus.align import Sentence
from teddy.training.evaluate import ScoredSpan

_BATCH_WORDS = 2048


@dataclass(frozen=True, slots=True)
class Reading:
    """One sentence, read by a tagger that does not know it."""

    by_label: tuple[tuple[float, ...], ...]
    """For each annotated span, how probable its borders are with each label. Shape: [spans, labels]."""
    outside: tuple[float, ...]
    """For each annotated span, how probable it is that none of its words is in an entity."""
    found: tuple[ScoredSpan, ...]
    """What the tagger would have marked, in order, with probabilities."""


def read_annotations(
    network: Network, features: WordFeatures, tag_set: TagSet, sentences: Sequence[Sentence]
) -> list[Reading]:
    """Read all sentences, in order. The network is in evaluation mode and lies on the CPU."""
    readings: dict[int, Reading] = {}
    for members in group_by_length([len(sentence.words) for sentence in sentences], _BATCH_WORDS):
        group = [sentences[member] for member in members]
        with torch.inference_mode():
            readings.update(zip(members, _read(network, features, tag_set, group), strict=True))
    return [readings[position] for position in range(len(sentences))]


def _read(network: Network, features: WordFeatures, tag_set: TagSet, group: Sequence[Sentence]) -> Iterator[Reading]:
    batch = make_batch([sentence.words for sentence in group], features)
    emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
    # With every span given the same label, one pass gives the probability of each span with that label.
    named = [_Passage(network, emissions, batch, _tags(tag_set, group, label)) for label in tag_set.labels]
    outside = _Passage(network, emissions, batch, _tags(tag_set, group, None))
    best = network.crf.best_path(emissions, batch.lengths)
    found = _Passage(network, emissions, batch, best)
    for row, sentence in enumerate(group):
        spans = tag_set.decode(best[row, : len(sentence.words)].tolist())
        yield Reading(
            by_label=tuple(tuple(each.probability(row, span) for each in named) for span in sentence.spans),
            outside=tuple(outside.probability(row, span) for span in sentence.spans),
            found=tuple(ScoredSpan(span, found.probability(row, span)) for span in spans),
        )


class _Passage:
    """The probabilities of stretches of given tags: see `ConditionalRandomField.posterior`."""

    def __init__(self, network: Network, emissions: Tensor, batch: Batch, tags: Tensor) -> None:
        _, self._opening, self._closing = network.crf.posterior(emissions, batch.lengths, tags)

    def probability(self, row: int, span: Span) -> float:
        logarithm = self._opening[row, span.start] + self._closing[row, span.end - 1]
        return min(float(logarithm.exp()), 1.0)


def _tags(tag_set: TagSet, group: Sequence[Sentence], label: str | None) -> Tensor:
    """The tags of all spans as if they had this label, or as if there were none; `O` elsewhere. Shape: int64 [B, T]."""
    tags = torch.zeros(len(group), max(len(sentence.words) for sentence in group), dtype=torch.int64)
    for row, sentence in enumerate(group):
        spans = [replace(span, label=label) for span in sentence.spans] if label else []
        tags[row, : len(sentence.words)] = torch.tensor(tag_set.encode(spans, len(sentence.words)))
    return tags
