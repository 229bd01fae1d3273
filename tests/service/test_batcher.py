import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from math import inf
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from teddy.service.errors import (
    DeadlineError,
    InferenceError,
    QueueFullError,
    ServiceError,
    ShuttingDownError,
)
from teddy.service.inference.batcher import FREED_AT_ONCE, Batcher, free_in_pieces
from teddy.service.inference.fair_queue import QUANTUM_WORDS, RequestContext
from teddy.service.inference.tagging import Tagging
from teddy.service.observability.metrics import Metrics

pytestmark = pytest.mark.anyio


class Window:
    def __init__(self, name: str, n_words: int = 1) -> None:
        self.name = name
        self.n_words = n_words


class Network:
    """Answers with the names of the windows in upper case, when its gate is open; "bad" makes it
    fail."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.gate = Event()
        self.entered = Event()
        self.batches: list[list[str]] = []
        if is_open:
            self.gate.set()

    def predict(self, windows: list[Window]) -> list[str]:
        self.entered.set()
        if not self.gate.wait(timeout=30):
            raise RuntimeError("nobody opened the gate")
        names = [window.name for window in windows]
        self.batches.append(names)
        if "bad" in names:
            raise ValueError("a bad window")
        return [name.upper() for name in names]

    async def is_busy(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, 30)


def windows(*names: str) -> list[Window]:
    return [Window(name) for name in names]


def make_batcher(
    *, batch_words: int = 100, queue_words: int = 1600, metrics: Metrics | None = None
) -> Batcher[Window, str]:
    return Batcher(
        batch_words=batch_words, queue_words=queue_words, threads=1, metrics=metrics or Metrics()
    )


def busy(network: Network, batcher: Batcher[Window, str]) -> AbstractAsyncContextManager[None]:
    """While inside, the network is held up by a first request, so that all others wait; on leaving
    it goes on."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[None]:
        network.gate.clear()
        first = batcher.submit(network.predict, windows("first"))
        await network.is_busy()
        yield
        network.gate.set()
        assert await first == ["FIRST"]

    return hold()


async def test_results_come_in_the_order_of_the_windows_whatever_their_lengths() -> None:
    network = Network()
    mixed = [Window(f"w{i}", n_words) for i, n_words in enumerate((9, 1, 30, 2, 9, 1, 25))]
    async with make_batcher(batch_words=30) as batcher:
        assert await batcher.submit(network.predict, mixed) == [f"W{i}" for i in range(7)]
    assert len(network.batches) > 1


async def test_a_lone_request_is_run_at_once_and_those_that_come_meanwhile_share_a_batch() -> None:
    network = Network()
    async with make_batcher() as batcher:
        async with busy(network, batcher):
            waiting = [batcher.submit(network.predict, windows(f"w{i}")) for i in range(5)]
        assert await asyncio.gather(*waiting) == [[f"W{i}"] for i in range(5)]
    assert network.batches == [["first"], ["w0", "w1", "w2", "w3", "w4"]]


async def test_a_departed_request_is_not_run_and_its_neighbours_are() -> None:
    network = Network()
    async with make_batcher() as batcher:
        async with busy(network, batcher):
            waiting = [batcher.submit(network.predict, windows(f"w{i}")) for i in range(3)]
            waiting[1].cancel()
        assert [await waiting[0], await waiting[2]] == [["W0"], ["W2"]]
    assert network.batches == [["first"], ["w0", "w2"]]


async def test_a_request_that_departs_in_mid_batch_loses_its_result_and_nobody_else_does() -> None:
    network = Network(is_open=False)
    async with make_batcher() as batcher:
        waiting = [batcher.submit(network.predict, windows(f"w{i}")) for i in range(3)]
        await network.is_busy()
        waiting[1].cancel()
        network.gate.set()
        assert [await waiting[0], await waiting[2]] == [["W0"], ["W2"]]
        assert waiting[1].cancelled()
    assert network.batches == [["w0", "w1", "w2"]]


