"""Requests on their way through the batcher: their windows in the queue, results and future."""

from asyncio import AbstractEventLoop, Future, Task, TimerHandle
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Generic, Protocol, TypeVar

from teddy.service.errors import ServiceError
from teddy.service.inference.fair_queue import Flow, RequestContext


class Sized(Protocol):
    """A window, as far as the batcher needs it."""

    @property
    def n_words(self) -> int:
        """Return what it costs to predict."""


Window = TypeVar("Window", bound=Sized)
Output = TypeVar("Output")
Predict = Callable[[list[Window]], list[Output]]
"""Runs the network, in a thread: one result for each window, in order. Equal ones share batches."""


@dataclass(frozen=True, slots=True, eq=False)
class PendingWindow(Generic[Window, Output]):
    """A window, the request it belongs to, and its position there."""

    request: "PendingRequest[Window, Output]"
    position: int
    window: Window


class PendingRequest(Generic[Window, Output]):
    """A request of at least one window: its flow in the queue, its results, and its future.

    Its windows come in groups, one for each text, and have `n_words` together.
    """

    def __init__(
        self,
        predict: Predict[Window, Output],
        groups: Sequence[Collection[Window]],
        n_words: int,
        context: RequestContext,
        loop: AbstractEventLoop,
    ) -> None:
        windows = enumerate(chain.from_iterable(groups))
        items = ((each.n_words, PendingWindow(self, i, each)) for i, each in windows)
        self.flow = Flow(predict, items, context.client, n_words)
        self.predict = predict
        self.context = context
        self.future: Future[list[Output]] = loop.create_future()
        self.came = loop.time()
        self.is_waiting = True
        """Whether no window of it has been taken yet."""
        self.timer: TimerHandle | None = None
        self.watch: Task[None] | None = None
        self.n_missing = sum(map(len, groups))
        """How many windows have no result yet."""
        self.outputs: list[Output | None] = [None] * self.n_missing

    def fail(self, error: ServiceError) -> None:
        """Complete the future with an error, unless it is complete."""
        if not self.future.done():
            self.future.set_exception(error)
