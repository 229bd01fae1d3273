"""Text while it is being encoded: chunks of about a million words, each with numbers for its own distinct words.

numbers.u32        of each word: its number in its chunk
chunk_types.txt    the distinct words of each chunk, one a line, by number
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from teddy.training.pretrain.encoded import is_held_out, write_words

CHUNK_WORDS = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some sentences as numbers. Shape, for S sentences of N words: `numbers` uint32 [N], `lengths` uint32 [S]."""

    first: int
    """How many sentences the chunks before have."""
    types: list[str]
    """The distinct words, by number."""
    numbers: NDArray[np.uint32]
    lengths: NDArray[np.uint32]

    def counts(self, held_out_every: int) -> dict[str, int]:
        """How often words occur in the sentences that are not held out, for those that do."""
        learnt_from = np.repeat(~is_held_out(len(self.lengths), held_out_every, self.first), self.lengths)
        counts = np.bincount(self.numbers[learnt_from], minlength=len(self.types)).tolist()
        return {word: count for word, count in zip(self.types, counts, strict=True) if count}


def cut_chunks(sentences: Iterable[Sequence[str]], chunk_words: int = CHUNK_WORDS) -> Iterator[Chunk]:
    """Yield the chunks of a text; each ends with the sentence that fills it."""
    first = 0
    numbers: dict[str, int] = {}
    words: list[int] = []
    lengths: list[int] = []
    # An empty sentence stands for the end.
    for sentence in chain(sentences, [()]):
        words += [numbers.setdefault(word, len(numbers)) for word in sentence]
        if sentence:
            lengths.append(len(sentence))
        if len(words) >= chunk_words or (not sentence and words):
            yield Chunk(
                first=first,
                types=list(numbers),
                numbers=np.array(words, dtype="<u4"),
                lengths=np.array(lengths, dtype="<u4"),
            )
            first += len(lengths)
            numbers, words, lengths = {}, [], []


class ChunkFile:
    """The words of chunks on disk, written one after another and then read so."""

    def __init__(self, folder: Path) -> None:
        self._numbers, self._types = folder / "numbers.u32", folder / "chunk_types.txt"
        self._sizes: list[tuple[int, int]] = []

    def append(self, chunk: Chunk) -> None:
        """Writes the words of a chunk."""
        with self._numbers.open("ab") as file:
            chunk.numbers.tofile(file)
        write_words(self._types, chunk.types)
        self._sizes.append((len(chunk.numbers), len(chunk.types)))

    def __iter__(self) -> Iterator[tuple[list[str], NDArray[np.uint32]]]:
        """Yields the distinct words of each chunk, by number, and its numbers."""
        with self._numbers.open("rb") as numbers, self._types.open(encoding="utf-8", newline="\n") as types:
            for n_words, n_types in self._sizes:
                words = [line.removesuffix("\n") for line in islice(types, n_types)]
                yield words, np.fromfile(numbers, dtype="<u4", count=n_words)

    def remove(self) -> None:
        """Removes both files."""
        self._numbers.unlink()
        self._types.unlink()
