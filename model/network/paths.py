"""What a linear chain holds for possible: its best paths, and how probable any span is.

`ConditionalRandomField.best_path` and `posterior` answer this for the best path alone. Here
emissions are enough, and the potentials of the field, which every model file has: none has to be
exported again. Letters as in `teddy.model.network.crf`; N best paths.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from teddy.model.network.crf import forward_backward, last_words

_MOST_SCORES = 4_000_000
"""Of the best paths, so many candidates are in memory at once: of 300 labels there are many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Potentials:
    """The scores of a path's tags beside the emissions, -inf where forbidden, and not yet cooled.

    Shape, float64: `transition` [K, K], the earlier tag first; `first` [K], `last` [K]. Scores are
    divided by `temperature` before they become probabilities.
    """

    transition: Tensor
    first: Tensor
    last: Tensor
    temperature: float

    def cooled(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scores of transitions, first and last tags, divided by the temperature."""
        cooling = 1.0 / self.temperature
        return self.transition * cooling, self.first * cooling, self.last * cooling


class Field(Protocol):
    """A `ConditionalRandomField`, eager or scripted, or a replacement for one."""

    temperature: Tensor

    def potentials(self) -> tuple[Tensor, Tensor, Tensor]:
        """See `ConditionalRandomField.potentials`."""
        ...


class ReadableNetwork(Protocol):
    """A `Network` whose emissions can be read: every model file has these, under these names."""

    crf: Field

    def _emissions(self, vectors: Tensor, words: Tensor, lengths: Tensor) -> Tensor: ...


def potentials_of(network: ReadableNetwork) -> Potentials:
    """Return the potentials of a network's field."""
    with torch.no_grad():
        transition, first, last = network.crf.potentials()
    temperature = float(network.crf.temperature)
    return Potentials(transition=transition, first=first, last=last, temperature=temperature)


class Chain:
    """The paths of tags of a batch of sentences, at the model's temperature.

    `emissions` [B, T, K] are of any floating type, `lengths` int64 [B] at least 1.
    """

    def __init__(self, emissions: Tensor, lengths: Tensor, potentials: Potentials) -> None:
        emissions = emissions.double() * (1.0 / potentials.temperature)
        self._relative = emissions - emissions.amax(dim=2, keepdim=True)
        self._lengths = lengths
        self._transition, self._first, self._last = potentials.cooled()

    def best_paths(self, n_paths: int) -> tuple[Tensor, Tensor]:
        """Return the most probable paths of each row, different ones, and their log-probabilities.

        Of equally probable ones the first by tag numbers comes first, as in `best_path`; where a
        row has fewer, the rest have a log-probability of -inf. The recursion runs from the last
        word to the first, and keeps the `n_paths` best ways on from each tag (Schwartz & Chow
        1990).

        Shape: int64 [B, N, T], 0 at padding, and float64 [B, N].
        """
        n_rows, width, _ = self._relative.shape
        steps = self._relative.unbind(1)
        # behind a row's last word there is one way on, which costs the score of a last tag
        ending = functional.pad(
            self._last.view(1, -1, 1), (0, n_paths - 1), value=float("-inf")
        ).expand(n_rows, -1, -1)
        onward = ending
        pointers: list[Tensor] = []
        for t in range(width - 1, 0, -1):
            ways = steps[t].unsqueeze(2) + onward
            onward, pointer = _best_ways(ways, self._transition, n_paths)
            onward = torch.where((self._lengths <= t).view(-1, 1, 1), ending, onward)
            pointers.append(pointer)
        ways = (steps[0] + self._first).unsqueeze(2) + onward
        scores, place = _largest(ways.flatten(1), n_paths)
        paths: list[Tensor] = [place // n_paths]
        for pointer in reversed(pointers):
            # [B, K, N] at the tag and rank of each path: the tag and rank of its next word
            place = pointer.flatten(1).gather(1, place)
            paths.append(place // n_paths)
        tags = torch.stack(paths, dim=2)
        outside = torch.arange(width) >= self._lengths.view(-1, 1, 1)
        return tags.masked_fill(outside, 0), scores - self._sums.log_partition.unsqueeze(1)

    def log_span(self, row: Tensor, start: Tensor, end: Tensor, spelt: Tensor) -> Tensor:
        """Return the log-probability that words `[start, end)` of rows are tagged as one entity.

        It is the sum over all paths that spell it so. `spelt` [S, 4] are the tags of the first
        word, those inside, the last one, and an only word: `B- I- E- S-` of the span's label.

        Shape: int64 [S] each -> float64 [S].
        """
        sums, last = self._sums, end - 1
        is_one = last == start
        opening = torch.where(is_one, spelt[:, 3], spelt[:, 0])
        inside = spelt[:, 1]
        closing = torch.where(is_one, spelt[:, 3], spelt[:, 2])
        n_inside = last - start - 1
        enter, step, leave = (
            self._transition[before, after]
            for before, after in ((opening, inside), (inside, inside), (inside, closing))
        )
        # A table that begins with 0: the scores of the inner words are a difference of two sums.
        within = sums.of_relative[row, last, inside] - sums.of_relative[row, start + 1, inside]
        steps = torch.where(n_inside > 1, (n_inside - 1) * step, 0.0)
        long = enter + steps + leave + within
        short = self._transition[opening, closing]
        onward = torch.where(n_inside > 0, long, short) + self._relative[row, last, closing]
        return (
            sums.log_alpha[row, start, opening]
            + torch.where(is_one, 0.0, onward)
            + sums.log_beta[row, last, closing]
            - sums.log_partition[row]
        )

    @cached_property
    def _sums(self) -> "_Sums":
        alpha, beta, _, log_alpha_scale, log_beta_scale = forward_backward(
            self._relative.exp(),
            self._lengths,
            self._transition.exp(),
            self._first.exp(),
            self._last.exp(),
        )
        mass = (alpha * beta).sum(dim=2).log() + log_alpha_scale + log_beta_scale
        return _Sums(
            log_alpha=alpha.log() + log_alpha_scale.unsqueeze(2),
            log_beta=beta.log() + log_beta_scale.unsqueeze(2),
            log_partition=last_words(mass, self._lengths),
            of_relative=functional.pad(self._relative.cumsum(dim=1), (0, 0, 1, 0)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    """The sums over the prefixes and suffixes of paths, as logarithms; see `forward_backward`.

    Shape: [B, T, K] twice, [B]; `of_relative` [B, T + 1, K] are sums of the scores before a word.
    """

    log_alpha: Tensor
    log_beta: Tensor
    log_partition: Tensor
    of_relative: Tensor


def _best_ways(ways: Tensor, transition: Tensor, n_paths: int) -> tuple[Tensor, Tensor]:
    """Return the best ways on from each tag, given those that begin with each next tag.

    Shape: `ways` [B, K, N], `transition` [K, K] -> scores and places in the last two axes of
    `ways` laid flat, both [B, K, N].
    """
    n_tags = len(transition)
    at_once = max(1, _MOST_SCORES // max(1, ways.numel()))
    parts = [
        _largest(
            (ways.unsqueeze(1) + transition[start : start + at_once].unsqueeze(2)).flatten(2),
            n_paths,
        )
        for start in range(0, n_tags, at_once)
    ]
    return torch.cat([each for each, _ in parts], dim=1), torch.cat([at for _, at in parts], dim=1)


def _largest(values: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the largest values of the last axis and their places; of equal ones, the first.

    `topk` does not say which of them it takes. Shape: [..., M] -> [..., n] twice, for n <= M.
    """
    values = values.clone()
    found: list[Tensor] = []
    places: list[Tensor] = []
    for _ in range(n):
        place = values.argmax(dim=-1, keepdim=True)
        found.append(values.gather(-1, place))
        places.append(place)
        values.scatter_(-1, place, float("-inf"))
    return torch.cat(found, dim=-1), torch.cat(places, dim=-1)
