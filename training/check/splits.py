"""What looks wrong when train and dev are compared."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from teddy.training.check.kinds import Kind
from teddy.training.check.report import Finding
from teddy.training.corpus.align import Sentence
from teddy.training.evaluate import surfaces

_FEW_EXAMPLES = 20
"""A label with fewer spans in train is hardly learnt."""
_SHIFT = 1.5
"""A label whose share of the entities differs by this factor, beyond what chance makes, has shifted."""
_DEVIATIONS = 3.0
"""What chance makes: so many standard deviations of a difference of two shares."""
_REPEAT_WORDS = 5
"""Shorter sentences repeat by nature ("Thank you very much")."""


def few_examples(name: str, path: str, labels: Sequence[str], train: Sequence[Sentence]) -> Iterator[Finding]:
    """Labels that are rare or absent in train."""
    counts = _count_labels(train)
    for label in labels:
        if counts[label] < _FEW_EXAMPLES:
            kind = Kind.NO_EXAMPLES if counts[label] else Kind.NO_TRAIN_EXAMPLES
            message = f"{label} has {_spans(counts[label])} in the training data of {name}"
            yield Finding(kind=kind, path=path, line=None, message=message, weight=-counts[label])


def one_sided_labels(path: str, train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Labels that one of the two parts does not have."""
    there, here = _count_labels(train), _count_labels(dev)
    for kind, counts, others in ((Kind.ONLY_IN_DEV, here, there), (Kind.ONLY_IN_TRAIN, there, here)):
        for label, n in counts.most_common():
            if train and dev and not others[label]:
                message = f"{label}: {_spans(n)}, none in {'train' if others is there else 'dev'}"
                yield Finding(kind=kind, path=path, line=None, message=message, weight=n)


def shifts(path: str, train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Labels whose share of all entities is clearly higher or lower in dev than in train."""
    there, here = _count_labels(train), _count_labels(dev)
    for label in there.keys() & here.keys():
        before, after = there[label] / there.total(), here[label] / here.total()
        factor = max(before, after) / min(before, after)
        if factor >= _SHIFT and abs(after - before) > _DEVIATIONS * _deviation(there, here, label):
            message = f"{label} is {before:.1%} of the entities of train, and {after:.1%} of those of dev"
            yield Finding(kind=Kind.SHIFT, path=path, line=None, message=message, weight=factor)


def leaks(train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Dev sentences whose words are a training sentence: their scores say nothing about new text."""
    places = {sentence.words: sentence for sentence in train if len(sentence.words) >= _REPEAT_WORDS}
    for sentence in dev:
        other = places.get(sentence.words)
        if other is not None:
            message = f"also in train, at {other.path}:{other.line}"
            yield Finding(
                kind=Kind.LEAK,
                path=sentence.path,
                line=sentence.line,
                message=message,
                weight=float(len(sentence.words)),
                text=sentence.text,
            )


def seen_entities(path: str, train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """The share of dev entities whose words are an entity of train, as one finding."""
    known = surfaces(train)
    dev_surfaces = [" ".join(sentence.words[span.start : span.end]) for sentence in dev for span in sentence.spans]
    if known and dev_surfaces:
        share = sum(surface in known for surface in dev_surfaces) / len(dev_surfaces)
        message = f"{share:.1%} of {len(dev_surfaces):,}"
        yield Finding(kind=Kind.SEEN, path=path, line=None, message=message, weight=share)


def without_entities(parts: Mapping[str, Sequence[Sentence]]) -> Iterator[Finding]:
    """Parts, by their names, with no sentence without an entity; and files without any entity."""
    for name, sentences in parts.items():
        if len(sentences) >= _FEW_EXAMPLES and all(sentence.spans or sentence.unknown for sentence in sentences):
            message = f"all {len(sentences):,} sentences have one"
            yield Finding(kind=Kind.NO_NEGATIVES, path=name, line=None, message=message)
    by_file: dict[str, list[Sentence]] = {}
    for sentences in parts.values():
        for sentence in sentences:
            by_file.setdefault(sentence.path, []).append(sentence)
    for path, sentences in by_file.items():
        if not any(sentence.spans or sentence.unknown or sentence.misaligned for sentence in sentences):
            message = f"{len(sentences):,} sentences, every word O"
            yield Finding(kind=Kind.ONLY_OUTSIDE, path=path, line=None, message=message, weight=len(sentences))


def _deviation(there: Counter[str], here: Counter[str], label: str) -> float:
    """The standard deviation of the difference of two shares, were they the same in truth."""
    n, m = there.total(), here.total()
    share = (there[label] + here[label]) / (n + m)
    return float((share * (1 - share) * (1 / n + 1 / m)) ** 0.5)


def _count_labels(sentences: Sequence[Sentence]) -> Counter[str]:
    return Counter(span.label for sentence in sentences for span in sentence.spans)


def _spans(n: int) -> str:
    return "1 span" if n == 1 else f"{n:,} spans"
