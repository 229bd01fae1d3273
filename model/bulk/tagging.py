"""One shard tagged: from its place in the input to packed answers, and a line for each record that could not be."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from teddy.model.bulk.compression import open_unpacked, packed_into, refused_when_broken
from teddy.model.bulk.inputs import Input
from teddy.model.bulk.progress import Progress
from teddy.model.bulk.shards import Shard
from teddy.model.bulk.state import ShardPlace
from teddy.model.bulk.stream import SHARD_BYTES, tag_stream
from teddy.model.files import atomic_path
from teddy.model.records import TEXT_FIELD, Answer, Format, Selection, TextTagger, json_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for, whatever the file."""

    selection: Selection
    text_field: str = TEXT_FIELD
    shard_bytes: int = SHARD_BYTES
    """See `teddy.model.bulk.shards`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A shard that is to be tagged; `position` is that of its file among the inputs."""

    position: int
    source: Input
    shard: Shard

    @property
    def name(self) -> str:
        """For people: the file and the number, from 1, of the shard."""
        return f"{self.source.path}, shard {self.shard.number + 1}"


class ShardTagger:
    """Tags shards, one after another; it keeps its last file open, so that a packed one is read on, not anew."""

    def __init__(self, tagger: TextTagger, options: Options) -> None:
        self._tagger = tagger
        self._options = options
        self._path: Path | None = None
        self._file: BinaryIO | None = None

    def tag(self, task: Assignment, output: BinaryIO, errors: BinaryIO) -> Iterator[Progress]:
        """Write the answers of a shard into one file, and what could not be tagged, and why, into another.

        Yields what the shard has come to, after each batch. Raises DataError where the input is broken.
        """

        def on_error(answer: Answer) -> None:
            errors.write(json_line({"path": str(task.source.path), **answer.name, "error": answer.error}))

        with refused_when_broken(task.source.path):
            if task.source.form is Format.PARQUET:
                from teddy.model.bulk.parquet import tag_rows

                yield from tag_rows(task.source.path, task.shard, self._tagger, self._options, output, on_error)
            else:
                with packed_into(output, task.source.target_packing) as packed:
                    yield from self._tag_lines(task, packed, on_error)

    def tag_into(self, task: Assignment, place: ShardPlace) -> Iterator[Progress]:
        """Tag a shard into its place, which is finished when the iterator ends. Otherwise as `tag`."""
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
