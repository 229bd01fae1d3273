"""How a job goes, for those who watch: a bar on a terminal, else a line of JSON on standard error now and then."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from teddy.model.bulk.compression import Packing
from teddy.model.bulk.inputs import Input
from teddy.model.bulk.progress import Progress
from teddy.model.records import Format

LINE_EVERY_SECONDS = 10.0
_USUAL_RATIO = 3.0
"""Bytes of text in a byte of a packed file, about: how many there are is known when it has been read."""


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
            yield lambda total, here: show(total, rate_of(total, here, time.monotonic() - began_at, total_bytes))
        return
    told_at = began_at

    def tell(total: Progress, here: Progress) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= LINE_EVERY_SECONDS:
            told_at = now
            print(progress_line(total, rate_of(total, here, now - began_at, total_bytes)), file=sys.stderr, flush=True)

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
            shown.update(task, completed=min(total.read_bytes, total_bytes), said=said, left=_clock(rate.seconds_left))

        yield show


def _clock(seconds: float | None) -> str:
    """Return hours, minutes and seconds that are left."""
    if seconds is None:
        return "-:--:--"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


def _ratio(source: Input) -> float:
    return 1.0 if source.packing is Packing.NONE and source.form is not Format.PARQUET else _USUAL_RATIO
