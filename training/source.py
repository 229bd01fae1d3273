"""Where the training batches of an epoch come from."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from training.align import Sentence
from training.corpora import Corpus
from training.sampler import plan_epoch


class Epoch(Protocol):
    """The batches of one epoch, the same whenever they are asked for."""

    def __len__(self) -> int:
        """How many batches there are."""
        ...

    def batches(self, first: int = 0) -> Iterator[list[Sentence]]:
        """Yield the batches from this one on, counted from 0, so that a stopped run can take up where it was."""
        ...


class Source(Protocol):
    """All epochs of a run: a pure function of the corpora, the recipe and the seed."""

    def epoch(self, number: int) -> Epoch:
        """The epoch of this number, counted from 0."""
        ...


class CorporaInMemory:
    """Sentences that are all in memory, each as often as the weight of its corpus says."""

    def __init__(self, corpora: Sequence[Corpus], batch_words: int, seed: int) -> None:
        """A batch holds at most `batch_words` words, padding included, or one sentence."""
        self._sentences = [sentence for corpus in corpora for sentence in corpus.train]
        self._weights = [corpus.weight for corpus in corpora for _ in corpus.train]
        self._lengths = [len(sentence.words) for sentence in self._sentences]
        self._batch_words = batch_words
        self._seed = seed

    def epoch(self, number: int) -> "EpochInMemory":
        """The epoch of this number, counted from 0."""
        plan = plan_epoch(self._lengths, self._weights, self._batch_words, self._seed, number)
        return EpochInMemory(self._sentences, plan)


class EpochInMemory:
    """An epoch as places in a list of sentences."""

    def __init__(self, sentences: Sequence[Sentence], plan: list[list[int]]) -> None:
        self._sentences = sentences
        self._plan = plan

    def __len__(self) -> int:
        """How many batches there are."""
        return len(self._plan)

    def batches(self, first: int = 0) -> Iterator[list[Sentence]]:
        """Yield the batches from this one on, counted from 0."""
        for members in self._plan[first:]:
            yield [self._sentences[i] for i in members]
