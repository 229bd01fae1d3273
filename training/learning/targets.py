"""Which tags each word of a training sentence may have.

A corpus that does not annotate a label says nothing about it: its unlabelled words may be outside
any entity *or* in an entity of that label, and the CRF's loss sums over both. That is how corpora
with different label sets train one model without teaching each other's entities away (compare Jie
et al. 2019 and Greenberg et al. 2018).
"""

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import Sentence


class Targets:
    """Makes the sets of allowed tags for sentences of one corpus."""

    def __init__(self, tag_set: TagSet, annotates: Iterable[str]) -> None:
        annotated = frozenset(annotates)
        self._tag_set = tag_set
        # What a word without annotation may be: outside, or anything that this corpus does not
        # speak of.
        self._unlabelled = np.array(
            [
                (label := tag_set.label_of(tag)) is None or label not in annotated
                for tag in range(len(tag_set.tags))
            ]
        )

    def allowed(self, sentence: Sentence) -> NDArray[np.bool_]:
        """Bool [words, tags]."""
        n_words = len(sentence.words)
        tags = self._tag_set.encode(sentence.spans, n_words)
        allowed = np.tile(self._unlabelled, (n_words, 1))
        for span in sentence.spans:
            inside = slice(span.start, span.end)
            allowed[inside] = False
            allowed[range(span.start, span.end), tags[inside]] = True
        for start, end in sentence.unknown:
            allowed[start:end] = True
        return allowed


def pad_targets(allowed: Sequence[NDArray[np.bool_]]) -> Tensor:
    """Stacks sets of tags to bool [B, T, K]; at padding every tag is allowed."""
    longest = max(len(each) for each in allowed)
    padded = np.ones((len(allowed), longest, allowed[0].shape[1]), dtype=np.bool_)
    for row, each in enumerate(allowed):
        padded[row, : len(each)] = each
    return torch.from_numpy(padded)
