"""What looks wrong in annotated sentences. Each function reads sentences of one corpus once and yields its findings.

None of this is proof. It is where a person who has ten minutes for the data should look first.
"""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from model.spans import Span
from training.align import Sentence
from training.check_report import Finding, Kind

_FEW_EXAMPLES = 20
"""A label with fewer spans in train is hardly learnt."""
_REPEAT_WORDS = 5
"""Shorter sentences repeat by nature ("Thank you very much")."""
_MINORITY = 0.1
"""A surface that has another label, or none, in at most this share of its places is suspicious in those."""
_USUAL = 5
"""How often a surface must be marked before its being unmarked elsewhere says anything."""
_LONG_SENTENCE = 200
_LONG_SPAN = 15
_EDGES = re.compile(r"^[,;:.!?)\]}]|[,;:(\[{]$")
_MOJIBAKE = re.compile("Ã[\x80-\xbf]|â€|Â[\xa0-\xbf]")
_HARMLESS = "\u200c\u200d"
"""Joiners: part of emoji, and of words in several scripts."""


def few_examples(name: str, path: str, labels: Sequence[str], train: Sequence[Sentence]) -> Iterator[Finding]:
    """Labels that are rare or absent in train."""
    counts = Counter(span.label for sentence in train for span in sentence.spans)
    for label in labels:
        if counts[label] < _FEW_EXAMPLES:
            message = f"{label} has {counts[label]} spans in the training data of {name}"
            yield Finding(kind=Kind.NO_EXAMPLES, path=path, line=None, message=message, weight=-counts[label])


def repeats(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Sentences that occur before with the same words: marked alike they are duplicates, otherwise contradictions."""
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


def leaks(train: Sequence[Sentence], dev: Sequence[Sentence]) -> Iterator[Finding]:
    """Dev sentences whose words are a training sentence: their scores say nothing about new text."""
    places = {sentence.words: sentence for sentence in train if len(sentence.words) >= _REPEAT_WORDS}
    for sentence in dev:
        other = places.get(sentence.words)
        if other is not None:
            message = f"also in train, at {other.path}:{other.line}"
            yield _finding(Kind.LEAK, sentence, message, float(len(sentence.words)))


def other_labels(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Spans whose words have another label nearly everywhere else."""
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        for span in sentence.spans:
            labels[_surface(sentence, span)][span.label] += 1
    for sentence in sentences:
        for span in sentence.spans:
            surface = _surface(sentence, span)
            counts = labels[surface]
            usual, n_usual = counts.most_common(1)[0]
            if usual != span.label and counts[span.label] <= _MINORITY * counts.total():
                message = f"{surface!r} is {span.label} here, and {usual} {n_usual:,} times"
                yield _finding(Kind.OTHER_LABEL, sentence, message, n_usual / counts[span.label])


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
    """Spans of several words that begin or end with punctuation, or are very long."""
    for sentence in sentences:
        for span in sentence.spans:
            n_words = span.end - span.start
            surface = _surface(sentence, span)
            if n_words > 1 and _EDGES.search(surface):
                yield _finding(Kind.EDGE, sentence, f"{span.label} {surface!r}")
            elif n_words > _LONG_SPAN:
                yield _finding(Kind.EDGE, sentence, f"{span.label} of {n_words} words", float(n_words))


def long_sentences(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Sentences so long that a blank line may be missing."""
    for sentence in sentences:
        if len(sentence.words) > _LONG_SENTENCE:
            message = f"{len(sentence.words):,} words; is the end of a sentence missing?"
            yield _finding(Kind.LENGTH, sentence, message, float(len(sentence.words)))


def odd_characters(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Characters that do not print, replacement characters and UTF-8 read as Latin-1: each with its first place."""
    counts: Counter[str] = Counter()
    first: dict[str, Sentence] = {}
    for sentence in sentences:
        text = sentence.text
        if text.isprintable() and "\ufffd" not in text and not _MOJIBAKE.search(text):
            continue
        odd = [character for character in text if _is_odd(character)] + _MOJIBAKE.findall(text)
        counts.update(odd)
        for item in odd:
            first.setdefault(item, sentence)
    for item, n in counts.items():
        name = _character_name(item) if len(item) == 1 else f"{item!r}, which looks like UTF-8 read as Latin-1"
        yield _finding(Kind.CHARACTER, first[item], f"{name}: {_times(n)}, first here", float(n))


def _is_odd(character: str) -> bool:
    return character == "\ufffd" or not (character.isprintable() or character in _HARMLESS)


def _character_name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, 'control or unassigned character')}"


def _free_matches(
    sentence: Sentence, usual: dict[tuple[str, ...], int], lengths: dict[str, set[int]]
) -> Iterator[tuple[str, ...]]:
    """Yield the usual surfaces in a sentence, the longest at each place, that touch no span and no unknown word."""
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


def _finding(kind: Kind, sentence: Sentence, message: str, weight: float = 1.0) -> Finding:
    return Finding(kind=kind, path=sentence.path, line=sentence.line, message=message, weight=weight)
