"""Progress of bulk tagging: counts that add up, and how they are shown."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields

from teddy.service.bulk.inputs import Input, Packing
from teddy.service.bulk.records import Answer, Format, Record

LINE_EVERY_SECONDS = 10.0
_USUAL_RATIO = 3.0
"""Estimated bytes of text in a byte of a packed file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Counts of what has been tagged; they add up. Bytes are of unpacked files."""

    read_bytes: int = 0
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
        pairs = zip(records, answers, strict=True)
        errors = [f"line {record.line}: {answer.error}" for record, answer in pairs if answer.error]
        return self + Progress(
            read_bytes=sum(record.n_bytes for record in records),
            lines=sum(len(record.lines) for record in records),
            records=len(records),
            words=sum(answer.n_words for answer in answers),
            entities=sum(answer.n_entities for answer in answers),
            errors=len(errors),
            first_error=errors[0] if errors else "",
        )

    def since(self, earlier: "Progress") -> "Progress":
        """Return what was done after `earlier`."""
        counts = {name: getattr(self, name) - getattr(earlier, name) for name in _COUNTS}
        return Progress(**counts, first_error=self.first_error)

    def __add__(self, later: "Progress") -> "Progress":
        counts = {name: getattr(self, name) + getattr(later, name) for name in _COUNTS}
        return Progress(**counts, first_error=self.first_error or later.first_error)


_COUNTS = tuple(each.name for each in fields(Progress) if each.name != "first_error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Speed, and the time that is left."""

    seconds: float
    words_per_second: float
    texts_per_second: float
    megabytes_per_second: float
    """Of the unpacked input."""
    seconds_left: float | None
    """None until something has been read."""


def rate_of(total: Progress, here: Progress, seconds: float, total_bytes: float) -> Rate:
    """Return the rate at which this run has done `here`; `total` includes earlier runs."""
    spent = max(seconds, 1e-9)
    left = max(0.0, total_bytes - total.read_bytes)
    return Rate(
        seconds=round(seconds, 1),
        words_per_second=round(here.words / spent),
        texts_per_second=round(here.records / spent, 1),
        megabytes_per_second=round(here.read_bytes / spent / 1e6, 3),
        seconds_left=round(left * spent / here.read_bytes, 1) if here.read_bytes else None,
    )


def expected_bytes(inputs: Iterable[Input]) -> float:
    """Return an estimate of the unpacked bytes of the inputs."""
    return sum(
        each.path.stat().st_size
        * (1 if each.packing is Packing.NONE and each.form is not Format.PARQUET else _USUAL_RATIO)
        for each in inputs
    )


@contextmanager
def reported(total_bytes: float) -> Iterator[Callable[[Progress, Progress], None]]:
    """Give a function of the job's progress and this run's that shows them.

    It shows a bar on a terminal, and elsewhere writes a line of JSON now and then.
    """
    began_at = time.monotonic()
    with _bar(total_bytes) if sys.stderr.isatty() else nullcontext(_print_line) as show:
        told_at = 0.0 if sys.stderr.isatty() else began_at
        every = 0.0 if sys.stderr.isatty() else LINE_EVERY_SECONDS

        def report(total: Progress, here: Progress) -> None:
            nonlocal told_at
            now = time.monotonic()
            if now - told_at >= every:
                told_at = now
                show(total, rate_of(total, here, now - began_at, total_bytes))

        yield report


def progress_line(total: Progress, rate: Rate) -> str:
    """Return a line of JSON."""
    counts = {
        "event": "progress",
        "texts": total.records,
        "words": total.words,
        "entities": total.entities,
        "errors": total.errors,
        "read_bytes": total.read_bytes,
    }
    return json.dumps(counts | asdict(rate))


def _print_line(total: Progress, rate: Rate) -> None:
    print(progress_line(total, rate), file=sys.stderr, flush=True)


@contextmanager
def _bar(total_bytes: float) -> Iterator[Callable[[Progress, Rate], None]]:
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[left]}"),
        bars.TextColumn("{task.fields[said]}"),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("", total=total_bytes, said="", left="")

        def show(total: Progress, rate: Rate) -> None:
            counts = f"{total.records:,} texts, {total.entities:,} entities"
            shown.update(
                task,
                completed=min(total.read_bytes, total_bytes),
                said=f"{counts}, {rate.words_per_second:,} words/s",
                left=_clock(rate.seconds_left),
            )

        yield show


def _clock(seconds: float | None) -> str:
    """Return a time as hours, minutes and seconds."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
