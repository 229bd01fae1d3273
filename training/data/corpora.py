"""The corpora of a recipe: read, relabelled, aligned to words, split into train and dev.

For a run they are read as a stream. While they have fewer words than a window for shuffling they
stay in memory, packed; a larger collection is written to a folder of the run (see
`teddy.training.data.store`) and is not read from its files again when the run is resumed, as long
as the files and the recipe are the same. Dev is always in memory.
"""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from teddy.model.errors import UnknownLabelError
from teddy.model.file.bundle import AppliedRule
from teddy.model.system.files import atomic_folder, remove_abandoned_folder
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import MisalignedReport, OnMisaligned, Sentence, align
from teddy.training.data.fitting import SpanFitter
from teddy.training.data.holdout import Divider, HeldOut
from teddy.training.data.readers import Example
from teddy.training.data.readers.files import files_within, find_files
from teddy.training.data.rules import Rules
from teddy.training.data.store import Blocks, BlockWriter, StoredSentences, describe, open_blocks
from teddy.training.recipe.corpus_config import CorpusConfig, RuleConfig
from teddy.training.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One corpus, ready to train on and to evaluate on."""

    name: str
    licence: str = "not stated"
    source: str = ""
    annotates: frozenset[str]
    """Labels whose absence means something. An unmarked word may have any of the others."""
    weight: float = 1.0
    train: Sequence[Sentence]
    """In memory, or on disk (see `open_corpora`): to be read from first to last."""
    dev: list[Sentence] = field(default_factory=list)
    """Always in memory."""
    n_dropped: int = 0
    """Held-out sentences that are too many to be dev; see `HeldOut`."""
    rules: tuple[AppliedRule, ...] = ()
    """The rules of the corpus and of the recipe, and how many spans each has changed."""

    @property
    def n_train_words(self) -> int:
        """The words of all training sentences."""
        if isinstance(self.train, StoredSentences):
            return self.train.n_words
        return sum(len(sentence.words) for sentence in self.train)


def load_corpora(
    recipe: Recipe,
    data: Path | str,
    tokeniser: Tokeniser | None = None,
    *,
    on_misaligned: OnMisaligned = lambda _: None,
) -> list[Corpus]:
    """Read all corpora of a recipe; `data` is the directory that its file names are relative to.

    A `tokeniser` is for a model that was not trained by the recipe.

    `on_misaligned` is called for each gold span that words cannot express (see
    `teddy.training.data.align`). Raises DataError, naming file and line, for anything that cannot
    be read, and for a label that the recipe neither has nor maps.
    """
    tokeniser = tokeniser or recipe.tokeniser
    return [
        load_corpus(
            corpus,
            recipe.labels,
            Path(data),
            tokeniser,
            shared=recipe.rules,
            on_misaligned=on_misaligned,
        )
        for corpus in recipe.corpus
    ]


def load_corpus(
    config: CorpusConfig,
    labels: Sequence[str],
    data: Path,
    tokeniser: Tokeniser,
    *,
    shared: Sequence[RuleConfig] = (),
    on_misaligned: OnMisaligned = lambda _: None,
) -> Corpus:
    """Read one corpus, with the recipe's `shared` rules; see `load_corpora`."""
    train: list[Sentence] = []
    rules = Rules(config, labels, shared)
    held_out, applied = read_corpus(rules, data, tokeniser, train.append, on_misaligned)
    return make_corpus(config, labels, train, held_out.sentences, held_out.n_dropped, applied)


def read_corpus(
    rules: Rules,
    data: Path,
    tokeniser: Tokeniser,
    keep: Callable[[Sentence], None],
    on_misaligned: OnMisaligned,
) -> tuple[HeldOut, tuple[AppliedRule, ...]]:
    """Read one corpus as a stream: `keep` takes each training sentence, the result has dev.

    The result also has the counts of the rules. Raises DataError as `load_corpora` does.
    """
    config = rules.config
    in_train: Counter[int] = Counter()
    in_dev: Counter[int] = Counter()
    held_out = HeldOut()
    unseen = SpanFitter(config, tokeniser, lambda _: None)
    divider = Divider.of(
        config, lambda: (each for each, _ in _relabelled(config.train, rules, data, unseen))
    )
    fitter = SpanFitter(config, tokeniser, on_misaligned)
    align_here = partial(
        align,
        corpus=config.name,
        tokeniser=tokeniser,
        on_misaligned=fitter.add,
        sentences=config.sentences,
    )
    for example, applied in _relabelled(config.train, rules, data, fitter):
        sentences = align_here(example)
        if divider.holds_out(example):
            in_dev += applied
            held_out.add(example, sentences)
        else:
            in_train += applied
            for sentence in sentences:
                keep(sentence)
    dev = HeldOut(most_words=sys.maxsize)
    for example, applied in _relabelled(config.dev, rules, data, fitter):
        in_dev += applied
        dev.add(example, align_here(example))
    fitter.check()
    return dev if config.dev else held_out, rules.counts(in_train, in_dev)


