"""What is counted against what was sent: by one process and by four, and when one of them is killed
meanwhile."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.load.generator import Load
from benchmarks.load.question import Question, batch_questions, single_questions
from benchmarks.load.server import Server, counted_statuses
from benchmarks.load.tally import Tally

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

SINGLE, BATCH = "/v1/entities", "/v1/entities/batch"
TEXTS = [f"Anna Berg number {i} went to Oslo , and Ole stayed at home ." for i in range(200)]
CONNECTIONS = 24
SECONDS = 1.5
PATIENCE_SECONDS = 60


def kinds() -> dict[str, list[Question]]:
    """Questions by their route; some of them are refused."""
    wrong = single_questions(["x"], None, labels=["NO SUCH LABEL"])
    return {
        SINGLE: wrong + single_questions(TEXTS, None),
        BATCH: batch_questions(TEXTS, None, [5] * (len(TEXTS) // 5)),
    }


async def load(server: Server) -> dict[str, Tally]:
    """All kinds at once."""
    asked = {
        route: Load.of(server.port, questions, name=route.rpartition("/")[2])
        for route, questions in kinds().items()
    }
    tallies = await asyncio.gather(
        *(each.closed(CONNECTIONS // 2, SECONDS) for each in asked.values())
    )
    return dict(zip(asked, tallies, strict=True))


def of(metrics: dict[str, float], name: str) -> int:
    """The sum of all samples of that name."""
    return int(sum(value for sample, value in metrics.items() if sample.partition("[")[0] == name))


async def settled(server: Server) -> dict[str, float]:
    """The metrics, once all workers have put in what they had counted: that takes them a tenth of a
    second."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        before: dict[str, int] = {}
        while True:
            await asyncio.sleep(0.5)
            metrics = await server.metrics()
            counts = {
                name: of(metrics, name)
                for name in ("teddy_texts_total", "teddy_event_loop_lag_seconds_count")
            }
            if (
                before
                and counts["teddy_texts_total"] == before["teddy_texts_total"]
                and counts != before
            ):
                return metrics
            before = counts


@pytest.mark.parametrize("workers", [1, 4])
async def test_every_request_is_counted_once_whichever_worker_answered_it(
    workers: int, tiny_model: Path, tmp_path: Path
) -> None:
    with Server.teddy(
        tmp_path / "log", "--workers", str(workers), "--model", f"tiny={tiny_model}"
    ) as server:
        await server.all_ready(workers)
        tallies = await load(server)
        metrics = await settled(server)
    for route, tally in tallies.items():
        assert tally.sent == tally.statuses.total() > 0
        assert +counted_statuses(metrics, route) == tally.statuses
    assert set(tallies[SINGLE].statuses) == {200, 422}
    sent = tallies[SINGLE].ok + 5 * tallies[BATCH].ok
    assert of(metrics, "teddy_texts_total") == of(metrics, "teddy_text_words_count") == sent
    assert of(metrics, "teddy_words_total") == of(metrics, "teddy_text_words_sum")
    assert of(metrics, "teddy_words_total") == of(metrics, "teddy_batch_words_sum")
    assert of(metrics, "teddy_entities_total") == of(metrics, "teddy_entity_score_count")
    assert of(metrics, "teddy_request_seconds_count") == of(metrics, "teddy_requests_total")
    assert (
        of(metrics, "teddy_short_request_seconds_count") == tallies[SINGLE].ok + tallies[BATCH].ok
    )
    assert metrics["teddy_refused_total[reason=unknown-label]"] == tallies[SINGLE].statuses[422]
    assert of(metrics, "teddy_truncated_words_total") == 0
    assert of(metrics, "teddy_queue_words") == 0


async def test_a_worker_that_is_killed_takes_no_count_with_it(
    tiny_model: Path, tmp_path: Path
) -> None:
    workers = 4
    with Server.teddy(
        tmp_path / "log", "--workers", str(workers), "--model", f"tiny={tiny_model}"
    ) as server:
        serving = await server.all_ready(workers)
        loading = asyncio.create_task(load(server))
        await asyncio.sleep(SECONDS / 2)
        victim = min(serving)
        os.kill(victim, signal.SIGKILL)
        tallies = await loading
        await server.all_ready(workers, without=[victim])
        metrics = await server.metrics()
    for route, tally in tallies.items():
        counted = counted_statuses(metrics, route)
        # they were in flight: whether they were counted, nobody was told
        uncertain = len(tally.broken)
        assert tally.sent == tally.statuses.total() + uncertain
        assert not tally.statuses - counted, "who was answered was counted"
        assert (counted - tally.statuses).total() <= uncertain, "nobody was counted twice"
    assert sum((tally.statuses for tally in tallies.values()), Counter())[200] > 0
    assert metrics["teddy_worker_restarts_total"] == 1
    assert metrics["teddy_workers"] == metrics["teddy_workers_wanted"] == workers
