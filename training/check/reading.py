"""Read data as training does, but go on after what cannot be read, and report each place."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Misaligned, Sentence, align
from teddy.training.data.corpora import Corpus, Divider, make_corpus
from teddy.training.data.readers import Example, read_examples
from teddy.training.data.readers.columns import DOCUMENT_START
from teddy.training.data.readers.files import find_files, read_lines
from teddy.training.data.rules import Rules
from teddy.training.recipe.corpus_config import UNKNOWN, FormatConfig

_MOST_BAD_PLACES = 50
"""A file with more of them is another format than its reader thinks; the rest of it is not read."""
_BY_LINES = ("conll", "conllu", "jsonl")
"""Formats in which what follows a bad line can be read without it."""


@dataclass(slots=True)
class ReadCorpus:
    """What was met while files were read."""

    errors: list[DataError] = field(default_factory=list)
    misaligned: list[Misaligned] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    """Of train and dev, as the files have them."""
    files: list[Path] = field(default_factory=list)
    unknown_labels: Counter[str] = field(default_factory=Counter)
    """Labels that the recipe neither has nor maps, with the number of their spans, which are read
    as unknown."""
    first_unknown: dict[str, DataError] = field(default_factory=dict)


def read_file(path: Path, options: FormatConfig, read: ReadCorpus) -> list[Example]:
    """Return the examples of a file, and add them, and what cannot be read, to `read`.

    A sentence, or line of JSON, that cannot be read is left out, with an error. An error without a
    line, as of a missing file, ends the reading; so does any in formats that are not made of lines.
    """
    read.files.append(path)
    first = len(read.examples)
    after = n_errors = 0
    while n_errors < _MOST_BAD_PLACES:
        try:
            for example in _examples_after(after, path, options):
                read.examples.append(example)
            break
        except DataError as error:
            if after and _is_about_nothing(error):
                break
            read.errors.append(error)
            n_errors += 1
            if error.line is None or options.format not in _BY_LINES:
                break
            after = _end_of_block(path, options, error.line)
    return read.examples[first:]


def read_corpus(rules: Rules, data: Path, tokeniser: Tokeniser) -> tuple[Corpus, ReadCorpus]:
    """Read a corpus of a recipe as `load_corpus` does, and report what cannot be read."""
    config, read = rules.config, ReadCorpus()
    in_train: Counter[int] = Counter()
    in_dev: Counter[int] = Counter()
    train: list[Sentence] = []
    dev: list[Sentence] = []
    divider = Divider(config.holdout)
    align_here = partial(
        align,
        corpus=config.name,
        tokeniser=tokeniser,
        on_misaligned=read.misaligned.append,
        sentences=config.sentences,
    )
    for example, applied in _relabelled(config.train, rules, data, read):
        is_held_out = divider.holds_out(example)
        (in_dev if is_held_out else in_train).update(applied)
        part = dev if is_held_out else train
        part.extend(align_here(example))
    for example, applied in _relabelled(config.dev, rules, data, read):
        in_dev.update(applied)
        dev.extend(align_here(example))
    counts = rules.counts(in_train, in_dev)
    return make_corpus(config, rules.labels, train, dev, 0, counts), read


def _relabelled(
    patterns: Sequence[str], rules: Rules, data: Path, read: ReadCorpus
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
                    yield _with_known_labels(example, rules, read)


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


def _examples_after(line: int, path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the examples behind a line, with their lines and names as in the whole file."""
    if not line:
        yield from read_examples(path, options)
        return
    rest = read_lines(path, options.encoding)[line:]
    with tempfile.TemporaryDirectory(prefix="teddy-check-") as folder:
        copy = Path(folder) / "rest"
        copy.write_text("\n" * line + "\n".join(rest), encoding=options.encoding, newline="")
        try:
            for example in read_examples(copy, options):
                yield replace(example, path=str(path))
        except DataError as error:
            raise DataError(path, error.line, error.reason) from None


def _is_about_nothing(error: DataError) -> bool:
    """Whether an error says only that nothing follows the last bad line."""
    return error.line is None and error.reason in ("the file is empty", "the file has no sentence")


def _end_of_block(path: Path, options: FormatConfig, line: int) -> int:
    """Return the last line of the sentence of a line; a line of JSON is a document."""
    if options.format == "jsonl":
        return line
    lines = read_lines(path, options.encoding)
    for number in range(line, len(lines)):
        if not lines[number].strip() or lines[number].startswith(DOCUMENT_START):
            return number
    return len(lines)
