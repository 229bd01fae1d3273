"""Answers that are remembered: found by any process while they are new, and bounded, and gone with
who gave them."""

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from stat import S_IMODE
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.service.feedback.answers import (
    MOST_WAITING,
    Answers,
    NewAnswer,
    RememberedAnswer,
    Segments,
)
from tests.service.conftest import FakeEntity, FakeTagged
from tests.service.test_feedback_store import longest_file

SECONDS = 60
"""No test decides by time; this keeps a broken one from hanging."""


def opened(directory: Path, most_bytes: int = 2**20) -> Answers:
    answers = Answers(directory, most_bytes=most_bytes)
    answers.open()
    return answers


def answer(request_id: str, *texts: str, by: str = "somebody") -> NewAnswer:
    tagged: Any = [FakeTagged([FakeEntity(0, 1, "A", 0.5, text[:1])], []) for text in texts]
    return NewAnswer(
        request_id=request_id, by=by, model="en", version="1", texts=texts, tagged=tagged
    )


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_one_process_remembers_another_finds_for_the_same_caller(tmp_path: Path) -> None:
    texts = (
        'Ada "met" Grace\n',
        "",
        "é 中 \U0001f9f8 \u2028",
        '{"request_id":"2","by":"somebody",',
    )
    with (
        closing(opened(tmp_path / "answers")) as one,
        closing(opened(tmp_path / "answers")) as other,
    ):
        one.remember(answer("1", *texts))
        until(lambda: other.find("1", "somebody"))
        found = other.find("1", "somebody")
        assert isinstance(found, RememberedAnswer)
        assert (found.model, found.version, found.texts) == ("en", "1", list(texts))
        assert found.found == [[Span(0, 1, "A")]] * 4
        assert one.find("1", "nobody") is None
        assert one.find("2", "somebody") is None
        assert one.find("", "somebody") is None


def test_of_two_about_one_text_under_one_id_the_later_is_found_whichever_process_gave_it(
    tmp_path: Path,
) -> None:
    with closing(opened(tmp_path)) as one, closing(opened(tmp_path)) as other:
        for version, process in (("1", one), ("2", other), ("3", one)):
            process.remember(replace(answer("same", "Ada"), version=version))
            until(lambda: (found := one.find("same", "somebody")) and found.version == version)  # noqa: B023
        found = other.find("same", "somebody")
        assert found is not None
        assert found.version == "3"


@pytest.mark.parametrize("others", [("Grace",), ("Ada", "Grace"), ()])
@pytest.mark.parametrize("turn", [False, True])
def test_an_id_of_two_texts_finds_neither_whichever_process_gave_them_in_whatever_order(
    tmp_path: Path, others: tuple[str, ...], turn: bool
) -> None:
    with closing(opened(tmp_path)) as one, closing(opened(tmp_path)) as other:
        for process in (one, other):
            given = [answer("same", "Ada"), answer("same", *others)]
            for each in reversed(given) if turn else given:
                process.remember(each)
            process.remember(answer("last", "x"))
            until(lambda: one.find("last", "somebody"))
            assert other.find("same", "somebody") is None


def test_the_oldest_are_forgotten_and_no_more_bytes_are_held_than_may_be(tmp_path: Path) -> None:
    with closing(opened(tmp_path, most_bytes=4000)) as answers:
        for number in range(24):
            answers.remember(answer(str(number), "x" * 300))
            until(partial(answers.find, str(number), "somebody"))
            assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 4000
        kept = [number for number in range(24) if answers.find(str(number), "somebody")]
    assert 2000 // 500 <= len(kept) < 10
    assert kept == list(range(24))[-len(kept) :]


def test_what_is_longer_than_half_of_what_may_be_held_is_not_remembered(tmp_path: Path) -> None:
    with closing(opened(tmp_path, most_bytes=4000)) as answers:
        answers.remember(answer("long", "x" * 1999))
        answers.remember(answer("used", "x"))
        answers.remember(answer("used", "x" * 1999))
        answers.remember(answer("escaped", "\0" * 1000))
        answers.remember(answer("short", "x"))
        until(lambda: answers.find("short", "somebody"))
        assert answers.find("long", "somebody") is None
        assert answers.find("used", "somebody") is None, "which of its two texts is meant?"
        assert answers.find("escaped", "somebody") is None


def test_what_waits_for_a_slow_disk_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, written = threading.Event(), []

    def append(_: Segments, lines: bytes) -> None:
        gate.wait(SECONDS)
        written.append(len(lines))

    monkeypatch.setattr(Segments, "append", append)
    with closing(opened(tmp_path, most_bytes=2**30)) as answers:
        for number in range(20):
            answers.remember(answer(str(number), "x" * (MOST_WAITING // 4)))
        gate.set()
        until(lambda: answers._n_taken == answers._n_put)
    assert MOST_WAITING // 2 < sum(written) <= 1.1 * MOST_WAITING


def test_a_full_disk_costs_answers_and_nothing_else(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as answers:
        with longest_file(1000):
            answers.remember(answer("lost", "x" * 3000))
            until(lambda: answers._n_taken == answers._n_put)
        answers.remember(answer("kept", "x"))
        until(lambda: answers.find("kept", "somebody"))
        assert answers.find("lost", "somebody") is None


def test_nothing_is_left_when_it_is_closed_and_nobody_else_reads_it_before(tmp_path: Path) -> None:
    directory = tmp_path / "answers"
    with closing(opened(directory)) as answers:
        answers.remember(answer("1", "x"))
        until(lambda: answers.find("1", "somebody"))
        assert S_IMODE(directory.stat().st_mode) == 0o700
        assert {S_IMODE(path.stat().st_mode) for path in directory.iterdir()} == {0o600}
    assert list(directory.iterdir()) == []


HOLDER = """
import sys
from pathlib import Path
from teddy.service.feedback.answers import Segments

segments = Segments(Path(sys.argv[1]), most_bytes=100)
segments.open()
for _ in range(3):
    segments.append(b"x" * 49 + b"\\n")
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has two files there."""
    command = [sys.executable, "-c", HOLDER, str(directory)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "there\n"
            yield process
        finally:
            process.kill()


def test_the_next_one_removes_what_a_killed_process_has_left_and_what_no_living_one_has(
    tmp_path: Path,
) -> None:
    with holder(tmp_path) as killed, holder(tmp_path):
        assert len(list(tmp_path.iterdir())) == 4
        killed.send_signal(signal.SIGKILL)
        killed.wait(SECONDS)
        Segments(tmp_path, most_bytes=100).open()
        assert len(list(tmp_path.iterdir())) == 2


@settings(max_examples=30)
@given(st.lists(st.integers(1, 50), max_size=30))
def test_of_lines_that_are_added_the_newest_are_there_and_at_least_half_of_what_may_be(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("segments")
    lines = [
        (f"{number}".ljust(size, "x") + "\n").encode()[-50:] for number, size in enumerate(sizes)
    ]
    with closing(Segments(directory, most_bytes=100)) as segments:
        segments.open()
        for line in lines:
            segments.append(line)
        held = b"".join(
            path.read_bytes()
            for path in sorted(segments.paths(), key=lambda path: int(path.stem.split("-")[1]))
        )
    assert b"".join(lines).endswith(held)
    assert len(held) <= 100
    assert held == b"".join(lines) or len(held) > 50
