"""Patterns of tokens as spaCy's EntityRuler has them: one description for each word.

    [{"LOWER": "new"}, {"ORTH": {"IN": ["York", "Orleans"]}}, {"IS_DIGIT": true, "OP": "?"}]

All attributes that a word has by itself are known; those that need a parser or a tagger (`POS`,
`LEMMA`, `DEP`, ...) are refused. A match has at most `MOST_WORDS` words.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from teddy.model.rules.dictionary import Found
from teddy.model.rules.patterns import import_re2

MOST_WORDS = 50
_COUNTS = {"1": (1, 1), "?": (0, 1), "+": (1, MOST_WORDS), "*": (0, MOST_WORDS)}
_braces = re.compile(r"\{(\d*)(,?)(\d*)\}").fullmatch

Test = Callable[[str], bool]


def _shape(word: str) -> str:
    """Return `Xxxx` for `Oslo`, and `dd` for `17`; of a run of one kind the first four."""
    kinds: list[str] = []
    for each in word:
        kind = "X" if each.isupper() else "x" if each.isalpha() else "d" if each.isdigit() else each
        if kinds[-4:] != [kind] * 4:
            kinds.append(kind)
    return "".join(kinds)


def _is_number(word: str) -> bool:
    plain = word.lstrip("+-~\u00b1").replace(",", "").replace(".", "")
    return plain.isdigit() or all(part.isdigit() for part in plain.split("/", 1))


def _is_punctuation(word: str) -> bool:
    return not any(each.isalnum() or each.isspace() for each in word)


_TEXTS: Mapping[str, Callable[[str], str]] = {
    "ORTH": str,
    "TEXT": str,
    "LOWER": str.lower,
    "NORM": str.lower,
    "SHAPE": _shape,
    "PREFIX": lambda word: word[:1],
    "SUFFIX": lambda word: word[-3:],
}
_FLAGS: Mapping[str, Test] = {
    "IS_ALPHA": str.isalpha,
    "IS_ASCII": str.isascii,
    "IS_DIGIT": str.isdigit,
    "IS_LOWER": str.islower,
    "IS_UPPER": str.isupper,
    "IS_TITLE": str.istitle,
    "IS_PUNCT": _is_punctuation,
    "LIKE_NUM": _is_number,
}


@dataclass(frozen=True, slots=True)
class _Word:
    """A description: what a word must pass, and how many words in a row."""

    tests: tuple[Test, ...]
    least: int
    most: int

    def fits(self, word: str) -> bool:
        """Tell whether a word passes all tests."""
        return all(test(word) for test in self.tests)


@dataclass(frozen=True, slots=True)
class _Pattern:
    words: tuple[_Word, ...]
    rule: int
    label: str
    id: str

    def ends(self, words: Sequence[str], start: int) -> set[int]:
        """Return where matches from `start` on may end."""
        ends: set[int] = set()
        # The state (k, n): the description k has fitted n words.
        states = self._closed({(0, 0)})
        for end in range(start, min(len(words), start + MOST_WORDS)):
            fitting = {
                (k, n + 1)
                for k, n in states
                if n < self.words[k].most and self.words[k].fits(words[end])
            }
            if not fitting:
                break
            states = self._closed(fitting)
            last = len(self.words) - 1
            if any(k == last and n >= self.words[k].least for k, n in states):
                ends.add(end + 1)
        return ends

    def _closed(self, states: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return the states, and those that follow without a word."""
        found, left = set(states), [*states]
        while left:
            k, n = left.pop()
            following = k + 1, 0
            if n >= self.words[k].least and k + 1 < len(self.words) and following not in found:
                found.add(following)
                left.append(following)
        return found


