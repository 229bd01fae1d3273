"""Checks of texts and spans as the files have them: odd characters, white space, crossing spans."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.check.findings import times
from teddy.training.check.report import Finding, finding_in
from teddy.training.data.align import Sentence
from teddy.training.data.readers import Example

# UTF-8 read as Latin-1 or Windows-1252: the lead byte of a Latin, Greek or Cyrillic letter, or of
# punctuation, followed by what such a reading makes of the next byte. Letters that stand so in a
# word of a real language are not among them.
_CONTINUED = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # noqa: RUF001
_MOJIBAKE = re.compile(f"[ÃÎÏÐÑ]{_CONTINUED}|â€.|Â[\xa0-\xbf]|ï¿½|ï»¿")
_INVISIBLE = {
    *map(chr, (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))),
    *"\u00ad\u200b\u2060\ufeff\u180e",
}
"""Direction marks; soft hyphen, zero-width space, word joiner, byte-order mark inside the text,
Mongolian vowel separator."""
_HARMLESS = {"\u200c", "\u200d"}
"""Joiners: part of emoji, and of words in several scripts."""
_MIXABLE = ("LATIN", "CYRILLIC", "GREEK")
"""Scripts whose letters look alike. Japanese, say, mixes three in a word by right."""

_GLUED_SHARE = 0.05
"""Where more sentences than these hold several, the corpus is divided by another rule."""
_ENDS = re.compile(r"[.!?。！？]")  # noqa: RUF001
"""Where there is none, no sentence ends inside a span."""


def odd_characters(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield wrong decodings, mixed scripts, and characters that are invisible or not in NFC."""
    for kind, find, message in (
        (FindingKind.MOJIBAKE, _wrongly_decoded, "{!r}, which looks like UTF-8 read as Latin-1"),
        (FindingKind.MIXED_SCRIPT, _mixed, "{!r}, which has {scripts}"),
        (FindingKind.INVISIBLE, _invisible, "{name}"),
        (FindingKind.NOT_NORMALISED, _not_normalised, "{!r}, which NFC writes otherwise"),
        (FindingKind.CHARACTER, _unprintable, "{name}"),
    ):
        yield from _each_once(sentences, kind, find, message)


def byte_order_marks(paths: Sequence[Path]) -> Iterator[Finding]:
    """Yield files with a byte-order mark, which other programs may take for a letter."""
    for path in paths:
        with path.open("rb") as file:
            if file.read(3) == b"\xef\xbb\xbf":
                message = "the file begins with a byte-order mark"
                yield Finding(FindingKind.INVISIBLE, str(path), 1, message)


def _each_once(
    sentences: Sequence[Sentence],
    kind: FindingKind,
    find: Callable[[Sentence], Sequence[str]],
    message: str,
) -> Iterator[Finding]:
    counts: Counter[str] = Counter()
    first: dict[str, Sentence] = {}
    for sentence in sentences:
        for item in find(sentence):
            counts[item] += 1
            first.setdefault(item, sentence)
    for item, n in counts.items():
        scripts = " and ".join(script.capitalize() for script in _scripts(item))
        code, unnamed = f"U+{ord(item[0]):04X}", "control or unassigned character"
        name = f"{code} {unicodedata.name(item[0], unnamed)}"
        found = message.format(item, name=name, scripts=scripts)
        finding = finding_in(first[item], kind, f"{found}: {times(n)}, first here", float(n))
        yield replace(finding, at=first[item].text.find(item))


def _wrongly_decoded(sentence: Sentence) -> list[str]:
    return [] if sentence.text.isascii() else _MOJIBAKE.findall(sentence.text)


def _mixed(sentence: Sentence) -> list[str]:
    if sentence.text.isascii():
        return []
    return [word for word in sentence.words if not word.isascii() and len(_scripts(word)) > 1]


@lru_cache(maxsize=65536)
def _scripts(word: str) -> tuple[str, ...]:
    """Return the look-alike scripts of the letters of a word, in order."""
    found = (unicodedata.name(letter, "").partition(" ")[0] for letter in word if letter.isalpha())
    return tuple(dict.fromkeys(script for script in found if script in _MIXABLE))


def _invisible(sentence: Sentence) -> list[str]:
    if sentence.text.isascii():
        return []
    return [character for character in sentence.text if character in _INVISIBLE]


def _not_normalised(sentence: Sentence) -> list[str]:
    if unicodedata.is_normalized("NFC", sentence.text):
        return []
    return [word for word in sentence.words if not unicodedata.is_normalized("NFC", word)]


def _unprintable(sentence: Sentence) -> list[str]:
    if sentence.text.isprintable() and "\ufffd" not in sentence.text:
        return []
    known = _HARMLESS | _INVISIBLE
    return [
        character
        for character in sentence.text
        if character == "\ufffd" or not (character.isprintable() or character in known)
    ]


def white_space(examples: Sequence[Example]) -> Iterator[Finding]:
    """Yield spans that begin or end with white space; a span of nothing else comes first."""
    for example in examples:
        for span, line in zip(example.spans, example.span_lines, strict=True):
            surface = example.text[span.start : span.end]
            if surface != surface.strip():
                weight, message = 1.0 if surface.strip() else 2.0, f"{span.label} {surface!r}"
                yield Finding(FindingKind.WHITE_SPACE, example.path, line, message, weight)


def crossing(examples: Sequence[Example], tokeniser: Tokeniser) -> Iterator[Finding]:
    """Yield entities of documents that reach over the end of a sentence by the splitter."""
    for example in examples:
        suspects = [
            (span, line)
            for span, line in zip(example.spans, example.span_lines, strict=True)
            if _ENDS.search(example.text, span.start, span.end)
        ]
        if example.is_sentence or not suspects:
            continue
        starts, ends, _ = tokeniser.split_words(example.text)
        sentences = split_sentences(example.text, Offsets(starts, ends))
        begins = [starts[first] for first, last in sentences if first < last]
        for span, line in suspects:
            if any(span.start < begin < span.end for begin in begins):
                message = f"{span.label} {example.text[span.start : span.end]!r}"
                weight, place = float(span.end - span.start), (example.path, line)
                yield Finding(FindingKind.CROSSING, *place, message, weight, example.text, span)


def glued(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield sentences in which the splitter finds the end of one, where few sentences have any."""
    found: list[tuple[Sentence, int]] = []
    for sentence in sentences:
        if not _ENDS.search(sentence.text):
            continue
        parts = split_sentences(sentence.text, Offsets.of(sentence.offsets))
        inner = [first for first, _ in parts[1:] if min(first, len(sentence.words) - first) > 1]
        if inner:
            found.append((sentence, inner[0]))
    if len(found) > _GLUED_SHARE * len(sentences):
        return
    for sentence, first in found:
        start, end = sentence.offsets[first]
        message = f"a sentence seems to begin at {sentence.text[start:end]!r}"
        n_words = float(len(sentence.words))
        yield replace(finding_in(sentence, FindingKind.GLUED, message, n_words), at=start)


def empty_examples(examples: Sequence[Example], tokeniser: Tokeniser) -> Iterator[Finding]:
    """Yield documents, or rows of a table of texts, without a word."""
    for example in examples:
        if not tokeniser.offsets(example.text):
            message = f"{example.text[:40]!r}"
            yield Finding(FindingKind.EMPTY, example.path, example.line, message)
