"""Windows of many requests, together through the network: the micro-batcher.

    submit -> FairQueue -> batch -> predict, in its own thread -> the futures of the requests

Nothing waits for a batch to fill: when the network is free it takes what is there, and batches grow
by themselves while it is busy. A request's future travels with its windows; to cancel it frees its
place, and so does a client that leaves or a deadline that passes. Only the event loop's thread
touches the queue; only the inference threads run the network.
"""

import asyncio
from asyncio import AbstractEventLoop, Future, Task, TimerHandle
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import ceil
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import structlog

from teddy.service.errors import (
    ClientDepartedError,
    ClientShareError,
    DeadlineError,
    InferenceError,
    QueueFullError,
    ServiceError,
    ShuttingDownError,
)
from teddy.service.inference.fair_queue import QUANTUM_WORDS, FairQueue, Lane, Ticket
from teddy.service.observability.metrics import Metrics

LONGEST_RETRY_AFTER_SECONDS = 60
# times the time that what waits should take must be there until a deadline: to be late is work in
# vain
CAUTION = 1.5
RATE_MEMORY = 0.8  # weight of the past in the running estimate of words per second
ANYBODY = Ticket()
SHORT_WORDS = 256
COURTESY_SECONDS = 1.0
COURTEOUS_BATCH_WORDS = 512
"""So long after a short request, batches of documents stay small, so that the next one need not
wait for a large one.

They cost a sixth more a word then (5.8 us instead of 4.9, of equal lengths).
"""
PATIENCE_SECONDS = 0.1
"""How long a request waits before its client is watched for leaving: a task for each, dearer than
most waits."""


class Sized(Protocol):
    """A window, as far as the batcher cares."""

    @property
    def n_words(self) -> int:
        """What it costs to predict."""


Window = TypeVar("Window", bound=Sized)
Output = TypeVar("Output")
Admitted = TypeVar("Admitted")
Predict = Callable[[list[Window]], list[Output]]
"""Runs the network, in a thread: one result for each window, in order. Equal ones share batches."""


@dataclass(frozen=True, slots=True, eq=False)
class Part(Generic[Window, Output]):
    """A window, the request it belongs to, and its position there."""

    job: "Job[Window, Output]"
    position: int
    window: Window


class Job(Generic[Window, Output]):
    """A request: its lane in the queue, its results so far, and its future."""

    def __init__(
        self,
        predict: Predict[Window, Output],
        windows: Sequence[Window],
        ticket: Ticket,
        loop: AbstractEventLoop,
    ) -> None:
        parts = (Part(self, position, window) for position, window in enumerate(windows))
        self.lane = Lane(predict, [(part.window.n_words, part) for part in parts], ticket.client)
        self.predict = predict
        self.ticket = ticket
        self.future: Future[list[Output]] = loop.create_future()
        self.came = loop.time()
        """When, on the loop's clock."""
        self.is_waiting = True
        """Whether no window of it has been taken yet."""
        self.timer: TimerHandle | None = None
        self.watch: Task[None] | None = None
        self._outputs: dict[int, Output] = {}
        self._n_windows = len(windows)

    def deliver(self, position: int, output: Output) -> None:
        """Keep one window's result; the last one completes the future.

        A departed request's results are dropped.
        """
        if self.future.done():
            return
        self._outputs[position] = output
        if len(self._outputs) == self._n_windows:
            self.future.set_result([self._outputs[i] for i in range(self._n_windows)])

    def fail(self, error: ServiceError) -> None:
        """Complete the future with an error, unless it is complete."""
        if not self.future.done():
            self.future.set_exception(error)

    def expires(self, now: float) -> bool:
        """Whether its deadline has passed; then it fails with DeadlineError."""
        if now < self.ticket.deadline:
            return False
        self.fail(
            DeadlineError(
                "Its time was over before the answer was there; a shorter text takes less."
            )
        )
        return True

    def end(self) -> None:
        """Look after it no longer."""
        if self.timer is not None:
            self.timer.cancel()
        if self.watch is not None:
            self.watch.cancel()
        # each refers to the job: no cycle may keep its texts and its model
        self.timer = self.watch = None


