"""Running text as numbers on disk, and the order in which its sentences are read.

    text.u32          the number of each word, sentence after sentence; 0 is the most frequent word
    lengths.u32       the number of words of each sentence
    blocks.i64        the first sentence and the first word of each block of sentences; at the end,
                      how many there are of both
    types.txt         the distinct words, one a line, by number: the counted ones, then rare ones
    counts.i64        how often each counted word occurs in the sentences that are learnt from
    rows.i32          the feature rows of the distinct words, one word after another
    row_starts.i64    where each word's rows begin, and where the last one's end
    pieces.model      the sentencepiece model
    words.txt         the words that have a row of their own
    lexicon           classes of words (see `teddy.model.features.lexicon`); it may be empty
    corpus.json       the settings that all this was made with, and its sizes

The files are read as they are needed. A rare word has a number for each chunk of the text that it
occurs in (see `teddy.training.pretrain.prepare`).
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import DataError
from teddy.training.data.store import plan_windows, window_generator

FORMAT = 3

_PLAN = 1
"""A key that no random generator of an update has (see training/pretrain/pretrainer.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Some sentences in memory.

    Shape, for S sentences of N words in all: `text` uint32 [N], the others [S].
    """

    text: NDArray[np.uint32]
    lengths: NDArray[np.int64]
    starts: NDArray[np.int64]
    """Where each sentence begins in `text`."""

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the words of sentences of one length T. Shape: int64 [B] -> int64 [B, T]."""
        places = self.starts[members][:, None] + np.arange(int(self.lengths[members[0]]))
        words: NDArray[np.int64] = self.text[places].astype(np.int64)
        return words


class EncodedCorpus:
    """The files of one folder.

    Letters: S sentences, V counted words (types), U types of a batch.
    """

    def __init__(self, folder: Path) -> None:
        """Open it; raise DataError when it is not a whole encoded corpus of this version."""
        self.folder = folder
        self.description = _describe(folder)
        self.n_sentences: int = self.description["n_sentences"]
        self.n_words: int = self.description["n_words"]
        self.n_learnt_words: int = self.description["n_learnt_words"]
        """The words of the sentences that are not held out."""
        self.n_types: int = self.description["n_types"]
        self.held_out_every: int = self.description["settings"]["held_out_every"]
        n_held_out = math.ceil(self.n_sentences / self.held_out_every)
        self.n_learnt_sentences = self.n_sentences - n_held_out
        n_all_types = self.n_types + self.description["n_rare_types"]
        _mapped(folder / "text.u32", "<u4", self.n_words)  # to check its size; see `_text`
        self._lengths = _mapped(folder / "lengths.u32", "<u4", self.n_sentences)
        self._rows = _mapped(folder / "rows.i32", "<i4", self.description["n_rows"])
        self._row_starts = _mapped(folder / "row_starts.i64", "<i8", n_all_types + 1)
        self.counts = _mapped(folder / "counts.i64", "<i8", self.n_types)
        """Int64 [V]."""
        blocks = np.fromfile(folder / "blocks.i64", dtype="<i8")
        self.blocks: NDArray[np.int64] = blocks.reshape(-1, 2)
        """Int64 [blocks + 1, 2]: see the head of this file."""
        self.pieces: bytes = (folder / "pieces.model").read_bytes()
        self.lexicon: bytes = (folder / "lexicon").read_bytes()
        self.words: tuple[str, ...] = tuple(read_words(folder / "words.txt"))

    def types(self, most: int | None = None) -> list[str]:
        """Return the distinct words, by number; the first so many."""
        return read_words(self.folder / "types.txt", most)

    def lengths(self, first: int = 0, last: int | None = None) -> NDArray[np.int64]:
        """Return the number of words of each of the sentences [first, last)."""
        lengths: NDArray[np.int64] = self._lengths[first:last].astype(np.int64)
        return lengths

    def is_held_out(self, first: int = 0, last: int | None = None) -> NDArray[np.bool_]:
        """Tell which of the sentences [first, last) are not learnt from."""
        return is_held_out(first, self.n_sentences if last is None else last, self.held_out_every)

    def held_out(self, shortest: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the held-out sentences of so many words or more, and the words of each."""
        lengths = self._lengths[:: self.held_out_every].astype(np.int64)
        is_long = lengths >= shortest
        return np.flatnonzero(is_long) * self.held_out_every, lengths[is_long]

    def segment(self, blocks: Iterable[int]) -> Segment:
        """Return the sentences of some blocks, one block after another."""
        bounds = [(self.blocks[block], self.blocks[block + 1]) for block in blocks]
        nothing = np.zeros(0, dtype=np.int64)
        lengths = np.concatenate([nothing, *(self.lengths(a[0], b[0]) for a, b in bounds)])
        text = np.empty(sum(int(b[1] - a[1]) for a, b in bounds), dtype=np.uint32)
        filled = 0
        for (_, start), (_, end) in bounds:
            text[filled : filled + end - start] = self._text(start, end)
            filled += end - start
        return Segment(text=text, lengths=lengths, starts=np.cumsum(lengths) - lengths)

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the words of any sentences of one length T, each read by itself.

        Shape: int64 [B] -> int64 [B, T].
        """
        rows = []
        for number in members.tolist():
            block = np.searchsorted(self.blocks[:, 0], number, side="right") - 1
            first, start = self.blocks[block].tolist()
            start += int(self._lengths[first:number].sum())
            rows.append(self._text(start, start + int(self._lengths[number])))
        return np.stack(rows).astype(np.int64)

    def _text(self, start: int, end: int) -> NDArray[np.uint32]:
        # Read, not mapped: memory holds what is asked for, and nothing else.
        path = self.folder / "text.u32"
        return np.fromfile(path, dtype="<u4", count=end - start, offset=4 * start)

    def counts_of(self, types: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how often words occur, 0 for those that were not counted.

        Shape: int64 [U] -> int64 [U].
        """
        counts: NDArray[np.int64] = self.counts[np.minimum(types, self.n_types - 1)]
        return np.where(types < self.n_types, counts, 0)

    def bag(self, types: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return what `WordFeatures.bag` does for types [U]: rows [F] and starts [U]."""
        firsts = self._row_starts[types]
        counts = self._row_starts[types + 1] - firsts
        starts = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) + np.repeat(firsts - starts, counts)
        return self._rows[places].astype(np.int64), starts


def is_held_out(first: int, last: int, every: int) -> NDArray[np.bool_]:
    """Tell which of the sentences [first, last) are held out: one in `every`."""
    held_out: NDArray[np.bool_] = np.arange(first, last) % every == 0
    return held_out


def write_words(path: Path, words: Sequence[str]) -> None:
    """Append words, of which none holds a line break, to a file, one a line."""
    with path.open("ab") as file:
        file.write("".join(f"{word}\n" for word in words).encode())


def read_words(path: Path, most: int | None = None) -> list[str]:
    """Return the words that `write_words` wrote; the first so many."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return [line.removesuffix("\n") for line in islice(file, most)]


def _describe(folder: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads((folder / "corpus.json").read_bytes())
    except (FileNotFoundError, ValueError):
        raise DataError(
            folder, None, "not a whole encoded corpus: it has no readable corpus.json"
        ) from None
    found = description.get("format")
    if found != FORMAT:
        raise DataError(
            folder,
            None,
            f"an encoded corpus of format {found}, made by another version of Teddy; this one "
            f"reads {FORMAT}: remove the folder, and the text is prepared again",
        )
    return description


def _mapped(path: Path, dtype: str, n_numbers: int) -> NDArray[Any]:
    """Return the numbers in a file, which are read when they are used."""
    wanted = n_numbers * np.dtype(dtype).itemsize
    found = path.stat().st_size if path.exists() else 0
    if found != wanted:
        raise DataError(path, None, f"damaged: it has {found:,} bytes instead of {wanted:,}")
    return np.asarray(np.memmap(path, dtype, mode="r")) if n_numbers else np.zeros(0, dtype)


class TrainingText:
    """The batches of an encoded corpus, epoch after epoch, of which memory holds one window.

    A pure function of the corpus, the arguments and the seed: see `teddy.training.data.store`.
    """

    def __init__(
        self,
        corpus: EncodedCorpus,
        *,
        shortest: int,
        batch_words: int,
        window_words: int,
        seed: int,
    ) -> None:
        """Leave out sentences of fewer than `shortest` words; see `plan_batches`."""
        self._corpus = corpus
        self._shortest = shortest
        self._batch_words = batch_words
        self._window_words = window_words
        self._seed = seed
        self._sizes = np.diff(corpus.blocks[:, 1])
        self.epoch_words = sum(
            self._n_words(np.array([block])) for block in range(len(self._sizes))
        )
        """The words of an epoch."""
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, dtype=np.int64))
        self._window: tuple[tuple[int, int], Segment, list[NDArray[np.int64]]] | None = None

    def n_batches(self, epoch: int) -> int:
        """Return the number of batches of an epoch, for which all lengths are read, once."""
        return int(self._ends(epoch)[-1])

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """Return the words of a batch, counted from 0, int64 [B, T].

        Cheap in order: a window is read when its first batch is asked for.
        """
        ends = self._ends(epoch)
        window = int(np.searchsorted(ends, number, side="right"))
        if self._window is None or self._window[0] != (epoch, window):
            self._window = None  # two windows' text need not be in memory at once
            blocks = self._windows(epoch)[window]
            plan = self._plan(epoch, window, blocks)
            self._window = ((epoch, window), self._corpus.segment(blocks), plan)
        _, segment, plan = self._window
        return segment.sentences(plan[number - (int(ends[window]) - len(plan))])

    def total_epochs(self, words: int) -> int:
        """Return in how many epochs so many words are read; the last is not read to its end."""
        return math.ceil(words / self.epoch_words)

    def total_steps(self, words: int) -> int:
        """Return in how many batches so many words are read."""
        epochs, rest = divmod(words, self.epoch_words)
        # The batches of a single window have the same sizes in each epoch.
        is_whole = len(self._windows(0)) == 1
        steps = epochs * self.n_batches(0) if is_whole else sum(map(self.n_batches, range(epochs)))
        return steps + (self._steps_into(epochs, rest) if rest else 0)

    def _steps_into(self, epoch: int, words: int) -> int:
        """Return in how many batches of an epoch so many of its words are read."""
        steps = 0
        for window, blocks in enumerate(self._windows(epoch)):
            n_words = self._n_words(blocks)
            if words <= n_words:
                lengths, _ = self._lengths(blocks)
                plan = self._plan(epoch, window, blocks)
                sizes = [len(members) * int(lengths[members[0]]) for members in plan]
                return steps + 1 + int(np.searchsorted(np.cumsum(sizes), words))
            words -= n_words
            steps += self._count_batches(blocks)
        return steps

    def _windows(self, epoch: int) -> list[NDArray[np.int64]]:
        return plan_windows(self._sizes, self._window_words, self._seed, _PLAN, epoch)

    def _ends(self, epoch: int) -> NDArray[np.int64]:
        """Return after how many batches each window of an epoch ends, and remember it."""
        if self._epoch[0] != epoch:
            counts = [self._count_batches(blocks) for blocks in self._windows(epoch)]
            self._epoch = (epoch, np.cumsum(counts))
        return self._epoch[1]

    def _plan(self, epoch: int, window: int, blocks: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        random = window_generator(window, self._seed, _PLAN, epoch)
        return plan_batches(*self._lengths(blocks), self._batch_words, random)

    def _lengths(self, blocks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return the lengths of the sentences of some blocks, and which of them are read."""
        bounds = [self._corpus.blocks[block : block + 2, 0].tolist() for block in blocks.tolist()]
        lengths = np.concatenate([self._corpus.lengths(*each) for each in bounds])
        held_out = np.concatenate([self._corpus.is_held_out(*each) for each in bounds])
        return lengths, ~held_out & (lengths >= self._shortest)

    def _n_words(self, blocks: NDArray[np.int64]) -> int:
        lengths, eligible = self._lengths(blocks)
        return int(lengths[eligible].sum())

    def _count_batches(self, blocks: NDArray[np.int64]) -> int:
        lengths, eligible = self._lengths(blocks)
        length, n_sentences = np.unique(lengths[eligible], return_counts=True)
        size = np.maximum(1, self._batch_words // length)
        return int((-(-n_sentences // size)).sum())


def plan_batches(
    lengths: NDArray[np.int64],
    eligible: NDArray[np.bool_],
    batch_words: int,
    random: np.random.Generator,
) -> list[NDArray[np.int64]]:
    """Return batches as positions of sentences, in an order that is drawn from `random`.

    Each eligible sentence occurs once. A batch holds at most `batch_words` words, or one sentence.
    Shape: int64 [S], bool [S] -> int64 [B] each.
    """
    order = random.permutation(np.flatnonzero(eligible))
    batches = cut_by_length(order, lengths, batch_words)
    return [batches[i] for i in random.permutation(len(batches))]


def cut_by_length(
    order: NDArray[np.int64], lengths: NDArray[np.int64], batch_words: int
) -> list[NDArray[np.int64]]:
    """Cut positions of sentences into batches of one length; the shortest come first."""
    order = order[np.argsort(lengths[order], kind="stable")]
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    batches: list[NDArray[np.int64]] = []
    for equals in np.split(order, borders) if len(order) else []:
        size = max(1, batch_words // int(lengths[equals[0]]))
        batches += [equals[start : start + size] for start in range(0, len(equals), size)]
    return batches
