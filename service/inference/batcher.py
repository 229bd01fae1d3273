"""The micro-batcher: windows of many requests, together through the network.

    submit -> FairQueue -> batch -> predict, in its own thread -> the futures of the requests

Nothing waits for a batch to fill: when the network is free it takes what is there, and batches grow
by themselves while it is busy. A request's future travels with its windows. Cancelling it, a client
that leaves, and a deadline that passes free its place. Only the event loop's thread touches the
queue; only the inference threads run the network.
"""

import asyncio
from asyncio import AbstractEventLoop, Future, Task
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil, inf
from types import TracebackType
from typing import Any, Generic, Self, cast

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
from teddy.service.inference.fair_queue import (
    DEFAULT_CONTEXT,
    IMPATIENT_SECONDS,
    QUANTUM_WORDS,
    FairQueue,
    RequestContext,
)
from teddy.service.inference.pending import (
    Output,
    PendingRequest,
    PendingWindow,
    Predict,
    Window,
)
from teddy.service.observability.metrics import Metrics

LONGEST_RETRY_AFTER_SECONDS = 60
# a request is refused unless this times the estimated wait is left until its deadline
DEADLINE_SAFETY_FACTOR = 1.5
THROUGHPUT_EMA_WEIGHT = 0.8  # of the past, in the running estimate of words per second
SHORT_WORDS = 256
SHORT_REQUEST_HOLD_SECONDS = 1.0
HOLD_BATCH_WORDS = 512
"""For so long after a short request, batches of documents stay this small, so that the next short
one need not wait for a large batch. They cost a sixth more a word then (5.8 us instead of 4.9)."""
FREED_AT_ONCE = 2048
"""Results, in one step of the event loop: at most 1 ms."""
DISCONNECT_POLL_DELAY_SECONDS = 0.1
"""How long a request waits before its client is watched for leaving: a task for each costs more
than most waits."""

log = structlog.get_logger("service.batcher")


