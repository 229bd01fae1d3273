from pathlib import Path

import pytest

from teddy.model.system.files import atomic_path, write_atomically


class CrashError(Exception):
    pass


@pytest.mark.parametrize("data", [b"\x00\xff\r\n", "né, 漢字\r\nsecond line\n", ""])
def test_a_file_holds_exactly_what_was_written(tmp_path: Path, data: bytes | str) -> None:
    path = tmp_path / "model.teddy"
    path.write_text("a longer text that was there before")
    write_atomically(path, data)
    assert path.read_bytes() == (data if isinstance(data, bytes) else data.encode())
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_while_writing_leaves_the_old_file_untouched_and_nothing_else(
    tmp_path: Path,
) -> None:
    path = tmp_path / "model.teddy"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            assert path.read_text() == "old"
            raise CrashError

    with pytest.raises(CrashError):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_crash_while_writing_for_the_first_time_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "model.teddy"

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("ne")
            assert not path.exists()
            raise CrashError

    with pytest.raises(CrashError):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_text_that_cannot_be_encoded_leaves_the_old_file_untouched(tmp_path: Path) -> None:
    path = tmp_path / "report.md"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_path_has_the_final_name_and_lies_in_the_same_file_system(
    tmp_path: Path,
) -> None:
    with atomic_path(tmp_path / "model.teddy") as temporary:
        assert temporary.name == "model.teddy"
        assert temporary.parent.parent == tmp_path
        assert temporary.parent.name.startswith(".")
        temporary.write_bytes(b"")


def test_writing_nothing_is_an_error_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "model.teddy"
    path.write_text("old")
    with pytest.raises(FileNotFoundError), atomic_path(path):
        pass
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_new_file_may_be_read_by_those_who_may_read_ordinary_new_files(
    tmp_path: Path,
) -> None:
    ordinary, atomic = tmp_path / "ordinary", tmp_path / "atomic"
    ordinary.write_text("x")
    write_atomically(atomic, "x")
    assert atomic.stat().st_mode == ordinary.stat().st_mode


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", "x")
