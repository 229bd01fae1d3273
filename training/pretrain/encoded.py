"""Running text as numbers on disk, made once by `teddy.training.pretrain.prepare`.

text.u32          the number of each word, sentence after sentence; 0 is the most frequent word
lengths.u32       the number of words of each sentence
blocks.i64        for each block of sentences: its first sentence, its first word; at last, how many there are of both
types.txt         the distinct words, one a line, by number: first those that were counted, then rare ones
counts.i64        how often each of the counted words occurs in the sentences that are learnt from
rows.i32          the feature rows of the distinct words, one word after another
row_starts.i64    where each word's rows begin, and where the last one's end
pieces.model      the sentencepiece model
words.txt         the words that have a row of their own
corpus.json       what all this was made from, and how much it is

In memory are the counted words' rows, of which there is a bound (see `teddy.training.corpus.word_counts`); all else is
read when it is asked for. A rare word has a number for each stretch of the text that it occurs in.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import DataError

FORMAT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some sentences in memory. Shape, for S sentences of N words in all: `text` uint32 [N], the others [S]."""

    text: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Where each sentence begins in `text`."""

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The words of sentences of one length T. Shape: int64 [B] -> int64 [B, T]."""
        places = self.starts[members][:, None] + np.arange(int(self.lengths[members[0]]))
        words: NDArray[np.int64] = self.text[places].astype(np.int64)
        return words