class Batcher(Generic[Window, Output]):
    """Shares the network between requests.

    An asynchronous context manager: leaving it drains the queue.

    `batch_words` bounds a batch's padded words, `queue_words` the words that wait, of one client at
    most `client_share` of them; a turn is of `quantum` words; `threads` batches run at once.
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
        self._queue: FairQueue[PendingWindow[Window, Output]] = FairQueue(
            queue_words, client_share, quantum
        )
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._threads = threads
        self._metrics = metrics
        self._words_per_second = 0.0
        self._last_end = 0.0
        self._last_short = -SHORT_REQUEST_HOLD_SECONDS
        self._work = asyncio.Event()
        self._closing = False
        self._workers: list[Task[None]] = []

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

    @contextmanager
    def reserve(self, words: int, context: RequestContext) -> Iterator[None]:
        """Keep room for about `words` words while a request is prepared. Raises as `submit`.

        Refusing costs less than preparing, and what is being prepared is bounded too.
        """
        now = asyncio.get_running_loop().time()
        try:
            charge = self._queue.reserve(words, context.client, self._most_ahead(context, now))
        except (QueueFullError, ClientShareError) as error:
            raise self._with_retry_after(error, context) from None
        try:
            yield
        finally:
            self._queue.reserved -= charge

    def submit(
        self,
        predict: Predict[Window, Output],
        windows: Sequence[Window],
        context: RequestContext = DEFAULT_CONTEXT,
    ) -> "Future[list[Output]]":
        """Queue a request's windows; return a future of one result for each, in order.

        Raises ValueError without windows, and as `enqueue`.
        """
        if not windows:
            raise ValueError("a request needs at least one window")
        loop = asyncio.get_running_loop()
        n_words = sum(each.n_words for each in windows)
        return self.enqueue(PendingRequest(predict, [windows], n_words, context, loop))

    def enqueue(self, request: PendingRequest[Window, Output]) -> "Future[list[Output]]":
        """Queue a request; return its future, of one result for each window, in order.

        Cancelling the future takes the request out of the queue. It fails with InferenceError when
        `predict` does, with DeadlineError when the context's time is over, and with
        ClientDepartedError.

        Raises QueueFullError, ClientShareError and ShuttingDownError.
        """
        if self._closing:
            raise ShuttingDownError("Shutting down.", retry_after_seconds=1)
        loop, context = asyncio.get_running_loop(), request.context
        try:
            self._queue.add(request.flow, self._most_ahead(context, request.came))
        except (QueueFullError, ClientShareError) as error:
            request.flow.clear()  # it refers to the request: a cycle would keep its texts
            raise self._with_retry_after(error, context) from None
        if request.flow.words <= SHORT_WORDS:
            self._last_short = request.came
        request.future.add_done_callback(lambda _: self._forget(request))
        poll_at = request.came + DISCONNECT_POLL_DELAY_SECONDS
        request.timer = loop.call_at(min(context.deadline, poll_at), self._look_after, request)
        self._metrics.queue_words = self._queue.words
        self._work.set()
        return request.future

    def _most_ahead(self, context: RequestContext, now: float) -> float:
        """Return how many words may have their turn before a request that comes now.

        One with hardly any time may wait for it to pass: its deadline is at fault, not the queue.
        """
        if context.deadline - now < IMPATIENT_SECONDS:
            return inf
        words_per_second = self._words_per_second or inf  # nothing is known before the first batch
        return (context.deadline - now) * words_per_second / DEADLINE_SAFETY_FACTOR

    def _with_retry_after(self, error: ServiceError, context: RequestContext) -> ServiceError:
        is_share = isinstance(error, ClientShareError)
        words = self._queue.words_of(context.client) if is_share else self._queue.words
        seconds = words / self._words_per_second if self._words_per_second else 0.0
        error.retry_after_seconds = min(max(1, ceil(seconds)), LONGEST_RETRY_AFTER_SECONDS)
        return error

    def _forget(self, request: PendingRequest[Window, Output]) -> None:
        if request.timer is not None:
            request.timer.cancel()
        if request.watch is not None:
            request.watch.cancel()
        # each refers to the request: no cycle may keep its texts and its model
        request.timer = request.watch = None
        if request.flow.words:
            self._queue.discard(request.flow)
        if request.n_missing:
            free_in_pieces(request.outputs, asyncio.get_running_loop())
        self._metrics.queue_words = self._queue.words

    def _look_after(self, request: PendingRequest[Window, Output]) -> None:
        """Check the deadline of a request that has waited for long, and watch its client."""
        loop = asyncio.get_running_loop()
        if _expires(request, loop.time()):
            return
        if request.context.departure is not None and request.watch is None:
            request.watch = loop.create_task(
                _fail_on_disconnect(request, request.context.departure)
            )
        request.timer = loop.call_at(request.context.deadline, self._look_after, request)

    async def _serve(self) -> None:
        """Run batch after batch until the batcher closes and nothing waits."""
        while len(self._queue) or not self._closing:
            if batch := self._next_batch():
                await self._run(batch)
            elif not self._closing:
                self._work.clear()
                await self._work.wait()
                # requests that came in the same instant are read before one goes alone
                await asyncio.sleep(0)

    def _next_batch(self) -> list[PendingWindow[Window, Output]]:
        """Return the next batch, without the windows of departed and expired requests."""
        now = asyncio.get_running_loop().time()
        batch = self._queue.take(
            self._max_batch_words(now),
            lambda pending: (
                not pending.request.future.done() and not _expires(pending.request, now)
            ),
        )
        self._metrics.queue_words = self._queue.words
        for pending in batch:
            if pending.request.is_waiting:
                self._metrics.queue_wait.observe(now - pending.request.came)
                pending.request.is_waiting = False
                if pending.request.context.span is not None:
                    pending.request.context.span.child("queue", pending.request.came, now)
        return batch

    def _max_batch_words(self, now: float) -> int:
        holds = self._queue.n_bulk and now < self._last_short + SHORT_REQUEST_HOLD_SECONDS
        return min(self._batch_words, HOLD_BATCH_WORDS) if holds else self._batch_words

    async def _run(self, batch: list[PendingWindow[Window, Output]]) -> None:
        """Predict a batch; if it fails, each window alone, so that only a faulty one fails."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        predict, windows = batch[0].request.predict, [pending.window for pending in batch]
        try:
            outputs = await loop.run_in_executor(self._executor, _predict, predict, windows)
        except Exception as error:
            await self._run_alone(batch, error)
            return
        ended = loop.time()
        self._measure(batch, started, ended)
        for span in {pending.request.context.span for pending in batch}:
            if span is not None:
                span.child("network", started, ended, {"teddy.batch.windows": len(batch)})
        for pending, output in zip(batch, outputs, strict=True):
            request = pending.request
            if not request.future.done():  # the results of a departed request are dropped
                request.outputs[pending.position] = output
                request.n_missing -= 1
                if not request.n_missing:
                    request.future.set_result(cast(list[Output], request.outputs))

    async def _run_alone(
        self, batch: list[PendingWindow[Window, Output]], error: Exception
    ) -> None:
        if len(batch) == 1:
            failure = InferenceError("the model failed on this text")
            failure.__cause__ = error
            batch[0].request.fail(failure)
            return
        log.warning(
            "a batch failed, its windows are tried alone", windows=len(batch), exc_info=error
        )
        loop = asyncio.get_running_loop()
        for pending in batch:
            if not pending.request.future.done() and not _expires(pending.request, loop.time()):
                await self._run([pending])

    def _measure(
        self, batch: Sequence[PendingWindow[Window, Output]], started: float, ended: float
    ) -> None:
        """Count a batch and estimate words per second, from the last batch's end if busy."""
        words = sum(pending.window.n_words for pending in batch)
        self._metrics.batch(words, len(batch), ended - started)
        since = max(self._last_end, min(pending.request.came for pending in batch))
        rate = self._threads * words / max(ended - since, 1e-6)
        past = self._words_per_second or rate
        self._words_per_second = past + (1 - THROUGHPUT_EMA_WEIGHT) * (rate - past)
        self._last_end = ended


def free_in_pieces(objects: list[Any], loop: AbstractEventLoop) -> None:
    """Empty a list that may be long, with the event loop's other work between the pieces.

    To free the results of 300,000 windows takes 100 ms.
    """
    del objects[-FREED_AT_ONCE:]
    if objects:
        loop.call_soon(free_in_pieces, objects, loop)


async def _fail_on_disconnect(
    request: PendingRequest[Window, Output], departure: Callable[[], Awaitable[None]]
) -> None:
    """Fail a request, and so free its place, when its client has gone."""
    await departure()
    request.fail(ClientDepartedError("The client left before its answer was there."))


def _expires(request: PendingRequest[Window, Output], now: float) -> bool:
    """Return whether the deadline has passed; then the request fails with DeadlineError."""
    if now < request.context.deadline:
        return False
    request.fail(
        DeadlineError("Its time was over before the answer was there; a shorter text takes less.")
    )
    return True


def _predict(predict: Predict[Window, Output], windows: list[Window]) -> list[Output]:
    """Call `predict`. Raises InferenceError when it does not give one result for each window."""
    outputs = predict(windows)
    if len(outputs) != len(windows):
        raise InferenceError(f"the model gave {len(outputs)} results for {len(windows)} windows")
    return outputs
