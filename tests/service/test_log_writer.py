"""Standard error as it can be: a full disk, a closed pipe, a pipe that nobody reads, several
processes at once."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from select import PIPE_BUF

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.observability.log import (
    MOST_LINES,
    NO_DESCRIPTOR,
    Lines,
    LogWriter,
    chunks,
    count_lost_lines,
    flush_logs,
    render,
)

GUARD_SECONDS = 60
FULL = Path("/dev/full")

LOGGER = """
import sys, structlog
from teddy.service.observability.log import configure_logs, count_lost_lines, flush_logs
name, lines, wait = sys.argv[1], int(sys.argv[2]), sys.argv[3]
configure_logs("info")
lost = []
count_lost_lines(lost.append)
log = structlog.get_logger()
for number in range(lines):
    log.info("request", name=name, number=number, padding="." * (number % 500))
if wait == "flush":
    flush_logs(30)
print(sum(lost), flush=True)
"""
"""Logs lines as fast as it can, and says on standard output how many were lost."""


@contextmanager
def logger(
    *, lines: int, stderr: int, wait: str = "flush", name: str = "a"
) -> Iterator[subprocess.Popen[str]]:
    """A process that logs to `stderr`, and is over in the end."""
    command = [sys.executable, "-c", LOGGER, name, str(lines), wait]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def lost_by(process: "subprocess.Popen[str]") -> int:
    """What the process says it has lost, once it has ended well."""
    output, _ = process.communicate(timeout=GUARD_SECONDS)
    assert process.returncode == 0
    return int(output)


@contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose ends are closed in the end, if they still are open."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            with suppress(OSError):
                os.close(end)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_on_a_full_disk_every_line_is_lost_and_counted() -> None:
    with FULL.open("wb") as full, logger(lines=3000, stderr=full.fileno()) as process:
        assert lost_by(process) == 3000


def test_into_a_closed_pipe_every_line_is_lost_and_counted() -> None:
    with pipe() as (reading, writing):
        os.close(reading)
        with logger(lines=3000, stderr=writing) as process:
            assert lost_by(process) == 3000


def test_with_standard_error_closed_from_the_start_every_line_is_lost_and_counted() -> None:
    command = ["sh", "-c", 'exec "$0" -c "$1" a 3000 flush 2>&-', sys.executable, LOGGER]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, timeout=GUARD_SECONDS, check=True
    )
    assert int(done.stdout) == 3000


def test_a_pipe_that_nobody_reads_hangs_neither_who_logs_nor_the_exit_and_memory_is_bounded() -> (
    None
):
    lines = 3 * MOST_LINES
    with pipe() as (_, writing), logger(lines=lines, stderr=writing, wait="") as process:
        lost = lost_by(process)
    assert lines - 2 * MOST_LINES - 65536 // 100 <= lost <= lines - MOST_LINES


def test_who_reads_late_gets_every_line_that_was_not_lost() -> None:
    lines = 2 * MOST_LINES
    with pipe() as (reading, writing), logger(lines=lines, stderr=writing) as process:
        os.close(writing)
        with open(reading, "rb", closefd=False) as reader:
            written = [json.loads(line)["number"] for line in reader]
        assert len(written) + lost_by(process) == lines
    assert written == sorted(set(written))


def test_a_process_that_ends_has_written_what_it_logged(tmp_path: Path) -> None:
    with (
        (tmp_path / "log").open("wb") as file,
        logger(lines=5000, stderr=file.fileno(), wait="") as process,
    ):
        assert lost_by(process) == 0
    assert len((tmp_path / "log").read_bytes().splitlines()) == 5000


def test_lines_of_several_processes_on_one_pipe_stay_whole_and_in_each_ones_order() -> None:
    with (
        pipe() as (reading, writing),
        logger(lines=4000, stderr=writing, name="a") as one,
        logger(lines=4000, stderr=writing, name="b") as other,
    ):
        os.close(writing)
        with open(reading, "rb", closefd=False) as reader:
            lines = [json.loads(line) for line in reader]
        assert lost_by(one) == lost_by(other) == 0
    for name in "ab":
        assert [line["number"] for line in lines if line["name"] == name] == [*range(4000)]


def test_a_reader_who_made_the_pipe_non_blocking_loses_nothing() -> None:
    with pipe() as (reading, writing):
        os.set_blocking(writing, False)
        with logger(lines=4000, stderr=writing) as process:
            os.close(writing)
            with open(reading, "rb", closefd=False) as reader:
                assert len(reader.readlines()) == 4000
            assert lost_by(process) == 0


def test_an_urgent_line_is_there_although_the_process_dies_without_an_exit() -> None:
    script = """
import os, structlog
from teddy.service.observability.log import configure_logs, flush_logs
configure_logs("info")
structlog.get_logger().error("the end")
flush_logs()
os._exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], stderr=subprocess.PIPE, timeout=GUARD_SECONDS, check=False
    )
    assert (done.returncode, json.loads(done.stderr)["event"]) == (3, "the end")


def test_an_urgent_line_does_not_wait_for_a_flush() -> None:
    with pipe() as (reading, writing):
        writer = LogWriter(writing)
        writer.write(b"late\n")
        writer.write(b"now\n", urgent=True)
        received = b""
        while b"now\n" not in received:
            received += os.read(reading, PIPE_BUF)
        assert received == b"late\nnow\n"


def test_a_line_that_a_full_disk_cut_short_spoils_no_other(tmp_path: Path) -> None:
    # The most that a process may write to a file stands for the size of the disk.
    script = """
import resource, signal, sys
from teddy.service.observability.log import LogWriter
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
writer = LogWriter(2)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
for line in (b"first\\n", b"second\\n", b"third\\n"):
    writer.write(line)
writer.flush(30)
writer.write(b"fourth\\n")
writer.flush(30)
print(writer.lost)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write(b"fifth\\n")
writer.flush(30)
print(writer.lost)
"""
    with (tmp_path / "log").open("wb") as file:
        command = [sys.executable, "-c", script]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=file, timeout=GUARD_SECONDS, check=True
        )
    assert (tmp_path / "log").read_bytes() == b"first\nseco\nfifth\n"
    assert done.stdout.split() == [b"3", b"3"]


def test_lines_lost_before_anybody_asked_are_told_when_somebody_does() -> None:
    writer = LogWriter(NO_DESCRIPTOR)
    writer.write(b"1\n")
    writer.write(b"2\n")
    assert writer.flush(GUARD_SECONDS)
    structlog.configure(logger_factory=Lines(writer), processors=[render])
    told: list[int] = []
    count_lost_lines(told.append)
    assert told == [2]
    structlog.get_logger().critical("lost", logger="too")
    flush_logs(GUARD_SECONDS)
    assert told == [2, 1]


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"") + b"\n")),
    st.integers(1, 40),
)
def test_chunks_are_all_the_lines_in_order_and_as_few_as_may_be(
    lines: list[bytes], most_bytes: int
) -> None:
    cut = list(chunks(lines, most_bytes))
    assert b"".join(cut) == b"".join(lines)
    assert all(
        chunk.endswith(b"\n") and (len(chunk) <= most_bytes or chunk.count(b"\n") == 1)
        for chunk in cut
    )
    assert all(
        len(one + other[: other.index(b"\n") + 1]) > most_bytes for one, other in pairwise(cut)
    )
