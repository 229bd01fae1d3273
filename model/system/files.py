"""Files and folders that are written completely or not at all, and locks between processes."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TextIO

from teddy.model.errors import DataError

_PARTIAL = ".partial"


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a temporary path that becomes `path` when the block ends without an error.

    The temporary file has the same name, from which some formats take something, and lies in a
    hidden folder beside `path`, so that the last step is a rename within one file system. When the
    block raises, `path` is untouched; when the process is killed, the hidden folder may stay (see
    `remove_abandoned`).

    Raises OSError when the folder of `path` cannot be written to, and FileNotFoundError when the
    block wrote nothing.
    """
    path = Path(path)
    hidden = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=_PARTIAL))
    try:
        temporary = hidden / path.name
        yield temporary
        flush_to_disk(temporary)
        temporary.replace(path)
        flush_to_disk(path.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write a file, text as UTF-8, so that readers see the old file or the new one.

    Raises OSError as `atomic_path` does, with the name `path` when the disk is full.
    """
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        except OSError as error:  # `write` itself knows no name
            raise OSError(error.errno, error.strerror, str(path)) from error


def remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left in a folder; no other process may be writing to it."""
    for hidden in folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(hidden)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut.

    Without it a rename may reach the disk before the data.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder that becomes `folder` when the block ends without an error.

    Raises OSError when `folder` exists and is not empty, or its parent cannot be written to.
    """
    with atomic_path(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        for path in unfinished.iterdir():
            flush_to_disk(path)


def remove_abandoned_folder(folder: Path) -> None:
    """Remove the unfinished versions of `folder` that killed processes left beside it."""
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)


def lock(file: int | IO[Any], *, wait: bool = True) -> None:
    """Lock an open file or folder against other processes, until it is closed.

    Raises BlockingIOError when another process has it and `wait` is false, and OSError when the
    file system has no locks.
    """
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock an existing file or folder during the block; raises as `lock` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def keep_others_out(file: TextIO, output: Path, *, signed: bool = False) -> None:
    """Lock an open file until it is closed; `signed` writes the number of this process into it.

    Raises DataError, which names the output and the number in the file, when another process has
    locked it.
    """
    try:
        lock(file, wait=False)
    except BlockingIOError:
        file.seek(0)
        holder = f": process {file.read()}" if signed else ""
        raise DataError(output, None, f"another job is writing here{holder}") from None
    if signed:
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
