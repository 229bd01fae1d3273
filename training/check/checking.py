"""Check data before training: read it as training does, count it, and report what looks wrong.

What cannot be read does not end the check: it is a finding, and the rest is checked without it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, write_tags
from teddy.training.check.kinds import Kind
from teddy.training.check.noise import NoiseOptions, enough_for, look_deep
from teddy.training.check.reading import ReadCorpus, ReadData, read_corpus, read_what_can_be
from teddy.training.check.report import CheckReport, DeepSummary, Finding, count_part, ranked
from teddy.training.check.suspicions import (
    few_examples,
    leaks,
    long_sentences,
    odd_spans,
    one_sided_labels,
    other_labels,
    repeats,
    seen_entities,
    shifts,
    unmarked,
    without_entities,
)
from teddy.training.check.texts import (
    byte_order_marks,
    crossing,
    empty_examples,
    odd_characters,
    white_space,
)
from teddy.training.data.align import Misaligned, Sentence, align
from teddy.training.data.corpora import Corpus
from teddy.training.data.readers import Example
from teddy.training.data.readers.columns import read_conll_rows, read_csv_rows
from teddy.training.data.readers.rows import Rows, sentence_spans
from teddy.training.recipe.corpus_config import FormatConfig
from teddy.training.recipe.recipe import Recipe

OnProgress = Callable[[float], None]


def check_recipe(
    recipe: Recipe,
    data: Path | str,
    *,
    path: Path | str = "recipe",
    deep: NoiseOptions | None = None,
    on_progress: OnProgress = lambda _: None,
) -> CheckReport:
    """Check all corpora of a recipe. `path` names the recipe in findings about all of them.

    With `deep`, label noise is looked for, which takes minutes; `on_progress` takes the share
    that is done.
    """
    corpora: list[Corpus] = []
    read: list[ReadCorpus] = []
    for config in recipe.corpus:
        corpus, met = read_corpus(config, recipe.labels, Path(data))
        corpora.append(corpus)
        read.append(met)
    train = [*chain.from_iterable(corpus.train for corpus in corpora)]
    dev = [*chain.from_iterable(corpus.dev for corpus in corpora)]
    findings = [*chain.from_iterable(_unread(each.errors) for each in read), *_strangers(read)]
    findings += few_examples(recipe.name, str(path), recipe.labels, train)
    for compare in (one_sided_labels, shifts, seen_entities):
        findings += compare(str(path), train, dev)
    findings += leaks(train, dev)
    for config, corpus, each in zip(recipe.corpus, corpora, read, strict=True):
        # Corpora have conventions of their own, so that only what differs within one is suspicious.
        findings += _within([*corpus.train, *corpus.dev])
        findings += _of_files(each.files, each.examples, config)
        findings += _misaligned_findings(each.misaligned)
    parts = {
        (corpus.name, part): sentences
        for corpus in corpora
        for part, sentences in (("train", [*corpus.train]), ("dev", corpus.dev))
        if sentences
    }
    return _report(parts, findings, corpora, recipe.labels, deep, on_progress)


def check_file(
    path: Path | str,
    options: FormatConfig,
    *,
    deep: NoiseOptions | None = None,
    on_progress: OnProgress = lambda _: None,
) -> CheckReport:
    """Check one file by itself, with the labels that it has; the rest as in `check_recipe`."""
    path = Path(path)
    misaligned: list[Misaligned] = []
    read: ReadData = read_what_can_be(path, options)
    sentences = [
        s for example in read.examples for s in align(example, path.name, misaligned.append)
    ]
    labels = sorted({span.label for sentence in sentences for span in sentence.spans})
    findings = [*_unread(read.errors), *few_examples(path.name, str(path), labels, sentences)]
    findings += _misaligned_findings(misaligned)
    findings += _within(sentences)
    findings += _of_files([path], read.examples, options)
    corpus = Corpus(
        name=path.name,
        licence="not stated",
        source="",
        annotates=frozenset(labels),
        weight=1.0,
        train=sentences,
        dev=[],
    )
    return _report({(path.name, "file"): sentences}, findings, [corpus], labels, deep, on_progress)


def _report(
    parts: dict[tuple[str, str], list[Sentence]],
    findings: list[Finding],
    corpora: Sequence[Corpus],
    labels: Sequence[str],
    deep: NoiseOptions | None,
    on_progress: OnProgress,
) -> CheckReport:
    """Put the report together; label noise, which takes long, comes last."""
    findings += without_entities(
        {f"{corpus}, {part}": sentences for (corpus, part), sentences in parts.items()}
    )
    summary: DeepSummary | None = None
    if deep is not None and not enough_for(corpora, deep):
        findings.append(
            Finding(kind=Kind.TOO_FEW, path="--deep", line=None, message=f"{deep.folds} folds")
        )
    elif deep is not None:
        noise, summary = look_deep(corpora, labels, deep, on_progress)
        findings += noise
    counts = tuple(
        count_part(corpus, part, sentences) for (corpus, part), sentences in parts.items()
    )
    return CheckReport(parts=counts, findings=ranked(findings), deep=summary)


def _within(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield what looks wrong among the sentences of one corpus."""
    for suspicion in (repeats, other_labels, unmarked, odd_spans, long_sentences, odd_characters):
        yield from suspicion(sentences)


def _of_files(
    paths: Sequence[Path], examples: Sequence[Example], options: FormatConfig
) -> Iterator[Finding]:
    """Yield what can be seen in files only, or in examples before they are divided into words."""
    existing = [path for path in paths if path.is_file()]
    yield from byte_order_marks(
        [str(path) for path in existing], [_first_bytes(path) for path in existing]
    )
    for look in (white_space, crossing, empty_examples):
        yield from look(examples)
    for path in existing:
        yield from _repairs(path, options)


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _repairs(path: Path, options: FormatConfig) -> Iterator[Finding]:
    """Yield illegal tags; first of all, a scheme that fits all of them."""
    if options.spans == "tokens" or options.format not in ("conll", "csv"):
        return
    read_rows = read_conll_rows if options.format == "conll" else read_csv_rows
    sentences: list[Rows] = []
    wrong: list[tuple[int, str]] = []
    try:
        for rows in read_rows(path, options):
            wrong += _misspelt(rows, path, options)
            sentences.append(rows)
    except DataError:  # reported by the reading of the sentences
        pass
    if wrong:
        better = _better_scheme(path, sentences, options)
        if better is not None:
            illegal = f"{len(wrong):,} tags are illegal in the scheme {options.scheme}"
            message = f"{illegal}, and none in {better}"
            yield Finding(
                kind=Kind.REPAIRED,
                path=str(path),
                line=None,
                message=message,
                weight=float(len(wrong)),
            )
    for line, message in wrong:
        yield Finding(kind=Kind.REPAIRED, path=str(path), line=line, message=message)


def _misspelt(rows: Rows, path: Path, options: FormatConfig) -> list[tuple[int, str]]:
    """Return line and message of each tag that the scheme would write otherwise."""
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


def _unread(errors: Iterable[DataError]) -> Iterator[Finding]:
    for error in errors:
        yield Finding(kind=Kind.UNREADABLE, path=error.path, line=error.line, message=error.reason)


def _strangers(read: Iterable[ReadCorpus]) -> Iterator[Finding]:
    for each in read:
        for label, n in each.strangers.most_common():
            first = each.first_strangers[label]
            message = f"{first.reason}: {n:,} of them, the first here"
            yield Finding(
                kind=Kind.UNKNOWN_LABEL,
                path=first.path,
                line=first.line,
                message=message,
                weight=float(n),
            )
