"""Rules: spans get the labels and the borders of the recipe, and each rule's changes are counted.

A rule of a corpus sees the labels of its files, a rule of the recipe those of the recipe. Borders
only move inwards, so that a span is always a stretch of the example's text.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from teddy.model.errors import DataError, UnknownLabelError
from teddy.model.file.bundle import AppliedRule
from teddy.model.system.toml import suggest
from teddy.model.tags.spans import Span
from teddy.training.data.readers import Example
from teddy.training.recipe.corpus_config import OUTSIDE, UNKNOWN, CorpusConfig, RuleConfig

_MOST_LABELS_TOLD = 20


@dataclass(frozen=True, slots=True)
class Rules:
    """The `map` of a corpus, its rules, and those of the recipe."""

    config: CorpusConfig
    labels: Sequence[str]
    """Of the recipe."""
    shared: Sequence[RuleConfig] = ()
    """The rules of the recipe, which come after those of the corpus."""

    def apply(self, example: Example) -> tuple[Example, Counter[int]]:
        """Return the example in the convention of the recipe, and how often each rule changed it.

        Rules are counted by their number: those of the corpus first, then those of the recipe.
        Spans that are no entities are left out; those that a reader knows nothing of stay.

        Raises UnknownLabelError for a label that is neither mapped nor one of `labels`.
        """
        own = [*enumerate(self.config.rules)]
        shared = [*enumerate(self.shared, start=len(own))]
        applied: Counter[int] = Counter()
        found: list[tuple[Span, int]] = []
        for span, line in zip(example.spans, example.span_lines, strict=True):
            if span.label == UNKNOWN:
                found.append((span, line))
                continue
            ruled, is_decided = _ruled(span, example.text, own, applied)
            if not is_decided:
                ruled = Span(ruled.start, ruled.end, self._mapped(ruled.label, example.path, line))
            if ruled.label != OUTSIDE:
                ruled, _ = _ruled(ruled, example.text, shared, applied)
            if ruled.label != OUTSIDE:
                found.append((ruled, line))
        added = _found_outside(example.text, [span for span, _ in found], own + shared, applied)
        found += [(span, example.line) for span in added]
        spans, lines = tuple(span for span, _ in found), tuple(line for _, line in found)
        return replace(example, spans=spans, span_lines=lines), applied

    def with_other_labels(
        self, error: UnknownLabelError, rest: Iterable[Example]
    ) -> UnknownLabelError:
        """Return the error of a label that is unknown with all others that come behind it.

        So all are mended at once, not one in each run. What cannot be read comes later.
        """
        ruled = (label for rule in self.config.rules for label in rule.labels)
        known = {UNKNOWN, *self.labels, *self.config.map, *ruled}
        unknown: dict[str, None] = {}
        with suppress(DataError):
            for each in rest:
                unknown.update(dict.fromkeys(s.label for s in each.spans if s.label not in known))
        # The first has been told.
        others = [label for label in unknown if f"label {label!r} " not in error.reason]
        if not others:
            return error
        shown = ", ".join(map(repr, others[:_MOST_LABELS_TOLD]))
        more = f" and {len(others) - _MOST_LABELS_TOLD:,} more" * (len(others) > _MOST_LABELS_TOLD)
        reason = f"{error.reason}; nor are {shown}{more}"
        return UnknownLabelError(error.path, error.line, reason)

    def counts(self, train: Counter[int], dev: Counter[int]) -> tuple[AppliedRule, ...]:
        """Return the counts of `apply`, summed over train and over dev, in the order of rules."""
        return tuple(
            AppliedRule(
                corpus=self.config.name, rule=str(rule), n_train=train[number], n_dev=dev[number]
            )
            for number, rule in enumerate((*self.config.rules, *self.shared))
        )

    def _mapped(self, label: str, path: str, line: int) -> str:
        target = self.config.map.get(label, label if label in self.labels else None)
        if target is None:
            neither = f"neither in labels nor in the map of corpus {self.config.name!r}"
            reason = f"label {label!r} is {neither}{suggest(label, self.labels)}"
            raise UnknownLabelError(path, line, reason)
        return target


def _ruled(
    span: Span, text: str, rules: Iterable[tuple[int, RuleConfig]], applied: Counter[int]
) -> tuple[Span, bool]:
    """Return the span after the rules, and whether one of them has decided its label."""
    for number, rule in rules:
        is_meant = span.label in rule.labels and (
            not rule.text or re.fullmatch(rule.text, text[span.start : span.end])
        )
        if is_meant and rule.to:
            applied[number] += 1
            return Span(span.start, span.end, rule.to), True
        if is_meant and (trimmed := _trimmed(span, text, rule)) != span:
            applied[number] += 1
            span = trimmed
    return span, False


def _trimmed(span: Span, text: str, rule: RuleConfig) -> Span:
    """Return what a rule leaves of a span; all of it where it would leave nothing."""
    surface = text[span.start : span.end]
    start, end = 0, len(surface)
    if rule.trim_start and (match := re.match(rule.trim_start, surface)) and match.end():
        start = end - len(surface[match.end() :].lstrip())
    if rule.trim_end and (match := re.search(rf"(?:{rule.trim_end})\Z", surface)):
        end = len(surface[: match.start()].rstrip()) if match.start() < end else end
    return Span(span.start + start, span.start + end, span.label) if start < end else span


def _found_outside(
    text: str,
    spans: Sequence[Span],
    rules: Iterable[tuple[int, RuleConfig]],
    applied: Counter[int],
) -> Iterator[Span]:
    """Yield what rules for `O` find in no span, and in nothing that was found before."""
    taken = bytearray(len(text))
    for span in spans:
        taken[span.start : span.end] = b"\1" * (span.end - span.start)
    for number, rule in rules:
        if OUTSIDE not in rule.labels or rule.to == OUTSIDE:
            continue
        for match in re.finditer(rule.text, text):
            start, end = match.span()
            if start < end and 1 not in taken[start:end]:
                taken[start:end] = b"\1" * (end - start)
                applied[number] += 1
                yield Span(start, end, rule.to)
