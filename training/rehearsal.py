"""Old data beside the new: how much of each epoch is rehearsal (Robins 1995)."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from teddy.training.corpus.corpora import Corpus


def rehearsed(corpora: Sequence[Corpus], old: Collection[str], share: float) -> list[Corpus]:
    """The corpora, with the old ones (by name) weighed so that they have this share of the words of an epoch.

    They are never weighed more than they were: an old corpus that is small would be learnt by heart.
    """
    old_words = sum(_words(corpus) for corpus in corpora if corpus.name in old)
    new_words = sum(_words(corpus) for corpus in corpora if corpus.name not in old)
    if not old_words or not new_words:
        return list(corpora)
    factor = min(1.0, share / (1.0 - share) * new_words / old_words)
    return [replace(each, weight=each.weight * factor) if each.name in old else each for each in corpora]


def _words(corpus: Corpus) -> float:
    return corpus.weight * corpus.n_train_words
