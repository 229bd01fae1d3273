"""Windows of many requests, together through the network: the micro-batcher.

    submit -> FairQueue -> batch -> predict, in its own thread -> the futures of the requests

Nothing waits for a batch to fill: when the network is free it takes what is there, and batches grow by themselves while
it is busy. A request's future travels with its windows; whoever cancels it frees its place. Only the event loop's
thread touches the queue; only the inference threads run the network.
"""

import asyncio
from asyncio import AbstractEventLoop, Future
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

import structlog

from service.errors import InferenceError, QueueFullError, ShuttingDownError
from service.fair_queue import FairQueue, Lane
from service.metrics import Metrics

LONGEST_RETRY_AFTER_SECONDS = 60
RATE_MEMORY = 0.8  # weight of the past in the running estimate of words per second


class Sized(Protocol):
    """A window, as far as the batcher cares."""

    @property
    def n_words(self) -> int:
        """What it costs to predict."""


Window = TypeVar("Window", bound=Sized)
Output = TypeVar("Output")
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

    def __init__(self, predict: Predict[Window, Output], windows: Sequence[Window], loop: AbstractEventLoop) -> None:
        parts = (Part(self, position, window) for position, window in enumerate(windows))
        self.lane = Lane(predict, [(part.window.n_words, part) for part in parts])
        self.predict = predict
        self.future: Future[list[Output]] = loop.create_future()
        self.waits_since: float | None = loop.time()
        """When it came, on the loop's clock; None once a window of it has been taken."""
        self._outputs: dict[int, Output] = {}
        self._n_windows = len(windows)

    def deliver(self, position: int, output: Output) -> None:
        """Keep one window's result; the last one completes the future. A departed request's results are dropped."""
        if self.future.done():
            return
        self._outputs[position] = output
        if len(self._outputs) == self._n_windows:
            self.future.set_result([self._outputs[i] for i in range(self._n_windows)])

    def fail(self, error: Exception) -> None:
        """Complete the future with InferenceError, `error` being its cause."""
        if not self.future.done():
            failure = InferenceError("the model failed on this text")
            failure.__cause__ = error
            self.future.set_exception(failure)


class Batcher(Generic[Window, Output]):
    """Shares the network between requests. An asynchronous context manager: leaving it drains the queue.

    `batch_words` bounds a batch's padded words, `queue_words` the words that wait, `threads` the batches run at once.
    """

    def __init__(self, *, batch_words: int, queue_words: int, threads: int, metrics: Metrics) -> None:
        self._batch_words = batch_words
        self._queue: FairQueue[Part[Window, Output]] = FairQueue(queue_words)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="inference")
        self._threads = threads
        self._metrics = metrics
        self._words_per_second = 0.0
        self._work = asyncio.Event()
        self._closing = False
        self._workers: list[asyncio.Task[None]] = []
        self._log = structlog.get_logger("service.batcher")

    async def __aenter__(self) -> Self:
        self._workers = [asyncio.create_task(self._serve()) for _ in range(self._threads)]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True
        self._work.set()
        await asyncio.gather(*self._workers)
        self._executor.shutdown()

    def submit(self, predict: Predict[Window, Output], windows: Sequence[Window]) -> "Future[list[Output]]":
        """Queue a request's windows; its future gives one result for each, in order.

        Cancelling the future takes the request out of the queue. If `predict` fails, it fails with InferenceError.

        Raises ValueError without windows, QueueFullError and ShuttingDownError.
        """
        if not windows:
            raise ValueError("a request needs at least one window")
        if self._closing:
            raise ShuttingDownError("Shutting down.", retry_after_seconds=1)
        job = Job(predict, windows, asyncio.get_running_loop())
        try:
            self._queue.add(job.lane)
        except QueueFullError as error:
            error.retry_after_seconds = self._seconds_to_drain()
            raise
        job.future.add_done_callback(lambda _: self._forget(job))
        self._metrics.queue_words.set(self._queue.words)
        self._work.set()
        return job.future

    def _forget(self, job: Job[Window, Output]) -> None:
        self._queue.discard(job.lane)
        self._metrics.queue_words.set(self._queue.words)

    def _seconds_to_drain(self) -> int:
        seconds = self._queue.words / self._words_per_second if self._words_per_second else 1
        return min(max(1, ceil(seconds)), LONGEST_RETRY_AFTER_SECONDS)

    async def _serve(self) -> None:
        """One worker: batch after batch until the batcher closes and nothing waits."""
        while len(self._queue) or not self._closing:
            if batch := self._next_batch():
                await self._run(batch)
            elif not self._closing:
                self._work.clear()
                await self._work.wait()

    def _next_batch(self) -> list[Part[Window, Output]]:
        """The next batch, without the windows of departed requests."""
        batch: list[Part[Window, Output]] = []
        while len(self._queue) and not batch:
            batch = [part for part in self._queue.take(self._batch_words) if not part.job.future.done()]
        self._metrics.queue_words.set(self._queue.words)
        now = asyncio.get_running_loop().time()
        for part in batch:
            if part.job.waits_since is not None:
                self._metrics.queue_wait.observe(now - part.job.waits_since)
                part.job.waits_since = None
        return batch

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
        self._measure(sum(window.n_words for window in windows), len(windows), loop.time() - started)
        for part, output in zip(batch, outputs, strict=True):
            part.job.deliver(part.position, output)

    async def _run_alone(self, batch: list[Part[Window, Output]], error: Exception) -> None:
        if len(batch) == 1:
            batch[0].job.fail(error)
            return
        self._log.warning("a batch failed, its windows are tried alone", windows=len(batch), exc_info=error)
        for part in batch:
            if not part.job.future.done():
                await self._run([part])

    def _measure(self, words: int, windows: int, seconds: float) -> None:
        self._metrics.batch(words, windows, seconds)
        rate = words / max(seconds, 1e-6)
        self._words_per_second = RATE_MEMORY * (self._words_per_second or rate) + (1 - RATE_MEMORY) * rate


def checked(predict: Predict[Window, Output], windows: list[Window]) -> list[Output]:
    """What `predict` gives for `windows`; InferenceError unless it is one result for each."""
    outputs = predict(windows)
    if len(outputs) != len(windows):
        raise InferenceError(f"the model gave {len(outputs)} results for {len(windows)} windows")
    return outputs
