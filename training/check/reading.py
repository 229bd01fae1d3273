"""Read data as training does, but go on after what cannot be read, and report each place."""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from teddy.model.errors import DataError
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Misaligned, Sentence, align
from teddy.training.data.corpora import Corpus, make_corpus
from teddy.training.data.fitting import fit
from teddy.training.data.holdout import Divider
from teddy.training.data.readers import Example, read_examples
from teddy.training.data.readers.columns import DOCUMENT_START
from teddy.training.data.readers.files import find_files, read_lines
from teddy.training.data.readers.guess import Guess, guess_file, is_binary
from teddy.training.data.readers.records import OF_RECORDS
from teddy.training.data.rules import Rules
from teddy.training.recipe.corpus_config import UNKNOWN, FormatConfig

_MOST_BAD_PLACES = 50
"""A file with more of them is another format than its reader thinks; the rest of it is not read."""
_WITHOUT_CONTENT = ("the file is empty", "the file has no sentence")
_BY_SENTENCES = ("conll", "conllu")
_BY_LINES = ("csv", "xml", "markdown")
"""Formats in which what follows a bad sentence, line or record can be read without it."""
_Item = TypeVar("_Item")


@dataclass(slots=True)
class ReadCorpus:
    """What was met while files were read."""

    errors: list[DataError] = field(default_factory=list)
    misaligned: list[Misaligned] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    """Of train and dev, as the files have them."""
    files: list[Path] = field(default_factory=list)
    guesses: list[Guess] = field(default_factory=list)
    """Of the files that could be guessed: how they are read."""
    unknown_labels: Counter[str] = field(default_factory=Counter)
    """Labels that the recipe neither has nor maps, with the number of their spans, which are read
    as unknown."""
    first_unknown: dict[str, DataError] = field(default_factory=dict)


def read_file(path: Path, options: FormatConfig, read: ReadCorpus) -> list[Example]:
    """Return the examples of a file, and add them, and what cannot be read, to `read`.

    Their spans are as the file has them, white space at the edges included.
    """
    read.files.append(path)
    first = len(read.examples)
    try:
        guess = guess_file(path, options)
    except DataError as error:
        read.errors.append(error)
        return []
    read.guesses.append(guess)
    as_they_are = guess.options.model_copy(update={"misaligned": "drop"})
    read.examples += readable(path, as_they_are, read_examples, read.errors.append)
    return read.examples[first:]


def readable(
    path: Path,
    options: FormatConfig,
    read: Callable[[Path, FormatConfig], Iterator[_Item]],
    on_error: Callable[[DataError], None],
) -> Iterator[_Item]:
    """Yield what `read` does, and go on behind each place that it cannot read.

    A sentence, line or record that cannot be read is left out. An error without a line, as of a
    missing file, ends the reading; so does any in formats that are not made of such parts.
    """
    after = n_errors = 0
    last: str | None = None
    while n_errors < _MOST_BAD_PLACES:
        try:
            yield from _items_after(after, path, options, read)
            return
        except DataError as error:
            if (after and _is_about_nothing(error)) or str(error) == last:
                return
            on_error(error)
            last = str(error)
            n_errors += 1
            is_binary_file = is_binary(path) or path.is_dir() or path.suffix == ".spacy"
            known = (*_BY_SENTENCES, *_BY_LINES, *OF_RECORDS)
            if error.line is None or is_binary_file or options.format not in known:
                return
            after = max(after + 1, _end_of_block(path, options, error.line))


def read_corpus(rules: Rules, data: Path, tokeniser: Tokeniser) -> tuple[Corpus, ReadCorpus]:
    """Read a corpus of a recipe as `load_corpus` does, and report what cannot be read."""
    config, read = rules.config, ReadCorpus()
    in_train: Counter[int] = Counter()
    in_dev: Counter[int] = Counter()
    train: list[Sentence] = []
    dev: list[Sentence] = []
    examples = [*_relabelled(config.train, rules, data, tokeniser, read)]
    divider = Divider.of(config, lambda: (example for example, _ in examples))
    align_here = partial(
        align,
        corpus=config.name,
        tokeniser=tokeniser,
        on_misaligned=read.misaligned.append,
        sentences=config.sentences,
    )
    for example, applied in examples:
        is_held_out = divider.holds_out(example)
        (in_dev if is_held_out else in_train).update(applied)
        part = dev if is_held_out else train
        part.extend(align_here(example))
    for example, applied in _relabelled(config.dev, rules, data, tokeniser, read):
        in_dev.update(applied)
        dev.extend(align_here(example))
    counts = rules.counts(in_train, in_dev)
    return make_corpus(config, rules.labels, train, dev, 0, counts), read


def _relabelled(
    patterns: Sequence[str], rules: Rules, data: Path, tokeniser: Tokeniser, read: ReadCorpus
) -> Iterator[tuple[Example, Counter[int]]]:
    for pattern in patterns:
        try:
            paths = find_files([pattern], data)
        except DataError as error:
            read.errors.append(error)
            continue
        for path in paths:
            if path not in read.files:
                for example in read_file(path, rules.config, read):
                    whole = fit(example, rules.config, tokeniser, lambda _: None)
                    yield _with_known_labels(whole, rules, read)


def _with_known_labels(
    example: Example, rules: Rules, read: ReadCorpus
) -> tuple[Example, Counter[int]]:
    """Return what `Rules.apply` does; of spans with labels that it refuses, nothing is known."""
    own = Counter(span.label for span in example.spans)
    lenient = rules.config
    while True:
        try:
            return replace(rules, config=lenient).apply(example)
        except DataError as error:
            unknown = next(
                label
                for label in sorted(own)
                if repr(label) in error.reason and label not in lenient.map
            )
            read.unknown_labels[unknown] += own[unknown]
            read.first_unknown.setdefault(unknown, error)
            lenient = lenient.model_copy(update={"map": {**lenient.map, unknown: UNKNOWN}})


def _items_after(
    line: int,
    path: Path,
    options: FormatConfig,
    read: Callable[[Path, FormatConfig], Iterator[_Item]],
) -> Iterator[_Item]:
    """Yield the items behind a line, with their lines and names as in the whole file."""
    if not line:
        yield from read(path, options)
        return
    if options.format in OF_RECORDS:
        yield from cast(Iterator[_Item], read_examples(path, options, after=line))
        return
    lines = read_lines(path, options.encoding)
    head = lines[: options.format == "csv"]
    with tempfile.TemporaryDirectory(prefix="teddy-check-") as folder:
        copy = Path(folder) / "rest"
        text = "\n".join([*head, *[""] * (line - len(head)), *lines[line:]])
        copy.write_text(text, encoding="utf-8", newline="")
        try:
            for item in read(copy, options.model_copy(update={"encoding": "utf-8"})):
                yield replace(item, path=str(path)) if isinstance(item, Example) else item
        except DataError as error:
            raise DataError(path, error.line, error.reason) from None


def _is_about_nothing(error: DataError) -> bool:
    """Whether an error says only that nothing follows the last bad line."""
    return error.line is None and error.reason.startswith(_WITHOUT_CONTENT)


def _end_of_block(path: Path, options: FormatConfig, line: int) -> int:
    """Return the last line of the sentence of a line; a record, or a row of a table, is a line."""
    if options.format not in _BY_SENTENCES:
        return line
    lines = read_lines(path, options.encoding)
    for number in range(line, len(lines)):
        if not lines[number].strip() or lines[number].startswith(DOCUMENT_START):
            return number
    return len(lines)
