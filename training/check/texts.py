"""Checks of texts and spans as the files have them: odd characters, white space, crossing spans."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import tokenise
from teddy.training.check.kinds import Kind
from teddy.training.check.report import Finding, Marked
from teddy.training.data.align import Sentence
from teddy.training.data.readers import Example

# UTF-8 read as Latin-1 or Windows-1252: the lead byte of a Latin, Greek or Cyrillic letter, or of
# punctuation, followed by what such a reading makes of the next byte. Letters that stand so in a
# word of a real language are not among them.
_CONTINUED = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"  # noqa: RUF001
_MOJIBAKE = re.compile(f"[ÃÎÏÐÑ]{_CONTINUED}|â€.|Â[\xa0-\xbf]|ï¿½|ï»¿")
_BIDI = {
    chr(code) for code in (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
_ZERO_WIDTH = {"\u00ad", "\u200b", "\u2060", "\ufeff", "\u180e"}
"""Soft hyphen, zero-width space, word joiner, byte-order mark inside the text, Mongolian vowel
separator."""
_HARMLESS = {"\u200c", "\u200d"}
"""Joiners: part of emoji, and of words in several scripts."""
_MIXABLE = ("LATIN", "CYRILLIC", "GREEK")
"""Scripts whose letters look alike. Japanese, say, mixes three in a word by right."""

_ENDS = re.compile(r"[.!?。！？]")  # noqa: RUF001
"""Where there is none, no sentence ends inside a span."""


def odd_characters(sentences: Sequence[Sentence]) -> Iterator[Finding]:
    """Yield wrong decodings, mixed scripts, and characters that are invisible or not in NFC."""
    yield from _each_once(
        sentences, Kind.MOJIBAKE, _wrongly_decoded, "{!r}, which looks like UTF-8 read as Latin-1"
    )
    yield from _each_once(sentences, Kind.MIXED_SCRIPT, _mixed, "{!r}, which has {scripts}")
    yield from _each_once(sentences, Kind.INVISIBLE, _invisible, "{name}")
    yield from _each_once(
        sentences, Kind.NOT_NORMALISED, _not_normalised, "{!r}, which NFC writes otherwise"
    )
    yield from _each_once(sentences, Kind.CHARACTER, _unprintable, "{name}")


def byte_order_marks(paths: Sequence[str], starts: Sequence[bytes]) -> Iterator[Finding]:
    """Yield files with a byte-order mark, which other programs may take for a letter."""
    for path, start in zip(paths, starts, strict=True):
        if start.startswith(b"\xef\xbb\xbf"):
            yield Finding(
                kind=Kind.INVISIBLE,
                path=path,
                line=1,
                message="the file begins with a byte-order mark",
            )


def scripts_of(word: str) -> tuple[str, ...]:
    """Return the look-alike scripts of the letters of a word, in order."""
    found = (unicodedata.name(letter, "").partition(" ")[0] for letter in word if letter.isalpha())
    return tuple(dict.fromkeys(script for script in found if script in _MIXABLE))


def _each_once(
    sentences: Sequence[Sentence],
    kind: Kind,
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
        scripts = " and ".join(script.capitalize() for script in scripts_of(item))
        found = message.format(item, name=_name(item[0]), scripts=scripts)
        times = "once" if n == 1 else f"{n:,} times"
        place = first[item]
        yield Finding(
            kind=kind,
            path=place.path,
            line=place.line,
            message=f"{found}: {times}, first here",
            weight=float(n),
            text=place.text,
        )


def _wrongly_decoded(sentence: Sentence) -> list[str]:
    return [] if sentence.text.isascii() else _MOJIBAKE.findall(sentence.text)


def _mixed(sentence: Sentence) -> list[str]:
    if sentence.text.isascii():
        return []
    return [word for word in sentence.words if not word.isascii() and len(_scripts(word)) > 1]


_scripts = lru_cache(maxsize=65536)(scripts_of)


def _invisible(sentence: Sentence) -> list[str]:
    if sentence.text.isascii():
        return []
    return [
        character for character in sentence.text if character in _BIDI or character in _ZERO_WIDTH
    ]


def _not_normalised(sentence: Sentence) -> list[str]:
    if unicodedata.is_normalized("NFC", sentence.text):
        return []
    return [word for word in sentence.words if not unicodedata.is_normalized("NFC", word)]


def _unprintable(sentence: Sentence) -> list[str]:
    if sentence.text.isprintable() and "\ufffd" not in sentence.text:
        return []
    return [character for character in sentence.text if _does_not_print(character)]


def _does_not_print(character: str) -> bool:
    if character == "\ufffd":
        return True
    return not (
        character.isprintable()
        or character in _HARMLESS
        or character in _BIDI
        or character in _ZERO_WIDTH
    )


def _name(character: str) -> str:
    return (
        f"U+{ord(character):04X} {unicodedata.name(character, 'control or unassigned character')}"
    )


def white_space(examples: Sequence[Example]) -> Iterator[Finding]:
    """Spans that begin or end with white space; a span of nothing else comes first."""
    for example in examples:
        for span, line in zip(example.spans, example.span_lines, strict=True):
            surface = example.text[span.start : span.end]
            if surface != surface.strip():
                yield Finding(
                    kind=Kind.WHITE_SPACE,
                    path=example.path,
                    line=line,
                    message=f"{span.label} {surface!r}",
                    weight=1.0 if surface.strip() else 2.0,
                )


def crossing(examples: Sequence[Example]) -> Iterator[Finding]:
    """Entities of documents that reach over the end of a sentence, as the splitter sees it."""
    for example in examples:
        suspects = [
            (span, line)
            for span, line in zip(example.spans, example.span_lines, strict=True)
            if _ENDS.search(example.text, span.start, span.end)
        ]
        if example.is_sentence or not suspects:
            continue
        words = tokenise(example.text)
        begins = [
            words[first][0]
            for first, last in split_sentences(example.text, Offsets.of(words))
            if first < last
        ]
        for span, line in suspects:
            if any(span.start < begin < span.end for begin in begins):
                yield Finding(
                    kind=Kind.CROSSING,
                    path=example.path,
                    line=line,
                    message=f"{span.label} {example.text[span.start : span.end]!r}",
                    weight=float(span.end - span.start),
                    text=example.text,
                    given=Marked(start=span.start, end=span.end, label=span.label),
                )


def empty_examples(examples: Sequence[Example]) -> Iterator[Finding]:
    """Documents, or rows of a table of texts, without a word."""
    for example in examples:
        if not tokenise(example.text):
            yield Finding(
                kind=Kind.EMPTY,
                path=example.path,
                line=example.line,
                message=f"{example.text[:40]!r}",
            )
