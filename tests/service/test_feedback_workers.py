"""Corrections in `teddy serve --workers 2` as it is run: whichever worker they reach."""

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.test_feedback import rows
from tests.service.test_workers import SECONDS, Served, serving

pytestmark = pytest.mark.slow

TEXT = "Anna Berg went to Oslo ."
ANNA = {"start": 0, "end": 9, "label": "PER"}
N = 30


def post(served: Served, path: str, body: dict[str, Any]) -> httpx.Response:
    """On a connection of its own: the workers take turns in taking them."""
    answer = httpx.post(f"{served.url}{path}", json=body, timeout=SECONDS)
    assert answer.is_success, answer.text
    return answer


def shown(served: Served) -> dict[str, float]:
    """What the wall shows of feedback."""
    names = ("_total", "_entities_total", "_precision", "_recall", "_f1", "_stored_bytes")
    return {name: served.metric(f"teddy_feedback{name}") for name in names}


def test_any_worker_takes_a_correction_of_any_answer_and_shows_what_all_have_taken(
    tiny_model: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "feedback"
    with serving(tiny_model, tmp_path / "log", TEDDY_FEEDBACK_DIR=str(directory)) as served:
        assert shown(served)["_entities_total"] == 0
        answered = post(served, "/v1/entities", {"text": TEXT}).headers["x-request-id"]
        for _ in range(N):
            post(served, "/v1/feedback", {"request_id": answered, "entities": [ANNA]})
        assert [row["text"] for row in rows(directory)] == [TEXT] * N
        assert len(list(directory.glob("*.jsonl"))) == 2, (
            "each worker has stored some, and one alone has answered"
        )

        expected = {
            "_total": N,
            "_entities_total": 2 * N,
            "_precision": 1.0 + 0.0,
            "_recall": 1.0,
            "_f1": 2 / 3,
        }
        expected["_stored_bytes"] = sum(path.stat().st_size for path in directory.glob("*.jsonl"))
        assert [shown(served) for _ in range(6)] == [pytest.approx(expected)] * 6

        os.kill(served.pids()[0], signal.SIGKILL)
        served.wait_for_events("a worker is ready", 3)
        assert [shown(served) for _ in range(6)] == [pytest.approx(expected)] * 6
        for _ in range(4):
            post(served, "/v1/feedback", {"text": TEXT, "entities": [ANNA]})
        assert len(rows(directory)) == N + 4
        assert "Anna" not in (tmp_path / "log").read_text()
    assert list((directory / ".answers").iterdir()) == [], "answers are forgotten"
