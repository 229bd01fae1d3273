"""How far tagging has come: numbers that add up over batches, shards and files."""

from collections.abc import Sequence
from dataclasses import dataclass

from teddy.model.records import Answer, Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it has come: bytes read and written (unpacked), lines, records, words, entities, and failures."""

    read_bytes: int = 0
    written_bytes: int = 0
    lines: int = 0
    """Lines; of a parquet file, rows."""
    records: int = 0
    words: int = 0
    entities: int = 0
    errors: int = 0
    """Records that could not be tagged."""
    first_error: str = ""
    """`line N: why`, of the first record that could not be tagged; it never holds text."""

    def after(self, records: Sequence[Record], answers: Sequence[Answer]) -> "Progress":
        """Return the progress once these records have been answered."""
        failures = [(record, answer) for record, answer in zip(records, answers, strict=True) if answer.error]
        return self + Progress(
            read_bytes=sum(record.n_bytes for record in records),
            written_bytes=sum(len(answer.data) for answer in answers),
            lines=sum(len(record.lines) for record in records),
            records=len(records),
            words=sum(answer.n_words for answer in answers),
            entities=sum(answer.n_entities for answer in answers),
            errors=len(failures),
            first_error=f"line {failures[0][0].line}: {failures[0][1].error}" if failures else "",
        )

    def since(self, earlier: "Progress") -> "Progress":
        """Return what was done after `earlier`."""
        return Progress(
            read_bytes=self.read_bytes - earlier.read_bytes,
            written_bytes=self.written_bytes - earlier.written_bytes,
            lines=self.lines - earlier.lines,
            records=self.records - earlier.records,
            words=self.words - earlier.words,
            entities=self.entities - earlier.entities,
            errors=self.errors - earlier.errors,
            first_error=self.first_error,
        )

    def __add__(self, later: "Progress") -> "Progress":
        return Progress(
            read_bytes=self.read_bytes + later.read_bytes,
            written_bytes=self.written_bytes + later.written_bytes,
            lines=self.lines + later.lines,
            records=self.records + later.records,
            words=self.words + later.words,
            entities=self.entities + later.entities,
            errors=self.errors + later.errors,
            first_error=self.first_error or later.first_error,
        )
