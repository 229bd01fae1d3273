"""Rules made ready: every match of theirs in a text.

load_rules --> Rules --find--> Matches, which `teddy.model.rules.merging` merges
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, chain
from pathlib import Path

import numpy as np

from teddy.model.rules.config import ContextConfig, Use, log_odds
from teddy.model.rules.dictionary import Dictionary
from teddy.model.rules.merging import Match
from teddy.model.rules.patterns import Expressions
from teddy.model.rules.token_patterns import TokenPatterns
from teddy.model.tags.spans import Hint
from teddy.model.text.sentences import Offsets
from teddy.model.text.words import Text

Refine = Callable[[str, int, int], "tuple[int, int] | None"]
"""Check a match in a text: return its stretch, perhaps another one, or None for no match."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is said of a rule; `use` is None for what is never an entity.

    Attributes: `kind`, its table in the file; `labels` of its matches, or those that it forbids, or
    none for all; `n_entries`, the number of its names, None without names.
    """

    name: str
    kind: str
    use: Use | None
    labels: tuple[str, ...]
    n_entries: int | None = None
    score: float = 1.0
    min_score: float = 0.0
    context: tuple[ContextConfig, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The rules of a file, ready for texts whose words one tokeniser cuts. Safe in many threads.

    Attributes: `paths`, all files that were read; `version`, the beginning of the digest of all;
    `language`, of the words.
    """

    path: Path
    paths: tuple[Path, ...]
    version: str
    language: str
    rules: tuple[Rule, ...]
    dictionary: Dictionary
    tokens: TokenPatterns
    expressions: Expressions
    refine: Mapping[int, Refine]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the rules, by their numbers."""
        return tuple(rule.name for rule in self.rules)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """The labels of all matches."""
        return tuple(dict.fromkeys(label for r in self.rules if r.use for label in r.labels))

    @cached_property
    def hinted_labels(self) -> frozenset[str]:
        """The labels of the hints, which a model must have."""
        return frozenset(label for r in self.rules if r.use == "hint" for label in r.labels)

    def find(self, text: Text, offsets: Offsets, words: Sequence[str]) -> list[Match]:
        """Return all matches in a text, in any order, also those that overlap.

        `offsets` are those of its words, and `words` what is read of each. In a text that is given
        as words, a match is widened to the words that it touches.
        """
        if not words:
            return []
        near = _Near(words)
        matches: list[Match] = []
        for found in chain(self.dictionary.find(words), self.tokens.find(words)):
            place = offsets.starts[found.start], offsets.ends[found.end - 1]
            within = found.start, found.end
            matches += self._matches(near, found.rule, place, within, True, found.label, found.id)
        for rule, place, within, whole in self._stretches(text, offsets):
            matches += self._matches(near, rule, place, within, whole)
        return matches

    def _stretches(
        self, text: Text, offsets: Offsets
    ) -> Iterator[tuple[int, tuple[int, int], tuple[int, int], bool]]:
        """Yield rule, stretch, words and whether they agree, of each match of an expression."""
        if isinstance(text, str):
            whole_text, starts, ends = text, offsets.starts, offsets.ends
        else:
            whole_text = " ".join(text)
            ends = [*accumulate(len(word) + 1 for word in text)]
            ends = [end - 1 for end in ends]
            starts = [end - len(word) for end, word in zip(ends, text, strict=True)]
        for rule, start, end in self.expressions.find(whole_text):
            refine = self.refine.get(rule)
            place = refine(whole_text, start, end) if refine else (start, end)
            if place is None:
                continue
            first, last = bisect_right(ends, place[0]), bisect_left(starts, place[1])
            if first < last:
                whole = (starts[first], ends[last - 1]) == place
                yield rule, place if text is whole_text else (first, last), (first, last), whole

    def _matches(
        self,
        near: "_Near",
        number: int,
        place: tuple[int, int],
        words: tuple[int, int],
        whole: bool,
        label: str = "",
        entry_id: str = "",
    ) -> Iterator[Match]:
        rule = self.rules[number]
        score = near.score(rule, *words) if rule.context else rule.score
        if rule.use is None:
            for forbidden in rule.labels or ("",):
                yield Match(*place, words, whole, number, None, forbidden, 1.0)
        elif score >= rule.min_score and score > 0:
            label = label or rule.labels[0]
            yield Match(*place, words, whole, number, rule.use, label, score, entry_id)

    def hints(self, matches: Sequence[Match], labels: Sequence[str]) -> list[Hint]:
        """Return what a model with these labels is to be told, in order: hints, and never."""
        hints: list[Hint] = []
        for each in matches:
            if not each.whole:  # no span of words, which alone the model knows
                continue
            if each.use == "hint" and each.label in labels:
                hints.append(Hint(*each.words, each.label, log_odds(each.score)))
            elif each.use is None:
                forbidden = labels if not each.label else (each.label,)
                hints += (Hint(*each.words, k, -np.inf) for k in forbidden if k in labels)
        return sorted(hints, key=lambda hint: hint.start)


class _Near:
    """The words of a text, in small letters, to look for context in."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words

    @cached_property
    def _small(self) -> list[str]:
        return [word.casefold() for word in self._words]

    def score(self, rule: Rule, first: int, last: int) -> float:
        """Return the score of a match on the words `[first, last)`."""
        for context in rule.context:
            before = self._small[max(0, first - context.within) : first]
            after = self._small[last : last + context.within]
            said = f" {' '.join(before)} \n {' '.join(after)} "
            if any(f" {word} " in said for word in context.words):
                return context.score
        return rule.score
