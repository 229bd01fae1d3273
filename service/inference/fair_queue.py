"""The queue of windows: bounded in words, handed out in batches, fair between clients.

It has no clock and no event loop, so its laws can be tested one call at a time.

- Each request is a *flow*. Clients take turns of a *quantum* of words, and so do the flows of one
  client (Deficit Round Robin, Shreedhar & Varghese 1995). A short request waits for one quantum of
  every client before it, never for a whole document, and a client with a thousand requests gets no
  more than one with two. Requests of at most a quantum finish in the order in which they came: if
  all were worked on at once, all would end late, and many would run out of time half done.
- A batch starts from the window whose turn it is and is filled from the next turns, preferring
  windows of nearly its length: a batch costs its longest window times its number of windows.
- A client that has had a quantum goes to the back, and so does a flow among its client's flows.
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
# a flow is charged for at most this fraction of the queue, so one document cannot fill it
FLOW_SHARES = 16
QUANTUM_WORDS = 1024
# a flow of more is a document: it has so many windows that a small batch is as full as a large one
BULK_WORDS = 4096
# a document's turn is this part of a quantum: a whole one does not finish it, and others wait
BULK_PART = 8


class Flow(Generic[Item]):
    """One request's items, given as (words, item). Only flows with equal `key` share a batch.

    An item is taken from `items` when its turn is near: of a document with 350,000 of them, few
    are in memory at a time, and to forget the rest takes no time.
    """

    __slots__ = ("client", "deficit", "head", "is_bulk", "key", "rest", "words")

    def __init__(
        self,
        key: object,
        items: Iterable[tuple[int, Item]],
        client: Hashable = None,
        words: int | None = None,
    ) -> None:
        """`words` are those of all items together, if they are known."""
        if words is None:
            items = list(items)
            words = sum(of_item for of_item, _ in items)
        self.key = key
        self.client = client
        self.head: deque[QueuedItem[Item]] = deque()
        """Of what still waits, the first that were looked at, in order."""
        self.rest = iter(items)
        """What waits behind them."""
        self.words = words
        """Of all that still waits; 0 when nothing does."""
        self.deficit = 0
        """Words left in its turn, which goes on while there are any."""
        self.is_bulk = self.words > BULK_WORDS

    def __iter__(self) -> "Iterator[QueuedItem[Item]]":
        """Yield what still waits, in order."""
        yield from self.head
        for words, item in self.rest:
            self.head.append(each := QueuedItem(self, words, item))
            yield each

    def clear(self) -> None:
        """Forget what still waits."""
        self.head.clear()
        self.rest = iter(())
        self.words = 0


@dataclass(frozen=True, slots=True, eq=False)
class QueuedItem(Generic[Item]):
    """One item that waits in its flow, and how many words it is."""

    flow: Flow[Item]
    words: int
    item: Item


class ClientQueue(Generic[Item]):
    """A client's flows in the order of their turns, and the words that they are charged for."""

    __slots__ = ("deficit", "flows", "words")

    def __init__(self) -> None:
        self.flows: OrderedDict[Flow[Item], None] = OrderedDict()
        self.words = 0
        self.deficit = 0