def make_corpus(
    config: CorpusConfig,
    labels: Sequence[str],
    train: Sequence[Sentence],
    dev: list[Sentence],
    n_dropped: int,
    rules: tuple[AppliedRule, ...] = (),
) -> Corpus:
    """Return the sentences of a corpus with what its table says of them."""
    return Corpus(
        name=config.name,
        licence=config.licence,
        source=config.source,
        annotates=config.annotated(labels),
        weight=config.weight,
        train=train,
        dev=dev,
        n_dropped=n_dropped,
        rules=rules,
    )


def _relabelled(
    patterns: Sequence[str], rules: Rules, data: Path, fitter: SpanFitter
) -> Iterator[tuple[Example, Counter[int]]]:
    examples = (example for path in find_files(patterns, data) for example in fitter.read(path))
    for example in examples:
        try:
            relabelled = rules.apply(example)
        except UnknownLabelError as error:
            raise rules.with_other_labels(error, chain((example,), examples)) from None
        yield relabelled


def open_corpora(recipe: Recipe, data: Path, folder: Path) -> tuple[list[Corpus], MisalignedReport]:
    """Read all corpora of a recipe, or open those stored in `folder`, and the misaligned spans.

    `folder` is there afterwards if the corpora have more words than
    `training.shuffle_window_words`, and must stay until they are not needed any more. Raises
    DataError as `load_corpora` does.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    made_from = _made_from(recipe, data)
    remove_abandoned_folder(folder)
    if describe(folder).get("made_from") != made_from:
        shutil.rmtree(folder, ignore_errors=True)
        in_memory = _read(recipe, data, folder, made_from)
        if in_memory is not None:
            return in_memory
    blocks, description = open_blocks(folder), describe(folder)
    dev = [
        [*StoredSentences(blocks, part, config.name)]
        for part, config in enumerate(recipe.corpus, start=len(recipe.corpus))
    ]
    rules = [tuple(AppliedRule(**rule) for rule in each) for each in description["rules"]]
    corpora = _stored_corpora(recipe, blocks, dev, description["n_dropped"], rules)
    return corpora, MisalignedReport.from_json(description["misaligned"])


def _made_from(recipe: Recipe, data: Path) -> dict[str, Any]:
    """Return all that the content of a folder depends on, as JSON would have it."""
    named = [find_files([*corpus.train, *corpus.dev], data) for corpus in recipe.corpus]
    files = [[each for path in paths for each in files_within(path)] for paths in named]
    statuses = [[(str(path), path.stat()) for path in paths] for paths in files]
    made_from = {
        "tokeniser": asdict(recipe.tokeniser),
        "labels": recipe.labels,
        "rules": [rule.model_dump(mode="json") for rule in recipe.rules],
        "window_words": recipe.training.shuffle_window_words,
        "corpora": [corpus.model_dump(mode="json", exclude={"weight"}) for corpus in recipe.corpus],
        "files": [[(path, at.st_size, at.st_mtime_ns) for path, at in each] for each in statuses],
    }
    plain: dict[str, Any] = json.loads(json.dumps(made_from))
    return plain


def _read(
    recipe: Recipe, data: Path, folder: Path, made_from: dict[str, Any]
) -> tuple[list[Corpus], MisalignedReport] | None:
    """Return what the files hold if it stays in memory; None when it is in the folder."""
    report = MisalignedReport()
    with ExitStack() as stack:
        open_folder = partial(stack.enter_context, atomic_folder(folder))
        writer = BlockWriter(recipe.training.shuffle_window_words, open_folder)
        stack.enter_context(closing(writer))
        read = [
            read_corpus(
                Rules(config, recipe.labels, recipe.rules),
                data,
                recipe.tokeniser,
                partial(writer.add, part),
                report.add,
            )
            for part, config in enumerate(recipe.corpus)
        ]
        dev, n_dropped = (
            [each.sentences for each, _ in read],
            [each.n_dropped for each, _ in read],
        )
        rules = [applied for _, applied in read]
        if writer.is_on_disk:
            for part, sentences in enumerate(dev, start=len(dev)):
                for sentence in sentences:
                    writer.add(part, sentence)
        blocks = writer.finish(
            made_from=made_from,
            misaligned=asdict(report),
            n_dropped=n_dropped,
            rules=[[asdict(rule) for rule in each] for each in rules],
        )
    if blocks is None:
        return None
    return _stored_corpora(recipe, blocks, dev, n_dropped, rules), report


def _stored_corpora(
    recipe: Recipe,
    blocks: Blocks,
    dev: Sequence[list[Sentence]],
    n_dropped: Sequence[int],
    rules: Sequence[tuple[AppliedRule, ...]],
) -> list[Corpus]:
    return [
        make_corpus(
            config,
            recipe.labels,
            StoredSentences(blocks, part, config.name),
            dev[part],
            n_dropped[part],
            rules[part],
        )
        for part, config in enumerate(recipe.corpus)
    ]
