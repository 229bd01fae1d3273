"""The waiting room: windows of many requests, bounded in words, handed out in batches, fair between clients.

Plain data, no clock and no event loop, so that its laws can be tested one call at a time:

- Each request is a *lane*. Clients take turns, one window a turn, and so do the lanes of one client. So a short request
  waits for one window of every client before it and never for a whole document, and a client with a thousand requests
  gets no more than one with two.
- A batch starts from the window whose turn it is, and is filled from the turns that come next, preferring windows of
  nearly its length: a batch costs its longest window times its number of windows.
- A served client goes to the back, and so does a served lane among its client's. So everyone moves towards the front
  with each batch, and none starves.
"""

from collections import OrderedDict, deque
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from typing import Generic, TypeVar

from service.errors import ClientShareError, QueueFullError

Item = TypeVar("Item")

LOOK_AHEAD = 4  # batches' worth of turns among which items of similar length are sought
LANE_SHARES = 16  # a lane is charged for at most this fraction of the queue: one document cannot close the door


class Lane(Generic[Item]):
    """One request's items, given as (words, item). Only lanes with equal `key` share a batch."""

    __slots__ = ("client", "key", "turns", "words")

    def __init__(self, key: object, items: Iterable[tuple[int, Item]], client: Hashable = None) -> None:
        self.key = key
        self.client = client
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


class Guest(Generic[Item]):
    """A client who waits: its lanes in the order of their turns, and the words that they are charged for."""

    __slots__ = ("lanes", "words")

    def __init__(self) -> None:
        self.lanes: OrderedDict[Lane[Item], None] = OrderedDict()
        self.words = 0

    def turns(self, key: object) -> Iterator[Turn[Item]]:
        """Its windows in the order of their turns, of the lanes with that key."""
        lanes = [lane for lane in self.lanes if lane.key == key]
        for lap in count():
            lanes = [lane for lane in lanes if len(lane.turns) > lap]
            if not lanes:
                return
            for lane in lanes:
                yield lane.turns[lap]


class FairQueue(Generic[Item]):
    """Lanes in the order of their turns; at most `max_words` waiting, of one client at most `client_share` of that."""

    def __init__(self, max_words: int, client_share: float = 1.0) -> None:
        self.max_words = max_words
        self.words = 0
        """Words charged to the lanes that wait."""
        self._max_client_words = max_words * client_share
        self._guests: OrderedDict[Hashable, Guest[Item]] = OrderedDict()

    def __len__(self) -> int:
        """How many clients wait."""
        return len(self._guests)

    def words_of(self, client: Hashable) -> int:
        """Words charged to one client's lanes."""
        guest = self._guests.get(client)
        return guest.words if guest else 0

    def add(self, lane: Lane[Item]) -> None:
        """Put `lane`, which has items, behind its client's others; a client without any takes the last turn.

        An empty queue takes any lane. Raises QueueFullError and ClientShareError if its words, as far as they are
        charged, do not fit beside those of all, or of its client.
        """
        charge, theirs = self._charge(lane), self.words_of(lane.client)
        if self._guests and self.words + charge > self.max_words:
            raise QueueFullError(f"{self.words} words are waiting already, of at most {self.max_words}")
        if theirs and theirs + charge > self._max_client_words:
            raise ClientShareError(
                f"{theirs} words of this client are waiting already, of at most {self._max_client_words:.0f}"
            )
        guest = self._guests.setdefault(lane.client, Guest())
        guest.lanes[lane] = None
        self._pay(guest, charge)

    def discard(self, lane: Lane[Item]) -> None:
        """Forget what still waits of `lane`, if anything does."""
        guest = self._guests.get(lane.client)
        if guest is None or lane not in guest.lanes:
            return
        self._pay(guest, -self._charge(lane))
        lane.turns.clear()
        lane.words = 0
        self._dismiss(lane, guest)

    def take(self, batch_words: int) -> list[Item]:
        """The next batch: items of one key whose padded size is at most `batch_words`, or one longer item alone.

        Empty only if the queue is.
        """
        if not self._guests:
            return []
        turns = self._look_ahead(batch_words * LOOK_AHEAD)
        chosen = choose_batch([turn.words for turn in turns], batch_words)
        self._remove(turns, {turns[i] for i in chosen})
        return [turns[i].item for i in chosen]

    def _charge(self, lane: Lane[Item]) -> int:
        return min(lane.words, max(1, self.max_words // LANE_SHARES))

    def _pay(self, guest: Guest[Item], words: int) -> None:
        guest.words += words
        self.words += words

    def _dismiss(self, lane: Lane[Item], guest: Guest[Item]) -> None:
        """Strike off a lane without turns, and its client if that was the last."""
        del guest.lanes[lane]
        if not guest.lanes:
            del self._guests[lane.client]

    def _look_ahead(self, words: int) -> list[Turn[Item]]:
        """The turns to come, in order, of the lanes that may share the first lane's batch; about `words` of them."""
        key = next(iter(next(iter(self._guests.values())).lanes)).key
        waiting = deque(guest.turns(key) for guest in self._guests.values())
        turns: list[Turn[Item]] = []
        while waiting and words > 0:
            guest = waiting.popleft()
            turn = next(guest, None)
            if turn is not None:
                turns.append(turn)
                words -= turn.words
                waiting.append(guest)
        return turns

    def _remove(self, turns: Iterable[Turn[Item]], taken: Container[Turn[Item]]) -> None:
        """Take `taken` out of `turns`, which head their lanes, and send who was served to the back."""
        heads: dict[Lane[Item], list[Turn[Item]]] = {}
        for turn in turns:
            heads.setdefault(turn.lane, []).append(turn)
        for lane, seen in heads.items():
            left = [turn for turn in seen if turn not in taken]
            if len(left) < len(seen):
                self._serve(lane, seen, left)

    def _serve(self, lane: Lane[Item], seen: Sequence[Turn[Item]], left: Sequence[Turn[Item]]) -> None:
        """Replace `seen`, which head the lane, by `left`, and send it and its client to the back."""
        guest = self._guests[lane.client]
        before = self._charge(lane)
        for turn in seen:
            lane.turns.popleft()
            lane.words -= turn.words
        lane.turns.extendleft(reversed(left))
        lane.words += sum(turn.words for turn in left)
        self._pay(guest, self._charge(lane) - before)
        self._guests.move_to_end(lane.client)
        guest.lanes.move_to_end(lane)
        if not lane.turns:
            self._dismiss(lane, guest)


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
