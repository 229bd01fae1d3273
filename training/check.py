"""Debugs data before it costs a night: reads it as training would, counts it, and reports what looks wrong.

A file that cannot be read does not end the check; it is the first finding of the report.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from model.errors import DataError
from model.spans import Scheme, write_tags
from training.align import Misaligned, Sentence, align
from training.check_report import CheckReport, Finding, Kind, count_part, ranked
from training.config import Recipe
from training.corpora import Corpus, load_corpus
from training.corpus_config import CorpusConfig, FormatConfig
from training.readers import read_examples
from training.readers.conll import read_conll_rows
from training.readers.csv_table import read_csv_rows
from training.readers.files import find_files
from training.readers.tagged import Rows, sentence_spans
from training.suspicions import (
    few_examples,
    leaks,
    long_sentences,
    odd_characters,
    odd_spans,
    other_labels,
    repeats,
    unmarked,
)


def check_recipe(recipe: Recipe, data: Path | str, *, path: Path | str = "recipe") -> CheckReport:
    """Check all corpora of a recipe. `path` names the recipe in findings about a corpus as a whole."""
    findings: list[Finding] = []
    corpora: list[Corpus] = []
    for config in recipe.corpus:
        try:
            misaligned: list[Misaligned] = []
            corpora.append(load_corpus(config, recipe.labels, Path(data), on_misaligned=misaligned.append))
            findings += _misaligned_findings(misaligned)
            findings += _repairs_of(config, Path(data))
        except DataError as error:
            findings.append(_unreadable(error))
    train = [sentence for corpus in corpora for sentence in corpus.train]
    findings += few_examples(recipe.name, str(path), recipe.labels, train)
    findings += leaks(train, [sentence for corpus in corpora for sentence in corpus.dev])
    for corpus in corpora:
        # Corpora have conventions of their own, so that only what differs within one is suspicious.
        findings += _within(corpus.train + corpus.dev)
    parts = [
        count_part(corpus.name, part, sentences)
        for corpus in corpora
        for part, sentences in (("train", corpus.train), ("dev", corpus.dev))
        if sentences
    ]
    return CheckReport(parts=tuple(parts), findings=ranked(findings))


def check_file(path: Path | str, options: FormatConfig) -> CheckReport:
    """Check one file by itself, with the labels that it has."""
    path = Path(path)
    findings: list[Finding] = []
    misaligned: list[Misaligned] = []
    sentences: list[Sentence] = []
    try:
        for example in read_examples(path, options):
            sentences += align(example, path.name, misaligned.append)
        findings += _repairs(path, options)
    except DataError as error:
        findings.append(_unreadable(error))
    labels = sorted({span.label for sentence in sentences for span in sentence.spans})
    findings += few_examples(path.name, str(path), labels, sentences)
    findings += _misaligned_findings(misaligned)
    findings += _within(sentences)
    return CheckReport(parts=(count_part(path.name, "file", sentences),), findings=ranked(findings))


def _within(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield what looks wrong among the sentences of one corpus."""
    for suspicion in (repeats, other_labels, unmarked, odd_spans, long_sentences, odd_characters):
        yield from suspicion(sentences)


def _repairs_of(config: CorpusConfig, data: Path) -> Iterator[Finding]:
    for path in find_files([*config.train, *config.dev], data):
        yield from _repairs(path, config)


def _repairs(path: Path, options: FormatConfig) -> Iterator[Finding]:
    """Yield the places where tags do not spell what they were read as; first of all a scheme that fits all of them."""
    if options.spans == "tokens" or options.format not in ("conll", "csv"):
        return
    read_rows = read_conll_rows if options.format == "conll" else read_csv_rows
    sentences = list(read_rows(path, options))
    wrong = [place for rows in sentences for place in _misspelt(rows, path, options)]
    if wrong:
        better = _better_scheme(path, sentences, options)
        if better is not None:
            message = f"{len(wrong):,} tags are illegal in the scheme {options.scheme}, and none in {better}"
            yield Finding(kind=Kind.REPAIRED, path=str(path), line=None, message=message, weight=float(len(wrong)))
    for line, message in wrong:
        yield Finding(kind=Kind.REPAIRED, path=str(path), line=line, message=message)


def _misspelt(rows: Rows, path: Path, options: FormatConfig) -> list[tuple[int, str]]:
    """Return line and message for each tag that differs from how the scheme writes the spans that were read."""
    spelt = write_tags(sentence_spans(rows, path, options), len(rows), options.scheme)
    pairs = zip(rows, spelt, strict=True)
    return [(row.line, f"tag {row.tag} is read as {tag}") for row, tag in pairs if row.tag != tag]


def _better_scheme(path: Path, sentences: Sequence[Rows], options: FormatConfig) -> Scheme | None:
    """Return another scheme in which no tag is illegal, if there is one."""
    for scheme in (Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES):
        if scheme is options.scheme:
            continue
        other = options.model_copy(update={"scheme": scheme})
        try:
            if not any(_misspelt(rows, path, other) for rows in sentences):
                return scheme
        except DataError:  # the scheme lacks a prefix that the file has
            continue
    return None


def _misaligned_findings(misaligned: Sequence[Misaligned]) -> Iterator[Finding]:
    for item in misaligned:
        message = f"{item.label} {item.text!r} {item.reason}"
        yield Finding(kind=Kind.MISALIGNED, path=item.path, line=item.line, message=message)


def _unreadable(error: DataError) -> Finding:
    return Finding(kind=Kind.UNREADABLE, path=error.path, line=error.line, message=error.reason)
