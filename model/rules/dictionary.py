"""Names over whole words: a million of them in one table, at a lookup or two for each word.

The key of a name is its words, as the tokeniser cuts them, with a space between each two. From each
word that begins a name of several words, only keys of the lengths that such names have are tried.

(On a busy machine ahocorasick-rs 1.0 took 35 s and 490 MB to build its automaton of a million
names, and this 9.5 s and 155 MB; a text took it 0.1 us a word, and this 1.)
"""

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from teddy.model.text.words import Tokeniser

_plain = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*").fullmatch
"""A name that every tokeniser cuts at its spaces, and nowhere else."""
_Value = int | tuple[int, ...]
"""The number of a record, or several for a name in several dictionaries."""


class Found(NamedTuple):
    """A name found on the words `[start, end)`, with the rule, label and id of its entry."""

    start: int
    end: int
    rule: int
    label: str
    id: str


class Dictionary:
    """The names of all dictionaries, looked up in words that `tokeniser` has cut."""

    def __init__(self, tokeniser: Tokeniser) -> None:
        self._tokeniser = tokeniser
        self._exact, self._folded = _Table(), _Table()
        self._records: list[tuple[int, int]] = []
        """The rule and the number of the label of entries without an id, one for all that agree."""
        self._record_of: dict[tuple[int, int], int] = {}
        self._rules, self._labels, self._ends = array("H"), array("H"), array("Q", [0])
        """Of each entry with an id: its rule, its label, and where the id ends in `_ids`."""
        self._ids = bytearray()
        self.labels: list[str] = []
        self._number_of: dict[str, int] = {}
        self._endings: dict[str, set[int]] = {}
        """The rules whose names may have an ending, by the ending in small letters."""
        self.n_entries: dict[int, int] = {}
        """The number of names of each rule; of equal names of one rule, the first counts."""

    def allow_endings(self, rule: int, endings: Sequence[str]) -> None:
        """Let the last words of a rule's names have these endings."""
        for ending in endings:
            self._endings.setdefault(ending.casefold(), set()).add(rule)

    def add(self, rule: int, name: str, label: str, entry_id: str, case: str) -> None:
        """Add a name of a rule; a name without words is passed over."""
        key = name if _plain(name) else " ".join(self._tokeniser.split_words(name)[2])
        if not key:
            return
        value = self._record(rule, label, entry_id)
        is_fold = case == "fold" or (case == "smart" and key == key.lower())
        is_new = (
            self._put(self._folded, key.casefold(), value)
            if is_fold
            else self._put(self._exact, key, value)
        )
        if case == "smart" and not is_fold and (upper := key.upper()) != key:
            self._put(self._exact, upper, value)
        if is_new:
            self.n_entries[rule] = self.n_entries.get(rule, 0) + 1

    def _record(self, rule: int, label: str, entry_id: str) -> int:
        """Return a number for these: even without an id, odd with one."""
        number = self._number_of.setdefault(label, len(self.labels))
        if number == len(self.labels):
            self.labels.append(label)
        if not entry_id:
            found = self._record_of.setdefault((rule, number), len(self._records))
            if found == len(self._records):
                self._records.append((rule, number))
            return 2 * found
        self._rules.append(rule)
        self._labels.append(number)
        self._ids += entry_id.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._ids))
        return 2 * len(self._rules) - 1

    def _put(self, table: "_Table", key: str, value: int) -> bool:
        """Put a value under a key; return False if the rule has that key already."""
        old = table.values.setdefault(key, value)
        if old is not value:
            olds = old if isinstance(old, tuple) else (old,)
            if any(self._rule_of(each) == self._rule_of(value) for each in olds):
                return False
            table.values[key] = (*olds, value)
        else:
            n_spaces = key.count(" ")
            first = key[: key.index(" ")] if n_spaces else key
            table.sizes[first] = table.sizes.get(first, 0) | 1 << n_spaces
            table.most_words = max(table.most_words, n_spaces + 1)
        return True

    def _rule_of(self, value: int) -> int:
        return self._rules[value // 2] if value % 2 else self._records[value // 2][0]

    def find(self, words: Sequence[str]) -> Iterator[Found]:
        """Yield every name on the words of a text, also those that overlap."""
        if self._exact.values:
            yield from self._find(self._exact, words)
        if self._folded.values:
            yield from self._find(self._folded, " ".join(words).casefold().split(" "))

    def _find(self, table: "_Table", words: Sequence[str]) -> Iterator[Found]:
        for start, end, value in table.find(words):
            yield from self._read(start, end, value, None)
        if self._endings:
            for start, end, value, ending in table.find_inflected(words, [*self._endings]):
                yield from self._read(start, end, value, self._endings[ending])

    def _read(self, start: int, end: int, value: _Value, rules: set[int] | None) -> Iterator[Found]:
        for each in value if isinstance(value, tuple) else (value,):
            place = each // 2
            if each % 2:
                rule, label = self._rules[place], self._labels[place]
                entry_id = self._ids[self._ends[place] : self._ends[place + 1]]
                said = entry_id.decode("utf-8", "surrogatepass")
            else:
                (rule, label), said = self._records[place], ""
            if rules is None or rule in rules:
                yield Found(start, end, rule, self.labels[label], said)


class _Table:
    """Names by their words. `sizes`: bit n says that a name of 1 + n words begins with a word.

    It is the smaller table, and the only one that most words of a text are looked up in.
    """

    def __init__(self) -> None:
        self.values: dict[str, _Value] = {}
        self.sizes: dict[str, int] = {}
        self.most_words = 1

    def find(self, words: Sequence[str]) -> Iterator[tuple[int, int, _Value]]:
        """Yield start, end and value of each name."""
        values, sizes = self.values, self.sizes
        n_words = len(words)
        for start in [k for k, word in enumerate(words) if word in sizes]:
            key, end, left = words[start], start + 1, sizes[words[start]]
            if left & 1:
                yield start, end, values[key]
            left >>= 1
            while left and end < n_words:
                key = f"{key} {words[end]}"
                end += 1
                if left & 1 and key in values:
                    yield start, end, values[key]
                left >>= 1

    def find_inflected(
        self, words: Sequence[str], endings: Sequence[str]
    ) -> Iterator[tuple[int, int, _Value, str]]:
        """Yield names whose last word has one of the endings behind it, and the ending."""
        values, most = self.values, self.most_words
        for last, word in enumerate(words):
            lowered = word.lower()
            for ending in endings:
                stem = word[: -len(ending)]
                if not stem or not lowered.endswith(ending):
                    continue
                key = stem
                for start in range(last, max(-1, last - most), -1):
                    if start < last:
                        key = f"{words[start]} {key}"
                    if key in values:
                        yield start, last + 1, values[key], ending
