"""Makes scores mean what they say: a temperature for the CRF, fitted on dev, and the error that is left."""

import copy
import math
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from model.batching import group_by_length, make_batch
from model.crf import ConditionalRandomField
from model.features import WordFeatures
from model.labels import TagSet
from model.network import Network
from training.align import Sentence
from training.targets import Targets, pad_targets

_MOST_WORDS = 30_000
"""One number needs no more dev data than this."""
_COLDEST, _HOTTEST = 0.25, 8.0
_GOLDEN = (math.sqrt(5) - 1) / 2


def fit_temperature(
    network: Network, features: WordFeatures, tag_set: TagSet, dev: Sequence[tuple[Sentence, Iterable[str]]]
) -> float:
    """The temperature that makes the dev annotation most probable; 1 without dev data.

    Guo et al. 2017, here for whole paths. `dev` has sentences, each with the labels that its corpus annotates. With
    one tag for each word the loss is convex in 1 / temperature, so a golden-section search finds the minimum; where
    words have sets of tags it finds a valley.
    """
    scored = [_emissions(network, features, tag_set, batch) for batch in _batches(dev)]
    if not scored:
        return 1.0
    crf = copy.deepcopy(network.crf)

    def loss(log_temperature: float) -> float:
        return _loss_at(network.crf, crf, math.exp(log_temperature), scored)

    return math.exp(minimise(loss, math.log(_COLDEST), math.log(_HOTTEST)))


def minimise(function: Callable[[float], float], low: float, high: float, *, steps: int = 20) -> float:
    """Where a function with one valley in [low, high] is lowest, to within (high - low) * 0.618 ** steps."""
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


def expected_calibration_error(scores: Sequence[float], correct: Sequence[bool], *, n_bins: int = 10) -> float:
    """How far scores are from the share that is right: the mean gap of equal bins of scores, weighted by their size.

    Naeini et al. 2015. Zero for no scores.
    """
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(n_bins)]
    for score, is_correct in zip(scores, correct, strict=True):
        bins[min(int(score * n_bins), n_bins - 1)].append((score, is_correct))
    gaps = (abs(sum(score for score, _ in each) - sum(right for _, right in each)) for each in bins)
    return sum(gaps) / max(len(scores), 1)


def _batches(dev: Sequence[tuple[Sentence, Iterable[str]]]) -> list[list[tuple[Sentence, Iterable[str]]]]:
    # Evenly over dev: a prefix would be one corpus.
    n_words = sum(len(sentence.words) for sentence, _ in dev)
    chosen = dev[:: max(1, math.ceil(n_words / _MOST_WORDS))]
    groups = group_by_length([len(sentence.words) for sentence, _ in chosen], 4096)
    return [[chosen[i] for i in group] for group in groups]


def _emissions(
    network: Network, features: WordFeatures, tag_set: TagSet, members: list[tuple[Sentence, Iterable[str]]]
) -> tuple[Tensor, Tensor, Tensor]:
    batch = make_batch([sentence.words for sentence, _ in members], features)
    allowed = pad_targets([Targets(tag_set, annotates).allowed(sentence) for sentence, annotates in members])
    with torch.inference_mode():
        return network.emissions(batch.rows, batch.starts, batch.words, batch.lengths), batch.lengths, allowed


def _loss_at(
    crf: ConditionalRandomField,
    cooled: ConditionalRandomField,
    temperature: float,
    scored: list[tuple[Tensor, Tensor, Tensor]],
) -> float:
    """The loss when all scores, of emissions and transitions, are divided by it; `cooled` is overwritten."""
    with torch.inference_mode():
        for mine, theirs in zip(cooled.parameters(), crf.parameters(), strict=True):
            mine.copy_(theirs / temperature)
        return sum(
            cooled.loss(emissions / temperature, lengths, allowed).sum().item()
            for emissions, lengths, allowed in scored
        )