async def test_a_request_that_runs_out_of_time_frees_its_place() -> None:
    network = Network()
    async with make_batcher(queue_words=16) as batcher, busy(network, batcher):
        waiting = [batcher.submit(network.predict, windows(f"w{i}")) for i in range(16)]
        with pytest.raises(QueueFullError):
            batcher.submit(network.predict, windows("late"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await waiting[0]
        accepted = batcher.submit(network.predict, windows("late"))
    assert await accepted == ["LATE"]
    assert "w0" not in network.batches[1]


async def test_a_full_queue_refuses_and_says_when_to_come_back() -> None:
    network = Network()
    async with make_batcher(queue_words=16) as batcher, busy(network, batcher):
        for i in range(16):
            batcher.submit(network.predict, windows(f"w{i}"))
        with pytest.raises(QueueFullError) as refused:
            batcher.submit(network.predict, windows("late"))
        assert refused.value.retry_after_seconds is not None
        assert 1 <= refused.value.retry_after_seconds <= 60


async def test_a_failing_model_fails_its_requests_and_the_next_is_served() -> None:
    network = Network()
    async with make_batcher() as batcher:
        with pytest.raises(InferenceError) as failed:
            await batcher.submit(network.predict, windows("bad"))
        assert isinstance(failed.value.__cause__, ValueError)
        assert await batcher.submit(network.predict, windows("good")) == ["GOOD"]


async def test_one_bad_window_does_not_fail_its_neighbours() -> None:
    network = Network()
    async with make_batcher() as batcher:
        async with busy(network, batcher):
            good = batcher.submit(network.predict, windows("a", "b"))
            bad = batcher.submit(network.predict, windows("c", "bad", "d"))
            also_good = batcher.submit(network.predict, windows("e"))
        assert [await good, await also_good] == [["A", "B"], ["E"]]
        with pytest.raises(InferenceError):
            await bad


async def test_a_batch_with_too_few_results_is_a_failure_and_never_a_mix_up() -> None:
    def forgetful(asked: list[Window]) -> list[str]:
        return [window.name.upper() for window in asked][: max(1, len(asked) - 1)]

    def mute(_: list[Window]) -> list[str]:
        return []

    async with make_batcher() as batcher:
        assert await batcher.submit(forgetful, windows("a", "b", "c")) == ["A", "B", "C"]
        with pytest.raises(InferenceError):
            await batcher.submit(mute, windows("a"))


async def test_a_short_request_overtakes_a_document_that_came_before_it() -> None:
    network = Network()
    async with make_batcher(batch_words=10) as batcher:
        async with busy(network, batcher):
            document = batcher.submit(network.predict, [Window(f"d{i}", 10) for i in range(500)])
            short = batcher.submit(network.predict, [Window("short", 10)])
        assert await short == ["SHORT"]
        assert not document.done()
        assert len(await document) == 500
    assert network.batches.index(["short"]) <= 1 + QUANTUM_WORDS // 10 + 1


async def test_requests_for_different_models_never_share_a_batch() -> None:
    first, second = Network(), Network()
    async with make_batcher() as batcher:
        async with busy(first, batcher):
            waiting = [
                batcher.submit((first, second)[i % 2].predict, windows(f"w{i}")) for i in range(6)
            ]
        assert await asyncio.gather(*waiting) == [[f"W{i}"] for i in range(6)]
    assert first.batches == [["first"], ["w0", "w2", "w4"]]
    assert second.batches == [["w1", "w3", "w5"]]


async def test_closing_answers_all_that_was_accepted_and_accepts_no_more() -> None:
    network = Network(is_open=False)
    batcher = make_batcher(batch_words=1)
    async with batcher:
        accepted = [batcher.submit(network.predict, windows(f"w{i}")) for i in range(5)]
        await network.is_busy()
        asyncio.get_running_loop().call_soon(network.gate.set)
    assert [future.result() for future in accepted] == [[f"W{i}"] for i in range(5)]
    with pytest.raises(ShuttingDownError):
        batcher.submit(network.predict, windows("late"))


async def test_a_request_without_windows_is_a_mistake_of_the_caller() -> None:
    async with make_batcher() as batcher:
        with pytest.raises(ValueError, match="at least one window"):
            batcher.submit(Network().predict, [])


async def test_batches_and_waits_are_measured_and_an_idle_queue_is_empty() -> None:
    metrics = Metrics()
    async with make_batcher(metrics=metrics) as batcher:
        await batcher.submit(Network().predict, [Window("a", 3), Window("b", 4)])
    samples = {
        sample.name: sample.value
        for family in text_string_to_metric_families(metrics.exposition().decode())
        for sample in family.samples
    }
    assert samples["teddy_batch_words_sum"] == 7
    assert samples["teddy_batch_windows_sum"] == 2
    assert samples["teddy_inference_seconds_count"] == 1
    assert samples["teddy_queue_wait_seconds_count"] == 1
    assert samples["teddy_queue_words"] == 0


async def test_a_long_list_is_freed_in_pieces_between_which_others_have_their_turn() -> None:
    loop = asyncio.get_running_loop()
    objects, left = [object() for _ in range(5 * FREED_AT_ONCE + 1)], []
    free_in_pieces(objects, loop)
    while objects:
        left.append(len(objects))
        await asyncio.sleep(0)
    assert left == [n * FREED_AT_ONCE + 1 for n in (4, 3, 2, 1, 0)]


@pytest.mark.parametrize("end", ["refused", "late", "gone", "cancelled"])
async def test_a_request_that_fails_is_forgotten_without_the_garbage_collector(end: str) -> None:
    """The collector is off; a cycle through the error's traceback would keep the windows."""
    network, seen = Network(is_open=False), list[weakref.ref[Window]]()

    async def ask(batcher: Batcher[Window, str]) -> None:
        asked = windows(*(f"w{i}" for i in range(50)))
        seen.extend(map(weakref.ref, asked))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + 0.01 if end == "late" else inf
        departure = partial(asyncio.sleep, 0) if end == "gone" else None
        context = RequestContext(deadline=deadline, departure=departure)
        await batcher.submit(network.predict, asked, context)

    gc.disable()
    try:
        async with make_batcher(queue_words=1600) as batcher:
            async with busy(network, batcher):
                n_others = 16 if end == "refused" else 0  # then the queue is full
                others = [
                    batcher.submit(network.predict, [Window("other", 100)]) for _ in range(n_others)
                ]
                asking = asyncio.create_task(ask(batcher))
                if end == "cancelled":
                    await asyncio.sleep(0)
                    asking.cancel()
                with suppress(ServiceError, asyncio.CancelledError):
                    await asking
                assert not asking.cancelled() or end == "cancelled"
                del asking
            await asyncio.gather(*others)
        assert seen
        assert [each() for each in seen if each() is not None] == []
    finally:
        gc.enable()


async def test_the_texts_of_a_late_request_are_forgotten_without_the_garbage_collector(
    predictor: Any,
) -> None:
    seen: list[weakref.ref[object]] = []

    def prepare(text: str) -> object:
        seen.append(weakref.ref(document := predictor.prepare(text)))
        return document

    model: Any = SimpleNamespace(
        name="en",
        predictor=SimpleNamespace(prepare=prepare, predict=predictor.predict),
    )
    no_drift: Any = SimpleNamespace(close=lambda: None)
    gc.disable()
    predictor.gate.clear()
    try:
        async with Batcher[Any, Any](
            batch_words=10, queue_words=1000, threads=1, metrics=Metrics()
        ) as batcher:
            tagging = Tagging(batcher, Metrics(), no_drift)
            context = RequestContext(deadline=asyncio.get_running_loop().time() + 0.01)
            with suppress(DeadlineError):
                await tagging.tag(model, ["a b c " * 10] * 3, context)
            predictor.gate.set()
        tagging.close()
        assert [each() for each in seen] == [None] * 3
        assert not tagging.has_long
    finally:
        gc.enable()
