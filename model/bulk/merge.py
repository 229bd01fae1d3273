"""The shards of a file joined, in order, into its output: all of it or nothing is seen under its name."""

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from teddy.model.bulk.inputs import Input
from teddy.model.bulk.state import ShardPlace
from teddy.model.files import atomic_path
from teddy.model.records import Format

_COPY_BYTES = 1 << 20


def errors_path(target: Path) -> Path:
    """Return where the reasons go, beside an output."""
    return target.with_name(f"{target.name}.errors.jsonl")


def join_shards(source: Input, places: Sequence[ShardPlace], *, with_errors: bool) -> None:
    """Write the output of a file from its shards; and, `with_errors`, the file of reasons when there are any."""
    source.target.parent.mkdir(parents=True, exist_ok=True)
    if with_errors:
        _join_errors(errors_path(source.target), [place.errors for place in places if place.errors.exists()])
    with atomic_path(source.target) as target:
        if source.form is Format.PARQUET:
            from teddy.model.bulk.parquet import join_rows

            join_rows([place.data for place in places], target)
        else:
            _concatenate((place.data for place in places), target)


def _join_errors(path: Path, parts: Sequence[Path]) -> None:
    if parts:
        with atomic_path(path) as target:
            _concatenate(parts, target)
    else:
        path.unlink(missing_ok=True)  # of a job before this one


def _concatenate(parts: Iterable[Path], target: Path) -> None:
    with target.open("wb") as output:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, output, _COPY_BYTES)
