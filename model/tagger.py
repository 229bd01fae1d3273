"""Words in, spans and their probabilities out: used to evaluate in training, and to serve."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, chain
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.features.batching import group_by_length, pad_rows
from teddy.model.features.rows import WordFeatures
from teddy.model.features.word_vectors import WordReader, WordVectors
from teddy.model.network.alternatives import Lattice, Sums, best_paths, probable_spans
from teddy.model.network.conditional import HintedChain, Potentials
from teddy.model.network.encoder import words_read
from teddy.model.system.memory import trim_malloc
from teddy.model.tags.search import Search
from teddy.model.tags.spans import Hint, Span
from teddy.model.tags.tag_set import TagSet

BATCH_WORDS = 2592
"""The largest batch, in words with their padding.

The CRF's operations cost alike for many rows and for few. The network took 6.2, 5.5, 5.3, 4.9 and
4.9 us a word in batches of 512, 1024, 2048, 4096 and 8192 words (one layer of hidden 128, bf16, one
core); from text to entities 2048 is as fast as 4096, and leaves 8 MB less behind.

A batch of the service, of 2,048 words, is one of these when both of its sides are rounded up by an
eighth. With 2,048 here some of its rows were left for a call of their own: 37,000 words/s of its
batch endpoint became 40,500 (fp32, one core)."""

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


Scored = tuple[Span, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaggedWords:
    """The tags of one sentence.

    `spans` are in words and in order, `scores` their probabilities; `tags` are tag indices, int64
    [words], and `tag_scores` their marginal probabilities, float64 [words]. If a `Search` asks for
    them, `probable` are the spans from the thresholds on, in order of their starts, which may
    overlap; and `readings` the best several sets of spans, each span with its own probability, and
    the probability of the whole, the best first.
    """

    spans: list[Span]
    scores: list[float]
    tags: NDArray[np.int64]
    tag_scores: NDArray[np.float64]
    probable: Sequence[Scored] = ()
    readings: Sequence[tuple[list[Scored], float]] = ()


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
        search: Search | None = None,
        hints: Mapping[int, Sequence[Hint]] | None = None,
    ) -> list[TaggedWords]:
        """Tag sentences of words: one result each, in order, independent of the others.

        `hints` are those of a sentence, by its position; see `teddy.model.network.conditional`.
        Readings pass over them.

        Raises ValueError for hints where the network does not take them: see `takes_hints`.
        """
        avoid_lost_threads()
        results: list[TaggedWords] = [_EMPTY] * len(sentences)
        if not hints:
            self._tag_into(results, sentences, {}, search)
        else:
            plain = [() if k in hints else each for k, each in enumerate(sentences)]
            hinted = [each if k in hints else () for k, each in enumerate(sentences)]
            self._tag_into(results, plain, {}, search)
            self._tag_into(results, hinted, hints, search)
        if self._words_until_trim < 0:
            self._words_until_trim = _WORDS_BETWEEN_TRIMS
            trim_malloc()
        return results

    def _tag_into(
        self,
        results: list[TaggedWords],
        sentences: Sequence[Sequence[str]],
        hints: Mapping[int, Sequence[Hint]],
        search: Search | None = None,
    ) -> None:
        """Tag the sentences that have words, which all have hints, or none has."""
        for batch in self.batches(sentences):
            own = [hints[position] for position in batch.members] if hints else None
            if search is not None:
                read = self._search(batch, own, search)
            elif own:
                outputs, _ = self._run_hinted(self._emissions(batch), batch, own)
                read = self._results(batch.lengths[: len(own)], outputs)
            else:
                read = self._read(batch)
            for position, result in zip(batch.members, read, strict=True):
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

    def lattice(self, batch: TaggingBatch) -> Lattice:
        """Run the network, and return all paths of tags over a batch."""
        network: Any = self.network
        with torch.inference_mode():
            return Lattice.of(network.crf, self._emissions(batch), batch.lengths)

    def _emissions(self, batch: TaggingBatch) -> Tensor:
        network: Any = self.network
        with torch.inference_mode():
            # A method of every network that was exported: `forward` calls it.
            emissions: Tensor = network._emissions(batch.vectors, batch.words, batch.lengths)
        return emissions

    @property
    def takes_hints(self) -> bool:
        """Whether the network says what it computes inside, which an ONNX graph does not."""
        return hasattr(self.network, "crf")

    def _run_hinted(
        self, emissions: Tensor, batch: TaggingBatch, hints: Sequence[Sequence[Hint]]
    ) -> tuple[tuple[Tensor, ...], Sums]:
        """Return what `run` does, under the hints of each member of a batch; and all sums."""
        if not self.takes_hints:
            raise ValueError("this network takes no hints")
        network: Any = self.network
        n_rows = len(batch.members)
        cooling = 1.0 / float(network.crf.temperature)
        chain = HintedChain(
            emissions[:n_rows].double().numpy() * cooling,
            batch.lengths[:n_rows].numpy(),
            Potentials.of(network.crf, cooling),
            hints,
            self.tag_set.labels,
        )
        tags = chain.best_path()
        *probabilities, sums = chain.posterior(tags)
        return tuple(map(torch.from_numpy, (tags, *probabilities))), sums

    def _read(self, batch: TaggingBatch) -> list[TaggedWords]:
        """Return one result for each member of a batch."""
        return self._results(batch.lengths[: len(batch.members)], self.run(batch))

    def _results(self, lengths: Tensor, outputs: tuple[Tensor, ...]) -> list[TaggedWords]:
        """Return one result for each of the first rows, of which these are the lengths."""
        tags, marginal, opening, closing = (each.numpy() for each in outputs)
        rows, starts, ends, labels = self.tag_set.decode_rows(tags)
        # exp of a sum of four rounded terms: the last digit may pass one. (And weights that are no
        # numbers score one.)
        scores = np.fmin(np.exp(opening[rows, starts] + closing[rows, ends - 1]), 1.0).tolist()
        spans = self._spans(starts, ends, labels)
        bounds = np.searchsorted(rows, np.arange(len(lengths) + 1)).tolist()
        return [
            TaggedWords(
                spans=spans[bounds[row] : bounds[row + 1]],
                scores=scores[bounds[row] : bounds[row + 1]],
                tags=tags[row, :length],
                tag_scores=marginal[row, :length],
            )
            for row, length in enumerate(lengths.tolist())
        ]

    def _spans(
        self, starts: NDArray[np.int64], ends: NDArray[np.int64], labels: NDArray[np.int64]
    ) -> list[Span]:
        names = self.tag_set.labels
        found = zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True)
        return [Span(start, end, names[label]) for start, end, label in found]

    def _search(
        self, batch: TaggingBatch, hints: Sequence[Sequence[Hint]] | None, search: Search
    ) -> list[TaggedWords]:
        """Return what `_read` does, and what `search` asks for; the network is run once."""
        network: Any = self.network
        with torch.inference_mode():
            emissions = self._emissions(batch)
            lattice = Lattice.of(network.crf, emissions, batch.lengths)
            if hints:
                outputs, sums = self._run_hinted(emissions, batch, hints)
            else:
                tags = network.crf.best_path(emissions, batch.lengths)
                outputs = tags, *network.crf.posterior(emissions, batch.lengths, tags)
                sums = Sums.of(lattice)
            results = self._results(batch.lengths[: len(batch.members)], outputs)
            if search.thresholds is not None:
                results = self._with_probable(sums, search.thresholds, results)
            if search.n_best:
                readings = self._readings(network.crf, lattice, emissions, search.n_best)
                results = [
                    replace(result, readings=each)
                    for result, each in zip(results, readings, strict=False)
                ]
        return results

    def _with_probable(
        self, sums: Sums, thresholds: Sequence[float], results: Sequence[TaggedWords]
    ) -> list[TaggedWords]:
        found = probable_spans(sums, np.array(thresholds))
        spans = self._spans(found.starts, found.ends, found.labels)
        scored = list(zip(spans, found.probabilities.tolist(), strict=True))
        bounds = np.searchsorted(found.rows, np.arange(len(results) + 1)).tolist()
        return [
            replace(result, probable=scored[bounds[row] : bounds[row + 1]])
            for row, result in enumerate(results)
        ]

    def _readings(
        self, field: Any, lattice: Lattice, emissions: Tensor, n: int
    ) -> list[list[tuple[list[Scored], float]]]:
        """Return the readings of each row."""
        paths, probabilities = best_paths(lattice, n)
        sums: list[dict[tuple[Span, ...], float]] = [{} for _ in paths]
        scored: list[dict[tuple[Span, ...], list[Scored]]] = [{} for _ in paths]
        for rank in range(n):
            tags = torch.from_numpy(paths[:, rank])
            outputs = (tags, *field.posterior(emissions, lattice.lengths, tags))
            found = self._results(lattice.lengths, outputs)
            for row, probability in enumerate(probabilities[:, rank].tolist()):
                if probability > 0:
                    # without a CRF, several paths may say the same
                    spans = tuple(found[row].spans)
                    sums[row][spans] = sums[row].get(spans, 0.0) + probability
                    own = zip(spans, found[row].scores, strict=True)
                    scored[row].setdefault(spans, list(own))
        return [
            sorted(
                ((scored[row][spans], sum_) for spans, sum_ in of_row.items()),
                key=lambda reading: -reading[1],
            )
            for row, of_row in enumerate(sums)
        ]


_EMPTY = TaggedWords(spans=[], scores=[], tags=np.zeros(0, dtype=np.int64), tag_scores=np.zeros(0))
