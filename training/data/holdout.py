"""Which documents of a corpus are held out as dev: at even distances, or by their labels."""

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from zlib import crc32

from teddy.training.data.align import Sentence
from teddy.training.data.readers import Example
from teddy.training.recipe.corpus_config import UNKNOWN, CorpusConfig

MOST_WORDS = 1_000_000
"""Of one corpus's held-out documents; as objects in memory they take 0.2 GB. Measuring on more
would say no more."""


class Divider:
    """Holds out a share of the documents: those chosen, else those at even distances.

    The same documents and share, the same division.
    """

    def __init__(self, share: float, chosen: Container[int] | None = None) -> None:
        self._share, self._chosen = share, chosen
        self._document: tuple[str, int] | None = None
        self._n_documents = 0
        self._is_held_out = False

    @classmethod
    def of(cls, config: CorpusConfig, examples: Callable[[], Iterable[Example]]) -> "Divider":
        """Return the divider that the table of a corpus asks for.

        Only a balanced one reads `examples`, all those that will be divided.
        """
        if not (config.holdout and config.balanced):
            return cls(config.holdout)
        return cls(config.holdout, balanced(_label_counts(examples()), config.holdout))

    def holds_out(self, example: Example) -> bool:
        """Return whether the example's document is held out; documents are contiguous."""
        document = (example.path, example.document)
        if document != self._document:
            self._document = document
            place, self._n_documents = self._n_documents, self._n_documents + 1
            if self._chosen is None:
                self._is_held_out = _is_due(place, self._share)
            else:
                self._is_held_out = place in self._chosen
        return self._is_held_out


def _is_due(place: int, share: float) -> bool:
    """Whether one more item is taken at this place, so that a share is, at even distances."""
    return int((place + 1) * share) > int(place * share)


def _label_counts(examples: Iterable[Example]) -> list[tuple[int, frozenset[str]]]:
    """Return for each document a digest of its text, and the labels in it."""
    documents: list[tuple[int, frozenset[str]]] = []
    last: tuple[str, int] | None = None
    for example in examples:
        document, text = (example.path, example.document), " ".join(example.text.casefold().split())
        labels = frozenset(span.label for span in example.spans) - {UNKNOWN}
        digest = crc32(text.encode("utf-8", "surrogatepass"))
        if document == last:
            before, others = documents[-1]
            documents[-1] = (hash((before, digest)), others | labels)
        else:
            documents.append((digest, labels))
        last = document
    return documents


def balanced(documents: Sequence[tuple[int, frozenset[str]]], share: float) -> set[int]:
    """Return the places of the documents to hold out, given a digest and the labels of each.

    Documents of one text stay together. Labels are dealt with from the rarest: of those of its
    texts that are not divided yet, as many are held out, at even distances, as bring it to its
    share, at least one and not all. So a label of two texts or more is on both sides, unless its
    texts are tied to other labels (iterative stratification, after Sechidis et al. 2011). Texts
    without a label come last.
    """
    groups: dict[int, list[int]] = {}
    for place, (digest, _) in enumerate(documents):
        groups.setdefault(digest, []).append(place)
    texts = [
        frozenset().union(*(documents[place][1] for place in each)) for each in groups.values()
    ]
    having: dict[str, list[int]] = {}
    for text, labels in enumerate(texts):
        for label in labels or [""]:
            having.setdefault(label, []).append(text)
    is_out: dict[int, bool] = {}
    for label in sorted(having, key=lambda label: (not label, len(having[label]), label)):
        _divide(having[label], share, is_out, is_label=bool(label))
    _mend(having, texts, is_out)
    if len(texts) > 1 and not any(is_out.values()):
        is_out[having.get("", range(len(texts)))[-1]] = True
    chosen = (places for text, places in enumerate(groups.values()) if is_out[text])
    return {place for places in chosen for place in places}


def _divide(texts: Sequence[int], share: float, is_out: dict[int, bool], *, is_label: bool) -> None:
    """Divide those texts of a label that are not divided yet."""
    free = [text for text in texts if text not in is_out]
    n_out = sum(is_out.get(text, False) for text in texts)
    wanted = round(len(texts) * share)
    if is_label:
        wanted = min(max(1, wanted), len(texts) - 1)
    n_wanted = min(max(0, wanted - n_out), len(free))
    # The middle of each of as many equal stretches.
    taken = {int((2 * number + 1) * len(free) / (2 * n_wanted)) for number in range(n_wanted)}
    is_out.update((text, place in taken) for place, text in enumerate(free))


def _mend(
    having: Mapping[str, Sequence[int]], texts: Sequence[frozenset[str]], is_out: dict[int, bool]
) -> None:
    """Move texts to the other side, one by one, as long as fewer labels lack a side by that."""

    def lacking(labels: Iterable[str]) -> list[str]:
        """Return the labels that cannot be learnt, or not be measured although they could."""
        sides = {label: {is_out[text] for text in having[label]} for label in labels}
        return [
            label
            for label, each in sides.items()
            if each != ({False} if len(having[label]) == 1 else {False, True})
        ]

    def move_one() -> bool:
        for text in [each for label in lacking(having) if label for each in having[label]]:
            before = len(lacking(texts[text]))
            is_out[text] = not is_out[text]
            if len(lacking(texts[text])) < before:
                return True
            is_out[text] = not is_out[text]
        return False

    while move_one():
        pass


class HeldOut:
    """Held-out documents; while there are too many, every second one is dropped."""

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
        """Add the sentences of an example; the examples of a document come one after another."""
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
            dropped = self._documents[1::2]
            self._documents = self._documents[::2]
            self._every *= 2
            self.n_dropped += sum(map(len, dropped))
            self._n_words -= sum(map(_count_words, dropped))

    def _is_kept(self) -> bool:
        return (self._n_documents - 1) % self._every == 0


def _count_words(sentences: Iterable[Sentence]) -> int:
    return sum(len(sentence.words) for sentence in sentences)
