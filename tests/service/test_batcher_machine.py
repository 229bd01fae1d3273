"""The batcher against a plain account of what was asked of it, whatever happens in whatever order.

No threads and no clock: the event loop of this test has a time that a rule moves on, and what the
batcher sends to its inference threads waits here until a rule runs it."""

import asyncio
import math
import re
from asyncio import Future
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from teddy.service.errors import (
    ClientDepartedError,
    ClientShareError,
    DeadlineError,
    InferenceError,
    QueueFullError,
    ShuttingDownError,
)
from teddy.service.inference.batcher import DISCONNECT_POLL_DELAY_SECONDS, Batcher
from teddy.service.inference.fair_queue import FLOW_SHARES, IMPATIENT_SECONDS, RequestContext
from teddy.service.observability.metrics import Metrics

BATCH_WORDS, QUEUE_WORDS, CLIENT_SHARE, THREADS = 12, 96, 0.5, 2
CLIENTS = ("ada", "bob", "cyd")
LONG_ENOUGH = 30
"""Turns of the loop after which nothing more happens by itself."""


@dataclass(eq=False)
class Window:
    """A window that knows whose it is. A bad one makes the network fail."""

    request: "Request"
    position: int
    n_words: int
    bad: bool
    taken: bool = False
    """Out of the queue: in a batch, or dropped from one."""
    results: int = 0


