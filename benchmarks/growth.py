"""Seconds per megabyte, and memory, at ten and a hundred times the text: both should stay put."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rounds import Clock
from benchmarks.slices import write_texts
from benchmarks.texts import take_words

MEGABYTE = 1_000_000
FIRST_WORDS = 10_000
"""What memory is compared with: by then all that a process needs is there."""
WORD_BYTES = 6.6
"""With the white space."""
WRITING_SECONDS = 0.4
"""What a megabyte takes to make up and write, about."""
WORTHWHILE_SHARE = 0.15
"""The largest size is left out if time would end it before that."""


Ask = Callable[..., dict[str, Any]]
"""`Worker.ask`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The cost of tagging so many bytes, in one process after the other stages, and its memory."""

    wanted_bytes: int
    read_bytes: int
    words: int
    words_so_far: int
    seconds: float
    resident_bytes: int | None

    @property
    def seconds_per_megabyte(self) -> float:
        """What should be the same at all sizes."""
        return self.seconds / (self.read_bytes / MEGABYTE)


def stages(
    ask: Ask, texts: Iterable[str], megabytes: Iterable[int], file: Path, clock: Clock
) -> Iterator[Stage]:
    """Yield ten thousand words, then each size; the text goes on, and the time left limits a size.

    Raises ContenderError and OutOfTimeError.
    """
    stream = iter(texts)
    n_bytes, words_so_far, cost = round(FIRST_WORDS * WORD_BYTES), 0, 0.0
    for wanted in (n_bytes, *(size * MEGABYTE for size in megabytes)):
        # Before there is a cost that includes no start, all is tried; the worker stops where the
        # time ends.
        possible = clock.left() / (cost + WRITING_SECONDS) * MEGABYTE if cost else wanted
        if possible < WORTHWHILE_SHARE * wanted:
            return
        write_texts(take_words(stream, round(min(wanted, possible) / WORD_BYTES)), file)
        answer = ask("tag_file", file=str(file), limit_seconds=max(1.0, 0.9 * clock.left()))
        words_so_far += answer["words"]
        stage = Stage(
            wanted_bytes=wanted,
            read_bytes=answer["bytes"],
            words=answer["words"],
            words_so_far=words_so_far,
            seconds=answer["seconds"],
            resident_bytes=answer.get("resident"),
        )
        cost = stage.seconds_per_megabyte if wanted >= MEGABYTE else 0.0
        yield stage
