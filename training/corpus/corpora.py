"""The corpora of a recipe: read, relabelled, aligned to words, and divided into train and dev."""

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.spans import Span
from teddy.training.config import Recipe
from teddy.training.config_errors import suggest
from teddy.training.corpus.align import OnMisaligned, Sentence, align
from teddy.training.corpus.config import OUTSIDE, CorpusConfig
from teddy.training.corpus.held_out import Divider, HeldOut
from teddy.training.corpus.store import StoredSentences
from teddy.training.readers import Example, read_examples
from teddy.training.readers.files import find_files


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One corpus, ready to train on and to evaluate on."""

    name: str
    licence: str
    source: str
    annotates: frozenset[str]
    """Labels whose absence means something. An unmarked word may have any of the others."""
    weight: float
    train: Sequence[Sentence]
    """In memory, or on disk (see `teddy.training.corpus.stored`): to be read from first to last."""
    dev: list[Sentence]
    """Always in memory."""
    n_dropped: int = 0
    """Held-out sentences that are too many to be dev; see `teddy.training.corpus.held_out`."""

    @property
    def n_train_words(self) -> int:
        """The words of all training sentences."""
        if isinstance(self.train, StoredSentences):
            return self.train.n_words
        return sum(len(sentence.words) for sentence in self.train)


def load_corpora(recipe: Recipe, data: Path | str, *, on_misaligned: OnMisaligned) -> list[Corpus]:
    """Read all corpora of a recipe; `data` is the directory that its file names are relative to.

    `on_misaligned` is called for each gold span that words cannot express (see `teddy.training.corpus.align`).
    Raises DataError, naming file and line, for anything that cannot be read, and for a label that the recipe neither
    has nor maps.
    """
    return [load_corpus(corpus, recipe.labels, Path(data), on_misaligned=on_misaligned) for corpus in recipe.corpus]


def load_corpus(config: CorpusConfig, labels: Sequence[str], data: Path, *, on_misaligned: OnMisaligned) -> Corpus:
    """Read one corpus; see `load_corpora`."""
    train: list[Sentence] = []
    held_out = read_corpus(config, labels, data, train.append, on_misaligned)
    return make_corpus(config, labels, train, held_out.sentences, held_out.n_dropped)


def read_corpus(
    config: CorpusConfig,
    labels: Sequence[str],
    data: Path,
    keep: Callable[[Sentence], None],
    on_misaligned: OnMisaligned,
) -> HeldOut:
    """Read one corpus as a stream: `keep` is given each training sentence, what is returned has those of dev.

    Raises DataError as `load_corpora` does.
    """
    held_out = HeldOut()
    divider = Divider(config.holdout)
    for example in _examples(config.train, config, labels, data):
        sentences = align(example, config.name, on_misaligned)
        if divider.holds_out(example):
            held_out.add(example, sentences)
        else:
            for sentence in sentences:
                keep(sentence)
    dev = HeldOut(most_words=sys.maxsize)
    for example in _examples(config.dev, config, labels, data):
        dev.add(example, align(example, config.name, on_misaligned))
    return dev if config.dev else held_out


def make_corpus(
    config: CorpusConfig, labels: Sequence[str], train: Sequence[Sentence], dev: list[Sentence], n_dropped: int
) -> Corpus:
    """The sentences of a corpus with what its table says of them."""
    return Corpus(
        name=config.name,
        licence=config.licence,
        source=config.source,
        annotates=config.annotated(labels),
        weight=config.weight,
        train=train,
        dev=dev,
        n_dropped=n_dropped,
    )


def relabel(example: Example, config: CorpusConfig, labels: Sequence[str]) -> Example:
    """Return the example with the labels of the recipe, without the spans that `map` says are none.

    Raises DataError, naming the line, for a label that is neither mapped nor one of `labels`.
    """
    spans: list[Span] = []
    lines: list[int] = []
    for span, line in zip(example.spans, example.span_lines, strict=True):
        target = _target(span.label, example.text[span.start : span.end], config, labels)
        if target is None:
            raise DataError(example.path, line, _unknown_label(span.label, config, labels))
        if target != OUTSIDE:
            spans.append(Span(span.start, span.end, target))
            lines.append(line)
    return replace(example, spans=tuple(spans), span_lines=tuple(lines))


def _examples(patterns: Sequence[str], config: CorpusConfig, labels: Sequence[str], data: Path) -> Iterator[Example]:
    for path in find_files(patterns, data):
        for example in read_examples(path, config):
            yield relabel(example, config, labels)


def _target(label: str, text: str, config: CorpusConfig, labels: Sequence[str]) -> str | None:
    """Return what the recipe makes of a span: by its rules, else its map, else its labels; None if by none."""
    for rule in config.rules:
        if rule.label == label and re.fullmatch(rule.text, text):
            return rule.to
    return config.map.get(label, label if label in labels else None)


def _unknown_label(label: str, config: CorpusConfig, labels: Sequence[str]) -> str:
    hint = suggest(label, labels)
    return f"label {label!r} is neither in labels nor in the map of corpus {config.name!r}{hint}"
