"""The CRF under hints: the exact best path, and its probabilities, when spans weigh more or less.

Without hints a path y has the probability exp(score(y)) / Z, its score cooled by the temperature.
A hint (span, weight) adds its weight to the score of each path that has exactly this span:

    p(y | hints) = exp(score(y) + sum of the weights of the hints whose span is in y) / Z'

So the log-odds of the span rise by exactly the weight, if it is the only hint. A weight of minus
infinity is the condition that the span is not there.

A span of several words is no property of two neighbouring tags, so the chain gets states of its own
for it (a product of the chain with an automaton): a path that tags word s `B-L` where a hint begins
goes into a state "in L since s", which remembers that until its last hint could end. From there
`E-L` gets the weight if the span is that of a hint. The chain stays linear, and all recursions stay
exact. A span of one word is the tag `S-L`, whose emission gets the weight.

Letters: B rows, T words of the longest row, K tags, C states "since s" at one word (slots).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from teddy.model.network.alternatives import Sums
from teddy.model.tags.spans import Hint

Floats = NDArray[np.float64]
Wholes = NDArray[np.int64]

_FLOOR = 1e-300
_MOST_SCORES = 4_000_000  # compared at once: of 300 labels, a batch has a gigabyte of them


@dataclass(frozen=True, slots=True)
class Potentials:
    """Scores beside the emissions, cooled: transition [K, K], first [K], last [K]."""

    transition: Floats
    first: Floats
    last: Floats

    @classmethod
    def of(cls, field: Any, cooling: float) -> Self:
        """Return those of a `ConditionalRandomField`, eager or scripted, times `cooling`."""
        names = ("transition", "first", "last")
        scores = (getattr(field, name).detach().double().numpy() * cooling for name in names)
        forbidden = (getattr(field, f"{name}_forbidden").numpy() for name in names)
        return cls(*map(np.where, forbidden, (-np.inf,) * 3, scores))


@dataclass(slots=True)
class _Word:
    """The states "since s" at one word: one number each of row, slot and the tag it stands for.

    `begins` says which of them begin here.
    """

    rows: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    begins: list[bool] = field(default_factory=list)


@dataclass(slots=True)
class _Step:
    """What the states "since s" at one word lead to: `E-L` with a weight, and on within the span.

    `goes_on`: into the state's successor; else into the ordinary `I-L`.
    """

    rows: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)
    inner: list[int] = field(default_factory=list)
    ending: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)
    goes_on: list[bool] = field(default_factory=list)


class _Words:
    """`_Word` as arrays."""

    def __init__(self, word: _Word) -> None:
        self.rows, self.slots = np.array(word.rows, np.int64), np.array(word.slots, np.int64)
        self.tags, begins = np.array(word.tags, np.int64), np.array(word.begins, np.bool_)
        self.new = self.rows[begins], self.slots[begins], self.tags[begins]


class _Steps:
    """`_Step` as arrays."""

    def __init__(self, step: _Step) -> None:
        self.rows, self.slots = np.array(step.rows, np.int64), np.array(step.slots, np.int64)
        self.tags, self.inner = np.array(step.tags, np.int64), np.array(step.inner, np.int64)
        self.ending, self.weights = np.array(step.ending, np.int64), np.array(step.weights)
        self.goes_on = np.array(step.goes_on, np.bool_)


class HintedChain:
    """The chain of some rows, whose emissions are cooled, under the hints of each.

    `labels` are the model's, in the order of its tags: `O`, then `B- I- E- S-` of each.

    Shape: emissions float64 [B, T, K], lengths int64 [B].
    """

    def __init__(
        self,
        emissions: Floats,
        lengths: Wholes,
        potentials: Potentials,
        hints: Sequence[Iterable[Hint]],
        labels: Sequence[str],
    ) -> None:
        self._lengths = lengths
        self._potentials = potentials
        self._emissions = emissions = emissions.copy()
        self.width, self.n_tags = emissions.shape[1:]
        self._weights: dict[tuple[int, int, int, int], float] = {}
        number = {label: k for k, label in enumerate(labels)}
        for row, of_row in enumerate(hints):
            for hint in of_row:
                first_tag = 1 + 4 * number[hint.label]
                if hint.end - hint.start == 1:
                    emissions[row, hint.start, first_tag + 3] += hint.weight
                else:
                    key = row, hint.start, hint.end, first_tag
                    self._weights[key] = self._weights.get(key, 0.0) + hint.weight
        self._lay_out()

    def _lay_out(self) -> None:
        """Give each state "since s" a slot that is its own at each of its words."""
        stops: dict[tuple[int, int, int], int] = {}
        for row, start, end, tag in self._weights:
            key = row, start, tag
            stops[key] = max(stops.get(key, 0), end)
        words = [_Word() for _ in range(self.width)]
        steps = [_Step() for _ in range(self.width)]
        taken: dict[tuple[int, int], int] = {}  # (row, slot) -> the first word that is free again
        self.n_slots = 0
        for (row, start, tag), stop in sorted(stops.items()):
            slot = next(k for k in range(self.n_slots + 1) if taken.get((row, k), 0) <= start)
            taken[row, slot] = stop - 1
            self.n_slots = max(self.n_slots, slot + 1)
            for t in range(start, stop - 1):
                word, step, here = words[t], steps[t], tag if t == start else tag + 1
                word.rows.append(row)
                word.slots.append(slot)
                word.tags.append(here)
                word.begins.append(t == start)
                step.rows.append(row)
                step.slots.append(slot)
                step.tags.append(here)
                step.inner.append(tag + 1)
                step.ending.append(tag + 2)
                step.weights.append(self._weights.get((row, start, t + 2, tag), 0.0))
                step.goes_on.append(t + 2 < stop)
        self._words = [_Words(word) for word in words]
        self._steps = [_Steps(step) for step in steps]

    def best_path(self) -> Wholes:
        """Return the best tags of each row, 0 at padding. Shape: int64 [B, T]."""
        n_rows = len(self._lengths)
        origins = np.zeros((self.width, n_rows, self.n_tags), np.int64)
        ends = np.zeros((self.width, n_rows, self.n_tags))
        base = np.broadcast_to(self._potentials.first, (n_rows, self.n_tags)).copy()
        chain = np.full((n_rows, self.n_slots), -np.inf)
        for t in range(self.width):
            following = np.full((n_rows, self.n_slots), -np.inf)
            if t:
                base, origins[t] = self._best_before(base)
                self._best_steps(self._steps[t - 1], chain, base, origins[t], following)
            here = self._words[t]
            rows, slots, tags = here.new
            following[rows, slots] = base[rows, tags]
            following[here.rows, here.slots] += self._emissions[here.rows, t, here.tags]
            base, chain = base + self._emissions[:, t], following
            base[rows, tags] = -np.inf
            ends[t] = base + self._potentials.last
        return self._trace(ends, origins)

    def _best_before(self, base: Floats) -> tuple[Floats, Wholes]:
        """Return the best score before each tag, and the tag that it comes from: [B, K] each."""
        best, origin = np.empty_like(base), np.empty(base.shape, np.int64)
        at_once = max(1, _MOST_SCORES // self.n_tags**2)
        for start in range(0, len(base), at_once):
            rows = slice(start, start + at_once)
            scores = base[rows, :, None] + self._potentials.transition
            origin[rows] = scores.argmax(axis=1)
            best[rows] = np.take_along_axis(scores, origin[rows, None], axis=1)[:, 0]
        return best, origin

    def _best_steps(
        self, step: _Steps, chain: Floats, base: Floats, origin: Wholes, following: Floats
    ) -> None:
        """Let what comes from states "since s" into the scores where it is better."""
        between = self._potentials.transition
        before = chain[step.rows, step.slots]
        on = step.goes_on
        inner = before + between[step.tags, step.inner]
        following[step.rows[on], step.slots[on]] = inner[on]
        ending = before + between[step.tags, step.ending] + step.weights
        for rows, slots, tags, scores in (
            (step.rows, step.slots, step.ending, ending),
            (step.rows[~on], step.slots[~on], step.inner[~on], inner[~on]),
        ):
            np.maximum.at(base, (rows, tags), scores)
            is_best = (scores == base[rows, tags]) & (scores > -np.inf)
            origin[rows[is_best], tags[is_best]] = self.n_tags + slots[is_best]

    def _trace(self, ends: Floats, origins: Wholes) -> Wholes:
        n_rows = len(self._lengths)
        every = np.arange(n_rows)
        state = np.zeros(n_rows, np.int64)
        path = np.zeros((n_rows, self.width), np.int64)
        for t in range(self.width - 1, -1, -1):
            ending = self._lengths == t + 1
            state[ending] = ends[t, ending].argmax(axis=1)
            here = self._words[t]
            tag_of = np.zeros((n_rows, self.n_slots), np.int64)
            is_new = np.zeros((n_rows, self.n_slots), np.bool_)
            tag_of[here.rows, here.slots] = here.tags
            is_new[here.new[:2]] = True
            inside = np.flatnonzero(state >= self.n_tags)
            tags = state.copy()
            slots = state[inside] - self.n_tags
            tags[inside] = tag_of[inside, slots]
            path[:, t] = np.where(t < self._lengths, tags, 0)
            before = origins[t, every, tags]
            stays = inside[~is_new[inside, slots]]
            before[stays] = state[stays]
            state = before
        return path

    def posterior(self, tags: Wholes) -> tuple[Floats, Floats, Floats, Sums]:
        """Return how probable the tags of the best path are, as `ConditionalRandomField.posterior`.

        Shape: int64 [B, T] -> (marginal, opening, closing), each float64 [B, T]; and the sums over
        all paths, in which a `B-` tag stands for the states "since s" that begin with it, too.
        """
        peak = self._emissions.max(axis=2, keepdims=True)
        relative = self._emissions - peak
        weights = np.exp(relative)
        alpha, alpha_chain, alpha_scale = self._forward(weights)
        beta, beta_chain, beta_scale = self._backward(weights)
        every, columns = np.arange(len(tags)), np.arange(self.width)
        mass = alpha * beta
        for t, here in enumerate(self._words):
            both = alpha_chain[here.rows, t, here.slots] * beta_chain[here.rows, t, here.slots]
            np.add.at(mass[:, t], (here.rows, here.tags), both)
            rows, slots, begun = here.new
            alpha[rows, t, begun] = alpha_chain[rows, t, slots]
        total = mass.sum(axis=2)
        marginal = np.take_along_axis(mass, tags[:, :, None], axis=2)[:, :, 0] / total
        path = relative[every[:, None], columns, tags]
        path[:, 1:] += self._potentials.transition[tags[:, :-1], tags[:, 1:]]
        path += self._gains(tags)
        path = path.cumsum(axis=1)
        log_partition = (np.log(total) + alpha_scale + beta_scale)[every, self._lengths - 1]
        with np.errstate(divide="ignore"):  # a tag that is forbidden, or that only slots reach
            sums = Sums(
                before=np.log(alpha) + (alpha_scale - log_partition[:, None])[:, :, None],
                after=np.log(beta) + beta_scale[:, :, None],
                scores=relative,
                log_partition=log_partition,
                transition=self._potentials.transition,
                lengths=self._lengths,
                gains=self._weights,
            )
        opening = np.take_along_axis(sums.before, tags[:, :, None], axis=2)[:, :, 0] - path
        closing = np.take_along_axis(sums.after, tags[:, :, None], axis=2)[:, :, 0] + path
        return marginal, opening, closing, sums

    def _gains(self, tags: Wholes) -> Floats:
        """Return the weights of the hints on the path, each at its last word. Shape: [B, T]."""
        gains = np.zeros(tags.shape)
        for (row, start, end, tag), weight in self._weights.items():
            spelt = [tag, *[tag + 1] * (end - start - 2), tag + 2]
            if tags[row, start:end].tolist() == spelt:
                gains[row, end - 1] = weight
        return gains

    def _forward(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the sums over prefixes: of tags [B, T, K], of slots [B, T, C], log scale [B, T].

        They sum to one at each word; the true values are exp(scale) times these.
        """
        n_rows = len(weights)
        between, first = np.exp(self._potentials.transition), np.exp(self._potentials.first)
        alpha, chains = np.zeros_like(weights), np.zeros((n_rows, self.width, self.n_slots))
        scales = np.zeros((n_rows, self.width))
        incoming = np.broadcast_to(first, (n_rows, self.n_tags)).copy()
        entering = np.zeros((n_rows, self.n_slots))
        for t in range(self.width):
            if t:
                incoming, entering = alpha[:, t - 1] @ between, np.zeros_like(entering)
                step = self._steps[t - 1]
                before = chains[step.rows, t - 1, step.slots]
                ending = before * between[step.tags, step.ending] * np.exp(step.weights)
                np.add.at(incoming, (step.rows, step.ending), ending)
                inner, on = before * between[step.tags, step.inner], step.goes_on
                np.add.at(incoming, (step.rows[~on], step.inner[~on]), inner[~on])
                entering[step.rows[on], step.slots[on]] = inner[on]
            here = self._words[t]
            rows, slots, tags = here.new
            entering[rows, slots] = incoming[rows, tags]
            entering[here.rows, here.slots] *= weights[here.rows, t, here.tags]
            state = incoming * weights[:, t]
            state[rows, tags] = 0.0
            scale = np.maximum(state.sum(axis=1) + entering.sum(axis=1), _FLOOR)
            alpha[:, t], chains[:, t] = state / scale[:, None], entering / scale[:, None]
            scales[:, t] = np.log(scale)
        return alpha, chains, scales.cumsum(axis=1)

    def _backward(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the sums over suffixes, the word left out, as `_forward`."""
        n_rows = len(weights)
        between, last = np.exp(self._potentials.transition), np.exp(self._potentials.last)
        beta, chains = np.zeros_like(weights), np.zeros((n_rows, self.width, self.n_slots))
        scales = np.zeros((n_rows, self.width))
        for t in range(self.width - 1, -1, -1):
            is_end = self._lengths <= t + 1
            if t + 1 < self.width:
                here, step = self._words[t + 1], self._steps[t]
                inside = weights[:, t + 1] * beta[:, t + 1]
                rows, slots, tags = here.new
                inside[rows, tags] = weights[rows, t + 1, tags] * chains[rows, t + 1, slots]
                onward = inside @ between.T
                ending = np.exp(step.weights) * inside[step.rows, step.ending]
                stays = weights[step.rows, t + 1, step.inner]
                stays = stays * np.where(
                    step.goes_on,
                    chains[step.rows, t + 1, step.slots],
                    beta[step.rows, t + 1, step.inner],
                )
                chains[step.rows, t, step.slots] = (
                    between[step.tags, step.ending] * ending
                    + between[step.tags, step.inner] * stays
                )
                scales[:, t] = np.where(is_end, 0.0, scales[:, t + 1])
                onward[is_end] = last
            else:
                onward = np.broadcast_to(last, (n_rows, self.n_tags)).copy()
            scale = np.maximum(onward.sum(axis=1), _FLOOR)
            beta[:, t], chains[:, t] = onward / scale[:, None], chains[:, t] / scale[:, None]
            scales[:, t] += np.log(scale)
        return beta, chains, scales
