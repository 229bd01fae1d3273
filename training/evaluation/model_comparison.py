"""Two models on the same data: their common labels, and their comparison as text, JSON and HTML."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.predictor import Predictor, load
from teddy.model.tagger import TaggedWords
from teddy.model.tags.spans import Span
from teddy.model.text.sentences import Offsets
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.comparing import (
    Change,
    Speeds,
    TaggerComparison,
    compare,
    measure_speeds,
)
from teddy.training.evaluation.evaluate import Predict, ScoredSpan
from teddy.training.evaluation.measurements import dev_sentences, prediction
from teddy.training.report.markdown import one_line, percent

_CONTEXT = 40  # characters on either side of a change, as text


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedModel:
    """One of the two."""

    path: Path
    name: str
    version: str
    precision: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelComparison:
    """The two models, and how they compare on `labels`, in the order of A."""

    first: ComparedModel
    second: ComparedModel
    labels: tuple[str, ...]
    comparison: TaggerComparison
    speeds: Speeds | None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of the comparison."""
        notes = []
        for letter, model in (("A", self.first), ("B", self.second)):
            if left := [label for label in model.labels if label not in self.labels]:
                notes.append(f"Not counted, of the labels of {letter}: {', '.join(left)}.")
        return tuple(notes)

    def as_dict(self) -> dict[str, object]:
        """Give everything ready for JSON; `first` is A, `second` is B."""
        models = {
            side: {"file": str(model.path)}
            | {name: getattr(model, name) for name in ("name", "version", "precision")}
            for side, model in (("first", self.first), ("second", self.second))
        }
        speeds = {"words_per_second": asdict(self.speeds)} if self.speeds else {}
        return {**models, "labels": list(self.labels), **self.comparison.as_dict(), **speeds}

    def lines(self) -> Iterator[str]:
        """Write the comparison as plain text."""
        for letter, model in (("A", self.first), ("B", self.second)):
            yield f"{letter}  {model.path} ({model.name} {model.version}, {model.precision})"
        yield from self.notes
        yield ""
        yield from self._table()
        yield ""
        yield self.comparison.verdict
        if self.speeds:
            yield f"Words per second: A {self.speeds.first:,.0f}, B {self.speeds.second:,.0f}."
        yield from _listed("Only B is right", self.comparison.better, self.comparison.n_better)
        yield from _listed("Only A is right", self.comparison.worse, self.comparison.n_worse)

    def _table(self) -> Iterator[str]:
        comparison = self.comparison
        width = max(len("all"), *map(len, self.labels))
        yield (
            f"{'':{width}}     F1 of A  F1 of B  difference  95 % interval         p"
            "  annotated  only A right  only B right"
        )
        rows = [*comparison.by_label.items(), ("all", comparison.overall)]
        for name, each in rows:
            of_label = comparison.tallies.get(name)
            tallies = [of_label] if of_label else comparison.tallies.values()
            low, high = 100 * each.interval.low, 100 * each.interval.high
            yield (
                f"{name:{width}}     {percent(each.first.f1):>7}  {percent(each.second.f1):>7}"
                f"  {100 * each.f1:+10.2f}"
                f"  {low:+6.2f} to {high:+6.2f}  {each.p_bootstrap:8.2g}  {each.first.gold:9,}"
                f"  {sum(tally.only_first for tally in tallies):12,}"
                f"  {sum(tally.only_second for tally in tallies):12,}"
            )


