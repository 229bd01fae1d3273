"""Words in, spans and their probabilities out: used to evaluate in training, and to serve."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features.batching import group_by_length, pad_rows
from teddy.model.features.rows import WordFeatures
from teddy.model.features.word_vectors import WordReader, WordVectors
from teddy.model.network.conditional import Hint, HintedChain, Potentials
from teddy.model.network.encoder import words_read
from teddy.model.system.memory import trim_malloc
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet

BATCH_WORDS = 2048
"""The largest batch, in words with their padding.

The CRF's operations cost alike for many rows and for few. The network took 6.2, 5.5, 5.3, 4.9 and
4.9 us a word in batches of 512, 1024, 2048, 4096 and 8192 words (one layer of hidden 128, bf16, one
core); from text to entities 2048 is as fast as 4096, and leaves 8 MB less behind."""

_WORDS_BETWEEN_TRIMS = 100_000
"""A second's work, after which free memory goes back to the system."""

_IMPORTED_IN = os.getpid()


def avoid_lost_threads() -> None:
    """In a fork, let torch use one thread: it has none of the others, and would wait for them."""
    if os.getpid() != _IMPORTED_IN and torch.get_num_threads() > 1:
        torch.set_num_threads(1)


class TaggingNetwork(WordReader, Protocol):
    """A `Network`, eager or scripted, or a replacement for one."""

    def __call__(
        self, vectors: Tensor, words: Tensor, lengths: Tensor, /
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """See `Network.forward`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedWords:
    """The tags of one sentence.

    `spans` are in words and in order, `scores` their probabilities; `tags` are tag indices, int64
    [words], and `tag_scores` their marginal probabilities, float64 [words].
    """

    spans: list[Span]
    scores: list[float]
    tags: NDArray[np.int64]
    tag_scores: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggingBatch:
    """The arguments of a network; `members` are the positions of the sentences in its rows.

    Rows behind them are padding: see `pad_rows`.

    Shape: `vectors` [U, E]; int64 `words` [B, T], each a row of them; int64 `lengths` [B].
    """

    members: list[int]
    vectors: Tensor
    words: Tensor
    lengths: Tensor


class Tagger:
    """A network with the features of its words and the names of its tags.

    It keeps the vectors of words: make a new one when the network's weights have changed.
    """

    def __init__(
        self,
        network: TaggingNetwork,
        features: WordFeatures,
        tag_set: TagSet,
        batch_words: int = BATCH_WORDS,
        number_format: torch.dtype = torch.float32,
    ) -> None:
        """`number_format` is that of the network's encoder."""
        self.network = network
        self.features = features
        self.tag_set = tag_set
        self.batch_words = batch_words
        self._vectors = WordVectors(network, features, number_format)
        self._words_until_trim = _WORDS_BETWEEN_TRIMS
        self.padding_words = 0
        """The number of places that the network has read and that held no word."""

    def tag(
        self,
        sentences: Sequence[Sequence[str]],
        hints: Mapping[int, Sequence[Hint]] | None = None,
    ) -> list[TaggedWords]:
        """Tag sentences of words: one result each, in order, independent of the others.

        `hints` are those of a sentence, by its position; see `teddy.model.network.conditional`.

        Raises ValueError for hints where the network does not take them: see `takes_hints`.
        """
        avoid_lost_threads()
        results: list[TaggedWords] = [_EMPTY] * len(sentences)
        if not hints:
            self._tag_into(results, sentences, {})
        else:
            plain = [() if k in hints else each for k, each in enumerate(sentences)]
            hinted = [each if k in hints else () for k, each in enumerate(sentences)]
            self._tag_into(results, plain, {})
            self._tag_into(results, hinted, hints)
        if self._words_until_trim < 0:
            self._words_until_trim = _WORDS_BETWEEN_TRIMS
            trim_malloc()
        return results

    def _tag_into(
        self,
        results: list[TaggedWords],
        sentences: Sequence[Sequence[str]],
        hints: Mapping[int, Sequence[Hint]],
    ) -> None:
        """Tag the sentences that have words, which all have hints, or none has."""
        for batch in self.batches(sentences):
            ran = (
                self._run_hinted(batch, [hints[position] for position in batch.members])
                if hints
                else [each.numpy() for each in self.run(batch)]
            )
            for position, result in zip(batch.members, self._read(batch, *ran), strict=True):
                results[position] = result
            self._words_until_trim -= batch.words.numel()
            self.padding_words += words_read(batch.lengths.numpy(), batch.words.shape[1]) - sum(
                len(sentences[position]) for position in batch.members
            )

    def batches(self, sentences: Sequence[Sequence[str]]) -> Iterator[TaggingBatch]:
        """Yield batches of near-equal lengths, with every sentence that has words."""
        lengths = [len(sentence) for sentence in sentences]
        filled = [position for position, length in enumerate(lengths) if length]
        if not filled:
            return
        vectors, rows = self._vectors.look_up(list(chain.from_iterable(sentences)))
        starts, counts = np.array([0, *accumulate(lengths[:-1])]), np.array(lengths)
        for group in group_by_length([lengths[position] for position in filled], self.batch_words):
            members = [filled[member] for member in group]
            positions, row_lengths = pad_rows(starts[members], counts[members])
            yield TaggingBatch(
                members=members,
                vectors=vectors,
                words=torch.from_numpy(rows[positions]),
                lengths=torch.from_numpy(row_lengths),
            )

    def run(self, batch: TaggingBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Call the network: see `Network.forward`."""
        with torch.inference_mode():
            return self.network(batch.vectors, batch.words, batch.lengths)

    @property
    def takes_hints(self) -> bool:
        """Whether the network says what it computes inside, which an ONNX graph does not."""
        return hasattr(self.network, "crf")

    def _run_hinted(self, batch: TaggingBatch, hints: Sequence[Sequence[Hint]]) -> list[Any]:
        """Return what `run` does, as arrays, under the hints of each member of a batch."""
        if not self.takes_hints:
            raise ValueError("this network takes no hints")
        network: Any = self.network
        with torch.inference_mode():
            # A method of every network that was exported: `forward` calls it.
            scores = network._emissions(batch.vectors, batch.words, batch.lengths)
        n_rows = len(batch.members)
        cooling = 1.0 / float(network.crf.temperature)
        chain = HintedChain(
            scores[:n_rows].double().numpy() * cooling,
            batch.lengths[:n_rows].numpy(),
            Potentials.of(network.crf, cooling),
            hints,
            self.tag_set.labels,
        )
        tags = chain.best_path()
        return [tags, *chain.posterior(tags)]

    def _read(
        self,
        batch: TaggingBatch,
        tags: NDArray[np.int64],
        marginal: NDArray[np.float64],
        opening: NDArray[np.float64],
        closing: NDArray[np.float64],
    ) -> list[TaggedWords]:
        """Return one result for each member of a batch, from what the network gave."""
        rows, starts, ends, labels = self.tag_set.decode_rows(tags)
        # exp of a sum of four rounded terms: the last digit may pass one. (And weights that are no
        # numbers score one.)
        scores = np.fmin(np.exp(opening[rows, starts] + closing[rows, ends - 1]), 1.0).tolist()
        names = self.tag_set.labels
        found = zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True)
        spans = [Span(start, end, names[label]) for start, end, label in found]
        bounds = np.searchsorted(rows, np.arange(len(batch.members) + 1)).tolist()
        return [
            TaggedWords(
                spans=spans[bounds[row] : bounds[row + 1]],
                scores=scores[bounds[row] : bounds[row + 1]],
                tags=tags[row, :length],
                tag_scores=marginal[row, :length],
            )
            for row, length in enumerate(batch.lengths[: len(batch.members)].tolist())
        ]


_EMPTY = TaggedWords(spans=[], scores=[], tags=np.zeros(0, dtype=np.int64), tag_scores=np.zeros(0))
