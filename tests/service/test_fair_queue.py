from collections.abc import Iterator
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.errors import QueueFullError
from teddy.service.inference.fair_queue import (
    FLOW_SHARES,
    LOOK_AHEAD,
    FairQueue,
    Flow,
    choose_batch,
)

Item = tuple[int, int]  # flow, place in it

lengths = st.lists(st.integers(1, 9), min_size=1, max_size=7)
# key, lengths of windows
requests = st.lists(st.tuples(st.integers(0, 1), lengths), min_size=1, max_size=6)


def fill(queue: FairQueue[Item], wanted: list[tuple[int, list[int]]]) -> list[Flow[Item]]:
    flows = [
        Flow(key, [(n, (i, j)) for j, n in enumerate(sizes)])
        for i, (key, sizes) in enumerate(wanted)
    ]
    for flow in flows:
        queue.add(flow)
    return flows


def padded(sizes: list[int]) -> int:
    return max(sizes) * len(sizes)


@given(lengths, st.integers(1, 30))
def test_of_the_runs_by_length_that_hold_the_first_and_fit_a_batch_is_one_with_the_most_words(
    sizes: list[int], limit: int
) -> None:
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    runs = [order[start:end] for start, end in combinations(range(len(order) + 1), 2)]
    fitting = [run for run in runs if 0 in run and padded([sizes[i] for i in run]) <= limit]
    chosen = choose_batch(sizes, limit)
    if fitting:
        assert chosen in fitting
        assert sum(sizes[i] for i in chosen) == max(sum(sizes[i] for i in run) for run in fitting)
    else:
        assert chosen == [0]


@given(st.integers(1, 20), st.integers(1, 20))
def test_of_windows_of_one_length_those_that_came_first_go_first(n: int, limit: int) -> None:
    assert choose_batch([1] * n, limit) == list(range(min(n, limit)))


@given(requests, st.integers(1, 40))
def test_everything_comes_out_once_in_batches_of_one_key_that_fit(
    wanted: list[tuple[int, list[int]]], limit: int
) -> None:
    queue: FairQueue[Item] = FairQueue(10_000, quantum=1)
    fill(queue, wanted)
    seen: list[Item] = []
    while batch := queue.take(limit):
        sizes = [wanted[i][1][j] for i, j in batch]
        assert len({wanted[i][0] for i, _ in batch}) == 1
        assert padded(sizes) <= limit or sum(sizes) <= limit or len(batch) == 1
        seen += batch
    assert sorted(seen) == [
        (i, j) for i, (_, sizes) in enumerate(wanted) for j in range(len(sizes))
    ]
    assert (len(queue), queue.words) == (0, 0)


@given(requests, st.integers(1, 40))
def test_each_flow_is_served_within_as_many_batches_as_there_are_flows(
    wanted: list[tuple[int, list[int]]], limit: int
) -> None:
    queue: FairQueue[Item] = FairQueue(10_000, quantum=1)
    flows = fill(queue, wanted)
    last_served = [0] * len(flows)
    n_batches = 0
    while batch := queue.take(limit):
        n_batches += 1
        for i in {i for i, _ in batch}:
            last_served[i] = n_batches
        for i, flow in enumerate(flows):
            assert not flow.words or n_batches - last_served[i] < len(flows)


@given(requests, st.integers(1, 40), st.data())
def test_the_words_counted_are_those_that_wait_whoever_leaves(
    wanted: list[tuple[int, list[int]]], limit: int, data: st.DataObject
) -> None:
    queue: FairQueue[Item] = FairQueue(
        data.draw(st.sampled_from([10_000, 16 * 9, 16])),
        quantum=data.draw(st.sampled_from([1, 10, 512])),
    )
    flows = []
    for key, sizes in wanted:
        flow = Flow(key, [(n, (0, 0)) for n in sizes])
        try:
            queue.add(flow)
        except QueueFullError:
            continue
        flows.append(flow)
    while len(queue):
        if data.draw(st.booleans()):
            queue.discard(data.draw(st.sampled_from(flows)))
        else:
            queue.take(limit)
        share = queue.max_words // FLOW_SHARES
        assert queue.words == sum(min(sum(each.words for each in flow), share) for flow in flows)


def test_a_short_request_waits_for_one_window_of_a_document_and_not_for_all() -> None:
    queue: FairQueue[str] = FairQueue(100_000, quantum=10)
    queue.add(Flow("key", [(10, f"document {i}") for i in range(1000)]))
    assert queue.take(10) == ["document 0"]
    queue.add(Flow("key", [(10, "short")]))
    assert queue.take(10) == ["document 1"]
    assert queue.take(10) == ["short"]


