"""The benchmark of training reads a run's record as it grows, and knows when the score was all but
reached."""

import json
from pathlib import Path

from benchmarks.training_speed import Follower, summarise


def row(kind: str, **values: float) -> dict[str, object]:
    return {"kind": kind, **values}


def test_the_time_to_99_percent_is_that_of_the_first_score_within_one_percent_of_the_best() -> None:
    rows = [
        (10.0, row("update")),
        (12.0, row("evaluation", f1=0.5)),
        (13.0, row("update")),
        (14.0, row("evaluation", f1=0.793)),
        (15.0, row("update")),
        (17.0, row("evaluation", f1=0.8)),
        (19.0, row("evaluation", f1=0.7)),
    ]
    timings = [
        row("start"),
        row("updates", words=300, seconds=1.0),
        row("updates", words=100, seconds=1.0),
    ]
    found = summarise(rows, timings)
    assert found == {
        "words_per_second": 200.0,
        "best_f1": 0.8,
        "seconds_to_99_percent": 4.0,
        "seconds": 9.0,
    }


def test_a_follower_takes_each_whole_line_once(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    follower = Follower(path)
    follower.look()
    lines = [json.dumps(row("update", step=step)) + "\n" for step in range(6)]
    text = "".join(lines).encode()
    for cut in (5, len(lines[0]), len(lines[0]) + 1, len(text) - 1, len(text)):
        path.write_bytes(text[:cut])
        follower.look()
    assert [found["step"] for _, found in follower.rows] == [*range(6)]
    assert [moment for moment, _ in follower.rows] == sorted(moment for moment, _ in follower.rows)
