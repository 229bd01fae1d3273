"""Check data before training: read it as training does, count it, and report what looks wrong.

What cannot be read does not end the check: it is a finding, and the rest is checked without it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

from teddy.model.errors import DataError, FileError, TrainingError
from teddy.model.tags.spans import Scheme, write_tags
from teddy.model.text.words import Tokeniser
from teddy.training.check import findings as look
from teddy.training.check import texts
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.noise import NoiseOptions, enough_for, look_deep
from teddy.training.check.noise_taggers import OnProgress
from teddy.training.check.reading import ReadCorpus, read_corpus, read_file, readable
from teddy.training.check.report import CheckReport, DeepSummary, Finding, count_part, ranked
from teddy.training.data.align import Sentence, align
from teddy.training.data.corpora import Corpus
from teddy.training.data.fitting import fit
from teddy.training.data.lexicon import read_lexicon
from teddy.training.data.readers.columns import read_conll_rows, read_csv_rows
from teddy.training.data.readers.files import find_files
from teddy.training.data.readers.rows import Rows, sentence_spans
from teddy.training.data.rules import Rules
from teddy.training.learning.start import open_start, open_update
from teddy.training.recipe.corpus_config import FormatConfig
from teddy.training.recipe.recipe import Recipe


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
    tokeniser = recipe.tokeniser
    read = [
        read_corpus(Rules(config, recipe.labels, recipe.rules), Path(data), tokeniser)
        for config in recipe.corpus
    ]
    corpora = [corpus for corpus, _ in read]
    train = [*chain.from_iterable(corpus.train for corpus in corpora)]
    dev = [*chain.from_iterable(corpus.dev for corpus in corpora)]
    findings = [*look.few_examples(recipe.name, str(path), recipe.labels, train)]
    for compare in (look.one_sided_labels, look.shifts, look.seen_entities):
        findings += compare(str(path), train, dev)
    findings += look.leaks(train, dev)
    for corpus, each in read:
        # Corpora have conventions of their own, so that only what differs within one is suspicious.
        findings += _within([*corpus.train, *corpus.dev])
        findings += _of_reading(each, tokeniser)
    findings += look.rules(str(path), corpora, len(recipe.rules))
    findings += _beside_corpora(recipe, Path(data), str(path))
    parts = {
        (corpus.name, part): sentences
        for corpus in corpora
        for part, sentences in (("train", [*corpus.train]), ("dev", corpus.dev))
        if sentences
    }
    guesses = [guess for _, each in read for guess in each.guesses]
    report = _report(parts, findings, corpora, recipe.labels, deep, on_progress)
    return replace(report, read_as=tuple(guesses))


def check_file(
    path: Path | str,
    options: FormatConfig,
    *,
    deep: NoiseOptions | None = None,
    on_progress: OnProgress = lambda _: None,
) -> CheckReport:
    """Check one file by itself, with the labels that it has; the rest as in `check_recipe`."""
    path, read, tokeniser = Path(path), ReadCorpus(), Tokeniser()
    fitted = (
        fit(example, options, tokeniser, lambda _: None)
        for example in read_file(path, options, read)
    )
    sentences = [
        sentence
        for example in fitted
        for sentence in align(example, path.name, tokeniser, read.misaligned.append)
    ]
    labels = sorted({span.label for sentence in sentences for span in sentence.spans})
    findings = [
        *look.few_examples(path.name, str(path), labels, sentences),
        *_within(sentences),
        *_of_reading(read, tokeniser),
    ]
    corpus = Corpus(name=path.name, annotates=frozenset(labels), train=sentences)
    parts = {(path.name, "file"): sentences}
    report = _report(parts, findings, [corpus], labels, deep, on_progress)
    return replace(report, read_as=tuple(read.guesses))


def _beside_corpora(recipe: Recipe, data: Path, path: str) -> Iterator[Finding]:
    """Yield what else the recipe names and a run could not read, or could not start from."""
    opens: list[Callable[[], object]] = [
        *(partial(read_lexicon, (each,), data) for each in recipe.lexicon),
        partial(find_files, filter(None, [recipe.embedding.vectors]), data),
        partial(find_files, recipe.distill.text if recipe.distill else (), data),
    ]
    if recipe.update:
        opens.append(partial(open_update, recipe, recipe.update, data))
    elif recipe.start.weights:
        opens.append(partial(open_start, recipe, data))
    for opened in opens:
        try:
            opened()
        except FileError as error:
            yield unreadable(error)
        except TrainingError as error:
            yield Finding(FindingKind.UNREADABLE, path, None, str(error))


def unreadable(error: FileError) -> Finding:
    """Return the finding of a place that cannot be read."""
    return Finding(FindingKind.UNREADABLE, error.path, error.line, error.reason)


def _report(
    parts: Mapping[tuple[str, str], Sequence[Sentence]],
    findings: list[Finding],
    corpora: Sequence[Corpus],
    labels: Sequence[str],
    deep: NoiseOptions | None,
    on_progress: OnProgress,
) -> CheckReport:
    """Put the report together; label noise, which takes long, comes last."""
    findings += look.without_entities(
        {f"{corpus}, {part}": sentences for (corpus, part), sentences in parts.items()}
    )
    summary: DeepSummary | None = None
    if deep is not None and not enough_for(corpora, deep):
        findings.append(Finding(FindingKind.TOO_FEW, "--deep", None, f"{deep.folds} folds"))
    elif deep is not None:
        noise, summary = look_deep(corpora, labels, deep, on_progress)
        findings += noise
    counts = tuple(count_part(*names, sentences) for names, sentences in parts.items())
    return CheckReport(parts=counts, findings=ranked(findings), deep=summary)


def _within(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield what looks wrong among the sentences of one corpus."""
    yield from look.repeats(sentences)
    yield from look.other_labels(sentences)
    yield from look.unmarked(sentences)
    yield from look.odd_spans(sentences)
    yield from look.long_sentences(sentences)
    yield from texts.odd_characters(sentences)
    yield from texts.glued(sentences)
    yield from look.bare_stretches(sentences)
    yield from look.half_marked(sentences)


