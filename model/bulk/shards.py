"""Where a file is cut. The cuts depend on the file alone: not on the number of processes, nor on what was done before.

A shard of lines ends with the first record that reaches a multiple of SHARD_BYTES; so no record is cut, and sentences
in columns are whole. A packed file is cut as what was packed into it. Finding the cuts takes one pass over the file,
a hundred times as fast as tagging it: the lines before a shard have to be counted, since answers name their line.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from teddy.model.bulk.compression import open_unpacked, refused_when_broken
from teddy.model.bulk.inputs import Input
from teddy.model.bulk.stream import SHARD_BYTES
from teddy.model.records import TEXT_FIELD, Format, ends_record

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a file: bytes `start` to `stop` of what was packed into it, after `line` lines of the file.

    Of a parquet file: row groups `start` to `stop`, after `line` rows.
    """

    number: int
    start: int
    stop: int
    line: int


def cut(source: Input, text_field: str = TEXT_FIELD, shard_bytes: int = SHARD_BYTES) -> Iterator[Shard]:
    """Yield the shards of a file, in order, at least one, as they are found.

    Raises: DataError for a file that cannot be read as what it should be, or of rows without a column `text_field`.
    """
    if source.form is Format.PARQUET:
        from teddy.model.bulk.parquet import cut_rows

        yield from cut_rows(source.path, text_field, shard_bytes)
        return
    with refused_when_broken(source.path), open_unpacked(source.path, source.packing) as file:
        yield from cut_lines(file, source.form, shard_bytes)


def cut_lines(file: BinaryIO, form: Format, shard_bytes: int) -> Iterator[Shard]:
    """Yield the shards of lines read from the beginning, in constant memory."""
    start = line = number = 0
    while True:
        reader = _Counter(file)
        reader.skip(shard_bytes - start % shard_bytes - 1)
        reader.finish_record(form)
        if number and not reader.n_bytes:
            return
        yield Shard(number=number, start=start, stop=start + reader.n_bytes, line=line)
        start, line, number = start + reader.n_bytes, line + reader.n_lines, number + 1


class _Counter:
    """Reads on from the start of a record, and counts bytes and lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._blank = True  # so far, the line that has begun
        self.n_bytes = 0
        self.n_lines = 0

    def skip(self, n_bytes: int) -> None:
        """Read so many bytes, or to the end."""
        while n_bytes and (chunk := self._file.read(min(n_bytes, _CHUNK_BYTES))):
            n_bytes -= len(chunk)
            self._count(chunk)

    def finish_record(self, form: Format) -> None:
        """Read on to the end of the record in which the next byte stands."""
        while rest := self._file.readline():
            # Whether a line ends a record hangs on its being blank, and its beginning may have been read already.
            line = rest if self._blank else b"x" + rest
            self._count(rest)
            if ends_record(line, form):
                return

    def _count(self, chunk: bytes) -> None:
        self.n_bytes += len(chunk)
        self.n_lines += chunk.count(b"\n")
        begun = chunk[chunk.rfind(b"\n") + 1 :]
        self._blank = not begun.strip() and (self._blank or b"\n" in chunk)
