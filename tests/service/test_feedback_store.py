"""The files of corrections: what is in them after crashes, full disks and company."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from stat import S_IMODE
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.service.errors import CorrectionsFullError, SettingsError
from teddy.service.feedback.store import CorrectionFiles, OwnFile

ROOM = 2**20


def opened(directory: Path, *, file_bytes: int = ROOM, max_bytes: int = ROOM) -> CorrectionFiles:
    files = CorrectionFiles(directory, file_bytes=file_bytes, max_bytes=max_bytes)
    files.open()
    return files


def row(number: int, size: int = 0) -> bytes:
    return json.dumps({"text": "x" * size, "number": number}).encode() + b"\n"


def stored(directory: Path) -> list[int]:
    """The numbers of all rows; each file must be one that can be read whole."""
    read = []
    for path in sorted(directory.glob("*.jsonl")):
        content = path.read_bytes()
        assert content.endswith(b"\n"), "neither empty nor torn"
        read += [json.loads(line)["number"] for line in content.splitlines()]
    return read


def test_a_file_that_is_full_is_left_and_all_rows_are_kept_in_order(tmp_path: Path) -> None:
    with closing(opened(tmp_path, file_bytes=100)) as files:
        for number in range(20):
            files.append(row(number, size=30))
        assert files.stored_bytes() == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(stored(tmp_path)) == list(range(20))
    sizes = [path.stat().st_size for path in tmp_path.glob("*.jsonl")]
    assert len(sizes) > 5
    assert max(sizes) < 100 + len(row(19, size=30))


def test_who_comes_after_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for number in range(5):
        with closing(opened(tmp_path)) as files:
            files.append(row(number))
    assert len(list(tmp_path.iterdir())) == 1
    assert stored(tmp_path) == list(range(5))


def test_two_at_a_time_have_a_file_each(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as one, closing(opened(tmp_path)) as other:
        for number in range(10):
            (one if number % 2 else other).append(row(number))
        assert len(list(tmp_path.iterdir())) == 2
    assert sorted(stored(tmp_path)) == list(range(10))


def test_threads_share_one(tmp_path: Path) -> None:
    with closing(opened(tmp_path, file_bytes=500)) as files:

        def add(first: int) -> None:
            for number in range(first, first + 25):
                files.append(row(number))

        threads = [threading.Thread(target=add, args=(first,)) for first in range(0, 100, 25)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(stored(tmp_path)) == list(range(100))


def test_only_this_user_reads_what_was_sent(tmp_path: Path) -> None:
    directory = tmp_path / "made" / "here"
    with closing(opened(directory)) as files:
        files.append(row(1))
    assert S_IMODE(directory.stat().st_mode) == 0o700
    assert [S_IMODE(path.stat().st_mode) for path in directory.iterdir()] == [0o600]


def test_a_file_that_is_taken_away_is_written_to_no_more(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    with closing(opened(tmp_path)) as files:
        for number in range(3):
            files.append(row(number))
            for path in tmp_path.glob("*.jsonl"):
                path.rename(tmp_path / "archive" / path.name)
    assert len(list((tmp_path / "archive").iterdir())) == 3, "no name is given twice"
    assert sorted(stored(tmp_path / "archive")) == [0, 1, 2]


@settings(max_examples=50)
@given(
    sizes=st.lists(st.integers(0, 100) | st.just(70_000), min_size=1, max_size=4), data=st.data()
)
def test_wherever_a_file_is_torn_every_whole_row_is_kept_and_more_can_follow(
    sizes: list[int], data: st.DataObject
) -> None:
    lines = [row(number, size) for number, size in enumerate(sizes)]
    whole = b"".join(lines)
    torn = whole[: data.draw(st.integers(0, len(whole)))]
    n_whole = sum(
        torn.startswith(b"".join(lines[:n]).rstrip(b"\n")) for n in range(1, len(lines) + 1)
    )
    with TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "corrections-1.jsonl").write_bytes(torn)
        with closing(opened(directory)) as files:
            files.append(row(99))
        assert stored(directory) == [*range(n_whole), 99]


def test_what_was_left_torn_can_be_read_as_soon_as_somebody_starts(tmp_path: Path) -> None:
    (tmp_path / "corrections-1.jsonl").write_bytes(row(1) + b'{"text": "')
    (tmp_path / "corrections-2.jsonl").write_bytes(b"")
    (tmp_path / "others.jsonl").write_bytes(b"not ours\n")
    opened(tmp_path).close()
    assert (tmp_path / "corrections-1.jsonl").read_bytes() == row(1)
    assert not (tmp_path / "corrections-2.jsonl").exists()
    assert (tmp_path / "others.jsonl").read_bytes() == b"not ours\n"


WRITER = """
import sys
from pathlib import Path
from teddy.service.feedback.store import CorrectionFiles

