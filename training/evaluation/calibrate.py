"""Fit a temperature for the CRF on dev, so that scores mean what they say."""

import copy
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from teddy.model.features.batching import group_by_length, make_batch
from teddy.model.features.rows import WordFeatures
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence
from teddy.training.evaluation.evaluate import is_scorable

_MOST_WORDS = 200_000
"""One number needs no more dev data than this: some 10,000 entities, and twenty seconds of one
core."""
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.25, 8.0
_GRID = 16
"""Steps in which the range of temperatures is looked through before the lowest point is searched
between two."""
_GOLDEN = (math.sqrt(5) - 1) / 2


Asked = tuple[Sentence, Collection[str]]
"""A sentence, and the labels that its corpus annotates."""


def fit_temperature(
    network: Network, features: WordFeatures, tag_set: TagSet, dev: Sequence[Asked]
) -> float:
    """Return the temperature at which the scores of entities in dev best predict which are right.

    This is temperature scaling (Guo et al. 2017) of entities, not of whole taggings (Kuleshov
    & Liang 2015): it minimises the log loss of each entity's score, the exact probability of its
    span. The best path, and so the entities, are the same at every temperature. `dev` has sentences
    with the labels that their corpus annotates; other entities do not count. 1 without any entity.

    (The likelihood of the annotated paths, the usual measure, also depends on all words without an
    entity. For the first English model the two differ little: 1.43 and 1.51, and a mean calibration
    error of 0.071 and 0.073 on three corpora that it was not trained on.)
    """
    found = [_find(network, features, tag_set, batch) for batch in _batches(dev)]
    right = torch.cat([torch.zeros(0, dtype=torch.bool), *(each.right for each in found)])
    if not len(right):
        return 1.0
    crf = copy.deepcopy(network.crf)

    def loss(log_temperature: float) -> float:
        crf.temperature.fill_(math.exp(log_temperature))
        return smoothed_log_loss(torch.cat([each.log_scores(crf) for each in found]), right)

    low, high = _bracket(loss, math.log(_MIN_TEMPERATURE), math.log(_MAX_TEMPERATURE))
    return math.exp(minimise(loss, low, high, steps=14))


def smoothed_log_loss(log_scores: Tensor, right: Tensor) -> float:
    """Return the log loss, in nats, of scores against right and wrong, in all.

    As Platt (1999) has it, n right ones are taken for right with (n + 1) / (n + 2) and wrong ones
    likewise, so that a few entities that all are right do not ask for a score of one. Shape:
    float64 [N], bool [N].
    """
    n_right = int(right.sum())
    n_wrong = len(right) - n_right
    target = torch.where(right, (n_right + 1) / (n_right + 2), 1 / (n_wrong + 2))
    log_scores = log_scores.clamp(max=-1e-12)
    return -float((target * log_scores + (1 - target) * torch.log(-torch.expm1(log_scores))).sum())


def _bracket(function: Callable[[float], float], low: float, high: float) -> tuple[float, float]:
    """Bracket the minimum by evenly spaced points, since the loss may have several minima."""
    points = [low + (high - low) * step / _GRID for step in range(_GRID + 1)]
    values = [function(point) for point in points]
    best = values.index(min(values))
    return points[max(best - 1, 0)], points[min(best + 1, _GRID)]


def minimise(
    function: Callable[[float], float], low: float, high: float, *, steps: int = 20
) -> float:
    """Return the minimum of a unimodal function, to within (high - low) * 0.618 ** steps."""
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    at_left, at_right = function(left), function(right)
    for _ in range(steps):
        if at_left < at_right:
            high, right, at_right = right, left, at_left
            left = high - _GOLDEN * (high - low)
            at_left = function(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + _GOLDEN * (high - low)
            at_right = function(right)
    return (low + high) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """The entities of a batch: row, first and last word [N], and whether each is right [N]."""

    emissions: Tensor
    lengths: Tensor
    tags: Tensor
    places: Tensor
    right: Tensor

    def log_scores(self, crf: ConditionalRandomField) -> Tensor:
        """Return the log-probability of each entity's span, float64 [N]."""
        with torch.inference_mode():
            _, opening, closing = crf.posterior(self.emissions, self.lengths, self.tags)
        row, first, last = self.places
        return opening[row, first] + closing[row, last]


def _find(
    network: Network, features: WordFeatures, tag_set: TagSet, members: Sequence[Asked]
) -> _Found:
    batch = make_batch([sentence.words for sentence, _ in members], features)
    with torch.inference_mode():
        emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        tags = network.crf.best_path(emissions, batch.lengths)
    spans = [
        (row, span)
        for row, (sentence, annotated) in enumerate(members)
        for span in tag_set.decode(tags[row, : len(sentence.words)].tolist())
        if is_scorable(sentence, span, annotated)
    ]
    places = [(row, span.start, span.end - 1) for row, span in spans]
    right = [span in members[row][0].spans for row, span in spans]
    return _Found(
        emissions=emissions,
        lengths=batch.lengths,
        tags=tags,
        places=torch.tensor(places, dtype=torch.int64).reshape(-1, 3).T,
        right=torch.tensor(right, dtype=torch.bool),
    )


def _batches(dev: Sequence[Asked]) -> list[list[Asked]]:
    # Evenly over dev: a prefix would be one corpus.
    n_words = sum(len(sentence.words) for sentence, _ in dev)
    chosen = dev[:: max(1, math.ceil(n_words / _MOST_WORDS))]
    groups = group_by_length([len(sentence.words) for sentence, _ in chosen], 4096)
    return [[chosen[i] for i in group] for group in groups]
