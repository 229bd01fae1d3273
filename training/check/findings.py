"""What looks wrong in annotated sentences, and when train and dev are compared.

None of this is proof: it is where to look first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.report import Example, Finding, finding_in
from teddy.training.data.align import Sentence
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.evaluate import in_characters, surface_of, surfaces

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
        place, n_words = f"{other.path}:{other.line}", len(sentence.words)
        if other.spans != sentence.spans and n_words > 1:
            message = f"{_only_in(sentence, other)} here, {_only_in(other, sentence)} at {place}"
            yield finding_in(sentence, FindingKind.CONTRADICTION, message, float(n_words))
        elif n_words >= _REPEAT_WORDS:
            yield finding_in(sentence, FindingKind.DUPLICATE, f"as at {place}", float(n_words))


def other_labels(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield surfaces with two labels: the rare label's spans, or the surface if none is rare."""
    places: defaultdict[str, defaultdict[str, list[Example]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for sentence in sentences:
        for span in sentence.spans:
            given = in_characters(sentence, span)
            example = Example(sentence.path, sentence.line, sentence.text, given)
            places[surface_of(sentence, span)][span.label].append(example)
    for surface, by_label in places.items():
        (usual, usual_places), *others = sorted(by_label.items(), key=lambda item: -len(item[1]))
        total = sum(map(len, by_label.values()))
        rare = [(label, found) for label, found in others if len(found) <= _MINORITY * total]
        for label, found in rare:
            message = f"{surface!r} is {label} here, and {usual} {times(len(usual_places))}"
            for example in found:
                yield Finding(
                    FindingKind.OTHER_LABEL,
                    example.path,
                    example.line,
                    message,
                    len(usual_places) / len(found),
                    example.text,
                    example.given,
                    examples=(example, usual_places[0]),
                )
        if len(rare) < len(others):
            yield _two_ways(surface, {usual: usual_places, **dict(others)})


def _two_ways(surface: str, by_label: dict[str, list[Example]]) -> Finding:
    counts = ", ".join(f"{label} {times(len(examples))}" for label, examples in by_label.items())
    first, second, *_ = by_label.values()
    examples = (first[0], second[0])
    place, message = (second[0].path, second[0].line), f"{surface!r} is {counts}"
    return Finding(FindingKind.TWO_WAYS, *place, message, float(len(second)), examples=examples)


def unmarked(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield words that are a span nearly everywhere else, and are in none here."""
    marked = Counter(
        sentence.words[span.start : span.end] for sentence in sentences for span in sentence.spans
    )
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
                weight = usual[words] / len(found)
                yield finding_in(sentence, FindingKind.UNMARKED, message, weight)


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


def odd_spans(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield spans that are only punctuation, begin or end with it, or are very long."""
    for sentence in sentences:
        for span in sentence.spans:
            n_words, surface = span.end - span.start, surface_of(sentence, span)
            has_odd_edge = n_words > 1 and _EDGES.search(surface)
            if has_odd_edge or _NOTHING_BUT_PUNCTUATION.fullmatch(surface):
                message, weight = f"{span.label} {surface!r}", 1.0
            elif n_words > _LONG_SPAN:
                message, weight = f"{span.label} of {n_words} words", float(n_words)
            else:
                continue
            yield finding_in(sentence, FindingKind.EDGE, message, weight, span)


def long_sentences(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield sentences so long that a blank line may be missing."""
    for sentence in sentences:
        n_words = len(sentence.words)
        if n_words > _LONG_SENTENCE:
            message = f"{n_words:,} words; is the end of a sentence missing?"
            yield finding_in(sentence, FindingKind.LENGTH, message, float(n_words))


def _only_in(sentence: Sentence, other: Sentence) -> str:
    """Describe up to three spans that the other sentence, of the same words, does not have."""
    spans = [span for span in sentence.spans if span not in other.spans]
    described = [f"{span.label} {surface_of(sentence, span)!r}" for span in spans[:3]]
    return ", ".join(described + ["..."] * (len(spans) > len(described))) or "nothing"


def times(n: int) -> str:
    """Return how often something occurs, in words."""
    return "once" if n == 1 else f"{n:,} times"


def few_examples(
    name: str, path: str, labels: Sequence[str], train: Sequence[Sentence]
) -> Iterator[Finding]:
    """Yield labels that are rare or absent in train."""
    counts = _count_labels(train)
    for label in labels:
        n = counts[label]
        if n < _FEW_EXAMPLES:
            kind = FindingKind.NO_EXAMPLES if n else FindingKind.NO_TRAIN_EXAMPLES
            yield Finding(
                kind, path, None, f"{label} has {_spans(n)} in the training data of {name}", -n
            )


def one_sided_labels(
    path: str, train: Sequence[Sentence], dev: Sequence[Sentence]
) -> Iterator[Finding]:
    """Yield labels that one of the two parts does not have."""
    there, here = _count_labels(train), _count_labels(dev)
    if not (train and dev):
        return
    for kind, counts, others, lacking in (
        (FindingKind.ONLY_IN_DEV, here, there, "train"),
        (FindingKind.ONLY_IN_TRAIN, there, here, "dev"),
    ):
        for label, n in counts.most_common():
            if not others[label]:
                yield Finding(kind, path, None, f"{label}: {_spans(n)}, none in {lacking}", n)


def shifts(path: str, train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield labels whose share of the entities is clearly higher or lower in dev than in train."""
    there, here = _count_labels(train), _count_labels(dev)
    n, m = there.total(), here.total()
    for label in there.keys() & here.keys():
        before, after = there[label] / n, here[label] / m
        factor = max(before, after) / min(before, after)
        # The standard deviation of the difference of two shares, if both are the same.
        share = (there[label] + here[label]) / (n + m)
        deviation = (share * (1 - share) * (1 / n + 1 / m)) ** 0.5
        if factor >= _SHIFT and abs(after - before) > _DEVIATIONS * deviation:
            shares = f"{before:.1%} of the entities of train, and {after:.1%} of those of dev"
            yield Finding(FindingKind.SHIFT, path, None, f"{label} is {shares}", factor)


def leaks(train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield dev sentences that are also in train: their scores say nothing of new text."""
    places = {each.words: each for each in train if len(each.words) >= _REPEAT_WORDS}
    for sentence in dev:
        if other := places.get(sentence.words):
            message = f"also in train, at {other.path}:{other.line}"
            yield finding_in(sentence, FindingKind.LEAK, message, float(len(sentence.words)))


def seen_entities(
    path: str, train: Sequence[Sentence], dev: Sequence[Sentence]
) -> Iterator[Finding]:
    """Yield the share of dev entities whose words are an entity of train, as one finding."""
    known = surfaces(train)
    found = [
        " ".join(sentence.words[span.start : span.end])
        for sentence in dev
        for span in sentence.spans
    ]
    if known and found:
        share = sum(surface in known for surface in found) / len(found)
        yield Finding(FindingKind.SEEN, path, None, f"{share:.1%} of {len(found):,}", share)


def without_entities(parts: Mapping[str, Sequence[Sentence]]) -> Iterator[Finding]:
    """Yield parts in which every sentence has an entity, and files without any entity."""
    by_file: defaultdict[str, list[Sentence]] = defaultdict(list)
    for name, sentences in parts.items():
        n = len(sentences)
        if n >= _FEW_EXAMPLES and all(each.spans or each.unknown for each in sentences):
            yield Finding(FindingKind.NO_NEGATIVES, name, None, f"all {n:,} sentences have one")
        for sentence in sentences:
            by_file[sentence.path].append(sentence)
    for path, sentences in by_file.items():
        if not any(each.spans or each.unknown or each.misaligned for each in sentences):
            message, n = f"{len(sentences):,} sentences, every word O", len(sentences)
            yield Finding(FindingKind.ONLY_OUTSIDE, path, None, message, n)


def rules(path: str, corpora: Sequence[Corpus], n_shared: int) -> Iterator[Finding]:
    """Yield what each rule has changed, and the rules that have changed nothing.

    The last `n_shared` rules of each corpus are those of the recipe, which may be for some of the
    corpora only.
    """
    shared = [
        [corpus.rules[len(corpus.rules) - n_shared + number] for corpus in corpora]
        for number in range(n_shared)
    ]
    own = [[rule] for corpus in corpora for rule in corpus.rules[: len(corpus.rules) - n_shared]]
    for same in (*own, *shared):
        total = sum(rule.n_train + rule.n_dev for rule in same)
        if not total:
            where = f"{same[0].corpus}: " if len(same) == 1 else ""
            yield Finding(FindingKind.UNUSED_RULE, path, None, f"{where}{same[0].rule}")
        for rule in same:
            if n := rule.n_train + rule.n_dev:
                counts = f"{rule.n_train:,} in train, {rule.n_dev:,} in dev"
                message = f"{rule.corpus}: {rule.rule}: {counts}"
                yield Finding(FindingKind.RULE, path, None, message, float(n))


def _count_labels(sentences: Sequence[Sentence]) -> Counter[str]:
    return Counter(span.label for sentence in sentences for span in sentence.spans)


def _spans(n: int) -> str:
    return "1 span" if n == 1 else f"{n:,} spans"
