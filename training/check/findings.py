"""What looks wrong in annotated sentences, and when train and dev are compared.

None of this is proof: it is where to look first.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath

from teddy.model.errors import counted
from teddy.model.tags.spans import Span
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
_HALF_MARKED = 0.2
"""Words that are marked in a smaller share of their places mean something else in the others."""
_STRETCH = 10
_UNLIKELY = 0.001
"""Chance makes so few of such stretches that one is worth a look."""
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
    for words, label, n_marked, found in _bare_places(sentences):
        if len(found) <= _MINORITY * (n_marked + len(found)):
            message = f"{' '.join(words)!r} is marked {n_marked:,} times, and not here"
            for sentence, start in found:
                yield finding_in(
                    sentence,
                    FindingKind.UNMARKED,
                    message,
                    n_marked / len(found),
                    proposed=Span(start, start + len(words), label),
                )


def half_marked(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield words that are a span in some places, and in about as many or more are not."""
    for words, label, n_marked, found in _bare_places(sentences):
        total = n_marked + len(found)
        if _MINORITY * total < len(found) <= (1 - _HALF_MARKED) * total:
            sentence, start = found[0]
            yield finding_in(
                sentence,
                FindingKind.HALF_MARKED,
                f"{' '.join(words)!r} is marked {times(n_marked)}, and not marked "
                f"{times(len(found))} of {total:,}, first here",
                float(min(n_marked, len(found))),
                proposed=Span(start, start + len(words), label),
            )


def bare_stretches(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield runs of sentences of one file without an entity that chance would hardly make."""
    n_bare = sum(_is_bare(each) for each in sentences)
    for _, group in groupby(sentences, key=lambda each: (each.path, _is_bare(each))):
        run = [*group]
        if len(run) < _STRETCH or not _is_bare(run[0]):
            continue
        # Of the sentences outside the run, so many are bare; with one more of each, never all.
        share = (n_bare - len(run) + 1) / (len(sentences) - len(run) + 2)
        if len(sentences) * share ** len(run) < _UNLIKELY:
            message = (
                f"{len(run):,} sentences without an entity, to line {run[-1].line:,}; of the "
                f"others {1 - share:.0%} have one"
            )
            yield finding_in(run[0], FindingKind.BARE_STRETCH, message, float(len(run)))


def _is_bare(sentence: Sentence) -> bool:
    return not (sentence.spans or sentence.unknown or sentence.misaligned)


def _bare_places(
    sentences: Sequence[Sentence],
) -> Iterator[tuple[tuple[str, ...], str, int, list[tuple[Sentence, int]]]]:
    """Yield words that are often a span: their usual label, how often, and where they are in none.

    A place is a sentence and the first of the words in it.
    """
    labels: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for span in sentence.spans:
            labels[sentence.words[span.start : span.end]][span.label] += 1
    marked = {words: counts.total() for words, counts in labels.items()}
    usual = {words: n for words, n in marked.items() if n >= _USUAL}
    lengths: defaultdict[str, set[int]] = defaultdict(set)
    for words in usual:
        lengths[words[0]].add(len(words))
    places: defaultdict[tuple[str, ...], list[tuple[Sentence, int]]] = defaultdict(list)
    for sentence in sentences:
        for words, start in _free_matches(sentence, usual, lengths):
            places[words].append((sentence, start))
    for words, found in places.items():
        yield words, labels[words].most_common(1)[0][0], usual[words], found


def _free_matches(
    sentence: Sentence, usual: dict[tuple[str, ...], int], lengths: dict[str, set[int]]
) -> Iterator[tuple[tuple[str, ...], int]]:
    """Yield the usual surfaces, the longest first, that touch no span and no unknown word."""
    taken = {word for span in sentence.spans for word in range(span.start, span.end)}
    taken.update(word for start, end in sentence.unknown for word in range(start, end))
    for start, word in enumerate(sentence.words):
        for length in sorted(lengths.get(word, ()), reverse=True):
            words = sentence.words[start : start + length]
            place = range(start, start + length)
            if words in usual and taken.isdisjoint(place):
                taken.update(place)
                yield words, start
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
    long = [each for each in train if len(each.words) >= _REPEAT_WORDS]
    places = {each.words: each for each in long}
    folded = {_folded(each): each for each in long}
    for sentence in dev:
        if other := places.get(sentence.words) or folded.get(_folded(sentence)):
            case = "" if other.words == sentence.words else ", in another case"
            message = f"also in train, at {other.path}:{other.line}{case}"
            yield finding_in(sentence, FindingKind.LEAK, message, float(len(sentence.words)))


def _folded(sentence: Sentence) -> tuple[str, ...]:
    return tuple(word.casefold() for word in sentence.words)


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
            # A text of brat may have none; the folder is what other formats have in a file.
            file = PurePath(sentence.path)
            by_file[str(file.parent if file.suffix == ".ann" else file)].append(sentence)
    for path, sentences in by_file.items():
        if not any(each.spans or each.unknown or each.misaligned for each in sentences):
            message, n = f"{counted(len(sentences), 'sentence')}, every word O", len(sentences)
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