class EncodedCorpus:
    """The files of one folder. Letters: S sentences, V counted words (types), U types of a batch."""

    def __init__(self, folder: Path) -> None:
        """Raises DataError when the folder is not a whole encoded corpus of this version."""
        self.folder = folder
        self.description = _describe(folder)
        self.n_sentences: int = self.description["n_sentences"]
        self.n_words: int = self.description["n_words"]
        self.n_learnt_words: int = self.description["n_learnt_words"]
        """Those of the sentences that are not held out."""
        self.n_types: int = self.description["n_types"]
        self.held_out_every: int = self.description["settings"]["held_out_every"]
        self.n_learnt_sentences: int = self.n_sentences - -(-self.n_sentences // self.held_out_every)
        n_rows, n_all_types = self.description["n_rows"], self.n_types + self.description["n_rare_types"]
        _check_size(folder / "text.u32", 4 * self.n_words)
        _check_size(folder / "lengths.u32", 4 * self.n_sentences)
        _check_size(folder / "rows.i32", 4 * n_rows)
        _check_size(folder / "row_starts.i64", 8 * (n_all_types + 1))
        _check_size(folder / "counts.i64", 8 * self.n_types)
        self.counts: NDArray[np.int64] = np.fromfile(folder / "counts.i64", dtype="<i8")
        """Int64 [V]."""
        self.blocks: NDArray[np.int64] = np.fromfile(folder / "blocks.i64", dtype="<i8").reshape(-1, 2)
        """Int64 [blocks + 1, 2]: see the head of this file."""
        self._row_starts = self._row_starts_of(0, self.n_types + 1)
        self._rows = self._rows_of(0, int(self._row_starts[-1]))
        self.pieces: bytes = (folder / "pieces.model").read_bytes()
        self.words: tuple[str, ...] = tuple(read_words(folder / "words.txt"))

    def types(self, most: int | None = None) -> list[str]:
        """The distinct words, by number; the first so many."""
        return read_words(self.folder / "types.txt", most)

    def lengths(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """The words of each of the sentences [first, last)."""
        count = (self.n_sentences if last is None else last) - first
        path = self.folder / "lengths.u32"
        return np.fromfile(path, dtype="<u4", count=count, offset=4 * first).astype(np.int64)

    def is_held_out(self, first: int = 0, last: int | None = None) -> NDArray[np.bool_]:
        """Which of the sentences [first, last) are not learnt from."""
        return is_held_out((self.n_sentences if last is None else last) - first, self.held_out_every, first)

    def stretch(self, blocks: Sequence[int] | NDArray[np.int64]) -> Stretch:
        """The sentences of some blocks, one block after another."""
        bounds = [(*self.blocks[block].tolist(), *self.blocks[block + 1].tolist()) for block in blocks]
        lengths = [self.lengths(first, last) for first, _, last, _ in bounds]
        text = np.empty(sum(end - start for _, start, _, end in bounds), dtype=np.uint32)
        filled = 0
        for _, start, _, end in bounds:
            text[filled : filled + end - start] = self._words(start, end)
            filled += end - start
        joined = np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64)
        return Stretch(text=text, lengths=joined, starts=np.cumsum(joined) - joined)

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The words of any sentences of one length T, each read by itself. Shape: int64 [B] -> int64 [B, T]."""
        return np.stack([self._sentence(member) for member in members.tolist()])

    def _sentence(self, number: int) -> NDArray[np.int64]:
        first, start = self.blocks[np.searchsorted(self.blocks[:, 0], number, side="right") - 1].tolist()
        lengths = self.lengths(first, number + 1)
        end = start + int(lengths.sum())
        return self._words(end - int(lengths[-1]), end).astype(np.int64)

    def counts_of(self, types: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often words occur, for those that were not counted 0. Shape: int64 [U] -> int64 [U]."""
        counts = np.zeros(len(types), dtype=np.int64)
        counted = types < self.n_types
        counts[counted] = self.counts[types[counted]]
        return counts

    def bag(self, types: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What `WordFeatures.bag` gives for these words: rows [F] and starts [U], for types [U]."""
        rare = np.flatnonzero(types >= self.n_types)
        bounds = np.stack([self._row_starts[np.minimum(types + shift, self.n_types)] for shift in (0, 1)])
        for place in rare.tolist():
            bounds[:, place] = self._row_starts_of(int(types[place]), 2)
        counts = bounds[1] - bounds[0]
        starts = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) + np.repeat(bounds[0] - starts, counts)
        rows = self._rows[np.minimum(places, max(len(self._rows) - 1, 0))].astype(np.int64)
        for place in rare.tolist():
            start = int(starts[place])
            rows[start : start + int(counts[place])] = self._rows_of(int(bounds[0, place]), int(counts[place]))
        return rows, starts

    def _words(self, start: int, end: int) -> NDArray[np.uint32]:
        return np.fromfile(self.folder / "text.u32", dtype="<u4", count=end - start, offset=4 * start)

    def _row_starts_of(self, first: int, count: int) -> NDArray[np.int64]:
        return np.fromfile(self.folder / "row_starts.i64", dtype="<i8", count=count, offset=8 * first)

    def _rows_of(self, first: int, count: int) -> NDArray[np.int32]:
        return np.fromfile(self.folder / "rows.i32", dtype="<i4", count=count, offset=4 * first)


def is_held_out(n_sentences: int, every: int, first: int = 0) -> NDArray[np.bool_]:
    """Whether each of so many sentences, of which the first has the number `first`, is held out: every n-th is."""
    held_out: NDArray[np.bool_] = np.arange(first, first + n_sentences) % every == 0
    return held_out


def write_words(path: Path, words: Sequence[str]) -> None:
    """Writes words, of which none holds a line break, one a line; behind those that the file has."""
    with path.open("ab") as file:
        file.write("".join(f"{word}\n" for word in words).encode())


def read_words(path: Path, most: int | None = None) -> list[str]:
    """What `write_words` wrote; the first so many."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\n") for line in islice(file, most)]


def _describe(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / "corpus.json").read_bytes())
    except (FileNotFoundError, ValueError):
        raise DataError(folder, None, "not a whole encoded corpus: it has no readable corpus.json") from None
    found = description.get("format")
    if found != FORMAT:
        reason = f"an encoded corpus of format {found}, made by another version of Teddy; this one reads {FORMAT}"
        raise DataError(folder, None, f"{reason}: remove the folder, and the text is prepared anew")
    return description


def _check_size(path: Path, wanted: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found != wanted:
        raise DataError(path, None, f"damaged: it has {found:,} bytes instead of {wanted:,}")
