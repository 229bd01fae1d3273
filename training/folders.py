"""Folders that are there whole or not at all, as `teddy.model.files` has it for files."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from teddy.model.files import atomic_path


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


def remove_abandoned(folder: Path) -> None:
    """Remove what a killed process left of `folder` when it had not become it yet."""
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned, ignore_errors=True)