def compare_models(
    paths: tuple[Path, Path],
    corpora_for: Callable[[Sequence[str], Tokeniser], Sequence[Corpus]],
    *,
    precision: str,
    n_draws: int,
    seed: int,
    most: int,
    speed: bool,
) -> ModelComparison:
    """Load two models and compare them on the dev data of `corpora_for` all their labels.

    The sentences are in the words of the second model.

    Raises ModelFileError for a model that cannot be loaded or has no label of the other,
    TrainingError when the data annotate no common label, DataError and RecipeError for the data.
    """
    first, second = (load(path, precision=precision) for path in paths)
    shared = [label for label in first.manifest.labels if label in second.manifest.labels]
    if not shared:
        known = [", ".join(each.manifest.labels) for each in (first, second)]
        raise ModelFileError(
            paths[1], f"has no label of {paths[0]}: it has {known[1]}, and the other has {known[0]}"
        )
    every = list(dict.fromkeys((*first.manifest.labels, *second.manifest.labels)))
    corpora = corpora_for(every, second.tokeniser)
    annotates = {corpus.name: corpus.annotates & set(shared) for corpus in corpora}
    labels = [label for label in shared if any(label in each for each in annotates.values())]
    if not labels:
        raise TrainingError(
            f"the data annotate none of the labels that both models have: {', '.join(shared)}"
        )
    sentences = dev_sentences(corpora)
    taggers = _on_words_of(second.tokeniser, first, sentences), prediction(second.tagger)
    models = [
        ComparedModel(
            path=path,
            name=each.manifest.name,
            version=each.version,
            precision=each.precision,
            labels=each.manifest.labels,
        )
        for path, each in zip(paths, (first, second), strict=True)
    ]
    return ModelComparison(
        first=models[0],
        second=models[1],
        labels=tuple(labels),
        comparison=compare(
            *taggers, sentences, annotates, labels, n_draws=n_draws, seed=seed, most=most
        ),
        speeds=measure_speeds(*taggers, sentences) if speed else None,
    )


def _on_words_of(tokeniser: Tokeniser, model: Predictor, sentences: Sequence[Sentence]) -> Predict:
    """Return the model as a tagger of these sentences, which `tokeniser` has split.

    A model that has learnt other words reads its own in their text. Where an entity of it ends
    within a word of the sentence, the span has the whole word.
    """
    if model.tokeniser == tokeniser:
        return prediction(model.tagger)
    by_words = {sentence.words: sentence for sentence in sentences}

    def predict(asked: Sequence[Sequence[str]]) -> list[list[ScoredSpan]]:
        known = [by_words[tuple(words)] for words in asked]
        own = [model.tokeniser.split_words(sentence.text) for sentence in known]
        found = model.tagger.tag([words for _, _, words in own])
        return [
            [*_on_borders(sentence, Offsets(starts, ends), tagged)]
            for sentence, (starts, ends, _), tagged in zip(known, own, found, strict=True)
        ]

    return predict


def _on_borders(sentence: Sentence, own: Offsets, tagged: TaggedWords) -> Iterator[ScoredSpan]:
    """Yield the spans of other words, `own`, in words of the sentence; none overlaps another."""
    starts, ends = zip(*sentence.offsets, strict=True)
    n_done = 0
    for span, score in zip(tagged.spans, tagged.scores, strict=True):
        first = max(n_done, bisect_right(ends, own.starts[span.start]))
        n_done = max(first, bisect_left(starts, own.ends[span.end - 1]))
        if first < n_done:
            yield ScoredSpan(Span(first, n_done, span.label), score)


def _listed(title: str, changes: Sequence[Change], n: int) -> Iterator[str]:
    if changes:
        yield ""
        yield f"{title}, {len(changes):,} of {n:,}, those first about which the models were surest:"
        for change in changes:
            yield f"  {change.path}:{change.line}: {_in_context(change)}"
            gold = ScoredSpan(change.gold) if change.gold else None
            said = [_said(change, each) for each in (gold, change.first, change.second)]
            yield "      annotated {}; A: {}; B: {}".format(*said)


def _in_context(change: Change) -> str:
    there = [found.span for found in (change.first, change.second) if found]
    there += [change.gold] if change.gold else []
    start = max(0, min(span.start for span in there) - _CONTEXT)
    end = min(len(change.text), max(span.end for span in there) + _CONTEXT)
    before, after = "…" if start else "", "…" if end < len(change.text) else ""
    return f"{before}{one_line(change.text[start:end])}{after}"


def _said(change: Change, found: ScoredSpan | None) -> str:
    if found is None:
        return "nothing"
    score = "" if found.score is None else f" {found.score:.2f}"
    surface = one_line(change.text[found.span.start : found.span.end])
    return f"{surface!r} {found.span.label}{score}"