class TokenPatterns:
    """The patterns of tokens of all dictionaries."""

    def __init__(self) -> None:
        self._by_first: dict[str, list[_Pattern]] = {}
        """By the first word in small letters, where it must be one of a few."""
        self._others: list[_Pattern] = []
        self.n_patterns: dict[int, int] = {}

    def add(
        self, rule: int, description: Sequence[Mapping[str, Any]], label: str, entry_id: str
    ) -> None:
        """Add a pattern. Raises ValueError for one that is not understood."""
        words = tuple(map(_read_word, description))
        if not any(word.least for word in words):
            raise ValueError("a pattern that no word need be there for")
        pattern = _Pattern(words, rule, label, entry_id)
        self.n_patterns[rule] = self.n_patterns.get(rule, 0) + 1
        firsts = _literals(description[0]) if words[0].least else None
        if firsts is None:
            self._others.append(pattern)
        for first in firsts or ():
            self._by_first.setdefault(first, []).append(pattern)

    def find(self, words: Sequence[str]) -> Iterator[Found]:
        """Yield every match on the words of a text, also those that overlap."""
        if not self.n_patterns:
            return
        for start, word in enumerate(words):
            for pattern in (*self._by_first.get(word.lower(), ()), *self._others):
                for end in pattern.ends(words, start):
                    yield Found(start, end, pattern.rule, pattern.label, pattern.id)


def _literals(description: Mapping[str, Any]) -> set[str] | None:
    """Return the words, in small letters, one of which must stand there; None if any may."""
    for name, wanted in description.items():
        if name.upper() in ("ORTH", "TEXT", "LOWER"):
            if isinstance(wanted, str):
                return {wanted.lower()}
            if isinstance(wanted, Mapping) and "IN" in wanted:
                return {each.lower() for each in wanted["IN"]}
    return None


def _read_word(description: Mapping[str, Any]) -> _Word:
    """Read the description of a word. Raises ValueError."""
    least, most = 1, 1
    tests: list[Test] = []
    for key, wanted in description.items():
        name = key.upper()
        if name == "OP":
            least, most = _count(wanted)
        elif name in _TEXTS:
            tests.append(_text_test(_TEXTS[name], wanted, name))
        elif name in _FLAGS and isinstance(wanted, bool):
            tests.append(_flag_test(_FLAGS[name], wanted))
        elif name == "LENGTH":
            tests.append(_length_test(wanted))
        else:
            raise ValueError(f"{key}: {wanted!r} is nothing that a word has by itself")
    return _Word(tuple(tests), least, most)


def _count(wanted: object) -> tuple[int, int]:
    """Read an `OP`: how many words at least and at most."""
    if isinstance(wanted, str) and wanted in _COUNTS:
        return _COUNTS[wanted]
    found = _braces(wanted) if isinstance(wanted, str) else None
    if found is None or not (found[1] or found[3]):
        raise ValueError(f"OP: {wanted!r} is not one of 1, ?, +, * and {{n,m}}")
    least = int(found[1] or 0)
    most = int(found[3] or MOST_WORDS) if found[2] else least
    return least, min(most, MOST_WORDS)


def _flag_test(flag: Test, wanted: bool) -> Test:
    return lambda word: flag(word) == wanted


def _text_test(of: Callable[[str], str], wanted: object, name: str) -> Test:
    """Return the test of an attribute: a text, or IN, NOT_IN or REGEX."""
    if isinstance(wanted, str):
        return lambda word: of(word) == wanted
    if isinstance(wanted, Mapping) and len(wanted) == 1:
        ((kind, value),) = wanted.items()
        if kind in ("IN", "NOT_IN") and isinstance(value, list):
            those, is_in = frozenset(value), kind == "IN"
            return lambda word: (of(word) in those) == is_in
        if kind == "REGEX" and isinstance(value, str):
            re2 = import_re2()
            options = re2.Options()
            options.log_errors = False
            try:
                search = re2.compile(value, options).search
            except re2.error:
                raise ValueError(f"{name}: {value!r} is not an expression of RE2") from None
            return lambda word: search(of(word)) is not None
    raise ValueError(f"{name}: {wanted!r} is neither a text nor one of IN, NOT_IN and REGEX")


def _length_test(wanted: object) -> Test:
    compare: Mapping[str, Callable[[int, int], bool]] = {
        "==": lambda a, b: a == b,
        "!=": lambda a, b: a != b,
        ">=": lambda a, b: a >= b,
        "<=": lambda a, b: a <= b,
        ">": lambda a, b: a > b,
        "<": lambda a, b: a < b,
    }
    if isinstance(wanted, int):
        return lambda word: len(word) == wanted
    if isinstance(wanted, Mapping) and wanted.keys() <= compare.keys():
        limits = [(compare[sign], limit) for sign, limit in wanted.items()]
        return lambda word: all(holds(len(word), limit) for holds, limit in limits)
    raise ValueError(f"LENGTH: {wanted!r} is neither a number nor a comparison")
