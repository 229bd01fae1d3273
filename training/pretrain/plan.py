"""In which order sentences are read, and which share a batch: those of one length, so that nothing is padded."""

import math

import numpy as np
from numpy.typing import NDArray

from teddy.training.corpus.windows import plan_windows, window_generator
from teddy.training.pretrain.encoded import EncodedCorpus, Stretch

_PLAN = 1
"""Keeps what is drawn here apart from what is drawn for an update (see training/pretrain/loop.py)."""


class TrainingText:
    """What a run reads of an encoded corpus, epoch after epoch, of which a window's worth is in memory at a time.

    A pure function of the corpus, the numbers given and the seed: see `teddy.training.corpus.windows`.
    """

    def __init__(self, corpus: EncodedCorpus, *, shortest: int, batch_words: int, window_words: int, seed: int) -> None:
        """Sentences of fewer than `shortest` words are left out; `batch_words` are as in `plan_batches`."""
        self._corpus = corpus
        self._shortest = shortest
        self._batch_words = batch_words
        self._window_words = window_words
        self._seed = seed
        self._sizes = np.diff(corpus.blocks[:, 1])
        self.epoch_words = sum(self._n_words(np.array([block])) for block in range(len(self._sizes)))
        """The words that are read in each epoch."""
        self._epoch: tuple[int, NDArray[np.int64]] = (-1, np.zeros(0, dtype=np.int64))
        self._nothing = corpus.stretch([])
        self._window: tuple[tuple[int, int], Stretch, list[NDArray[np.int64]]] = ((-1, -1), self._nothing, [])

    def n_batches(self, epoch: int) -> int:
        """The batches of an epoch. Of all sentences, the lengths are read for it, once."""
        return int(self._ends(epoch)[-1])

    def batch(self, epoch: int, number: int) -> NDArray[np.int64]:
        """The words of a batch, counted from 0. Cheap in order: a window is read when its first batch is asked for.

        Shape: -> int64 [B, T].
        """
        ends = self._ends(epoch)
        window = int(np.searchsorted(ends, number, side="right"))
        if self._window[0] != (epoch, window):
            self._window = ((-1, -1), self._nothing, [])  # two windows' text need not be in memory at once
            blocks = self._windows(epoch)[window]
            self._window = ((epoch, window), self._corpus.stretch(blocks), self._plan(epoch, window, blocks))
        _, stretch, plan = self._window
        return stretch.sentences(plan[number - (int(ends[window]) - len(plan))])

    def total_epochs(self, words: int) -> int:
        """The epochs in which so many words are read, with the one that is not read to its end."""
        return math.ceil(words / self.epoch_words)

    def total_steps(self, words: int) -> int:
        """The batches in which so many words are read."""
        epochs, rest = divmod(words, self.epoch_words)
        # The batches of one window differ from epoch to epoch in their order and in which sentences share one.
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
                sizes = [len(members) * int(lengths[members[0]]) for members in self._plan(epoch, window, blocks)]
                return steps + 1 + int(np.searchsorted(np.cumsum(sizes), words))
            words -= n_words
            steps += self._count_batches(blocks)
        return steps

    def _windows(self, epoch: int) -> list[NDArray[np.int64]]:
        return plan_windows(self._sizes, self._window_words, self._seed, _PLAN, epoch)

    def _ends(self, epoch: int) -> NDArray[np.int64]:
        """After how many batches each window of an epoch ends; that of the last epoch asked for is kept."""
        if self._epoch[0] != epoch:
            self._epoch = epoch, np.cumsum([self._count_batches(blocks) for blocks in self._windows(epoch)])
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
    lengths: NDArray[np.int64], eligible: NDArray[np.bool_], batch_words: int, random: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Batches as positions of sentences, in an order that is drawn from `random`.

    Each eligible sentence occurs once. A batch holds at most `batch_words` words, or one sentence.
    Shape: int64 [S], bool [S] -> int64 [B] each.
    """
    order = random.permutation(np.flatnonzero(eligible))
    batches = cut_by_length(order, lengths, batch_words)
    return [batches[i] for i in random.permutation(len(batches))]


def cut_by_length(order: NDArray[np.int64], lengths: NDArray[np.int64], batch_words: int) -> list[NDArray[np.int64]]:
    """Positions of sentences, in batches of one length: the shortest first, those of a length in the order given."""
    order = order[np.argsort(lengths[order], kind="stable")]
    borders = np.flatnonzero(np.diff(lengths[order])) + 1
    batches: list[NDArray[np.int64]] = []
    for equals in np.split(order, borders) if len(order) else []:
        size = max(1, batch_words // int(lengths[equals[0]]))
        batches += [equals[start : start + size] for start in range(0, len(equals), size)]
    return batches
