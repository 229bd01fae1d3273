"""Beyond the best path: every span that is probable enough, and the best several paths.

A span of BIOES tags is one stretch of a path, `B I ... I E` or `S`, and its probability is the sum
over all paths that have this stretch: what leads to it, the stretch itself, and what follows, over
Z. Two spans that share a word cannot be in one path, so that the spans over a word have at most
1 / p members of probability p or more. That bounds the work: a span is only followed from its first
word for as long as the probability that it is *open* there, which no longer span of that start can
pass, is at least the threshold.

Letters: B rows (sentences) of a batch, T words of the longest row, K tags.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.network.crf import forward_backward, last_words

_SLACK = 1e-9
"""Sums are rounded: what falls short of a threshold by so little, in logarithms, is still followed,
so that no span is lost on the way. Whether it is taken is decided by its own probability."""
_MOST_SCORES = 4_000_000
"""So many scores are compared at a time, which bounds the memory to some 64 MB."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


class Field(Protocol):
    """A `ConditionalRandomField`, eager or scripted."""

    temperature: Tensor

    def potentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `ConditionalRandomField.potentials`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """All paths of a batch: float64 scores at the model's temperature, -inf where forbidden.

    Shape: `emissions` [B, T, K]; int64 `lengths` [B]; `transition` [K, K], the earlier tag first;
    `first` and `last` [K].
    """

    emissions: Tensor
    lengths: Tensor
    transition: Tensor
    first: Tensor
    last: Tensor

    @classmethod
    def of(cls, field: Field, emissions: Tensor, lengths: Tensor) -> "Lattice":
        """Return the paths over emissions of any floating type."""
        cooling = 1.0 / field.temperature.double()
        transition, first, last = (scores.detach() * cooling for scores in field.potentials())
        return cls(
            emissions=emissions.detach().double() * cooling,
            lengths=lengths,
            transition=transition,
            first=first,
            last=last,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Logarithms of sums over paths.

    Shape: `before` [B, T, K] of all that ends in a tag at a word, that word included, over Z;
    `after` [B, T, K] of all that may follow; `scores` [B, T, K] are the emissions, less the highest
    of each word, and `log_partition` [B] is log Z of these.

    `gains` are the weights of hints at spans of several words, by row, start, end and `B-` tag.
    Where one begins, `after` of inner tags says nothing until the last of them could end.
    """

    before: Floats
    after: Floats
    scores: Floats
    log_partition: Floats
    transition: Floats
    lengths: Indices
    gains: Mapping[tuple[int, int, int, int], float] = field(default_factory=dict)

    @classmethod
    def of(cls, lattice: Lattice) -> "Sums":
        """Return the sums over the paths of a lattice."""
        relative = lattice.emissions - lattice.emissions.amax(dim=2, keepdim=True)
        alpha, beta, _, log_alpha_scale, log_beta_scale = forward_backward(
            relative.exp(),
            lattice.lengths,
            lattice.transition.exp(),
            lattice.first.exp(),
            lattice.last.exp(),
        )
        mass = (alpha * beta).sum(dim=2).log() + log_alpha_scale + log_beta_scale
        log_partition = last_words(mass, lattice.lengths)
        before = alpha.log() + log_alpha_scale.unsqueeze(2) - log_partition.view(-1, 1, 1)
        return cls(
            before=before.numpy(),
            after=(beta.log() + log_beta_scale.unsqueeze(2)).numpy(),
            scores=relative.numpy(),
            log_partition=log_partition.numpy(),
            transition=lattice.transition.numpy(),
            lengths=lattice.lengths.numpy(),
        )

    def gained(self, rows: Indices, starts: Indices, ends: Indices, tags: Indices) -> Floats:
        """Return the weights of the hints at these spans, 0 where there is none."""
        keys = zip(rows.tolist(), starts.tolist(), ends.tolist(), tags.tolist(), strict=True)
        return np.array([self.gains.get(key, 0.0) for key in keys])

    def stops(self) -> Indices:
        """Return the end of the longest hint from each word and tag on, else 0: [B, T, K]."""
        stops = np.zeros(self.before.shape, np.int64)
        for row, start, end, tag in self.gains:
            stops[row, start, tag] = max(stops[row, start, tag], end)
        return stops


@dataclass(frozen=True, slots=True, kw_only=True)
class Spans:
    """Spans of a batch: row, half-open range of words, label index, probability; each [N]."""

    rows: Indices
    starts: Indices
    ends: Indices
    labels: Indices
    probabilities: Floats


def probable_spans(sums: Sums, thresholds: Floats) -> Spans:
    """Return every span whose probability is at least its label's threshold, above 0.

    They are in the order of rows, starts, ends and labels, and may overlap. Shape: `thresholds` [L]
    of the labels whose tags are numbered as those of a `TagSet`.
    """
    least = np.log(thresholds)
    begin, inside, end, single = (np.arange(len(thresholds)) * 4 + place for place in range(1, 5))
    n_words, transition = sums.lengths, sums.transition
    stops = sums.stops()[:, :, begin]
    is_word = (np.arange(sums.before.shape[1]) < n_words[:, None])[:, :, None]
    through = sums.before + sums.after
    rows, starts, labels = np.nonzero((through[:, :, single] >= least) & is_word)
    found = [(rows, starts, starts + 1, labels, through[rows, starts, single[labels]])]
    may_begin = (through[:, :, begin] >= least - _SLACK) | (stops > 0)
    rows, starts, labels = np.nonzero(may_begin & is_word)
    tags, at = begin[labels], starts
    score = sums.before[rows, starts, tags]
    while len(rows):
        goes_on = at + 1 < n_words[rows]
        rows, starts, labels = rows[goes_on], starts[goes_on], labels[goes_on]
        at, tags, score = at[goes_on] + 1, tags[goes_on], score[goes_on]
        last, onward = end[labels], inside[labels]
        closed = score + transition[tags, last] + sums.scores[rows, at, last]
        closed += sums.after[rows, at, last]
        if sums.gains:
            closed += sums.gained(rows, starts, at + 1, begin[labels])
        taken = closed >= least[labels]
        found.append((rows[taken], starts[taken], at[taken] + 1, labels[taken], closed[taken]))
        score = score + transition[tags, onward] + sums.scores[rows, at, onward]
        is_open = score + sums.after[rows, at, onward] >= least[labels] - _SLACK
        is_open |= at + 1 < stops[rows, starts, labels]
        rows, starts, labels = rows[is_open], starts[is_open], labels[is_open]
        at, tags, score = at[is_open], onward[is_open], score[is_open]
    return _sorted(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def probabilities_of(
    lattice: Lattice, rows: Indices, starts: Indices, ends: Indices, labels: Indices
) -> Floats:
    """Return the probability of each of these spans, probable or not, in their order.

    Shape: row, half-open range of words and label index of each span, each [N] -> [N].
    """
    sums = Sums.of(lattice)
    transition = sums.transition
    begin, inside, end, single = (labels * 4 + place for place in range(1, 5))
    last = ends - 1
    is_one, n_inside = last == starts, np.maximum(last - starts - 1, 0)
    opening, closing = np.where(is_one, single, begin), np.where(is_one, single, end)
    # Inner words have one tag: their scores are the difference of two sums of it.
    before_word = np.pad(sums.scores.cumsum(axis=1), ((0, 0), (1, 0), (0, 0)))
    within = before_word[rows, last, inside] - before_word[rows, starts + 1, inside]
    within += np.maximum(n_inside - 1, 0) * transition[inside, inside]
    long = transition[opening, inside] + within + transition[inside, closing]
    onward = np.where(n_inside > 0, long, transition[opening, closing])
    onward += sums.scores[rows, last, closing]
    logs = sums.before[rows, starts, opening] + np.where(is_one, 0.0, onward)
    # exp of a sum of rounded terms: the last digit may pass one. (And what is no number is one.)
    return np.fmin(np.exp(logs + sums.after[rows, last, closing]), 1.0)


def _sorted(rows: Indices, starts: Indices, ends: Indices, labels: Indices, logs: Floats) -> Spans:
    order = np.lexsort((labels, ends, starts, rows))
    return Spans(
        rows=rows[order],
        starts=starts[order],
        ends=ends[order],
        labels=labels[order],
        # exp of a sum of rounded terms: the last digit may pass one
        probabilities=np.minimum(np.exp(logs[order]), 1.0),
    )


def best_paths(lattice: Lattice, n: int) -> tuple[Indices, Floats]:
    """Return the `n` best paths of each row, the best first, and their probabilities.

    Each tag at each word keeps the `n` best ways that lead to it (list Viterbi; Seshadri & Sundberg
    1994), which is exact. A row that has fewer allowed paths has probability 0 behind them.

    Shape: -> int64 [B, n, T], 0 at padding, and float64 [B, n].
    """
    sums = Sums.of(lattice)
    scores, n_tags = torch.from_numpy(sums.scores), lattice.emissions.shape[2]
    at_once = max(1, _MOST_SCORES // (n_tags * n_tags * n))
    parts = [
        _best_of_rows(lattice, scores, slice(start, start + at_once), n)
        for start in range(0, len(scores), at_once)
    ]
    paths, totals = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return paths, np.minimum(np.exp(totals - sums.log_partition[:, None]), 1.0)


def _best_of_rows(lattice: Lattice, scores: Tensor, rows: slice, n: int) -> tuple[Tensor, Tensor]:
    """Return what `best_paths` does, but the paths' scores, relative to their words' highest."""
    scores, lengths = scores[rows], lattice.lengths[rows]
    n_rows, width, n_tags = scores.shape
    worst = torch.full((n_rows, n_tags, n - 1), float("-inf"), dtype=torch.float64)
    kept = torch.cat(((scores[:, 0] + lattice.first).unsqueeze(2), worst), dim=2)
    stays = torch.arange(n_tags * n).view(1, n_tags, n)
    pointers: list[Tensor] = []
    between = lattice.transition.t().reshape(1, n_tags, n_tags, 1)
    for t in range(1, width):
        ways = (kept.unsqueeze(1) + between).reshape(n_rows, n_tags, n_tags * n)
        best, pointer = ways.topk(n, dim=2)
        is_word = (t < lengths).view(-1, 1, 1)
        kept = torch.where(is_word, best + scores[:, t].unsqueeze(2), kept)
        pointers.append(torch.where(is_word, pointer, stays))
    ending = (kept + lattice.last.view(1, -1, 1)).reshape(n_rows, n_tags * n)
    totals, place = ending.topk(n, dim=1)
    path = [place // n]
    for pointer in reversed(pointers):
        place = pointer.reshape(n_rows, -1).gather(1, place)
        path.append(place // n)
    paths = torch.stack(path[::-1], dim=2)
    at_words = torch.arange(width) < lengths.view(-1, 1, 1)
    return paths.masked_fill(~at_words, 0), totals
