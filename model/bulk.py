r"""Tag a whole file or stream: in constant memory, in order, and able to go on after being killed.

    lines -> records -> batches -> answers -> TARGET.partial -> TARGET
                                       \____-> TARGET.journal (where a killed run may go on)

Records are tagged in batches, and those of a file are always the same batches. The journal is written between two of
them: its first line says what is being done (input, model, options), each further line how far it has come. A run that
finds the journal of the very same job cuts TARGET.partial back to where the last line says and goes on from there, so
that it writes, byte for byte, what an uninterrupted run writes. The journal of another job is of no use and replaced.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from model.errors import DataError
from model.records import Answer, Format, Record, Selection, TextTagger, answer_records, ends_record

BATCH_RECORDS = 256
BATCH_BYTES = 1 << 18
"""A batch ends when it has either. Together they bound the memory, except that one record is always taken whole."""
CHECKPOINT_SECONDS = 1.0
"""A killed run loses about this much work; waiting for the disk more often would cost more than it saves."""

NOTHING_MORE_YET = b""
"""Among lines: what has arrived so far is all there is for now, so answer it."""

_ENDINGS = {
    ".txt": Format.TEXT,
    ".text": Format.TEXT,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".conll": Format.CONLL,
    ".iob": Format.CONLL,
    ".bio": Format.CONLL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be done. Two runs of equal jobs on an equal input write equal files."""

    source: Path
    target: Path
    form: Format
    selection: Selection
    model: str
    """Name and version."""
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job has come: bytes read and written, lines, entities, records that could not be tagged."""

    read_bytes: int = 0
    written_bytes: int = 0
    lines: int = 0
    entities: int = 0
    errors: int = 0
    first_error: str = ""
    """`line N: why`, of the first record that could not be tagged; it never holds text."""

    def after(self, records: list[Record], answers: list[Answer]) -> "Progress":
        """Return the progress once these records have been answered."""
        failures = [(record, answer) for record, answer in zip(records, answers, strict=True) if answer.error]
        first = f"line {failures[0][0].line}: {failures[0][1].error}" if failures else ""
        return Progress(
            read_bytes=self.read_bytes + sum(record.n_bytes for record in records),
            written_bytes=self.written_bytes + sum(len(answer.data) for answer in answers),
            lines=self.lines + sum(len(record.lines) for record in records),
            entities=self.entities + sum(answer.n_entities for answer in answers),
            errors=self.errors + len(failures),
            first_error=self.first_error or first,
        )


def guess_format(path: Path) -> Format:
    """Tell the format of a file from the ending of its name.

    Raises: DataError when the ending is none that we know.
    """
    try:
        return _ENDINGS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_ENDINGS)
        raise DataError(path, None, f"its ending is none of {known}; say what it is with --format") from None


def tag_stream(
    lines: Iterable[bytes],
    form: Format,
    tagger: TextTagger,
    selection: Selection,
    write: Callable[[bytes], object],
    start: Progress | None = None,
) -> Iterator[Progress]:
    """Answer lines as they come, and yield the progress after each batch was written.

    `start` is the progress made before `lines` begin.
    """
    progress = start or Progress()
    for records in _batches(_records(lines, form, progress.lines)):
        answers = answer_records(records, form, tagger, selection)
        write(b"".join(answer.data for answer in answers))
        progress = progress.after(records, answers)
        yield progress


def arriving_lines(stream: BufferedIOBase) -> Iterator[bytes]:
    """Yield the lines of a pipe or terminal, and NOTHING_MORE_YET whenever waiting for more would hold up an answer."""
    rest = b""
    while chunk := stream.read1(1 << 16):  # what has arrived, without waiting for more
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line + b"\n"
        yield NOTHING_MORE_YET
    if rest:
        yield rest


def tag_file(
    job: Job,
    tagger: TextTagger,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Progress:
    """Tag a file into another, going on where a killed run of the same job stopped.

    `on_progress` is called with what an earlier run had done, and after each batch.

    Raises: DataError when the target is the source; OSError where files cannot be read or written.
    """
    _refuse_same_file(job)
    partial, journal_path = job.target.with_name(f"{job.target.name}.partial"), _journal_path(job.target)
    with job.source.open("rb") as source:
        identity = _identity(job, source)
        start = progress = _earlier_progress(journal_path, partial, identity)
        on_progress(start)
        with _open_at(partial, start.written_bytes) as output, journal_path.open("a") as journal:
            checkpoints = _Checkpoints(output, journal, checkpoint_seconds)
            if not start.lines:
                checkpoints.begin(identity)
            source.seek(start.read_bytes)
            for progress in tag_stream(source, job.form, tagger, job.selection, output.write, start):
                checkpoints.write_if_due(progress)
                on_progress(progress)
            checkpoints.write(progress)
    partial.replace(job.target)
    journal_path.unlink()
    return progress


def earlier_precision(target: Path) -> str | None:
    """Return the precision in which a killed run was writing `target`, if there was one.

    A model loaded with the precision `auto` may choose another one today, and then nothing could be gone on with.
    """
    try:
        entries = _read_journal(_journal_path(target))
    except FileNotFoundError:
        return None
    return str(entries[0].get("precision")) if entries else None


class _Checkpoints:
    """The journal of a run: a line for the job, then a line for each time that the output was safe on the disk."""

    def __init__(self, output: BinaryIO, journal: TextIO, seconds: float) -> None:
        self._output = output
        self._journal = journal
        self._seconds = seconds
        self._written_at = time.monotonic()

    def begin(self, identity: dict[str, object]) -> None:
        """Throw away what an earlier job wrote, and say what this one is."""
        self._journal.truncate(0)
        self._append(identity)

    def write_if_due(self, progress: Progress) -> None:
        """Write a line when the last one is old enough."""
        if time.monotonic() - self._written_at >= self._seconds:
            self.write(progress)

    def write(self, progress: Progress) -> None:
        """Wait until the output is on the disk, then say how far it goes: the journal never promises too much."""
        self._output.flush()
        os.fsync(self._output.fileno())
        self._append(asdict(progress))
        self._written_at = time.monotonic()

    def _append(self, fields: dict[str, object]) -> None:
        # The line break stands first: it ends the line that a killed run may have left unfinished.
        self._journal.write("\n" + json.dumps(fields) + "\n")
        self._journal.flush()


def _records(lines: Iterable[bytes], form: Format, line: int) -> Iterator[Record | None]:
    """Group lines to records, numbered from `line` + 1; None stands for NOTHING_MORE_YET."""
    gathered: list[bytes] = []
    for each in lines:
        if each == NOTHING_MORE_YET:
            yield None
            continue
        gathered.append(each)
        if ends_record(each, form):
            yield Record(line + 1, tuple(gathered))
            line += len(gathered)
            gathered.clear()
    if gathered:
        yield Record(line + 1, tuple(gathered))


def _batches(records: Iterable[Record | None]) -> Iterator[list[Record]]:
    batch: list[Record] = []
    n_bytes = 0
    for record in records:
        if record is not None:
            batch.append(record)
            n_bytes += record.n_bytes
        if batch and (record is None or len(batch) >= BATCH_RECORDS or n_bytes >= BATCH_BYTES):
            yield batch
            batch, n_bytes = [], 0
    if batch:
        yield batch


def _refuse_same_file(job: Job) -> None:
    if job.target.exists() and job.source.samefile(job.target):
        raise DataError(job.target, None, "is the input as well; the output needs a name of its own")


def _identity(job: Job, source: BinaryIO) -> dict[str, object]:
    """Say, in JSON's own types, what decides every byte of the output. A touched input counts as another."""
    status = os.fstat(source.fileno())
    labels = job.selection.labels
    return {
        "source": str(job.source.resolve()),
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "format": job.form.value,
        "labels": None if labels is None else sorted(labels),
        "min_score": job.selection.min_score,
        "model": job.model,
        "precision": job.precision,
        "batch": [BATCH_RECORDS, BATCH_BYTES],
    }


def _earlier_progress(journal: Path, partial: Path, identity: dict[str, object]) -> Progress:
    """Return how far a killed run of the same job came: nowhere when its journal is missing or another's."""
    try:
        entries = _read_journal(journal)
        written = partial.stat().st_size
    except FileNotFoundError:
        return Progress()
    if len(entries) < 2 or entries[0] != identity or entries[-1]["written_bytes"] > written:
        return Progress()
    return Progress(**entries[-1])


def _journal_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.journal")


def _read_journal(journal: Path) -> list[dict[str, Any]]:
    return [entry for line in journal.read_bytes().splitlines() if (entry := _read_entry(line)) is not None]


def _read_entry(line: bytes) -> dict[str, Any] | None:
    """Return an entry of a journal; None for a blank line, and for one that was never finished."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _open_at(path: Path, size: int) -> BinaryIO:
    """Open a file for writing at its first `size` bytes, and cut off what stands behind them."""
    file = path.open("r+b" if size else "wb")
    file.truncate(size)
    file.seek(size)
    return file