class Batcher(Generic[Window, Output]):
    """Shares the network between requests.

    An asynchronous context manager: leaving it drains the queue.

    `batch_words` bounds a batch's padded words, `queue_words` the words that wait, of one client at
    most `client_share` of them; in its turn one has `quantum` words; `threads` is the number of
    batches that run at once.
    """

    def __init__(
        self,
        *,
        batch_words: int,
        queue_words: int,
        client_share: float = 1.0,
        quantum: int = QUANTUM_WORDS,
        threads: int,
        metrics: Metrics,
    ) -> None:
        self._batch_words = batch_words
        self._queue: FairQueue[Part[Window, Output]] = FairQueue(queue_words, client_share, quantum)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._threads = threads
        self._metrics = metrics
        self._words_per_second = 0.0
        self._last_end = 0.0
        self._last_short = -COURTESY_SECONDS
        self._work = asyncio.Event()
        self._closing = False
        self._workers: list[Task[None]] = []
        self._log = structlog.get_logger("service.batcher")

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._serve()) for _ in range(self._threads)]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing = True
        self._work.set()
        await asyncio.gather(*self._workers)
        self._executor.shutdown()

    def submit(
        self, predict: Predict[Window, Output], windows: Sequence[Window], ticket: Ticket = ANYBODY
    ) -> "Future[list[Output]]":
        """Queue a request's windows; its future gives one result for each, in order.

        Cancelling the future takes the request out of the queue. It fails with InferenceError if
        `predict` does, with DeadlineError when the ticket's time is over, and with
        ClientDepartedError.

        Raises ValueError without windows, QueueFullError, ClientShareError and ShuttingDownError.
        """
        if not windows:
            raise ValueError("a request needs at least one window")
        if self._closing:
            raise ShuttingDownError("Shutting down.", retry_after_seconds=1)
        loop = asyncio.get_running_loop()
        job = Job(predict, windows, ticket, loop)
        self._admit(job.came, ticket, partial(self._queue.add, job.lane))
        if job.lane.words <= SHORT_WORDS:
            self._last_short = job.came
        job.future.add_done_callback(lambda _: self._forget(job))
        job.timer = loop.call_at(
            min(ticket.deadline, job.came + PATIENCE_SECONDS), self._look_after, job
        )
        self._metrics.queue_words = self._queue.words
        self._work.set()
        return job.future

    def check(self, words: int, ticket: Ticket) -> None:
        """Raise as `submit` would for a request of about so many words."""
        self._admit(
            asyncio.get_running_loop().time(),
            ticket,
            partial(self._queue.check, words, ticket.client),
        )

    @contextmanager
    def expecting(self, words: int, ticket: Ticket) -> Iterator[None]:
        """While a request of about so many words is made ready: keeps room for it, or raises as `submit` would.

        So that to refuse costs less than to make ready, and what is being made ready is bounded
        too.
        """
        charge = self._admit(
            asyncio.get_running_loop().time(),
            ticket,
            partial(self._queue.expect, words, ticket.client),
        )
        try:
            yield
        finally:
            self._queue.expect_no_more(charge)

    def _admit(self, now: float, ticket: Ticket, enter: Callable[[], Admitted]) -> Admitted:
        """Enter the queue. Whoever is refused is told when to come back."""
        try:
            if now + CAUTION * self._seconds_for(self._words_ahead(ticket)) > ticket.deadline:
                raise QueueFullError("The queue is longer than this request can wait.")
            return enter()
        except ClientShareError as error:
            error.retry_after_seconds = self._retry_after(self._queue.words_of(ticket.client))
            raise
        except QueueFullError as error:
            error.retry_after_seconds = self._retry_after(self._queue.words)
            raise

    def _words_ahead(self, ticket: Ticket) -> int:
        """Of the words that wait, about those whose turn comes before this client's next one."""
        return min(self._queue.words, self._queue.words_of(ticket.client) * (len(self._queue) or 1))

    def _seconds_for(self, words: int) -> float:
        return words / self._words_per_second if self._words_per_second else 0.0

    def _retry_after(self, words: int) -> int:
        return min(max(1, ceil(self._seconds_for(words))), LONGEST_RETRY_AFTER_SECONDS)

    def _forget(self, job: Job[Window, Output]) -> None:
        job.end()
        self._queue.discard(job.lane)
        self._metrics.queue_words = self._queue.words

    def _look_after(self, job: Job[Window, Output]) -> None:
        """See to a request that has been waiting for long: its deadline, and whether its client is still there."""
        loop = asyncio.get_running_loop()
        if job.expires(loop.time()):
            return
        if job.ticket.departure is not None and job.watch is None:
            job.watch = loop.create_task(see_off(job, job.ticket.departure))
        job.timer = loop.call_at(job.ticket.deadline, self._look_after, job)

    async def _serve(self) -> None:
        """One worker: batch after batch until the batcher closes and nothing waits."""
        while len(self._queue) or not self._closing:
            if batch := self._next_batch():
                await self._run(batch)
            elif not self._closing:
                self._work.clear()
                await self._work.wait()
                # requests that came in the same instant are read before one goes alone
                await asyncio.sleep(0)

    def _next_batch(self) -> list[Part[Window, Output]]:
        """The next batch, without the windows of departed and expired requests."""
        batch: list[Part[Window, Output]] = []
        now = asyncio.get_running_loop().time()
        while len(self._queue) and not batch:
            taken = self._queue.take(self._room(now))
            batch = [
                part for part in taken if not part.job.future.done() and not part.job.expires(now)
            ]
        self._metrics.queue_words = self._queue.words
        for part in batch:
            if part.job.is_waiting:
                self._metrics.queue_wait.observe(now - part.job.came)
                part.job.is_waiting = False
                if part.job.ticket.span is not None:
                    part.job.ticket.span.child("queue", part.job.came, now)
        return batch

    def _room(self, now: float) -> int:
        """How many words the next batch may have, with padding."""
        is_courteous = self._queue.n_bulk and now < self._last_short + COURTESY_SECONDS
        return min(self._batch_words, COURTEOUS_BATCH_WORDS) if is_courteous else self._batch_words

    async def _run(self, batch: list[Part[Window, Output]]) -> None:
        """Predict a batch; should it fail, each of its windows alone, so that only what is at fault fails."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        predict, windows = batch[0].job.predict, [part.window for part in batch]
        try:
            outputs = await loop.run_in_executor(self._executor, checked, predict, windows)
        except Exception as error:
            await self._run_alone(batch, error)
            return
        ended = loop.time()
        self._measure(batch, started, ended)
        for span in {part.job.ticket.span for part in batch}:
            if span is not None:
                span.child("network", started, ended, {"teddy.batch.windows": len(batch)})
        for part, output in zip(batch, outputs, strict=True):
            part.job.deliver(part.position, output)

    async def _run_alone(self, batch: list[Part[Window, Output]], error: Exception) -> None:
        if len(batch) == 1:
            failure = InferenceError("the model failed on this text")
            failure.__cause__ = error
            batch[0].job.fail(failure)
            return
        self._log.warning(
            "a batch failed, its windows are tried alone", windows=len(batch), exc_info=error
        )
        for part in batch:
            if not part.job.future.done():
                await self._run([part])

    def _measure(self, batch: Sequence[Part[Window, Output]], started: float, ended: float) -> None:
        """Count a batch, and learn how fast the queue drains: from the end of the last batch while there is work."""
        words = sum(part.window.n_words for part in batch)
        self._metrics.batch(words, len(batch), ended - started)
        since = max(self._last_end, min(part.job.came for part in batch))
        rate = self._threads * words / max(ended - since, 1e-6)
        self._words_per_second = (
            RATE_MEMORY * (self._words_per_second or rate) + (1 - RATE_MEMORY) * rate
        )
        self._last_end = ended


async def see_off(job: Job[Window, Output], departure: Callable[[], Awaitable[None]]) -> None:
    """Let a request fail, and so free its place, when its client has gone."""
    await departure()
    job.fail(ClientDepartedError("The client left before its answer was there."))


def checked(predict: Predict[Window, Output], windows: list[Window]) -> list[Output]:
    """What `predict` gives for `windows`; InferenceError unless it is one result for each."""
    outputs = predict(windows)
    if len(outputs) != len(windows):
        raise InferenceError(f"the model gave {len(outputs)} results for {len(windows)} windows")
    return outputs
