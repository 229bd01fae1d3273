"""Shards: cut a file into them, tag one, and join all into the output.

The cuts depend on the file alone, not on the number of processes or on earlier runs. A shard of
lines ends with the first record that reaches a multiple of SHARD_BYTES, so that records are whole.
Of a packed file, the unpacked bytes are cut. Finding the cuts is one pass over the file, since
answers name their line; it is a hundred times as fast as tagging.
"""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from teddy.model.system.files import atomic_path
from teddy.service.bulk.inputs import (
    SHARD_BYTES,
    Assignment,
    Input,
    Options,
    Shard,
    open_unpacked,
    packed_into,
    refused_when_broken,
)
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import (
    TEXT_FIELD,
    Answer,
    Format,
    TextTagger,
    ends_record,
    json_line,
)
from teddy.service.bulk.state import ShardPlace
from teddy.service.bulk.stream import tag_stream

_CHUNK_BYTES = 1 << 20


def cut(
    source: Input, text_field: str = TEXT_FIELD, shard_bytes: int = SHARD_BYTES
) -> Iterator[Shard]:
    """Yield the shards of a file in order, at least one, as they are found.

    Raises DataError for a file that cannot be read in its format, or has no column `text_field`.
    """
    if source.form is Format.PARQUET:
        from teddy.service.bulk.parquet import cut_rows

        yield from cut_rows(source.path, text_field, shard_bytes)
        return
    with refused_when_broken(source.path), open_unpacked(source.path, source.packing) as file:
        yield from cut_lines(file, source.form, shard_bytes)


def cut_lines(file: BinaryIO, form: Format, shard_bytes: int) -> Iterator[Shard]:
    """Yield the shards of a file of lines, in constant memory."""
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
    """A reader that starts at a record and counts bytes and lines."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._blank = True  # whether the line that has begun is, so far
        self.n_bytes = 0
        self.n_lines = 0

    def skip(self, n_bytes: int) -> None:
        """Read `n_bytes`, or to the end."""
        while n_bytes and (chunk := self._file.read(min(n_bytes, _CHUNK_BYTES))):
            n_bytes -= len(chunk)
            self._count(chunk)

    def finish_record(self, form: Format) -> None:
        """Read to the end of the record of the next byte."""
        while rest := self._file.readline():
            # A blank line may end a record, but its beginning may have been read already.
            line = rest if self._blank else b"x" + rest
            self._count(rest)
            if ends_record(line, form):
                return

    def _count(self, chunk: bytes) -> None:
        self.n_bytes += len(chunk)
        self.n_lines += chunk.count(b"\n")
        begun = chunk[chunk.rfind(b"\n") + 1 :]
        self._blank = not begun.strip() and (self._blank or b"\n" in chunk)


class ShardTagger:
    """A tagger of shards; it keeps its last file open, so as not to unpack it again."""

    def __init__(self, tagger: TextTagger, options: Options) -> None:
        self._tagger = tagger
        self._options = options
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def tag(self, task: Assignment, output: BinaryIO, errors: BinaryIO) -> Iterator[Progress]:
        """Write the answers of a shard, and the errors; yield its progress after each batch.

        Raises DataError when the input is broken.
        """

        def on_error(answer: Answer) -> None:
            path = str(task.source.path)
            errors.write(json_line({"path": path, **answer.name, "error": answer.error}))

        with refused_when_broken(task.source.path):
            if task.source.form is Format.PARQUET:
                from teddy.service.bulk.parquet import tag_rows

                yield from tag_rows(
                    task.source.path, task.shard, self._tagger, self._options, output, on_error
                )
            else:
                with packed_into(output, task.source.target_packing) as packed:
                    yield from self._tag_lines(task, packed, on_error)

    def tag_into(self, task: Assignment, place: ShardPlace) -> Iterator[Progress]:
        """Tag a shard as `tag` does, into its place, which is finished when the iterator ends."""
        done = Progress()
        place.remove()
        errors = BytesIO()
        with atomic_path(place.data) as data, data.open("wb") as output:
            for done in self.tag(task, output, errors):
                yield done
        place.finish(errors.getvalue(), done)

    def close(self) -> None:
        """Close the last file."""
        if self._file is not None:
            self._file.close()
        self._path = self._file = None

    def _tag_lines(
        self, task: Assignment, output: BinaryIO, on_error: Callable[[Answer], object]
    ) -> Iterator[Progress]:
        before = Progress(read_bytes=task.shard.start, lines=task.shard.line)
        steps = tag_stream(
            self._lines(task),
            task.source.form,
            self._tagger,
            self._options.selection,
            output.write,
            before,
            text_field=self._options.text_field,
            shard_bytes=self._options.shard_bytes,
            on_error=on_error,
        )
        for progress in steps:
            yield progress.since(before)

    def _lines(self, task: Assignment) -> Iterator[bytes]:
        file = self._open(task.source)
        position = file.seek(task.shard.start)
        while position < task.shard.stop:
            line = file.readline()
            if not line:
                raise EOFError("it has become shorter")
            position += len(line)
            yield line

    def _open(self, source: Input) -> BinaryIO:
        if self._file is None or self._path != source.path:
            self.close()
            self._file, self._path = open_unpacked(source.path, source.packing), source.path
        return self._file


def errors_path(target: Path) -> Path:
    """Return the path of the errors beside an output."""
    return target.with_name(f"{target.name}.errors.jsonl")


def join_shards(source: Input, places: Sequence[ShardPlace], *, with_errors: bool) -> None:
    """Write the output of a file from its shards; `with_errors`, the errors too if any."""
    source.target.parent.mkdir(parents=True, exist_ok=True)
    if with_errors:
        _join_errors(
            errors_path(source.target), [place.errors for place in places if place.errors.exists()]
        )
    with atomic_path(source.target) as target:
        if source.form is Format.PARQUET:
            from teddy.service.bulk.parquet import join_rows

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
                shutil.copyfileobj(file, output, _CHUNK_BYTES)
