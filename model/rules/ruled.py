"""Texts under rules: what `teddy.model.text.documents` does, with the matches of the rules."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teddy.model.errors import RulesError
from teddy.model.rules.merging import Match, Merged, merge
from teddy.model.rules.rules import Rules
from teddy.model.tagger import TaggedWords
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.documents import Document, Entities, Entity, Tagged, assemble, prepare
from teddy.model.text.words import Text


@dataclass(frozen=True, slots=True)
class RuledDocument(Document):
    """A text ready for the network, and the matches of the rules in it."""

    matches: Sequence[Match] = ()


class RuledTagged(Tagged):
    """What was found in a text by the model, and what the rules made of it."""

    def __init__(self, text: Text, read: Tagged, merged: Merged, tag_set: TagSet, rules: Rules):
        super().__init__(
            Entities(text, merged.entities),
            read.offsets,
            *read.tag_arrays,
            tag_set.tags,
            read.sentences,
        )
        # a frozen dataclass, whose fields are set once
        vars(self).update(_read=read, _merged=merged, _tag_set=tag_set, _names=rules.names)

    _read: Tagged
    _merged: Merged
    _tag_set: TagSet
    _names: Sequence[str]

    @property
    def tag_arrays(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """See `Tagged.tag_arrays`."""
        return self._retagged

    @cached_property
    def _retagged(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Made on first use: few callers want the tags."""
        return _retag(self._read, self._merged, self._tag_set)

    @property
    def model_entities(self) -> list[Entity]:
        """See `Tagged.model_entities`."""
        return self._read.entities

    @property
    def used_rules(self) -> Sequence[str]:
        """See `Tagged.used_rules`."""
        return [self._names[each.rule] for each in self._merged.used]


def check_hints(rules: Rules, labels: Sequence[str], *, taken: bool) -> None:
    """Raise RulesError for hints that a model cannot take: at other labels, or at any."""
    if foreign := sorted(rules.hinted_labels.difference(labels)):
        reason = f"hints at {foreign[0]}, but the model's labels are {', '.join(labels) or 'none'}"
        raise RulesError(rules.path, None, reason)
    if rules.hinted_labels and not taken:
        raise RulesError(rules.path, None, "hints need a .teddy file, not an ONNX file")


def ruled_steps(
    rules: Rules, hinted: Sequence[str], labels: Sequence[str], cut: Mapping[str, Any]
) -> tuple[partial[Document], partial[Tagged]]:
    """Return `prepare` and `assemble` under rules.

    The model is hinted at labels in `hinted`; `labels` are those of all entities, and `cut` the
    options of `prepare`.
    """
    # mypy tells a partial of a narrower result from one of a wider
    prepared: Any = partial(prepare_ruled, rules=rules, labels=hinted, **cut)
    return prepared, partial(assemble_ruled, tag_set=TagSet(tuple(labels)), rules=rules)


def prepare_ruled(text: Text, *, rules: Rules, labels: Sequence[str], **cut: Any) -> Document:
    """Cut a text as `prepare`, and find the matches of rules; the model has these `labels`.

    The document's windows get the hints. Raises as `prepare`.
    """
    document = prepare(text, **cut)
    windows = document.windows
    matches = rules.find(text, document.offsets, windows.words)
    windows.hints = rules.hints(matches, labels)
    return RuledDocument(text, document.offsets, windows, matches)


def assemble_ruled(
    document: Document, outputs: Iterable[TaggedWords], tag_set: TagSet, rules: Rules
) -> Tagged:
    """Put results together as `assemble`, and merge them with the matches of the rules.

    `tag_set` has the model's labels and, behind them, those of the rules.
    """
    return apply_rules(document, assemble(document, outputs, tag_set.tags), tag_set, rules)


def apply_rules(document: Document, tagged: Tagged, tag_set: TagSet, rules: Rules) -> Tagged:
    """Merge what the model found in a document with the matches of the rules."""
    matches = document.matches if isinstance(document, RuledDocument) else ()
    merged = merge(tagged.entities, matches, rules.names, document.quote)
    return RuledTagged(document.text, tagged, merged, tag_set, rules)


def _retag(
    tagged: Tagged, merged: Merged, tag_set: TagSet
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the tags of the words as the entities have them now.

    A word that a match touches has its tag, and its score; one of an entity that was dropped has
    `O`, and what its own tag leaves.
    """
    own = [each for each in merged.used if each.use != "hint"]
    tags, scores = tagged.tag_arrays
    if not own and not merged.dropped:
        return tags, scores
    tags, scores = tags.copy(), scores.copy()
    starts, ends = tagged.offsets
    for entity in merged.dropped:
        words = slice(bisect_right(ends, entity.start), bisect_left(starts, entity.end))
        tags[words], scores[words] = 0, 1.0 - scores[words]
    for match in sorted(own, key=lambda each: each.start, reverse=True):
        first, last = match.words
        b, i, e, s = (tag_set.index(f"{prefix}-{match.label}") for prefix in "BIES")
        tags[first:last] = [s] if last - first == 1 else [b, *[i] * (last - first - 2), e]
        scores[first:last] = match.score
    return tags, scores
