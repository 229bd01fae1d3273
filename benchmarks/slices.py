"""Texts in files that contenders can read: one slice to warm up with, and one for each round."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.texts import Source, long_texts, short_texts, single_texts, take_words

LEAST_WORDS = 5_000
"""Of a slice, even where a file that is that short has to be read again."""
PARTS = 2.6
"""What a slice of each kind takes of the source, in slices: texts to be tagged singly are few, but
beginnings only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """A file with a JSON string on each line, and their number."""

    file: Path
    n_texts: int


def write_texts(texts: Sequence[str], file: Path) -> Slice:
    """Writes one slice."""
    file.write_text(
        "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8"
    )
    return Slice(file=file, n_texts=len(texts))


def write_slices(
    source: Source, paragraphs: Iterator[str], n_slices: int, most_words: int, folder: Path
) -> dict[str, list[Slice]]:
    """Slices of short, long and single texts, each cut from paragraphs that no other slice has.

    Each has up to `most_words` words, and fewer where the source would have to be read again to
    fill them all: what a cache has seen already would flatter it."""
    there = source.n_words()
    n_words = (
        most_words
        if there is None
        else max(LEAST_WORDS, min(most_words, int(there / PARTS) // n_slices))
    )
    cuts: dict[str, tuple[Callable[[Iterable[str]], Iterator[str]], int]] = {
        "short": (short_texts, n_words),
        "long": (long_texts, n_words),
        "single": (single_texts, n_words // 8),
    }
    slices: dict[str, list[Slice]] = {}
    for name, (cut, size) in cuts.items():
        texts = cut(paragraphs)
        files = (folder / f"{name}-{number}.jsonl" for number in range(n_slices))
        slices[name] = [write_texts(take_words(texts, size), file) for file in files]
    return slices