files = CorrectionFiles(Path(sys.argv[1]), file_bytes=2**18, max_bytes=2**40)
files.open()
for number in range(10**9):
    files.append(b'{"text": "%b", "number": %d}\\n' % (b"x" * 50_000, number))
    print(number, flush=True)
"""


@contextmanager
def writer(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that stores rows without end, and says which are stored."""
    command = [sys.executable, "-c", WRITER, str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    patience = threading.Timer(60, process.kill)
    patience.start()
    try:
        yield process
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


@pytest.mark.parametrize("after", [1, 7, 12])
def test_after_a_kill_every_row_that_was_told_to_be_stored_is_there_and_every_file_is_whole(
    tmp_path: Path, after: int
) -> None:
    with writer(tmp_path) as process:
        assert process.stdout is not None
        told = [int(process.stdout.readline()) for _ in range(after)]
        process.send_signal(signal.SIGKILL)
        told += [int(line) for line in process.stdout.read().splitlines()]
        process.wait()
    opened(tmp_path).close()
    kept = sorted(stored(tmp_path))
    assert kept[: len(told)] == told
    assert len(kept) <= len(told) + 1, "at most the one that was being told"


@contextmanager
def longest_file(n_bytes: int) -> Iterator[None]:
    """As on a disk that is full: writes come through in part, or not at all."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_row_that_the_disk_takes_in_part_is_nowhere_and_the_next_one_that_fits_is_stored(
    tmp_path: Path,
) -> None:
    with closing(opened(tmp_path)) as files:
        with longest_file(4000):
            files.append(row(1, size=3000))
            with pytest.raises(CorrectionsFullError):
                files.append(row(2, size=3000))
            files.append(row(3, size=100))
        files.append(row(4, size=3000))
    assert stored(tmp_path) == [1, 3, 4]


def test_a_first_row_that_fails_leaves_no_empty_file(tmp_path: Path) -> None:
    with closing(opened(tmp_path)) as files, longest_file(100), pytest.raises(CorrectionsFullError):
        files.append(row(1, size=3000))
    assert list(tmp_path.iterdir()) == []


def test_beyond_the_limit_of_all_files_together_nothing_is_stored(tmp_path: Path) -> None:
    with (
        closing(opened(tmp_path)) as one,
        closing(opened(tmp_path, max_bytes=2 * len(row(1)))) as other,
    ):
        one.append(row(1))
        other.append(row(2))
        with pytest.raises(CorrectionsFullError):
            other.append(row(3))
    assert sorted(stored(tmp_path)) == [1, 2]


@pytest.mark.parametrize("place", ["a-file/feedback", "a-file"])
def test_a_place_that_cannot_be_written_to_is_refused_at_the_start(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "a-file").touch()
    with pytest.raises(SettingsError, match="TEDDY_FEEDBACK_DIR"):
        opened(tmp_path / place)


def test_a_file_is_one_processes_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    first = OwnFile.make(path)
    assert first is not None
    first.append(row(1))
    assert OwnFile.make(path) is None
    assert OwnFile.take(path) is None
    first.close()
    second: Any = OwnFile.take(path)
    assert second.size() == len(row(1))
    second.close()
    assert OwnFile.take(tmp_path / "none") is None
    assert os.listdir(tmp_path) == ["file"]
