"""Which sentences a tagger must not have seen before it is asked about them."""

from collections import Counter
from collections.abc import Sequence

from teddy.training.corpus.align import Sentence
from teddy.training.seed import generator

_LARGEST_SHARE = 0.5
"""A document of more than this share of a fold is divided by sentences: a file may be one document."""


def divide(sentences: Sequence[Sentence], folds: int, seed: int) -> list[int]:
    """Give each sentence the number of its fold, 0 to `folds` - 1; a pure function of its arguments.

    Sentences of the same words go together, since a tagger that has learnt the one repeats the annotation of the
    other. So do the sentences of a document, where it is small enough. Folds are as even, in words, as that allows.
    """
    groups = _groups(sentences, folds)
    members: dict[int, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    order = list(members)
    generator(seed, folds).shuffle(order)
    fold_of = [0] * len(sentences)
    words_in = [0] * folds
    for group in order:
        smallest = min(range(folds), key=words_in.__getitem__)
        for position in members[group]:
            fold_of[position] = smallest
            words_in[smallest] += len(sentences[position].words)
    return fold_of


def _groups(sentences: Sequence[Sentence], folds: int) -> list[int]:
    """Number the groups of sentences that must stay together: union-find over documents and equal words."""
    parents = list(range(len(sentences)))

    def root(position: int) -> int:
        while parents[position] != position:
            parents[position] = parents[parents[position]]
            position = parents[position]
        return position

    sizes = Counter((sentence.path, sentence.line) for sentence in sentences)
    most = _LARGEST_SHARE * len(sentences) / folds
    first: dict[object, int] = {}
    for position, sentence in enumerate(sentences):
        document = (sentence.path, sentence.line)
        keys: list[object] = [sentence.words]
        if 1 < sizes[document] <= most:
            keys.append(document)
        for key in keys:
            parents[root(position)] = root(first.setdefault(key, position))
    return [root(position) for position in range(len(sentences))]
