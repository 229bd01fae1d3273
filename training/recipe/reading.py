"""From TOML to typed values: lines of keys, overrides, and errors in terms of the recipe.

`tomllib` gives values only, and an error should name a line. The document is known to be valid,
because `tomllib` has read it. So this scanner need not understand values, only step over them:
strings of four kinds, comments, brackets.
"""

import difflib
import re
import tomllib
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
"""A key from the root: names of tables and keys, and indices into arrays."""

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"{3,5}' r"|'''.*?'{3,5}" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_BARE_KEY = re.compile(r"[\w-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's types of error for it, in a model and in a dataclass."""
_UNION_BRANCHES = ("int", "str")
"""Pydantic names the branch of `int | str` that failed as if it were one more key."""


def key_lines(text: str) -> dict[KeyPath, int]:
    """Return the line of every key, table and array element of a valid TOML document, from 1."""
    scanner = _Scanner(text)
    scanner.document()
    return scanner.lines


class _Scanner:
    """A cursor on the document; each method starts at what it is named after and ends behind it."""

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
        """Return the path of a header, in the last element of each array of tables."""
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


def put_override(values: dict[str, Any], override: str) -> KeyPath:
    """Override a value, in place, as ``training.epochs=3`` says, and return the key.

    The value is TOML; a bare word such as cpu is a text, which spares quoting quotes in a shell.
    Raises ValueError, saying why, for what is no such thing, or for a place that `values` does not
    have.
    """
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not all(key.split(".")):
        raise ValueError("want key=value, such as training.epochs=3")
    return put_value(values, key, _value(text))


def put_value(values: dict[str, Any], key: str, value: Any) -> KeyPath:
    """Set the value of a key such as ``corpus.0.weight``, in place; return its path.

    Raises ValueError for a place that `values` does not have.
    """
    path = tuple(int(name) if name.isdecimal() else name for name in key.split("."))
    place: Any = values
    try:
        for part in path[:-1]:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        place[path[-1]] = value
    except (IndexError, TypeError):
        raise ValueError(f"there is no {key}") from None
    return path


def _value(text: str) -> Any:
    if re.fullmatch(r"[A-Za-z][\w./-]*", text) and text not in ("true", "false", "inf", "nan"):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        raise ValueError(f"{text!r} is not a TOML value") from None


class MisfitError(ValueError):
    """Values that are each valid and do not go together; `location` is the key to change."""

    def __init__(self, location: KeyPath, reason: str) -> None:
        self.location = location
        super().__init__(reason)


def first_problem(error: ValidationError, model: type[BaseModel]) -> tuple[KeyPath, str]:
    """Return the key of the first problem in validating a `model`, and its reason."""
    # A misspelt key comes first, for it explains one that is missing.
    details = min(
        error.errors(include_url=False), key=lambda details: details["type"] not in _UNKNOWN_KEY
    )
    location: KeyPath = tuple(part for part in details["loc"] if part not in _UNION_BRANCHES)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, MisfitError):
        return location + cause.location, str(cause)
    if details["type"] in _UNKNOWN_KEY:
        return (
            location,
            f"unknown key{suggest(str(location[-1]), _known_keys(model, location[:-1]))}",
        )
    return location, _plain_message(details)


def suggest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean NAME?" for the nearest of `names`, or nothing when none is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def dotted(location: KeyPath) -> str:
    """Return a key in full, such as ``corpus.0.weight``."""
    return ".".join(str(part) for part in location) or "the recipe"


def _plain_message(details: ErrorDetails) -> str:
    """Return pydantic's message without its nouns, and the value that was found."""
    if details["type"] in ("missing", "missing_keyword_only_argument"):
        return "missing"
    message = re.sub(r"^(Input|Value|String|Tuple) should", "should", details["msg"])
    found = details["input"]
    return f"{message}, not {found!r}" if isinstance(found, str | int | float) else message


def _known_keys(model: type[BaseModel], location: KeyPath) -> list[str]:
    """Return the keys of the table at `location`: of a model or a dataclass in it."""
    table: Any = model
    for part in location:
        if isinstance(part, str):
            annotation = table.model_fields[part].annotation
            # An array of tables is a tuple[Table, ...], a table that may be missing a Table | None.
            table = typing.get_args(annotation)[0] if typing.get_args(annotation) else annotation
    return (
        [field.name for field in fields(table)] if is_dataclass(table) else list(table.model_fields)
    )
