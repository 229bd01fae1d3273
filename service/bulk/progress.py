"""How far tagging has come: numbers that add up, and what people and programs see of them."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from teddy.service.bulk.inputs import Input, Packing
from teddy.service.bulk.records import Answer, Format, Record

LINE_EVERY_SECONDS = 10.0
_USUAL_RATIO = 3.0
"""Bytes of text in a byte of a packed file, about: how many there are is known when it has been
read."""


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
        failures = [
            (record, answer)
            for record, answer in zip(records, answers, strict=True)
            if answer.error
        ]
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast it goes, and how long it will still take."""

    seconds: float
    words_per_second: float
    texts_per_second: float
    megabytes_per_second: float
    """Of the unpacked input."""
    seconds_left: float | None
    """None as long as nothing can be said."""


def rate_of(total: Progress, here: Progress, seconds: float, total_bytes: float) -> Rate:
    """Return the rate of what this run has done `here` in so many seconds; `total` is with what runs before it did."""
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
    """Return about how many bytes there are to read, when they are unpacked."""
    return sum(each.path.stat().st_size * _ratio(each) for each in inputs)


@contextmanager
def reported(total_bytes: float) -> Iterator[Callable[[Progress, Progress], None]]:
    """Give a function that is told what a job has come to, and what this run has done of it, and shows it."""
    began_at = time.monotonic()
    if sys.stderr.isatty():
        with _bar(total_bytes) as show:
            yield lambda total, here: show(
                total, rate_of(total, here, time.monotonic() - began_at, total_bytes)
            )
        return
    told_at = began_at

    def tell(total: Progress, here: Progress) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= LINE_EVERY_SECONDS:
            told_at = now
            print(
                progress_line(total, rate_of(total, here, now - began_at, total_bytes)),
                file=sys.stderr,
                flush=True,
            )

    yield tell


def progress_line(total: Progress, rate: Rate) -> str:
    """Return how it goes, as JSON."""
    fields = {
        "event": "progress",
        "texts": total.records,
        "words": total.words,
        "entities": total.entities,
        "errors": total.errors,
        "read_bytes": total.read_bytes,
        "seconds": rate.seconds,
        "words_per_second": rate.words_per_second,
        "texts_per_second": rate.texts_per_second,
        "megabytes_per_second": rate.megabytes_per_second,
        "seconds_left": rate.seconds_left,
    }
    return json.dumps(fields)


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
            said = f"{total.records:,} texts, {total.entities:,} entities, {rate.words_per_second:,} words/s"
            shown.update(
                task,
                completed=min(total.read_bytes, total_bytes),
                said=said,
                left=_clock(rate.seconds_left),
            )

        yield show


def _clock(seconds: float | None) -> str:
    """Return hours, minutes and seconds that are left."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _ratio(source: Input) -> float:
    return (
        1.0
        if source.packing is Packing.NONE and source.form is not Format.PARQUET
        else _USUAL_RATIO
    )
