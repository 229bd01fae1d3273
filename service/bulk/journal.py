r"""Tag a plain file into another with one process; a killed run loses about a second of work.

    lines -> records -> batches -> answers -> TARGET.partial -> TARGET
                                       \____-> TARGET.journal (where a killed run may go on)

The journal is written between two batches: its first line names input, model and options, each
further line the progress. A run that finds the journal of the same job cuts TARGET.partial back to
the last line and goes on from there, so that the output is that of an uninterrupted run, byte for
byte. The journal of another job is replaced. (Shards, as in `job`, would lose half a minute.)
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from teddy.model.errors import DataError
from teddy.model.system.files import keep_others_out
from teddy.service.bulk import stream
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import TEXT_FIELD, Format, Selection, TextTagger
from teddy.service.bulk.stream import tag_stream

CHECKPOINT_SECONDS = 1.0
"""The interval of the journal: a killed run loses about this much work."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Input and options. Two runs of equal jobs on an equal input write equal files."""

    source: Path
    target: Path
    form: Format
    selection: Selection
    model: str
    """The name and version of the model."""
    precision: str
    text_field: str = TEXT_FIELD


def tag_file(
    job: Job,
    tagger: TextTagger,
    on_progress: Callable[[Progress], None] = lambda _: None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Progress:
    """Tag a file into another, going on where a killed run of the same job stopped.

    `on_progress` is called with the progress of the earlier run, and after each batch.

    Raises DataError when the target is the source, or another process is writing it; OSError when
    files cannot be read or written.
    """
    _refuse_same_file(job)
    partial = job.target.with_name(f"{job.target.name}.partial")
    journal_path = _journal_path(job.target)
    with job.source.open("rb") as source, journal_path.open("a") as journal:
        keep_others_out(journal, job.target)
        identity = _identity(job, source)
        start = progress = _earlier_progress(journal_path, partial, identity)
        on_progress(start)
        with _open_at(partial, start.written_bytes) as output:
            checkpoints = _Checkpoints(output, journal, checkpoint_seconds)
            if not start.lines:
                checkpoints.begin(identity)
            source.seek(start.read_bytes)
            steps = tag_stream(
                source,
                job.form,
                tagger,
                job.selection,
                output.write,
                start,
                text_field=job.text_field,
            )
            for progress in steps:
                checkpoints.write_if_due(progress)
                on_progress(progress)
            checkpoints.write(progress)
    partial.replace(job.target)
    journal_path.unlink(missing_ok=True)
    return progress


def earlier_precision(target: Path) -> str | None:
    """Return the precision of the killed run that was writing `target`, if there was one.

    With `auto`, a model might choose another one today, and the run could not go on.
    """
    try:
        entries = _read_journal(_journal_path(target))
    except FileNotFoundError:
        return None
    return str(entries[0].get("precision")) if entries else None


def forget(target: Path) -> None:
    """Remove the journal, so that no run goes on."""
    _journal_path(target).unlink(missing_ok=True)


class _Checkpoints:
    """The journal of a run: a line for the job, then one for each flush of the output."""

    def __init__(self, output: BinaryIO, journal: TextIO, seconds: float) -> None:
        self._output = output
        self._journal = journal
        self._seconds = seconds
        self._written_at = time.monotonic()

    def begin(self, identity: dict[str, object]) -> None:
        """Replace the journal of an earlier job by a line for this one."""
        self._journal.truncate(0)
        self._append(identity)

    def write_if_due(self, progress: Progress) -> None:
        """Write a line if the last one is old enough."""
        if time.monotonic() - self._written_at >= self._seconds:
            self.write(progress)

    def write(self, progress: Progress) -> None:
        """Write a line once the output is on the disk, and never before."""
        self._output.flush()
        os.fsync(self._output.fileno())
        self._append(asdict(progress))
        self._written_at = time.monotonic()

    def _append(self, fields: dict[str, object]) -> None:
        # The line break stands first: it ends the line that a killed run may have left unfinished.
        self._journal.write("\n" + json.dumps(fields) + "\n")
        self._journal.flush()


def _refuse_same_file(job: Job) -> None:
    if job.target.exists() and job.source.samefile(job.target):
        reason = "is the input as well; the output needs a name of its own"
        raise DataError(job.target, None, reason)


def _identity(job: Job, source: BinaryIO) -> dict[str, object]:
    """Return all that decides the output, as JSON. A touched input counts as another."""
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
        "text_field": job.text_field,
        "batch": [stream.BATCH_RECORDS, stream.BATCH_BYTES, stream.SHARD_BYTES],
    }


def _earlier_progress(journal: Path, partial: Path, identity: dict[str, object]) -> Progress:
    """Return the progress of a killed run of the same job, if there was one."""
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
    entries = map(_read_entry, journal.read_bytes().splitlines())
    return [entry for entry in entries if entry is not None]


def _read_entry(line: bytes) -> dict[str, Any] | None:
    """Return an entry of a journal; None for a blank or unfinished line."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _open_at(path: Path, size: int) -> BinaryIO:
    """Open a file for writing after its first `size` bytes, and cut off the rest."""
    file = path.open("r+b" if size else "wb")
    file.truncate(size)
    file.seek(size)
    return file
