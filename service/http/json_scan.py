"""Foresee what a JSON text becomes in memory, before anything of it is built.

A parser builds all of a text before it refuses it: 60 MB of `[[[[]]]],` came to 5.7 GB, and
held Python's lock for a minute. So a text that is not short is scanned first, as it arrives. What
it becomes is bounded by its *marks*, by its strings, names included, and by their characters. Marks
are the colons and opening brackets outside of strings, and the commas there in excess of the
strings: they build the most, 190 bytes each, and no request has many. Strings are many where a text
is given as words.

The scan is exact for what is JSON. Of anything else a parser builds no more than what comes before
the fault, and that is counted right. 64 KiB take 0.1 ms, at worst 1.1.
"""

import re
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Self

from teddy.service.errors import BodyTooLargeError, TextTooLongError
from teddy.service.given import MOST_LABELS

if TYPE_CHECKING:
    from teddy.service.settings import Settings

PART_BYTES = 65536
"""Scanned at a time: other threads want Python's lock."""
OPENINGS, COMMA = b":[{", b","
MARKS_OF_A_TEXT, MARKS_OF_AN_ENTITY, MARKS_OF_OPTIONS = 3, 6, 64
STRINGS_OF_AN_ENTITY, STRINGS_OF_OPTIONS = 7, 32
CHARACTERS_OF_AN_ENTRY = 128
"""A label, or an entity's label and the names of its fields."""
CHARACTERS_AN_ENTITY = 32
"""A correction may have an entity for so many characters of the longest text: one in six words."""
LEAST_ENTITIES = 1024
CONTINUATION = bytes(range(0x80, 0xC0))
"""The bytes of UTF-8 at which no character begins."""
UNFINISHED = re.compile(rb"\\(?:u[dD]?)?\Z")
FIRST_OF_PAIR = re.compile(rb"\\u[dD][89abAB]")


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """The most marks, strings, and characters in strings."""

    most_marks: float = inf
    most_strings: float = inf
    most_characters: float = inf
    cure: str = ""
    """What to send instead of too many marks or strings."""

    @classmethod
    def of_texts(cls, settings: "Settings") -> Self:
        """Return the limits of a request for one text or for several."""
        most_characters = settings.max_text_characters
        words = most_words(most_characters)
        return cls(
            MARKS_OF_A_TEXT * settings.max_texts + MARKS_OF_OPTIONS,
            words + settings.max_texts + MOST_LABELS + STRINGS_OF_OPTIONS,
            most_characters + CHARACTERS_OF_AN_ENTRY * MOST_LABELS,
            f"at most {settings.max_texts} texts and {words} listed words in one request",
        )

    @classmethod
    def of_correction(cls, settings: "Settings") -> Self:
        """Return the limits of a correction, whose entities may quote all of the text."""
        n_entities = max(LEAST_ENTITIES, settings.max_text_characters // CHARACTERS_AN_ENTITY)
        return cls(
            MARKS_OF_AN_ENTITY * n_entities + MARKS_OF_OPTIONS,
            STRINGS_OF_AN_ENTITY * n_entities + STRINGS_OF_OPTIONS,
            2 * settings.max_text_characters + CHARACTERS_OF_AN_ENTRY * n_entities,
            f"at most {n_entities} entities in one correction",
        )

    @classmethod
    def of_line(cls, most_characters: int) -> Self:
        """Return the limits of a line of a stream: a text, or its words, and an id."""
        words = most_words(most_characters)
        return cls(
            MARKS_OF_OPTIONS,
            words + STRINGS_OF_OPTIONS,
            most_characters + MOST_LABELS,
            f"one text, or at most {words} listed words, in a line",
        )


def most_words(most_characters: int) -> int:
    """Return the most words that make a text of so many characters: `a b c` are three."""
    return (most_characters + 1) // 2


class JsonScanner:
    """Scans one JSON text, given in pieces that may be cut anywhere.

    Attributes, so far: `openings`, colons and opening brackets; `commas`, both outside of strings;
    `quotes`, and `characters` between them.
    """

    __slots__ = (
        *("_is_inside", "_limits", "_unfinished"),
        *("characters", "commas", "openings", "quotes"),
    )

    def __init__(self, limits: JsonLimits) -> None:
        self.openings = self.commas = self.quotes = self.characters = 0
        self._limits = limits
        self._is_inside = False
        self._unfinished = b""

    def feed(self, piece: bytes) -> None:
        """Scan more. Raises BodyTooLargeError, or TextTooLongError for too many characters."""
        for start in range(0, len(piece), PART_BYTES):
            self._scan(piece[start : start + PART_BYTES])
            n_strings = (self.quotes + 1) // 2
            if self.openings + max(0, self.commas - n_strings) > self._limits.most_marks:
                raise BodyTooLargeError(
                    f"The JSON has more than {self._limits.most_marks} colons, brackets, and "
                    f"commas beyond its strings. Send {self._limits.cure}."
                )
            if n_strings > self._limits.most_strings:
                raise BodyTooLargeError(
                    f"The JSON has more than {self._limits.most_strings} strings. "
                    f"Send {self._limits.cure}."
                )
            if self.characters > self._limits.most_characters:
                raise TextTooLongError(
                    f"The JSON has more than {self._limits.most_characters} characters in "
                    "strings. Send less text in one request."
                )

    def _scan(self, part: bytes) -> None:
        if self._unfinished:
            part = self._unfinished + part
            self._unfinished = b""
        if b"\\" in part:
            # What is left of backslashes begins an escape of two or of six bytes.
            part = part.replace(b"\\\\", b"_").replace(b'\\"', b"_")
            if cut := UNFINISHED.search(part, max(0, len(part) - 3)):
                part, self._unfinished = part[: cut.start()], cut[0]
        strings = part.split(b'"')
        outside = b"".join(strings[self._is_inside :: 2])
        inside = b"".join(strings[not self._is_inside :: 2])
        self._is_inside ^= len(strings) % 2 == 0
        self.openings += sum(map(outside.count, OPENINGS))
        self.commas += outside.count(COMMA)
        self.quotes += len(strings) - 1
        self.characters += len(inside.translate(None, CONTINUATION))
        if b"\\" in inside:
            self.characters -= inside.count(b"\\") + 4 * inside.count(b"\\u")
            self.characters -= len(FIRST_OF_PAIR.findall(inside))


def scan(text: bytes, limits: JsonLimits) -> None:
    """Scan a whole text. Raises as `JsonScanner.feed`."""
    JsonScanner(limits).feed(text)
