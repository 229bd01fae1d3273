"""On which line of a TOML document each key stands. `tomllib` tells values only, and an error should name a line.

The document is known to be valid, because `tomllib` has read it. So this scanner need not understand values, only step
over them: strings of four kinds, comments, brackets.
"""

import re

KeyPath = tuple[str | int, ...]
"""A key from the root: names of tables and keys, and indices into arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[\w-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """Map every key, table and array element of a valid TOML document to its line, counted from 1."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """A cursor on the document; every method starts at the thing that it is named after and ends behind it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._array_lengths: dict[KeyPath, int] = {}

    def document(self) -> None:
        table: KeyPath = ()
        self._skip()
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._assignment(table)
            self._skip()

    def _header(self) -> KeyPath:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        path = self._within_arrays(self._key())
        self._skip()
        self.at += 2 if is_array else 1
        if is_array:
            index = self._array_lengths.get(path, 0)
            self._array_lengths[path] = index + 1
            self._note(path)
            path = (*path, index)
        self._note(path)
        return path

    def _within_arrays(self, names: list[str]) -> KeyPath:
        """Return the path of a header: a table of an array of tables belongs to the last element so far."""
        path: KeyPath = ()
        for place, name in enumerate(names):
            path = (*path, name)
            if place < len(names) - 1 and path in self._array_lengths:
                path = (*path, self._array_lengths[path] - 1)
        return path

    def _assignment(self, table: KeyPath) -> None:
        path = (*table, *self._key())
        for length in range(len(table) + 1, len(path) + 1):
            self._note(path[:length])
        self._skip()
        self.at += 1  # the sign =
        self._value(path)

    def _key(self) -> list[str]:
        names: list[str] = []
        while True:
            self._skip()
            quoted = _STRING.match(self.text, self.at)
            found = quoted or _BARE_KEY.match(self.text, self.at)
            if found is None:
                return names
            names.append(found[0][1:-1] if quoted else found[0])
            self.at = found.end()
            self._skip()
            if not self.text.startswith(".", self.at):
                return names
            self.at += 1

    def _value(self, path: KeyPath) -> None:
        self._skip()
        string = _STRING.match(self.text, self.at)
        if string:
            self.at = string.end()
        elif self.text.startswith("[", self.at):
            self._sequence(path, "]")
        elif self.text.startswith("{", self.at):
            self._sequence(path, "}")
        else:
            scalar = _SCALAR.match(self.text, self.at)
            self.at = scalar.end() if scalar else len(self.text)

    def _sequence(self, path: KeyPath, end: str) -> None:
        """Step over an array (its elements are noted by index) or an inline table."""
        self.at += 1
        index = 0
        self._skip()
        while self.at < len(self.text) and self.text[self.at] != end:
            if end == "}":
                self._assignment(path)
            else:
                self._note((*path, index))
                self._value((*path, index))
            index += 1
            self._skip()
            self.at += self.text.startswith(",", self.at)
            self._skip()
        self.at += 1

    def _skip(self) -> None:
        """Step over white space, line ends and comments."""
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def _note(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self.text.count("\n", 0, self.at) + 1)
