"""The waiting room: windows of many requests, bounded in words, handed out in batches, fair between clients.

Plain data, no clock and no event loop, so that its laws can be tested one call at a time:

- Each request is a *lane*. Clients take turns of so many words, a *quantum*, and so do the lanes of
  one client (Deficit Round Robin, Shreedhar & Varghese 1995). So a short request waits for a
  quantum of every client before it and never for a whole document, and a client with a thousand
  requests gets no more than one with two. Requests of at most a quantum are finished in the order
  in which they came: if all were worked on at once, all would end late, and under a load that is
  too high many would run out of time with half of their windows done in vain.
- A batch starts from the window whose turn it is, and is filled from the turns that come next,
  preferring windows of nearly its length: a batch costs its longest window times its number of
  windows.
- Who has had a quantum goes to the back: a client among clients, a lane among its client's. So none
  starves.
"""

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Container, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf
from typing import Generic, TypeVar

from teddy.service.errors import ClientShareError, QueueFullError
from teddy.service.observability.tracing import Span

Item = TypeVar("Item")

LOOK_AHEAD = 4  # batches' worth of turns among which items of similar length are sought
# a lane is charged for at most this fraction of the queue: one document cannot close the door
LANE_SHARES = 16
QUANTUM_WORDS = 1024
# a lane of more is a document: it has so many windows that a small batch is as full as a large one
BULK_WORDS = 4096
# of a quantum is a document's turn, for it is not finished by a whole one either, and others wait
BULK_PART = 8