def _of_reading(read: ReadCorpus, tokeniser: Tokeniser) -> Iterator[Finding]:
    """Yield what could not be read, and what only files and undivided examples show."""
    yield from map(unreadable, read.errors)
    for label, n in read.unknown_labels.most_common():
        first = read.first_unknown[label]
        message = f"{first.reason}: {n:,} of them, the first here"
        yield Finding(FindingKind.UNKNOWN_LABEL, first.path, first.line, message, float(n))
    for item in read.misaligned:
        message = f"{item.label} {item.text!r} {item.reason}"
        yield Finding(FindingKind.MISALIGNED, item.path, item.line, message)
    existing = [path for path in read.files if path.is_file()]
    yield from texts.byte_order_marks(existing)
    yield from texts.white_space(read.examples)
    yield from texts.crossing(read.examples, tokeniser)
    yield from texts.empty_examples(read.examples, tokeniser)
    for guess in read.guesses:
        yield from _repairs(guess.path, guess.options)


def _repairs(path: Path, options: FormatConfig) -> Iterator[Finding]:
    """Yield illegal tags; first of all, a scheme that fits all of them."""
    read_rows = {"conll": read_conll_rows, "csv": read_csv_rows}.get(options.format)
    if options.spans != "tags" or read_rows is None or options.row == "sentence":
        return
    sentences: list[Rows] = []
    wrong: list[tuple[int, str]] = []
    # What cannot be read is reported by the reading of the sentences.
    for rows in readable(path, options, read_rows, lambda _: None):
        with suppress(DataError):
            wrong += _misspelt(rows, path, options)
            sentences.append(rows)
    if wrong and (better := _better_scheme(path, sentences, options)):
        illegal = f"{len(wrong):,} tags are illegal in the scheme {options.tag_scheme}"
        message = f"{illegal}, and none in {better}"
        yield Finding(FindingKind.REPAIRED, str(path), None, message, float(len(wrong)))
    for line, message in wrong:
        yield Finding(FindingKind.REPAIRED, str(path), line, message)


def _misspelt(rows: Rows, path: Path, options: FormatConfig) -> list[tuple[int, str]]:
    """Return line and message of each tag that the scheme would write otherwise."""
    spelt = write_tags(sentence_spans(rows, path, options), len(rows), options.tag_scheme)
    pairs = zip(rows, spelt, strict=True)
    return [(row.line, f"tag {row.tag} is read as {tag}") for row, tag in pairs if row.tag != tag]


def _better_scheme(path: Path, sentences: Sequence[Rows], options: FormatConfig) -> Scheme | None:
    """Return another scheme in which no tag is illegal, if there is one."""
    for scheme in (Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES):
        if scheme is options.tag_scheme:
            continue
        other = options.model_copy(update={"scheme": scheme})
        try:
            if not any(_misspelt(rows, path, other) for rows in sentences):
                return scheme
        except DataError:  # the scheme lacks a prefix that the file has
            continue
    return None
