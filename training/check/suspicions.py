"""What looks wrong in annotated sentences, and when train and dev are compared.

None of this is proof. It is where a person who has ten minutes for the data should look first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from teddy.model.tags.spans import Span
from teddy.training.check.kinds import Kind
from teddy.training.check.report import Example, Finding, marked
from teddy.training.data.align import Sentence
from teddy.training.evaluation.evaluate import surfaces

_REPEAT_WORDS = 5
"""Shorter sentences repeat by nature ("Thank you very much")."""
_MINORITY = 0.1
"""A surface that has another label, or none, in at most this share of its places is suspicious in
those."""
_USUAL = 5
"""How often a surface must be marked before its being unmarked elsewhere says anything."""
_LONG_SENTENCE = 200
_LONG_SPAN = 15
_EDGES = re.compile(r"^[,;:.!?)\]}]|[,;:(\[{]$")
_NOTHING_BUT_PUNCTUATION = re.compile(r"[\W_]+")

_FEW_EXAMPLES = 20
"""A label with fewer spans in train is hardly learnt."""
_SHIFT = 1.5
"""A label whose share of the entities differs by this factor, beyond what chance makes, has
shifted."""
_DEVIATIONS = 3.0
"""What chance makes: so many standard deviations of a difference of two shares."""


def repeats(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield sentences whose words occur before: duplicates, or contradictions if marked apart."""
    first: dict[tuple[str, ...], Sentence] = {}
    for sentence in sentences:
        other = first.setdefault(sentence.words, sentence)
        if other is sentence:
            continue
        place = f"{other.path}:{other.line}"
        if other.spans != sentence.spans and len(sentence.words) > 1:
            here, there = _only_in(sentence, other), _only_in(other, sentence)
            message = f"{here} here, {there} at {place}"
            yield _finding(Kind.CONTRADICTION, sentence, message, float(len(sentence.words)))
        elif len(sentence.words) >= _REPEAT_WORDS:
            yield _finding(Kind.DUPLICATE, sentence, f"as at {place}", float(len(sentence.words)))


