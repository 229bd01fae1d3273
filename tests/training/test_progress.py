import io

import pytest
from rich.console import Console

from training.progress import LiveProgress, PlainProgress, Progress, open_progress
from training.record import EvaluationRow, HeldOutRow, UpdateRow


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


def live(stream: io.StringIO, clock: Clock) -> LiveProgress:
    console = Console(file=stream, force_terminal=True, width=160, color_system=None)
    return LiveProgress(100, console=console, clock=clock)


def test_a_terminal_gets_bars_and_anything_else_plain_lines() -> None:
    assert isinstance(open_progress(10, stream=Terminal()), LiveProgress)
    assert isinstance(open_progress(10, stream=io.StringIO()), PlainProgress)


def test_updates_give_a_plain_line_at_most_once_in_thirty_seconds() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(100, stream=stream, clock=clock) as progress:
        for step in range(1, 100):
            clock.now += 1.0
            progress.show(update(step))
    lines = stream.getvalue().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step 30/100", "step 60/100", "step 90/100"]


def test_every_evaluation_gives_a_plain_line_that_says_whether_it_is_the_best() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(1200, stream=stream, clock=clock) as progress:
        progress.show(evaluation(400, best=True))
        progress.show(evaluation(1000, best=False))
    assert stream.getvalue().splitlines() == [
        "step 400/1,200, epoch 2: dev F1 91.23% (P 90.00%, R 92.50%), loss 0.2500, the best so far",
        "step 1,000/1,200, epoch 2: dev F1 91.23% (P 90.00%, R 92.50%), loss 0.2500",
    ]


@pytest.mark.parametrize(
    ("seconds", "steps", "total", "left"),
    [(40, 40, 100, "1:00"), (40, 4, 10, "1:00"), (3600, 1, 3, "2:00:00"), (60, 5, 5, "0:00")],
)
def test_time_left_is_in_proportion_to_the_steps_left(seconds: int, steps: int, total: int, left: str) -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(total, stream=stream, clock=clock) as progress:
        clock.now += seconds
        progress.show(update(steps))
    assert stream.getvalue().endswith(f", {left} left\n")


def test_a_resumed_run_reckons_only_with_the_steps_it_did_itself() -> None:
    stream, clock = io.StringIO(), Clock()
    with open_progress(100, first_step=80, stream=stream, clock=clock) as progress:
        clock.now += 60
        progress.show(update(90))
    assert stream.getvalue().endswith(", 1:00 left\n")


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


@pytest.mark.parametrize("kind", ["plain", "live"])
def test_what_the_block_raises_goes_on(kind: str) -> None:
    stream, clock = io.StringIO(), Clock()
    progress: Progress = live(stream, clock) if kind == "live" else open_progress(100, stream=stream, clock=clock)
    with pytest.raises(ZeroDivisionError), progress:
        raise ZeroDivisionError


@pytest.mark.parametrize("kind", ["plain", "live"])
def test_a_note_is_shown_as_it_is(kind: str) -> None:
    stream, clock = io.StringIO(), Clock()
    progress: Progress = live(stream, clock) if kind == "live" else open_progress(100, stream=stream, clock=clock)
    with progress:
        progress.note("early stop: [no] better F1 in 5 evaluations")
    assert "early stop: [no] better F1 in 5 evaluations" in stream.getvalue()


def test_held_out_text_gives_a_line_of_what_the_objective_asks() -> None:
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
        stream = io.StringIO()
        with PlainProgress(100, stream=stream, clock=Clock()) as plain:
            plain.show(both)
        assert stream.getvalue() == f"step 40/100, epoch 1: {expected}\n"
        terminal = Terminal()
        with live(terminal, Clock()) as bar:
            bar.show(both)
        assert expected in terminal.getvalue()
