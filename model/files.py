"""Files that are there whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Give a path to write to; what was written there becomes `path` when the block ends well, and only then.

    For writers that insist on opening the file themselves. The path given has the same name as `path`, since some
    formats take something from the name, and lies in a hidden folder beside it, so that the last step is a rename
    within one file system. When the block raises, whatever `path` held before is untouched and nothing is left behind;
    when the machine dies, the hidden folder may stay.

    Raises: OSError where the folder of `path` is missing or refuses to be written to, FileNotFoundError where the
    block wrote nothing.
    """
    path = Path(path)
    hidden = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        temporary = hidden / path.name
        yield temporary
        _flush_to_disk(temporary)
        temporary.replace(path)
        _flush_to_disk(path.parent)
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def write_atomically(path: Path | str, data: bytes | str) -> None:
    """Write the whole file `path`, text as UTF-8 with line ends as they are; a reader sees the old file or the new one.

    Raises: OSError as `atomic_path`; the old file is then untouched.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def _flush_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut; else a rename may overtake its data."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