def test_windows_of_like_length_go_together_when_there_is_a_choice() -> None:
    queue: FairQueue[int] = FairQueue(100_000)
    for length in (2, 50, 2, 50, 2, 50, 2):
        queue.add(Flow("key", [(length, length)]))
    assert queue.take(100) == [2, 2, 2, 2]
    assert queue.take(100) == [50, 50]
    assert queue.take(100) == [50]


def test_when_as_many_words_wait_as_may_the_next_are_refused_until_some_are_taken() -> None:
    queue: FairQueue[str] = FairQueue(FLOW_SHARES * 10)
    for _ in range(FLOW_SHARES):
        queue.add(Flow("key", [(10, "window")]))
    with pytest.raises(QueueFullError, match="160 words are waiting"):
        queue.add(Flow("key", [(1, "window")]))
    queue.take(10)
    queue.add(Flow("key", [(10, "window")]))


def test_one_document_is_charged_for_a_share_only_so_others_still_get_in() -> None:
    queue: FairQueue[str] = FairQueue(FLOW_SHARES * 10)
    queue.add(Flow("key", [(10, "window")] * 1000))
    assert queue.words == 10
    queue.add(Flow("key", [(10, "window")]))


def test_an_empty_queue_gives_no_batch() -> None:
    assert FairQueue[str](10).take(10) == []


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 7)), min_size=1, max_size=12),
    st.integers(5, 60),
)
def test_of_one_client_requests_of_a_quantum_at_most_are_finished_in_order(
    wanted: list[tuple[int, int]], limit: int
) -> None:
    queue: FairQueue[tuple[int, int]] = FairQueue(10_000, quantum=35)
    for i, (client, n_windows) in enumerate(wanted):
        queue.add(Flow("key", [(5, (client, i))] * n_windows, client))
    left = {i: n_windows for i, (_, n_windows) in enumerate(wanted)}
    finished: dict[int, list[int]] = {0: [], 1: [], 2: []}
    while batch := queue.take(limit):
        for client, i in batch:
            left[i] -= 1
            if not left[i]:
                finished[client].append(i)
    assert all(each == sorted(each) for each in finished.values())
    assert not any(left.values())


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(3, 40), st.integers(1, 60))
def test_a_late_client_waits_for_a_quantum_of_each_before_it_whatever_they_have(
    flows: list[int], limit: int, quantum: int
) -> None:
    queue: FairQueue[str] = FairQueue(1_000_000, quantum=quantum)
    for client, n_flows in enumerate(flows):
        for _ in range(n_flows):
            queue.add(Flow("key", [(3, "other")] * 200, client))
    queue.add(Flow("key", [(3, "late")], "late"))
    before = 0
    while "late" not in (batch := queue.take(limit)):
        before += 3 * len(batch)
    assert before <= len(flows) * (quantum + limit)


def test_room_that_is_kept_counts_until_it_is_kept_no_longer() -> None:
    queue: FairQueue[str] = FairQueue(FLOW_SHARES * 10)
    kept = [queue.reserve(1000, "client") for _ in range(FLOW_SHARES)]
    assert kept == [10] * FLOW_SHARES
    with pytest.raises(QueueFullError):
        queue.reserve(1, "other")
    with pytest.raises(QueueFullError):
        queue.add(Flow("key", [(1, "window")]))
    queue.reserved -= kept[0]
    queue.add(Flow("key", [(10, "window")]))


def test_flows_that_are_not_live_are_discarded_and_cost_no_turn() -> None:
    queue: FairQueue[str] = FairQueue(10_000, quantum=10)
    for client in "abc":
        for request in "12":
            queue.add(Flow("key", [(10, client + request)] * 2, client))
    live = {"a2", "b1", "b2", "c1", "c2"}
    taken = [queue.take(10, live.__contains__)[0] for _ in range(3)]
    assert taken == ["a2", "b1", "c1"]
    live -= {"a2", "b1", "b2", "c1"}
    assert queue.take(10, live.__contains__) == ["c2"]
    assert queue.take(10, live.__contains__) == ["c2"]
    assert queue.take(10, live.__contains__) == []
    assert (len(queue), queue.words) == (0, 0)


def test_of_a_document_only_the_items_whose_turn_is_near_are_made() -> None:
    n_made = 0

    def items() -> Iterator[tuple[int, int]]:
        nonlocal n_made
        for number in range(350_000):
            n_made += 1
            yield 3, number

    queue: FairQueue[int] = FairQueue(10_000_000)
    flow = Flow("key", items(), words=3 * 350_000)
    queue.add(flow)
    assert n_made == 0
    assert queue.take(300) == [*range(100)]
    assert n_made <= LOOK_AHEAD * 100 + 1
    queue.discard(flow)
    assert n_made <= LOOK_AHEAD * 100 + 1
    assert (len(queue), queue.words, [*flow]) == (0, 0, [])
