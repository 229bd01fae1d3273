"""The one way in which rules and the model share a text.

    1. What is never an entity, is none: neither of a rule nor of the model.
    2. `sure` matches are entities; of two that overlap, the first in the order below.
    3. The model's entities, read under the hints, are entities where no sure match overlaps them.
    4. `fill` matches are entities where nothing else is, in the same order.

The order: more words first, then the earlier one, then that of the earlier rule in the file.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from teddy.model.rules.config import Use
from teddy.model.text.documents import Entity

MODEL = "model"
"""The source of an entity that the model found."""


class Match(NamedTuple):
    """A rule's match on `[start, end)` of a text, in its offsets, which touches words.

    Attributes: `words`, the range of words that it touches; `whole`, whether it begins and ends
    where they do; `rule`, the rule's number; `use`, None for what is never an entity, and `label`
    is empty then if that goes for every label.
    """

    start: int
    end: int
    words: tuple[int, int]
    whole: bool
    rule: int
    use: Use | None
    label: str
    score: float
    id: str = ""


class Stretches:
    """Stretches that are disjoint, and so in order."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __len__(self) -> int:
        return len(self._starts)

    def overlap(self, start: int, end: int) -> bool:
        """Tell whether a stretch overlaps one of these."""
        return bisect_right(self._ends, start) < bisect_left(self._starts, end)

    def take(self, start: int, end: int) -> None:
        """Add a stretch that overlaps none."""
        place = bisect_left(self._starts, start)
        self._starts.insert(place, start)
        self._ends.insert(place, end)

    def take_all(self, stretches: Iterable[tuple[int, int]]) -> None:
        """Add stretches that overlap none, nor each other."""
        both = sorted([*zip(self._starts, self._ends, strict=True), *stretches])
        self._starts, self._ends = [start for start, _ in both], [end for _, end in both]


@dataclass(frozen=True, slots=True)
class Merged:
    """The entities of a text, and what they took.

    Attributes: `entities`, in order; `used`, the matches that are entities; `dropped`, entities of
    the model that are none now.
    """

    entities: list[Entity]
    used: list[Match]
    dropped: list[Entity]


def order_of(match: Match) -> tuple[int, int, int, int]:
    """Return what decides between matches that overlap: the least comes first."""
    first, last = match.words
    return first - last, match.start, match.rule, match.start - match.end


def choose(matches: Iterable[Match], taken: Stretches) -> list[Match]:
    """Return the matches that become entities, and take their stretches."""
    matches = sorted(matches, key=_start_of)
    if not taken and all(one.end <= next_.start for one, next_ in pairwise(matches)):
        taken.take_all((each.start, each.end) for each in matches)  # nothing to decide
        return matches
    chosen: list[Match] = []
    for match in sorted(matches, key=order_of):
        if not taken.overlap(match.start, match.end):
            taken.take(match.start, match.end)
            chosen.append(match)
    return chosen


def merge(
    found: Sequence[Entity],
    matches: Sequence[Match],
    names: Sequence[str],
    quote: Callable[[int, int], str],
) -> Merged:
    """Return the entities of a text: `found` by the model under the hints, and those of rules.

    `names` are those of the rules, by their numbers; `quote` gives what stands between two offsets.
    """
    never = {(each.start, each.end, each.label) for each in matches if each.use is None}

    def may_be(start: int, end: int, label: str) -> bool:
        return not never or never.isdisjoint(((start, end, ""), (start, end, label)))

    by_use: dict[Use, list[Match]] = {"sure": [], "hint": [], "fill": []}
    for each in matches:
        if each.use and may_be(each.start, each.end, each.label):
            by_use[each.use].append(each)
    sure = choose(by_use["sure"], taken := Stretches())
    hints = {
        (each.start, each.end, each.label): each
        for each in sorted(by_use["hint"], key=order_of, reverse=True)
    }
    used, kept, dropped = [*sure], [], []
    for entity in found:
        place = entity.start, entity.end, entity.label
        if not may_be(*place) or taken.overlap(entity.start, entity.end):
            dropped.append(entity)
            continue
        hint = hints.get(place)
        if hint:
            used.append(hint)
        kept.append(
            Entity(*place, entity.score, entity.text, source=MODEL, id=(hint and hint.id) or None)
        )
    fill: list[Match] = []
    if by_use["fill"]:
        taken.take_all((entity.start, entity.end) for entity in kept)
        fill = choose(by_use["fill"], taken)
    made = [
        Entity(
            each.start,
            each.end,
            each.label,
            each.score,
            quote(each.start, each.end),
            source=names[each.rule],
            id=each.id or None,
        )
        for each in (*sure, *fill)
    ]
    return Merged(sorted((*kept, *made), key=_start_of), [*used, *fill], dropped)


def _start_of(place: Entity | Match) -> int:
    return place.start
