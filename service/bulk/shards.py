"""What is tagged at once: a shard of a file, and what is asked for."""

from dataclasses import dataclass

from teddy.service.bulk.inputs import Input
from teddy.service.bulk.records import TEXT_FIELD, Selection
from teddy.service.bulk.stream import SHARD_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A part of a file: bytes `start` to `stop` of what was packed into it, after `line` lines of the file.

    Of a parquet file: row groups `start` to `stop`, after `line` rows.
    """

    number: int
    start: int
    stop: int
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What is asked for, whatever the file."""

    selection: Selection
    text_field: str = TEXT_FIELD
    shard_bytes: int = SHARD_BYTES
    """See `teddy.service.bulk.sharding`."""


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