class Lane(Generic[Item]):
    """One request's items, given as (words, item). Only lanes with equal `key` share a batch."""

    __slots__ = ("client", "credit", "is_bulk", "key", "turns", "words")

    def __init__(
        self, key: object, items: Iterable[tuple[int, Item]], client: Hashable = None
    ) -> None:
        self.key = key
        self.client = client
        self.turns = deque(Turn(self, words, item) for words, item in items)
        """What still waits, in order."""
        self.words = sum(turn.words for turn in self.turns)
        """Words in `turns`."""
        self.credit = 0
        """Words that it may still have in its turn, which goes on while there are any."""
        self.is_bulk = self.words > BULK_WORDS

    def share_of(self, quantum: int) -> int:
        """How long its turns are, in words."""
        return max(1, quantum // BULK_PART) if self.is_bulk else quantum


@dataclass(frozen=True, slots=True, eq=False)
class Turn(Generic[Item]):
    """One item that waits in its lane, and how many words it is."""

    lane: Lane[Item]
    words: int
    item: Item


class Guest(Generic[Item]):
    """A client who waits: its lanes in the order of their turns, and the words that they are charged for."""

    __slots__ = ("credit", "lanes", "words")

    def __init__(self) -> None:
        self.lanes: OrderedDict[Lane[Item], None] = OrderedDict()
        self.words = 0
        self.credit = 0

    def turns(self, key: object, quantum: int) -> Iterator[Turn[Item]]:
        """Its windows in the order of their turns, of the lanes with that key."""
        waiting = deque(
            (iter(lane.turns), lane.credit, lane.share_of(quantum))
            for lane in self.lanes
            if lane.key == key
        )
        while waiting:
            windows, credit, share = waiting.popleft()
            yield from (turns := Spent(windows, credit or share))
            if not turns.is_over:
                waiting.append((windows, share, share))


class Spent(Generic[Item]):
    """The next windows of some, until they come to so many words; one at least."""

    __slots__ = ("_credit", "_windows", "is_over")

    def __init__(self, windows: Iterator[Turn[Item]], credit: int) -> None:
        self._windows = windows
        self._credit = credit
        self.is_over = False
        """Whether there are no more."""

    def __iter__(self) -> Iterator[Turn[Item]]:
        while self._credit > 0:
            turn = next(self._windows, None)
            if turn is None:
                self.is_over = True
                return
            self._credit -= turn.words
            yield turn


class FairQueue(Generic[Item]):
    """Lanes in the order of their turns; at most `max_words` waiting, of one client at most `client_share` of that."""

    def __init__(
        self, max_words: int, client_share: float = 1.0, quantum: int = QUANTUM_WORDS
    ) -> None:
        self.max_words = max_words
        self._quantum = quantum
        self.words = 0
        """Words charged to the lanes that wait."""
        self.n_bulk = 0
        """Lanes that wait and came with many words."""
        self._expected = 0
        self._max_client_words = max_words * client_share
        self._guests: OrderedDict[Hashable, Guest[Item]] = OrderedDict()

    def __len__(self) -> int:
        """How many clients wait."""
        return len(self._guests)

    def words_of(self, client: Hashable) -> int:
        """Words charged to one client's lanes."""
        guest = self._guests.get(client)
        return guest.words if guest else 0

    def check(self, words: int, client: Hashable) -> None:
        """Raise as `add` would for a lane of about so many words."""
        self._check(self._charge(words), client)

    def expect(self, words: int, client: Hashable) -> int:
        """Keep room for a lane of about so many words; gives what `expect_no_more` is to be told.

        Raises as `add`.
        """
        charge = self._charge(words)
        self._check(charge, client)
        self._expected += charge
        return charge

    def expect_no_more(self, charge: int) -> None:
        """Keep that room no longer."""
        self._expected -= charge

    def add(self, lane: Lane[Item]) -> None:
        """Put `lane`, which has items, behind its client's others; a client without any takes the last turn.

        An empty queue takes any lane. Raises QueueFullError and ClientShareError if its words, as
        far as they are charged, do not fit beside those of all, or of its client.
        """
        charge = self._charge(lane.words)
        self._check(charge, lane.client)
        guest = self._guests.setdefault(lane.client, Guest())
        guest.lanes[lane] = None
        self.n_bulk += lane.is_bulk
        self._pay(guest, charge)

    def _check(self, charge: int, client: Hashable) -> None:
        waiting, theirs = self.words + self._expected, self.words_of(client)
        if waiting and waiting + charge > self.max_words:
            raise QueueFullError(
                f"{waiting} words are waiting already, of at most {self.max_words}"
            )
        if theirs and theirs + charge > self._max_client_words:
            raise ClientShareError(
                f"{theirs} words of this client are waiting already, of at most {self._max_client_words:.0f}"
            )

    def discard(self, lane: Lane[Item]) -> None:
        """Forget what still waits of `lane`, if anything does."""
        guest = self._guests.get(lane.client)
        if guest is None or lane not in guest.lanes:
            return
        self._pay(guest, -self._charge(lane.words))
        lane.turns.clear()
        lane.words = 0
        self._dismiss(lane, guest)

    def take(self, batch_words: int) -> list[Item]:
        """The next batch: items of one key whose padded size is at most `batch_words`, or one longer item alone.

        If all that wait come to no more than that without padding, it is all of them: whoever runs
        the batch parts it by length, and a remnant of the shortest and the longest would take as
        long as the rest (single texts on 64 connections: 2,540 a second instead of 1,820). Empty
        only if the queue is.
        """
        if not self._guests:
            return []
        turns = self._look_ahead(batch_words * LOOK_AHEAD)
        lengths = [turn.words for turn in turns]
        chosen = (
            range(len(turns)) if sum(lengths) <= batch_words else choose_batch(lengths, batch_words)
        )
        self._remove(turns, {turns[i] for i in chosen})
        return [turns[i].item for i in chosen]

    def _charge(self, words: int) -> int:
        return min(words, max(1, self.max_words // LANE_SHARES))

    def _pay(self, guest: Guest[Item], words: int) -> None:
        guest.words += words
        self.words += words

    def _dismiss(self, lane: Lane[Item], guest: Guest[Item]) -> None:
        """Strike off a lane without turns, and its client if that was the last."""
        del guest.lanes[lane]
        self.n_bulk -= lane.is_bulk
        if not guest.lanes:
            del self._guests[lane.client]

    def _look_ahead(self, words: int) -> list[Turn[Item]]:
        """The turns to come, in order, of the lanes that may share the first lane's batch; about `words` of them."""
        key = next(iter(next(iter(self._guests.values())).lanes)).key
        waiting = deque(
            (guest.turns(key, self._quantum), guest.credit) for guest in self._guests.values()
        )
        turns: list[Turn[Item]] = []
        while waiting and words > 0:
            windows, credit = waiting.popleft()
            for turn in (coming := Spent(windows, credit or self._quantum)):
                turns.append(turn)
                words -= turn.words
                if words <= 0:
                    return turns
            if not coming.is_over:
                waiting.append((windows, self._quantum))
        return turns

    def _remove(self, turns: Iterable[Turn[Item]], taken: Container[Turn[Item]]) -> None:
        """Take `taken` out of `turns`, which head their lanes, and send who has had a quantum to the back."""
        heads: dict[Lane[Item], list[Turn[Item]]] = {}
        for turn in turns:
            heads.setdefault(turn.lane, []).append(turn)
        for lane, seen in heads.items():
            left = [turn for turn in seen if turn not in taken]
            if len(left) < len(seen):
                self._serve(lane, seen, left)

    def _serve(
        self, lane: Lane[Item], seen: Sequence[Turn[Item]], left: Sequence[Turn[Item]]
    ) -> None:
        """Replace `seen`, which head the lane, by `left`, and take what it had from its credit and its client's."""
        guest = self._guests[lane.client]
        charge, words = self._charge(lane.words), lane.words
        for turn in seen:
            lane.turns.popleft()
            lane.words -= turn.words
        lane.turns.extendleft(reversed(left))
        lane.words += sum(turn.words for turn in left)
        self._pay(guest, self._charge(lane.words) - charge)
        served = words - lane.words
        if has_had_its_turn(guest, served, self._quantum):
            self._guests.move_to_end(lane.client)
        if has_had_its_turn(lane, served, lane.share_of(self._quantum)):
            guest.lanes.move_to_end(lane)
        if not lane.turns:
            self._dismiss(lane, guest)


def has_had_its_turn(one: Guest[Item] | Lane[Item], words: int, quantum: int) -> bool:
    """Whether so many words more use up the credit of a client or a lane; then its next turn is a new one."""
    one.credit = max(0, (one.credit or quantum) - words)
    return one.credit == 0


def choose_batch(lengths: Sequence[int], batch_words: int) -> list[int]:
    """The indices of the first of `lengths` and of those near it that together make the batch with the most words.

    Sorted, a batch is a run of neighbours, and its padded size is its last length times its number.
    Of the runs that hold the first length and are at most `batch_words` in padded size, the one
    with the most words is chosen; of equal ones the shorter lengths. If the first is too long for
    any, it goes alone.
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


@dataclass(frozen=True, slots=True, eq=False)
class Ticket:
    """Whose request it is, until when an answer is of use, and how to learn that nobody waits for it any more."""

    client: Hashable = None
    """Who asks, as far as the queue is fair between clients."""
    deadline: float = inf
    """On the event loop's clock, in seconds."""
    departure: Callable[[], Awaitable[None]] | None = None
    """Returns when the client has gone. Called only for a request that waits long enough for it to
    matter."""
    span: Span | None = None
    """Where the time that it waits and is in the network is recorded, if it is."""
