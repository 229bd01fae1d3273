"""What a random field expects of the tags of a sentence, and how far another field is from expecting the same.

The cross-entropy of a student p against a teacher q, both linear chains over the same tags, summed over all paths y, is

    H(q, p) = - sum_y q(y) log p(y)
            = log Z_p - sum_t sum_k q(y_t = k) emission[t, k] - sum_jk n_jk transition[j, k]
              - sum_k q(y_0 = k) first[k] - sum_k q(y_L-1 = k) last[k]

where n_jk is how often q expects tag k right after tag j: the student's transition scores do not depend on the place,
so that the teacher's marginals and its expected number of each transition say all that the student can learn from it
(knowledge distillation, Hinton et al. 2015; of structures, Wang et al. 2020). Nothing is sampled and no list of best
paths is cut off.

Where the student knows labels that the teacher has never heard of, p is taken on the condition that no word has one of
them: Z_p then sums over the paths of the tags that both know, and nothing else changes. The student learns to choose
among the old tags as the teacher does, and is told nothing of how probable the new ones are, of which the teacher knows
nothing: its O may well be one of them (see Monaikul et al. 2021, where such words are left to the new annotation).

Letters: B rows (sentences) of a batch, T words of the longest row, K tags.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from teddy.model.crf import ConditionalRandomField, LogPartition, forward_backward


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a distribution over the paths of each row expects.

    Shape, float64: `unary` [B, T, K] is the probability of each tag at each word, zero at padding; `pairs` [B, K, K]
    the expected number of times that tag k stands right after tag j, `j` first.
    """

    unary: Tensor
    pairs: Tensor


def expectations(
    crf: ConditionalRandomField, emissions: Tensor, lengths: Tensor, temperature: float = 1.0
) -> Expectations:
    """What the field expects when all of its scores are divided by the temperature it was calibrated to, and by this.

    Shape: emissions [B, T, K] of any floating type, lengths int64 [B] of at least 1.
    """
    cooling = 1.0 / (crf.temperature.double() * temperature)
    transition, first, last = (scores * cooling for scores in crf.potentials())
    scaled = emissions.double() * cooling
    weights = (scaled - scaled.amax(dim=2, keepdim=True)).exp()
    inner = transition.exp()
    alpha, beta, inside, _, _ = forward_backward(weights, lengths, inner, first.exp(), last.exp())
    at_words = torch.arange(emissions.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    posterior = alpha * beta
    unary = posterior / posterior.sum(dim=2, keepdim=True).clamp_min(1e-300)
    before, after = alpha[:, :-1], inside[:, 1:]
    mass = ((before @ inner) * after).sum(dim=2, keepdim=True).clamp_min(1e-300)
    # Padding is filled, not multiplied by zero: what stands there may be anything, infinite too.
    before = (before / mass).masked_fill(~at_words[:, 1:].unsqueeze(2), 0.0)
    after = after.masked_fill(~at_words[:, 1:].unsqueeze(2), 0.0)
    return Expectations(
        unary=unary.masked_fill(~at_words.unsqueeze(2), 0.0), pairs=(before.transpose(1, 2) @ after) * inner
    )


def mean_expectations(several: Sequence[Expectations]) -> Expectations:
    """What the mixture of several distributions expects, each of the same weight: an ensemble of teachers."""
    return Expectations(
        unary=torch.stack([each.unary for each in several]).mean(dim=0),
        pairs=torch.stack([each.pairs for each in several]).mean(dim=0),
    )


def cross_entropy(
    crf: ConditionalRandomField,
    emissions: Tensor,
    lengths: Tensor,
    expected: Expectations,
    temperature: float = 1.0,
    known: Tensor | None = None,
) -> Tensor:
    """H(q, p) of each row, q given by what it expects, p by the field's scores divided by `temperature`.

    `known`, bool [K], are the tags that q speaks of, by default all: p is then what it is without the others, of which
    q must expect nothing.

    At another temperature than one the result is multiplied by its square, which keeps the size of the gradient
    (Hinton et al. 2015). The field's own calibration plays no part: it is fitted when training has ended.

    Shape: emissions [B, T, K] of any floating type, lengths int64 [B] of at least 1 -> float64 [B]; never below the
    entropy of q.
    """
    cooling = 1.0 / temperature
    scaled = emissions.double() * cooling
    transition, first, last = (scores * cooling for scores in crf.potentials())
    allowed = torch.ones_like(scaled, dtype=torch.bool) if known is None else known.expand_as(scaled)
    log_partition: Tensor = LogPartition.apply(  # type: ignore[no-untyped-call]
        scaled, allowed, lengths, transition, first, last
    )
    at_words = torch.arange(emissions.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    expected_emission = (expected.unary * scaled.masked_fill(~at_words.unsqueeze(2), 0.0)).sum(dim=(1, 2))
    # The learnt scores, not the potentials: -inf times the zero expected of a forbidden transition is no number.
    at_last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, emissions.shape[2])
    ending = expected.unary.gather(1, at_last).squeeze(1)
    expected_rest = (
        (expected.pairs * crf.transition.double()).sum(dim=(1, 2))
        + (expected.unary[:, 0] * crf.first.double()).sum(dim=1)
        + (ending * crf.last.double()).sum(dim=1)
    )
    return (log_partition - expected_emission - expected_rest * cooling) * temperature**2
