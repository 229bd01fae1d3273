"""Which training documents are dev instead, at even distances, and no more of them than memory should hold."""

from collections.abc import Iterable

from teddy.training.corpus.align import Sentence
from teddy.training.readers import Example

MOST_WORDS = 1_000_000
"""Of one corpus's held-out documents; as objects in memory they take 0.2 GB. Measuring on more would say no more."""


class Divider:
    """Holds out a share of the documents at even distances, so that the same files always divide in the same way."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._document: tuple[str, int] | None = None
        self._n_documents = 0
        self._is_held_out = False

    def holds_out(self, example: Example) -> bool:
        """Whether the example's document is held out; the examples of a document come one after another."""
        document = (example.path, example.document)
        if document != self._document:
            self._document = document
            before, self._n_documents = self._n_documents, self._n_documents + 1
            self._is_held_out = int(self._n_documents * self._share) > int(before * self._share)
        return self._is_held_out


class HeldOut:
    """Held-out documents; where they are too many, each second one is dropped, again and again, evenly as before."""

    def __init__(self, most_words: int = MOST_WORDS) -> None:
        self._most_words = most_words
        self._documents: list[list[Sentence]] = []
        self._last: tuple[str, int] | None = None
        self._n_documents = 0
        self._every = 1
        self._n_words = 0
        self.n_dropped = 0
        """Sentences that are neither learnt from nor measured on."""

    @property
    def sentences(self) -> list[Sentence]:
        """Those that are kept, in order."""
        return [sentence for document in self._documents for sentence in document]

    def add(self, example: Example, sentences: Iterable[Sentence]) -> None:
        """Adds the sentences of an example; the examples of a document come one after another."""
        document = (example.path, example.document)
        if document != self._last:
            self._last = document
            self._n_documents += 1
            if self._is_kept():
                self._documents.append([])
        kept = list(sentences)
        if not self._is_kept():
            self.n_dropped += len(kept)
            return
        self._documents[-1] += kept
        self._n_words += _count_words(kept)
        while self._n_words > self._most_words and len(self._documents) > 1:
            self._thin_out()

    def _is_kept(self) -> bool:
        return (self._n_documents - 1) % self._every == 0

    def _thin_out(self) -> None:
        dropped = self._documents[1::2]
        self._documents = self._documents[::2]
        self._every *= 2
        self.n_dropped += sum(map(len, dropped))
        self._n_words -= sum(map(_count_words, dropped))


def _count_words(sentences: Iterable[Sentence]) -> int:
    return sum(len(sentence.words) for sentence in sentences)
