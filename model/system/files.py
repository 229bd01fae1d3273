"""Files and folders that are there whole or not at all, and locks between processes."""

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
    """Give a path to write to; what was written there becomes `path` when the block ends well, and only then.

    For writers that insist on opening the file themselves. The path given has the same name as
    `path`, since some formats take something from the name, and lies in a hidden folder beside it,
    so that the last step is a rename within one file system. When the block raises, whatever `path`
    held before is untouched and nothing is left behind; when the process is killed, the hidden
    folder may stay (see `remove_abandoned`).

    Raises: OSError where the folder of `path` is missing or refuses to be written to,
    FileNotFoundError where the block wrote nothing.
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
    """Write the whole file `path`, text as UTF-8 with line ends as they are; a reader sees the old file or the new one.

    Raises: OSError as `atomic_path`, which names `path` where the disk is full; the old file is
    then untouched.
    """
    with atomic_path(path) as temporary:
        try:
            temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)
        except OSError as error:  # `write` itself knows no name
            raise OSError(error.errno, error.strerror, str(path)) from error


def remove_abandoned(folder: Path) -> None:
    """Remove what killed writers left in a folder to which nobody is writing now."""
    for hidden in folder.glob(f".*{_PARTIAL}"):
        shutil.rmtree(hidden)


def flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut; else a rename may overtake its data."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write files to, which becomes `folder` when the block ends well, and only then.

    Raises OSError where `folder` exists and is not empty, or its place refuses to be written to.
    """
    with atomic_path(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        for path in unfinished.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def remove_abandoned_folder(folder: Path) -> None:
    """Remove what a killed process left of `folder` when it had not become it yet."""
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)


def lock(file: int | IO[Any], *, wait: bool = True) -> None:
    """Lock an open file or folder against other processes; the system lets go when it is closed, or this process ends.

    Raises BlockingIOError when another process has it and not to `wait`; OSError where the file
    system has no locks.
    """
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a file or folder that is there while the block lasts; raises as `lock` does."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock(descriptor, wait=wait)
        yield
    finally:
        os.close(descriptor)


def keep_others_out(file: TextIO, output: Path, *, signed: bool = False) -> None:
    """Lock an open file until it is closed.

    `signed`: it holds nothing but the number of the process that has it.

    Raises: DataError, which names the output and, where the file is signed, the process, when
    another one has it.
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