def other_labels(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield surfaces with two labels: the rare label's spans, or the surface if none is rare."""
    places: defaultdict[str, defaultdict[str, list[Example]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for sentence in sentences:
        for span in sentence.spans:
            places[_surface(sentence, span)][span.label].append(_example(sentence, span))
    for surface, by_label in places.items():
        (usual, usual_places), *others = sorted(by_label.items(), key=lambda item: -len(item[1]))
        total = sum(map(len, by_label.values()))
        rare = [
            (label, examples) for label, examples in others if len(examples) <= _MINORITY * total
        ]
        for label, examples in rare:
            yield from _minority(surface, label, examples, usual, usual_places)
        if others and len(rare) < len(others):
            yield _two_ways(surface, {usual: usual_places, **dict(others)})


def _minority(
    surface: str,
    label: str,
    examples: Sequence[Example],
    usual: str,
    usual_places: Sequence[Example],
) -> Iterator[Finding]:
    message = f"{surface!r} is {label} here, and {usual} {_times(len(usual_places))}"
    for example in examples:
        yield Finding(
            kind=Kind.OTHER_LABEL,
            path=example.path,
            line=example.line,
            message=message,
            weight=len(usual_places) / len(examples),
            text=example.text,
            given=example.given,
            examples=(example, usual_places[0]),
        )


def _two_ways(surface: str, by_label: dict[str, list[Example]]) -> Finding:
    counts = ", ".join(f"{label} {_times(len(examples))}" for label, examples in by_label.items())
    first, second, *_ = by_label.values()
    return Finding(
        kind=Kind.TWO_WAYS,
        path=second[0].path,
        line=second[0].line,
        message=f"{surface!r} is {counts}",
        weight=float(len(second)),
        examples=(first[0], second[0]),
    )


def unmarked(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Words that are a span nearly everywhere else, and are in none here."""
    marked = Counter(_words_of(sentence, span) for sentence in sentences for span in sentence.spans)
    usual = {words: n for words, n in marked.items() if n >= _USUAL}
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for words in usual:
        lengths[words[0]].add(len(words))
    places: defaultdict[tuple[str, ...], list[Sentence]] = defaultdict(list)
    for sentence in sentences:
        for words in _free_matches(sentence, usual, lengths):
            places[words].append(sentence)
    for words, found in places.items():
        if len(found) <= _MINORITY * (usual[words] + len(found)):
            message = f"{' '.join(words)!r} is marked {usual[words]:,} times, and not here"
            for sentence in found:
                yield _finding(Kind.UNMARKED, sentence, message, usual[words] / len(found))


def odd_spans(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield spans that are only punctuation, begin or end with it, or are very long."""
    for sentence in sentences:
        for span in sentence.spans:
            n_words = span.end - span.start
            surface = _surface(sentence, span)
            if (n_words > 1 and _EDGES.search(surface)) or _NOTHING_BUT_PUNCTUATION.fullmatch(
                surface
            ):
                yield _finding(Kind.EDGE, sentence, f"{span.label} {surface!r}", given=span)
            elif n_words > _LONG_SPAN:
                yield _finding(
                    Kind.EDGE, sentence, f"{span.label} of {n_words} words", float(n_words), span
                )


def long_sentences(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Sentences so long that a blank line may be missing."""
    for sentence in sentences:
        if len(sentence.words) > _LONG_SENTENCE:
            message = f"{len(sentence.words):,} words; is the end of a sentence missing?"
            yield _finding(Kind.LENGTH, sentence, message, float(len(sentence.words)))


def _free_matches(
    sentence: Sentence, usual: dict[tuple[str, ...], int], lengths: dict[str, set[int]]
) -> Iterator[tuple[str, ...]]:
    """Yield the usual surfaces, the longest first, that touch no span and no unknown word."""
    taken = {word for span in sentence.spans for word in range(span.start, span.end)}
    taken.update(word for start, end in sentence.unknown for word in range(start, end))
    for start, word in enumerate(sentence.words):
        for length in sorted(lengths.get(word, ()), reverse=True):
            words = sentence.words[start : start + length]
            place = range(start, start + length)
            if words in usual and taken.isdisjoint(place):
                taken.update(place)
                yield words
                break


def _surface(sentence: Sentence, span: Span) -> str:
    return sentence.text[sentence.offsets[span.start][0] : sentence.offsets[span.end - 1][1]]


def _words_of(sentence: Sentence, span: Span) -> tuple[str, ...]:
    return sentence.words[span.start : span.end]


def _only_in(sentence: Sentence, other: Sentence) -> str:
    """Describe up to three spans that the other sentence, of the same words, does not have."""
    spans = [span for span in sentence.spans if span not in other.spans]
    described = [f"{span.label} {_surface(sentence, span)!r}" for span in spans[:3]]
    return ", ".join(described + ["..."] * (len(spans) > len(described))) or "nothing"


def _times(n: int) -> str:
    return "once" if n == 1 else f"{n:,} times"


def _example(sentence: Sentence, span: Span) -> Example:
    return Example(
        path=sentence.path, line=sentence.line, text=sentence.text, given=marked(sentence, span)
    )


def _finding(
    kind: Kind, sentence: Sentence, message: str, weight: float = 1.0, given: Span | None = None
) -> Finding:
    return Finding(
        kind=kind,
        path=sentence.path,
        line=sentence.line,
        message=message,
        weight=weight,
        text=sentence.text,
        given=None if given is None else marked(sentence, given),
    )


def few_examples(
    name: str, path: str, labels: Sequence[str], train: Sequence[Sentence]
) -> Iterator[Finding]:
    """Labels that are rare or absent in train."""
    counts = _count_labels(train)
    for label in labels:
        if counts[label] < _FEW_EXAMPLES:
            kind = Kind.NO_EXAMPLES if counts[label] else Kind.NO_TRAIN_EXAMPLES
            message = f"{label} has {_spans(counts[label])} in the training data of {name}"
            yield Finding(kind=kind, path=path, line=None, message=message, weight=-counts[label])


def one_sided_labels(
    path: str, train: Sequence[Sentence], dev: Sequence[Sentence]
) -> Iterator[Finding]:
    """Labels that one of the two parts does not have."""
    there, here = _count_labels(train), _count_labels(dev)
    for kind, counts, others in (
        (Kind.ONLY_IN_DEV, here, there),
        (Kind.ONLY_IN_TRAIN, there, here),
    ):
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
            message = (
                f"{label} is {before:.1%} of the entities of train, and {after:.1%} of those of dev"
            )
            yield Finding(kind=Kind.SHIFT, path=path, line=None, message=message, weight=factor)


def leaks(train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield dev sentences that are also in train: their scores say nothing of new text."""
    places = {
        sentence.words: sentence for sentence in train if len(sentence.words) >= _REPEAT_WORDS
    }
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


def seen_entities(
    path: str, train: Sequence[Sentence], dev: Sequence[Sentence]
) -> Iterator[Finding]:
    """Yield the share of dev entities whose words are an entity of train, as one finding."""
    known = surfaces(train)
    dev_surfaces = [
        " ".join(sentence.words[span.start : span.end])
        for sentence in dev
        for span in sentence.spans
    ]
    if known and dev_surfaces:
        share = sum(surface in known for surface in dev_surfaces) / len(dev_surfaces)
        message = f"{share:.1%} of {len(dev_surfaces):,}"
        yield Finding(kind=Kind.SEEN, path=path, line=None, message=message, weight=share)


def without_entities(parts: Mapping[str, Sequence[Sentence]]) -> Iterator[Finding]:
    """Parts, by their names, with no sentence without an entity; and files without any entity."""
    for name, sentences in parts.items():
        if len(sentences) >= _FEW_EXAMPLES and all(
            sentence.spans or sentence.unknown for sentence in sentences
        ):
            message = f"all {len(sentences):,} sentences have one"
            yield Finding(kind=Kind.NO_NEGATIVES, path=name, line=None, message=message)
    by_file: dict[str, list[Sentence]] = {}
    for sentences in parts.values():
        for sentence in sentences:
            by_file.setdefault(sentence.path, []).append(sentence)
    for path, sentences in by_file.items():
        if not any(
            sentence.spans or sentence.unknown or sentence.misaligned for sentence in sentences
        ):
            message = f"{len(sentences):,} sentences, every word O"
            yield Finding(
                kind=Kind.ONLY_OUTSIDE, path=path, line=None, message=message, weight=len(sentences)
            )


def _deviation(there: Counter[str], here: Counter[str], label: str) -> float:
    """Return the standard deviation of the difference of two equal shares."""
    n, m = there.total(), here.total()
    share = (there[label] + here[label]) / (n + m)
    return float((share * (1 - share) * (1 / n + 1 / m)) ** 0.5)


def _count_labels(sentences: Sequence[Sentence]) -> Counter[str]:
    return Counter(span.label for sentence in sentences for span in sentence.spans)


def _spans(n: int) -> str:
    return "1 span" if n == 1 else f"{n:,} spans"