@dataclass(eq=False)
class Request:
    """What was asked, and how it ended."""

    client: str
    deadline: float
    came: float
    predict: Callable[[list[Window]], list[str]]
    windows: list[Window] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    future: "Future[list[str]] | None" = None
    cancelled: bool = False

    @property
    def is_open(self) -> bool:
        return self.future is not None and not self.future.done()

    @property
    def charge(self) -> int:
        """Words that count for it in the queue: of those that wait, at most a flow's share."""
        waiting = (
            sum(window.n_words for window in self.windows if not window.taken)
            if self.is_open
            else 0
        )
        return min(waiting, QUEUE_WORDS // FLOW_SHARES)

    @property
    def is_bad(self) -> bool:
        return any(window.bad for window in self.windows)


@dataclass(eq=False)
class Call:
    """What waits for an inference thread."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    future: "Future[Any]"

    @property
    def windows(self) -> list[Window]:
        found: list[Window] = self.arguments[1]
        return found


class Loop(asyncio.SelectorEventLoop):
    """Time stands still, and no thread works, until a rule says so."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.calls: list[Call] = []
        self.on_call: Callable[[Call], None] = lambda _: None
        self.fault: AssertionError | None = None
        """What `on_call` found: raised here, it would be taken for a fault of the network."""

    def time(self) -> float:
        return self.now

    def run_in_executor(  # type: ignore[override]
        self,
        executor: Any,  # noqa: ARG002
        func: Callable[..., Any],
        *args: Any,
    ) -> "Future[Any]":
        call = Call(func, args, self.create_future())
        try:
            self.on_call(call)
        except AssertionError as fault:
            self.fault = fault
        self.calls.append(call)
        return call.future


class BatcherMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.loop.on_call = self.see_batch
        self.metrics = Metrics()
        self.requests: list[Request] = []
        self.batches_since_served: dict[str, int] = {}
        self.has_run = False
        self.models = [self.make_model(), self.make_model()]
        self.batcher: Batcher[Window, str] = Batcher(
            batch_words=BATCH_WORDS,
            queue_words=QUEUE_WORDS,
            client_share=CLIENT_SHARE,
            quantum=1,
            threads=THREADS,
            metrics=self.metrics,
        )
        self.loop.run_until_complete(self.batcher.__aenter__())

    def teardown(self) -> None:
        """Closing answers whatever was accepted, and takes no more."""
        try:
            closing = self.loop.create_task(self.batcher.__aexit__(None, None, None))
            self.settle()
            with_late = self.submit_now(
                self.requests[0].client if self.requests else "ada", [(1, False)], math.inf, 0
            )
            assert isinstance(with_late, ShuttingDownError)
            while not closing.done():
                assert self.loop.calls, "it neither ends nor works"
                self.finish(0)
            closing.result()
            assert all(not request.is_open for request in self.requests)
            self.words_that_wait_are_those_of_who_waits()
            self.every_end_is_a_right_one()
        finally:
            for request in self.requests:
                if (
                    request.future is not None
                    and request.future.done()
                    and not request.future.cancelled()
                ):
                    # looked at: what a failed test leaves must not be reported besides
                    request.future.exception()
            self.loop.close()

    def make_model(self) -> Callable[[list[Window]], list[str]]:
        def predict(windows: list[Window]) -> list[str]:
            if any(window.bad for window in windows):
                raise ValueError("a bad window")
            for window in windows:
                window.results += 1
            return [f"{id(window.request)} {window.position}" for window in windows]

        return predict

    @rule(
        client=st.sampled_from(CLIENTS),
        windows=st.lists(
            st.tuples(st.integers(1, 15), st.sampled_from([False] * 9 + [True])),
            min_size=1,
            max_size=6,
        ),
        patience=st.sampled_from([math.inf, math.inf, 0.05, 1.0, 5.0]),
        model=st.integers(0, 1),
    )
    def submit(
        self, client: str, windows: list[tuple[int, bool]], patience: float, model: int
    ) -> None:
        others = [request for request in self.requests if request.charge]
        theirs = sum(request.charge for request in others if request.client == client)
        waiting = sum(request.charge for request in others)
        charge = min(sum(n_words for n_words, _ in windows), QUEUE_WORDS // FLOW_SHARES)
        refusal = self.submit_now(client, windows, patience, model)
        if isinstance(refusal, ClientShareError):
            assert theirs + charge > QUEUE_WORDS * CLIENT_SHARE
        elif isinstance(refusal, QueueFullError):
            assert waiting + charge > QUEUE_WORDS or (
                self.has_run and IMPATIENT_SECONDS <= patience < math.inf
            )
        else:
            assert refusal is None
            assert waiting + charge <= QUEUE_WORDS
            assert not theirs or theirs + charge <= QUEUE_WORDS * CLIENT_SHARE
        if isinstance(refusal, QueueFullError | ClientShareError):
            assert refusal.retry_after_seconds is not None
            assert refusal.retry_after_seconds >= 1
        self.settle()

    @precondition(lambda self: any(request.is_open for request in self.requests))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.cancel_now(data)
        self.settle()

    @precondition(lambda self: any(request.is_open for request in self.requests))
    @rule(data=st.data())
    def depart(self, data: st.DataObject) -> None:
        self.draw_open(data).gone.set()
        self.settle()

    @rule(seconds=st.sampled_from([0.01, DISCONNECT_POLL_DELAY_SECONDS, 1.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.loop.now += seconds
        self.settle()

    @precondition(lambda self: self.loop.calls)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 0.0, 0.0, 1.0]))
    def finish_one(self, data: st.DataObject, seconds: float) -> None:
        """Time may have passed, and somebody left, without the loop having had a turn since."""
        if any(request.is_open for request in self.requests) and data.draw(st.booleans()):
            self.cancel_now(data)
        self.loop.now += seconds
        self.finish(data.draw(st.integers(0, len(self.loop.calls) - 1)))

    @invariant()
    def words_that_wait_are_those_of_who_waits(self) -> None:
        found = re.search(rb"^teddy_queue_words (\S+)$", self.metrics.exposition(), re.MULTILINE)
        assert found
        words = sum(request.charge for request in self.requests)
        assert float(found[1]) == words <= QUEUE_WORDS

    @invariant()
    def every_end_is_a_right_one(self) -> None:
        for request in self.requests:
            if request.is_open:
                assert self.loop.now < request.deadline
                assert (
                    not request.gone.is_set()
                    or self.loop.now < request.came + DISCONNECT_POLL_DELAY_SECONDS
                )
            else:
                self.check_end(request)

    @invariant()
    def nobody_starves(self) -> None:
        assert all(batches < len(CLIENTS) for batches in self.batches_since_served.values())

    @invariant()
    def no_thread_is_idle_while_somebody_waits(self) -> None:
        assert len(self.loop.calls) == THREADS or not any(
            request.charge for request in self.requests
        )

    def check_end(self, request: Request) -> None:
        assert request.future is not None
        if request.future.cancelled():
            assert request.cancelled
            return
        match request.future.exception():
            case None:
                assert not request.is_bad
                assert request.future.result() == [
                    f"{id(request)} {i}" for i in range(len(request.windows))
                ]
                assert [window.results for window in request.windows] == [1] * len(request.windows)
            case DeadlineError():
                assert self.loop.now >= request.deadline
            case ClientDepartedError():
                assert request.gone.is_set()
            case error:
                assert isinstance(error, InferenceError)
                assert request.is_bad

    def see_batch(self, call: Call) -> None:
        """A batch goes to the network: of one model, not too large, and each of its requests still
        wants its answer."""
        again = all(window.taken for window in call.windows)
        for window in call.windows:
            assert window.request.is_open
            assert self.loop.now < window.request.deadline
            window.taken = True
        sizes = [window.n_words for window in call.windows]
        assert (
            max(sizes) * len(sizes) <= BATCH_WORDS or sum(sizes) <= BATCH_WORDS or len(sizes) == 1
        )
        assert {window.request.predict for window in call.windows} == {call.arguments[0]}
        if not again:  # a window of a batch that failed has had its turn
            self.count_turns({window.request.client for window in call.windows})

    def count_turns(self, served: set[str]) -> None:
        waiting = {request.client for request in self.requests if request.charge}
        counts = {client: self.batches_since_served.get(client, 0) + 1 for client in waiting}
        self.batches_since_served = {
            client: 0 if client in served else n for client, n in counts.items()
        }

    def submit_now(
        self, client: str, windows: list[tuple[int, bool]], patience: float, model: int
    ) -> QueueFullError | ClientShareError | ShuttingDownError | None:
        """Submit in the loop; gives the refusal, if it is one."""
        request = Request(client, self.loop.now + patience, self.loop.now, self.models[model])
        request.windows = [
            Window(request, i, n_words, bad) for i, (n_words, bad) in enumerate(windows)
        ]

        async def submit() -> None:
            context = RequestContext(client, request.deadline, departure)
            request.future = self.batcher.submit(request.predict, request.windows, context)

        async def departure() -> None:
            await request.gone.wait()

        try:
            self.loop.run_until_complete(submit())
        except (QueueFullError, ClientShareError, ShuttingDownError) as error:
            return error
        self.requests.append(request)
        return None

    def finish(self, number: int) -> None:
        """Let an inference thread do its work."""
        call = self.loop.calls.pop(number)
        self.has_run = True
        try:
            outputs = call.function(*call.arguments)
        except ValueError as error:
            call.future.set_exception(error)
        else:
            call.future.set_result(outputs)
        self.settle()

    def cancel_now(self, data: st.DataObject) -> None:
        request = self.draw_open(data)
        assert request.future is not None
        request.cancelled = request.future.cancel()

    def draw_open(self, data: st.DataObject) -> Request:
        return data.draw(st.sampled_from([request for request in self.requests if request.is_open]))

    def settle(self) -> None:
        """Let the loop do all that it can do now."""

        async def turn() -> None:
            for _ in range(LONG_ENOUGH):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())
        if self.loop.fault is not None:
            raise self.loop.fault


TestBatcher = BatcherMachine.TestCase
TestBatcher.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, derandomize=True
)
