"""Running text as numbers on disk, and the order in which its sentences are read.

    text.u32          the number of each word, sentence after sentence; 0 is the most frequent word
    lengths.u32       the number of words of each sentence
    blocks.i64        for each block of sentences: its first sentence, its first word; at last, how many there are of
                      both
    types.txt         the distinct words, one a line, by number: first those that were counted, then rare ones
    counts.i64        how often each of the counted words occurs in the sentences that are learnt from
    rows.i32          the feature rows of the distinct words, one word after another
    row_starts.i64    where each word's rows begin, and where the last one's end
    pieces.model      the sentencepiece model
    words.txt         the words that have a row of their own
    corpus.json       what all this was made from, and how much it is

In memory are the counted words' rows, of which there is a bound (see
`teddy.training.data.vocabulary`); all else is read when it is asked for. A rare word has a number
for each stretch of the text that it occurs in.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import DataError
from teddy.training.data.windows import plan_windows, window_generator

FORMAT = 2

_PLAN = 1
"""Keeps what is drawn here apart from what is drawn for an update (see
training/pretrain/pretrainer.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Some sentences in memory.

    Shape, for S sentences of N words in all: `text` uint32 [N], the others [S].
    """

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
    """The files of one folder.

    Letters: S sentences, V counted words (types), U types of a batch.
    """

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
        self.n_learnt_sentences: int = self.n_sentences - -(
            -self.n_sentences // self.held_out_every
        )
        n_rows, n_all_types = (
            self.description["n_rows"],
            self.n_types + self.description["n_rare_types"],
        )
        _check_size(folder / "text.u32", 4 * self.n_words)
        _check_size(folder / "lengths.u32", 4 * self.n_sentences)
        _check_size(folder / "rows.i32", 4 * n_rows)
        _check_size(folder / "row_starts.i64", 8 * (n_all_types + 1))
        _check_size(folder / "counts.i64", 8 * self.n_types)
        self.counts: NDArray[np.int64] = np.fromfile(folder / "counts.i64", dtype="<i8")
        """Int64 [V]."""
        self.blocks: NDArray[np.int64] = np.fromfile(folder / "blocks.i64", dtype="<i8").reshape(
            -1, 2
        )
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
        return is_held_out(
            (self.n_sentences if last is None else last) - first, self.held_out_every, first
        )

    def stretch(self, blocks: Sequence[int] | NDArray[np.int64]) -> Stretch:
        """The sentences of some blocks, one block after another."""
        bounds = [
            (*self.blocks[block].tolist(), *self.blocks[block + 1].tolist()) for block in blocks
        ]
        lengths = [self.lengths(first, last) for first, _, last, _ in bounds]
        text = np.empty(sum(end - start for _, start, _, end in bounds), dtype=np.uint32)
        filled = 0
        for _, start, _, end in bounds:
            text[filled : filled + end - start] = self._words(start, end)
            filled += end - start
        joined = np.concatenate(lengths) if lengths else np.zeros(0, dtype=np.int64)
        return Stretch(text=text, lengths=joined, starts=np.cumsum(joined) - joined)

    def sentences(self, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """The words of any sentences of one length T, each read by itself.

        Shape: int64 [B] -> int64 [B, T].
        """
        return np.stack([self._sentence(member) for member in members.tolist()])

    def _sentence(self, number: int) -> NDArray[np.int64]:
        first, start = self.blocks[
            np.searchsorted(self.blocks[:, 0], number, side="right") - 1
        ].tolist()
        lengths = self.lengths(first, number + 1)
        end = start + int(lengths.sum())
        return self._words(end - int(lengths[-1]), end).astype(np.int64)

    def counts_of(self, types: NDArray[np.int64]) -> NDArray[np.int64]:
        """How often words occur, for those that were not counted 0.

        Shape: int64 [U] -> int64 [U].
        """
        counts = np.zeros(len(types), dtype=np.int64)
        counted = types < self.n_types
        counts[counted] = self.counts[types[counted]]
        return counts

    def bag(self, types: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What `WordFeatures.bag` gives for these words: rows [F] and starts [U], for types [U]."""
        rare = np.flatnonzero(types >= self.n_types)
        bounds = np.stack(
            [self._row_starts[np.minimum(types + shift, self.n_types)] for shift in (0, 1)]
        )
        for place in rare.tolist():
            bounds[:, place] = self._row_starts_of(int(types[place]), 2)
        counts = bounds[1] - bounds[0]
        starts = np.cumsum(counts) - counts
        places = np.arange(int(counts.sum())) + np.repeat(bounds[0] - starts, counts)
        rows = self._rows[np.minimum(places, max(len(self._rows) - 1, 0))].astype(np.int64)
        for place in rare.tolist():
            start = int(starts[place])
            rows[start : start + int(counts[place])] = self._rows_of(
                int(bounds[0, place]), int(counts[place])
            )
        return rows, starts

    def _words(self, start: int, end: int) -> NDArray[np.uint32]:
        return np.fromfile(
            self.folder / "text.u32", dtype="<u4", count=end - start, offset=4 * start
        )

    def _row_starts_of(self, first: int, count: int) -> NDArray[np.int64]:
        return np.fromfile(
            self.folder / "row_starts.i64", dtype="<i8", count=count, offset=8 * first
        )

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
        raise DataError(
            folder, None, "not a whole encoded corpus: it has no readable corpus.json"
        ) from None
    found = description.get("format")
    if found != FORMAT:
        reason = f"an encoded corpus of format {found}, made by another version of Teddy; this one reads {FORMAT}"
        raise DataError(folder, None, f"{reason}: remove the folder, and the text is prepared anew")
    return description


def _check_size(path: Path, wanted: int) -> None:
    found = path.stat().st_size if path.exists() else 0
    if found != wanted:
        raise DataError(path, None, f"damaged: it has {found:,} bytes instead of {wanted:,}")


class TrainingText:
    """What a run reads of an encoded corpus, epoch after epoch, of which a window's worth is in memory at a time.

    A pure function of the corpus, the numbers given and the seed: see
    `teddy.training.data.windows`.
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
        """Sentences of fewer than `shortest` words are left out; `batch_words` are as in `plan_batches`."""
        self._corpus = corpus
        self._shortest = shortest
        self._batch_words = batch_words
        self._window_words = window_words
        self._seed = seed
        self._sizes = np.diff(corpus.blocks[:, 1])
        self.epoch_words = sum(
            self._n_words(np.array([block])) for block in range(len(self._sizes))
        )
        """The words that are read in each epoch."""
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, dtype=np.int64))
        self._nothing = corpus.stretch([])
        self._window: tuple[tuple[int, int], Stretch, list[NDArray[np.int64]]] = (
            (-1, -1),
            self._nothing,
            [],
        )

    def n_batches(self, epoch: int) -> int:
        """The batches of an epoch. Of all sentences, the lengths are read for it, once."""
        return int(self._ends(epoch)[-1])

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """The words of a batch, counted from 0.

        Cheap in order: a window is read when its first batch is asked for.

        Shape: -> int64 [B, T].
        """
        ends = self._ends(epoch)
        window = int(np.searchsorted(ends, number, side="right"))
        if self._window[0] != (epoch, window):
            # two windows' text need not be in memory at once
            self._window = ((-1, -1), self._nothing, [])
            blocks = self._windows(epoch)[window]
            self._window = (
                (epoch, window),
                self._corpus.stretch(blocks),
                self._plan(epoch, window, blocks),
            )
        _, stretch, plan = self._window
        return stretch.sentences(plan[number - (int(ends[window]) - len(plan))])

    def total_epochs(self, words: int) -> int:
        """The epochs in which so many words are read, with the one that is not read to its end."""
        return math.ceil(words / self.epoch_words)

    def total_steps(self, words: int) -> int:
        """The batches in which so many words are read."""
        epochs, rest = divmod(words, self.epoch_words)
        # The batches of one window differ from epoch to epoch in their order and in which sentences
        # share one.
        is_whole = len(self._windows(0)) == 1
        steps = epochs * self.n_batches(0) if is_whole else sum(map(self.n_batches, range(epochs)))
        return steps + (self._steps_into(epochs, rest) if rest else 0)

    def _steps_into(self, epoch: int, words: int) -> int:
        """The batches of an epoch until so many of its words are read."""
        steps = 0
        for window, blocks in enumerate(self._windows(epoch)):
            n_words = self._n_words(blocks)
            if words <= n_words:
                lengths, _ = self._lengths(blocks)
                sizes = [
                    len(members) * int(lengths[members[0]])
                    for members in self._plan(epoch, window, blocks)
                ]
                return steps + 1 + int(np.searchsorted(np.cumsum(sizes), words))
            words -= n_words
            steps += self._count_batches(blocks)
        return steps

    def _windows(self, epoch: int) -> list[NDArray[np.int64]]:
        return plan_windows(self._sizes, self._window_words, self._seed, _PLAN, epoch)

    def _ends(self, epoch: int) -> NDArray[np.int64]:
        """After how many batches each window of an epoch ends; that of the last epoch asked for is kept."""
        if self._epoch[0] != epoch:
            self._epoch = (
                epoch,
                np.cumsum([self._count_batches(blocks) for blocks in self._windows(epoch)]),
            )
        return self._epoch[1]

    def _plan(self, epoch: int, window: int, blocks: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        random = window_generator(window, self._seed, _PLAN, epoch)
        return plan_batches(*self._lengths(blocks), self._batch_words, random)

    def _lengths(self, blocks: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The lengths of the sentences of some blocks, and which of them are learnt from."""
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
    """Batches as positions of sentences, in an order that is drawn from `random`.

    Each eligible sentence occurs once. A batch holds at most `batch_words` words, or one sentence.
    Shape: int64 [S], bool [S] -> int64 [B] each.
    """
    order = random.permutation(np.flatnonzero(eligible))
    batches = cut_by_length(order, lengths, batch_words)
    return [batches[i] for i in random.permutation(len(batches))]


def cut_by_length(
    order: NDArray[np.int64], lengths: NDArray[np.int64], batch_words: int
) -> list[NDArray[np.int64]]:
    """Positions of sentences, in batches of one length: the shortest first, those of a length in the order given."""
    order = order[np.argsort(lengths[order], kind="stable")]
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    batches: list[NDArray[np.int64]] = []
    for equals in np.split(order, borders) if len(order) else []:
        size = max(1, batch_words // int(lengths[equals[0]]))
        batches += [equals[start : start + size] for start in range(0, len(equals), size)]
    return batches
