"""The waiting room: windows of many requests, bounded in words, handed out in batches, fair between requests.

Plain data, no clock and no event loop, so that its laws can be tested one call at a time:

- Each request is a *lane*. Lanes take turns, one window a turn, so a short request waits for one window of every lane
  before it and never for a whole document.
- A batch starts from the window whose turn it is, and is filled from the turns that come next, preferring windows of
  nearly its length: a batch costs its longest window times its number of windows.
- A served lane goes to the back. So every lane moves towards the front with each batch, and none starves.
"""

from collections import OrderedDict, deque
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Generic, TypeVar

from service.errors import QueueFullError

Item = TypeVar("Item")

LOOK_AHEAD = 4  # batches' worth of turns among which items of similar length are sought
LANE_SHARES = 16  # a lane is charged for at most this fraction of the queue: one document cannot close the door


class Lane(Generic[Item]):
    """One request's items, given as (words, item). Only lanes with equal `key` share a batch."""

    __slots__ = ("key", "turns", "words")

    def __init__(self, key: object, items: Iterable[tuple[int, Item]]) -> None:
        self.key = key
        self.turns = deque(Turn(self, words, item) for words, item in items)
        """What still waits, in order."""
        self.words = sum(turn.words for turn in self.turns)
        """Words in `turns`."""


@dataclass(frozen=True, slots=True, eq=False)
class Turn(Generic[Item]):
    """One item that waits in its lane, and how many words it is."""

    lane: Lane[Item]
    words: int
    item: Item


class FairQueue(Generic[Item]):
    """Lanes in the order of their turns; at most `max_words` waiting."""

    def __init__(self, max_words: int) -> None:
        self.max_words = max_words
        self.words = 0
        """Words charged to the lanes that wait."""
        self._lanes: OrderedDict[Lane[Item], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._lanes)

    def add(self, lane: Lane[Item]) -> None:
        """Put `lane`, which has items, at the back; an empty queue takes any lane.

        Raises QueueFullError if its words, as far as they are charged, do not fit beside those that wait.
        """
        charge = self._charge(lane)
        if self._lanes and self.words + charge > self.max_words:
            raise QueueFullError(f"{self.words} words are waiting already, of at most {self.max_words}")
        self._lanes[lane] = None
        self.words += charge

    def discard(self, lane: Lane[Item]) -> None:
        """Forget what still waits of `lane`, if anything does."""
        if lane in self._lanes:
            del self._lanes[lane]
            self.words -= self._charge(lane)
            lane.turns.clear()
            lane.words = 0

    def take(self, batch_words: int) -> list[Item]:
        """The next batch: items of one key whose padded size is at most `batch_words`, or one longer item alone.

        Empty only if the queue is.
        """
        if not self._lanes:
            return []
        turns = self._look_ahead(batch_words * LOOK_AHEAD)
        chosen = choose_batch([turn.words for turn in turns], batch_words)
        self._remove(turns, {turns[i] for i in chosen})
        return [turns[i].item for i in chosen]

    def _charge(self, lane: Lane[Item]) -> int:
        return min(lane.words, max(1, self.max_words // LANE_SHARES))

    def _look_ahead(self, words: int) -> list[Turn[Item]]:
        """The turns to come, in order, of the lanes that may share the first lane's batch; about `words` of them."""
        key = next(iter(self._lanes)).key
        lanes: Iterable[Lane[Item]] = (lane for lane in self._lanes if lane.key == key)
        turns: list[Turn[Item]] = []
        for lap in count():
            longer = []
            for lane in lanes:
                turns.append(lane.turns[lap])
                words -= lane.turns[lap].words
                if words <= 0:
                    return turns
                if len(lane.turns) > lap + 1:
                    longer.append(lane)
            if not longer:
                break
            lanes = longer
        return turns

    def _remove(self, turns: Iterable[Turn[Item]], taken: Container[Turn[Item]]) -> None:
        """Take `taken` out of `turns`, which head their lanes, and send the lanes that were served to the back."""
        heads: dict[Lane[Item], list[Turn[Item]]] = {}
        for turn in turns:
            heads.setdefault(turn.lane, []).append(turn)
        for lane, seen in heads.items():
            left = [turn for turn in seen if turn not in taken]
            if len(left) == len(seen):
                continue
            self.words -= self._charge(lane)
            for turn in seen:
                lane.turns.popleft()
                lane.words -= turn.words
            lane.turns.extendleft(reversed(left))
            lane.words += sum(turn.words for turn in left)
            self.words += self._charge(lane)
            if lane.turns:
                self._lanes.move_to_end(lane)
            else:
                del self._lanes[lane]


def choose_batch(lengths: Sequence[int], batch_words: int) -> list[int]:
    """The indices of the first of `lengths` and of those near it that together make the batch with the most words.

    Sorted, a batch is a run of neighbours, and its padded size is its last length times its number. Of the runs that
    hold the first length and are at most `batch_words` in padded size, the one with the most words is chosen; of equal
    ones the shorter lengths. If the first is too long for any, it goes alone.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    words_before = [0, *accumulate(lengths[i] for i in order)]
    first = order.index(0)
    best, start = (first, first + 1), 0
    for end in range(first + 1, len(order) + 1):
        while start <= first and lengths[order[end - 1]] * (end - start) > batch_words:
            start += 1
        if start > first:
            break
        if words_before[end] - words_before[start] > words_before[best[1]] - words_before[best[0]]:
            best = (start, end)
    return order[slice(*best)]
