"""The unit of work: a shard of a file, and the options of the job."""

from dataclasses import dataclass

from teddy.service.bulk.inputs import Input
from teddy.service.bulk.records import TEXT_FIELD, Selection
from teddy.service.bulk.stream import SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Unpacked bytes `start` to `stop` of a file, after `line` lines.

    Of a parquet file: row groups `start` to `stop`, after `line` rows.
    """

    number: int
    start: int
    stop: int
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options that are the same for all files."""

    selection: Selection
    text_field: str = TEXT_FIELD
    shard_bytes: int = SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """A shard to tag, of the input at `position`."""

    position: int
    source: Input
    shard: Shard

    @property
    def name(self) -> str:
        """The file and the number of the shard, from 1, for messages."""
        return f"{self.source.path}, shard {self.shard.number + 1}"
