"""Regular expressions in RE2: each search takes time linear in what it reads.

To find all matches is more than a search: of an expression that reads to the end of the text for
each match, all matches together would take quadratic time. So a match has at most `MOST_BYTES`,
and an expression has at most `FREE_MATCHES` in a text, and one more for every `BYTES_A_MATCH` of
it; what is beyond is passed over.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from teddy.model.errors import MissingExtraError
from teddy.model.text.offsets import character_offsets

if TYPE_CHECKING:
    from types import ModuleType

MOST_BYTES = 1000
_BLOCK_BYTES = 500
"""Matches that begin in so many bytes are searched in these and `MOST_BYTES` behind them."""
BYTES_A_MATCH = 32
FREE_MATCHES = 10_000
_MEMORY_BYTES = 64 * 2**20
_WORTH_A_PASS = 4
"""So many searches take longer than the pass that spares most of them."""


def import_re2() -> "ModuleType":
    """Return the module `re2`. Raises MissingExtraError."""
    try:
        import re2
    except ModuleNotFoundError as error:
        if error.name != "re2":
            raise
        raise MissingExtraError(
            "patterns need the package google-re2, which is not installed: "
            "pip install 'teddy[rules]'"
        ) from error
    module: ModuleType = re2
    return module


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled expression and its rule."""

    rule: int
    source: str
    compiled: Any
    group: int

    @classmethod
    def of(cls, rule: int, source: str, *, fold: bool = False) -> "Expression":
        """Compile an expression. Raises ValueError, which says why, for one that is none."""
        re2 = import_re2()
        options = re2.Options()
        options.log_errors = False
        options.max_mem = _MEMORY_BYTES
        options.never_capture = "(?P<entity>" not in source
        source = f"(?i:{source})" if fold else source
        try:
            compiled = re2.compile(source, options)
        except re2.error as error:
            reason = error.args[0]
            said = reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)
            raise ValueError(f"not an expression of RE2: {said}") from None
        if compiled.search(b"") is not None:
            raise ValueError("it matches nothing at all: every place of a text")
        return cls(rule, source, compiled, dict(compiled.groupindex).get("entity", 0))

    def find(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield the matches in a text in UTF-8, in bytes; they are in order and disjoint."""
        left = FREE_MATCHES + len(text) // BYTES_A_MATCH
        start, size = 0, len(text)
        while start < size and left:
            bound = start + _BLOCK_BYTES
            for found in self.compiled.finditer(text, start, min(size, bound + MOST_BYTES)):
                first, last = found.span()
                if first >= bound:
                    start = first
                    break
                left -= 1
                start = last
                if self.group and found.start(self.group) >= 0:  # or it is in another alternative
                    first, last = found.span(self.group)
                if first < last <= first + MOST_BYTES:
                    yield first, last
                if start >= bound or not left:
                    break
            else:
                start = max(start, bound)


class Expressions:
    """Expressions that are searched together: one pass says which of them a text has at all."""

    def __init__(self, expressions: Sequence[Expression]) -> None:
        self._expressions = expressions
        self._set: Any = None
        if len(expressions) >= _WORTH_A_PASS:
            re2 = import_re2()
            options = re2.Options()
            options.log_errors = False
            options.max_mem = _MEMORY_BYTES
            self._set = re2.Set.SearchSet(options)
            for each in expressions:
                self._set.Add(each.source)
            self._set.Compile()

    def find(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Yield the rule of an expression, and start and end of each match, in characters."""
        if not self._expressions:
            return
        data = text.encode()
        is_ascii = len(data) == len(text)
        found = range(len(self._expressions)) if self._set is None else self._set.Match(data)
        for number in sorted(found or ()):  # a set without a match returns None
            expression = self._expressions[number]
            flat = [*chain.from_iterable(expression.find(data))]
            # RE2 matches whole characters, so that no offset is within one
            places = flat if is_ascii else character_offsets(text, flat, "byte")
            for start, end in zip(places[::2], places[1::2], strict=True):
                if start is not None and end is not None:
                    yield expression.rule, start, end
