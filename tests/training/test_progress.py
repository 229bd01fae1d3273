import io
import json
from typing import Any

import pytest
from rich.console import Console

from teddy.training.job.progress import JsonProgress, LiveProgress, Progress, open_progress
from teddy.training.job.record import EvaluationRow, HeldOutRow, UpdateRow


class Clock:
    """A clock that goes on only when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def update(step: int) -> UpdateRow:
    return {
        "kind": "update",
        "step": step,
        "epoch": 2,
        "loss": 1.5,
        "gradient_norm": 1.0,
        "learning_rate": 1e-3,
        "n_words": 100,
        "words_per_second": 54321.0,
    }


def evaluation(step: int, best: bool) -> EvaluationRow:
    return {
        "kind": "evaluation",
        "step": step,
        "epoch": 2,
        "f1": 0.9123,
        "precision": 0.9,
        "recall": 0.925,
        "loss": 0.25,
        "best": best,
    }


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def live(stream: io.StringIO, clock: Clock) -> LiveProgress:
    console = Console(file=stream, force_terminal=True, width=160, color_system=None)
    return LiveProgress(100, console=console, clock=clock)


def test_a_terminal_gets_bars_and_anything_else_lines_of_json() -> None:
    assert isinstance(open_progress(10, stream=Terminal()), LiveProgress)
    assert isinstance(open_progress(10, stream=io.StringIO()), JsonProgress)


def test_updates_give_a_line_at_most_once_in_thirty_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(100, stream=stream, clock=clock) as progress:
        for step in range(1, 100):
            clock.now += 1.0
            progress.show(update(step))
    assert [(line["event"], line["step"], line["steps"]) for line in told(stream)] == [
        ("update", 30, 100),
        ("update", 60, 100),
        ("update", 90, 100),
    ]
    assert (told(stream)[0]["loss"], told(stream)[0]["words_per_second"]) == (1.5, 54321.0)


def test_every_evaluation_gives_a_line_with_its_scores() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(1200, stream=stream, clock=clock) as progress:
        progress.show(evaluation(400, best=True))
        progress.show(evaluation(1000, best=False))
    for line, best, step in zip(told(stream), (True, False), (400, 1000), strict=True):
        scores = {key: value for key, value in evaluation(step, best).items() if key != "kind"}
        assert {
            "level": "info",
            "event": "evaluation",
            "steps": 1200,
            **scores,
        }.items() <= line.items()


def test_a_loss_that_is_no_number_is_null_as_json_has_no_word_for_it() -> None:
    stream = io.StringIO()
    with JsonProgress(100, stream=stream, clock=Clock(), every_seconds=0) as progress:
        progress.show({**update(1), "loss": float("nan")})
    assert told(stream)[0]["loss"] is None


@pytest.mark.parametrize(
    ("seconds", "steps", "total", "left"),
    [(40, 40, 100, 60), (40, 4, 10, 60), (3600, 1, 3, 7200), (60, 5, 5, 0)],
)
def test_time_left_is_in_proportion_to_the_steps_left(
    seconds: int, steps: int, total: int, left: int
) -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(total, stream=stream, clock=clock) as progress:
        clock.now += seconds
        progress.show(update(steps))
    assert told(stream)[-1]["seconds_left"] == left


def test_a_resumed_run_reckons_only_with_the_steps_it_did_itself() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(100, first_step=80, stream=stream, clock=clock) as progress:
        clock.now += 60
        progress.show(update(90))
    assert told(stream)[-1]["seconds_left"] == 60


def test_the_live_bar_shows_step_epoch_loss_best_f1_speed_and_time_left() -> None:
    stream, clock = io.StringIO(), Clock()
    with live(stream, clock) as progress:
        for step in range(1, 51):
            clock.now += 1.0
            progress.show(update(step))
        progress.show(evaluation(50, best=True))
        progress.show(evaluation(50, best=False))
    last = stream.getvalue()
    for part in ["epoch 2", "50/100", "loss 1.5000", "dev F1 91.23%", "54,321 words/s", "0:00:50"]:
        assert part in last
    assert last.count("the best so far") == 1


@pytest.mark.parametrize("kind", ["json", "live"])
def test_what_the_block_raises_goes_on(kind: str) -> None:
    stream, clock = io.StringIO(), Clock()
    progress: Progress = (
        live(stream, clock) if kind == "live" else open_progress(100, stream=stream, clock=clock)
    )
    with pytest.raises(ZeroDivisionError), progress:
        raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["json", "live"])
def test_a_note_is_shown_as_it_is(kind: str) -> None:
    stream, clock = io.StringIO(), Clock()
    progress: Progress = (
        live(stream, clock) if kind == "live" else open_progress(100, stream=stream, clock=clock)
    )
    with progress:
        progress.note("early stop: [no] better F1 in 5 evaluations")
    assert "early stop: [no] better F1 in 5 evaluations" in stream.getvalue()


def test_held_out_text_gives_a_live_line_of_what_the_objective_asks() -> None:
    row: HeldOutRow = {
        "kind": "held_out",
        "step": 40,
        "epoch": 1,
        "words": 9000,
        "perplexity": 123.45,
        "accuracy": 0.31,
        "detection_accuracy": None,
    }
    guessed = "held out: perplexity 123.5, 31.0% of words right"
    judged = row.copy()
    judged["detection_accuracy"] = 0.9
    for both, expected in ((row, guessed), (judged, f"{guessed}, 90.0% of verdicts right")):
        terminal = Terminal()
        with live(terminal, Clock()) as bar:
            bar.show(both)
        assert expected in terminal.getvalue()
