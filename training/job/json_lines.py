"""A file of flat JSON objects, one a line, that a run adds to while others may be reading it."""

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Value = str | int | float | bool | None


class JsonLines:
    """The rows of one file. One writer at a time; readers may look on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ends_well = False

    def append(self, row: Mapping[str, object]) -> None:
        """Write one row, in one call, so that a reader never sees half of it unless the machine dies.

        A number that is not finite is written as null, as JSON has no word for it.

        Raises: TypeError where a value is not a string, number, bool or None; OSError where the row cannot be written,
        and then the file is as it was.
        """
        line = json.dumps({key: _flat(key, value) for key, value in row.items()}, ensure_ascii=False) + "\n"
        if not self._ends_well:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._drop_half_line()
        with self.path.open("ab", buffering=0) as file:
            end = file.tell()
            try:
                _write_whole(file.fileno(), line.encode())
            except OSError as error:
                file.truncate(end)
                raise OSError(error.errno, error.strerror, str(self.path)) from error

    def rows(self) -> list[dict[str, Value]]:
        """Return all rows, in order; none where there is no file yet. A last line without its end is left out."""
        return [json.loads(line) for line in self._whole_lines()]

    def truncate_at(self, is_later: Callable[[Mapping[str, Value]], bool]) -> None:
        """Forget the first row of which that is true, and all that follow."""
        kept = 0
        for line in self._whole_lines():
            if is_later(json.loads(line)):
                break
            kept += len(line)
        self._cut(kept)

    def flush(self) -> None:
        """Wait until every row would survive a power cut."""
        if self.path.exists():
            with self.path.open("rb") as file:
                os.fsync(file.fileno())

    def _whole_lines(self) -> Iterator[bytes]:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))

    def _drop_half_line(self) -> None:
        """Cut off what a crash left of a row, or the next row would be glued to it."""
        self._cut(sum(map(len, self._whole_lines())))
        self._ends_well = True

    def _cut(self, size_bytes: int) -> None:
        if self.path.exists() and self.path.stat().st_size != size_bytes:
            os.truncate(self.path, size_bytes)


def _write_whole(descriptor: int, data: bytes) -> None:
    """Write all of it: the first call that meets a full disk writes a part and does not complain."""
    while data:
        data = data[os.write(descriptor, data) :]


def _flat(key: str, value: object) -> Value:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{key}: a row holds strings, numbers, bools and None, not {type(value).__name__}")