class FairQueue(Generic[Item]):
    """Flows in the order of their turns.

    At most `max_words` wait, and of one client at most `client_share` of that.
    """

    def __init__(
        self, max_words: int, client_share: float = 1.0, quantum: int = QUANTUM_WORDS
    ) -> None:
        self.max_words = max_words
        self.words = 0
        """Words charged to the flows that wait."""
        self.n_bulk = 0
        """Documents among the flows that wait."""
        self.reserved = 0
        """Words kept for requests that are being prepared: subtract what `reserve` gave."""
        self._quantum = quantum
        self._max_client_words = max_words * client_share
        self._clients: OrderedDict[Hashable, ClientQueue[Item]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many clients wait."""
        return len(self._clients)

    def words_of(self, client: Hashable) -> int:
        """Return the words charged to one client's flows."""
        found = self._clients.get(client)
        return found.words if found else 0

    def reserve(self, words: int, client: Hashable, most_ahead: float = inf) -> int:
        """Keep room for a flow of about `words` words; return the words kept. Raises as `add`."""
        charge = self._charge(words)
        self._check(charge, client, most_ahead)
        self.reserved += charge
        return charge

    def add(self, flow: Flow[Item], most_ahead: float = inf) -> None:
        """Put `flow`, which has words, behind its client's others; a new client goes last.

        An empty queue takes any flow. Raises QueueFullError when its charged words do not fit, or
        when more than `most_ahead` words have their turn before it; ClientShareError when they do
        not fit beside the client's others.
        """
        charge = self._charge(flow.words)
        self._check(charge, flow.client, most_ahead)
        client = self._clients.setdefault(flow.client, ClientQueue())
        client.flows[flow] = None
        self.n_bulk += flow.is_bulk
        client.words += charge
        self.words += charge

    def discard(self, flow: Flow[Item]) -> None:
        """Forget what still waits of `flow`, if anything does."""
        client = self._clients.get(flow.client)
        if client is not None and flow in client.flows:
            self._recharge(client, -self._charge(flow.words))
            flow.clear()
            self._remove_flow(flow, client)

    def take(
        self, batch_words: int, is_live: Callable[[Item], bool] = lambda _: True
    ) -> list[Item]:
        """Return the next batch: items of one key whose padded size is at most `batch_words`.

        Flows that are not live when their turn comes are discarded first, so they cost no turn.

        An item that is longer goes alone. If all that wait come to no more than `batch_words`
        without padding, it is all of them: the batch is parted by length later, and a remnant of
        the shortest and the longest would take as long as the rest (single texts on 64 connections:
        2,540 a second instead of 1,820). Empty only if the queue is.
        """
        coming = self._look_ahead(batch_words * LOOK_AHEAD)
        while dead := {each.flow for each in coming if not is_live(each.item)}:
            for flow in dead:
                self.discard(flow)
            coming = self._look_ahead(batch_words * LOOK_AHEAD)
        if not coming:
            return []
        lengths = [each.words for each in coming]
        chosen = (
            range(len(coming))
            if sum(lengths) <= batch_words
            else choose_batch(lengths, batch_words)
        )
        self._take_out(coming, {coming[i] for i in chosen})
        return [coming[i].item for i in chosen]

    def _charge(self, words: int) -> int:
        return min(words, max(1, self.max_words // FLOW_SHARES))

    def _check(self, charge: int, client: Hashable, most_ahead: float) -> None:
        theirs = self.words_of(client) if self._clients else 0
        # of the words that wait, about those whose turn comes before this client's next one
        if min(self.words, theirs * (len(self._clients) or 1)) > most_ahead:
            raise QueueFullError("The queue is longer than this request can wait.")
        waiting = self.words + self.reserved
        if waiting and waiting + charge > self.max_words:
            raise QueueFullError(
                f"{waiting} words are waiting already, of at most {self.max_words}"
            )
        if theirs and theirs + charge > self._max_client_words:
            raise ClientShareError(
                f"{theirs} words of this client are waiting already, "
                f"of at most {self._max_client_words:.0f}"
            )

    def _recharge(self, client: ClientQueue[Item], words: int) -> None:
        client.words += words
        self.words += words

    def _remove_flow(self, flow: Flow[Item], client: ClientQueue[Item]) -> None:
        """Remove a flow without items, and its client if that was the last."""
        del client.flows[flow]
        self.n_bulk -= flow.is_bulk
        if not client.flows:
            del self._clients[flow.client]

    def _look_ahead(self, words: int) -> list[QueuedItem[Item]]:
        """Return about `words` words of items that may share the first flow's batch, in turn."""
        if not self._clients:
            return []
        key = next(iter(next(iter(self._clients.values())).flows)).key
        waiting = deque(
            (_items_in_turn(client, key, self._quantum), client.deficit or self._quantum)
            for client in self._clients.values()
        )
        coming: list[QueuedItem[Item]] = []
        while waiting and words > 0:
            items, deficit = waiting.popleft()
            while deficit > 0 and words > 0 and (each := next(items, None)) is not None:
                coming.append(each)
                words -= each.words
                deficit -= each.words
            if deficit <= 0:
                waiting.append((items, self._quantum))
        return coming

    def _take_out(
        self, coming: Iterable[QueuedItem[Item]], taken: Container[QueuedItem[Item]]
    ) -> None:
        """Take `taken` out of `coming`, the heads of their flows, and move on the turns."""
        heads: dict[Flow[Item], list[QueuedItem[Item]]] = {}
        for each in coming:
            heads.setdefault(each.flow, []).append(each)
        for flow, seen in heads.items():
            left = [each for each in seen if each not in taken]
            if len(left) < len(seen):
                self._serve(flow, seen, left)

    def _serve(
        self,
        flow: Flow[Item],
        seen: Sequence[QueuedItem[Item]],
        left: Sequence[QueuedItem[Item]],
    ) -> None:
        """Replace `seen`, which head the flow, by `left`; a used-up deficit sends to the back."""
        client = self._clients[flow.client]
        charge, words = self._charge(flow.words), flow.words
        for each in seen:
            flow.head.popleft()
            flow.words -= each.words
        flow.head.extendleft(reversed(left))
        flow.words += sum(each.words for each in left)
        self._recharge(client, self._charge(flow.words) - charge)
        served = words - flow.words
        if _ends_turn(client, served, self._quantum):
            self._clients.move_to_end(flow.client)
        if _ends_turn(flow, served, _quantum_of(flow, self._quantum)):
            client.flows.move_to_end(flow)
        if not flow.words:
            self._remove_flow(flow, client)


def _quantum_of(flow: Flow[Item], quantum: int) -> int:
    return max(1, quantum // BULK_PART) if flow.is_bulk else quantum


def _items_in_turn(
    client: ClientQueue[Item], key: object, quantum: int
) -> Iterator[QueuedItem[Item]]:
    """Yield a client's items in the order of their turns, of the flows with that key."""
    waiting = deque(
        (iter(flow), flow.deficit or _quantum_of(flow, quantum), _quantum_of(flow, quantum))
        for flow in client.flows
        if flow.key == key
    )
    while waiting:
        items, deficit, flow_quantum = waiting.popleft()
        while deficit > 0 and (each := next(items, None)) is not None:
            deficit -= each.words
            yield each
        if deficit <= 0:
            waiting.append((items, flow_quantum, flow_quantum))


def _ends_turn(one: ClientQueue[Item] | Flow[Item], words: int, quantum: int) -> bool:
    """Take `words` from the deficit of a client or a flow; return whether it is used up."""
    one.deficit = max(0, (one.deficit or quantum) - words)
    return one.deficit == 0


def choose_batch(lengths: Sequence[int], batch_words: int) -> list[int]:
    """Return the indices of the first of `lengths` and of those near it: the batch of most words.

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
class RequestContext:
    """A request's client and deadline, and how to learn that the client has left."""

    client: str = ""
    """The client between which the queue is fair."""
    deadline: float = inf
    """On the event loop's clock, in seconds."""
    departure: Callable[[], Awaitable[None]] | None = None
    """Returns when the client has gone. Called only for a request that waits for long."""
    span: Span | None = None
    """Where the time in the queue and in the network is recorded, if it is."""


DEFAULT_CONTEXT = RequestContext()
IMPATIENT_SECONDS = 0.1
"""A client that gives less time than the objective of latency may not get its answer, and that is
no failure of the service: its requests are not refused early, and do not count as failed."""
