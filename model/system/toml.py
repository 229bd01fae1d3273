"""TOML and typed values: lines of keys, overrides, and errors in terms of the file."""

import difflib
import json
import re
import tomllib
import typing
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

KeyPath = tuple[str | int, ...]
"""A key from the root: names of tables and keys, and indices into arrays."""
Problem = tuple[KeyPath, str]
"""A key whose value is at fault, and why."""
Value: TypeAlias = "str | int | float | bool | Sequence[Value] | Mapping[str, Value]"

_CLOSINGS = ("", "]", "]]", "]}", "]}]")
"""What may be missing behind a line of TOML that ends within a value."""
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's types of error for it, in a model and in a dataclass."""
_MISSING = ("missing", "missing_keyword_only_argument")
_UNION_BRANCHES = ("int", "str")
"""Pydantic names the branch of `int | str` that failed as if it were one more key."""


def line_of(location: KeyPath, text: str) -> int | None:
    """Return the line, from 1, on which a key of a valid TOML document begins.

    For a key that is missing, return the line of the nearest table around it, or None without one.
    """
    rows = text.split("\n")
    whole = tomllib.loads(text)

    def is_reached(n_rows: int, path: KeyPath) -> bool:
        """Tell whether the first rows, and those that complete the last one, have the key."""
        for end in range(n_rows, len(rows)):
            for closing in _CLOSINGS:
                try:
                    begun = tomllib.loads("\n".join([*rows[:end], closing]))
                except tomllib.TOMLDecodeError:
                    continue
                return _has(begun, path)
        return True

    for length in range(len(location), 0, -1):
        path = location[:length]
        if _has(whole, path):
            return bisect_left(range(len(rows)), True, key=lambda n: is_reached(n, path))
    return None


def _has(table: Any, path: KeyPath) -> bool:
    for part in path:
        try:
            table = table[part]
        except (IndexError, KeyError, TypeError):
            return False
    return True


def dump_toml(table: Mapping[str, Value]) -> str:
    """Return `table` as TOML. Plain values come before sub-tables, otherwise the order is kept.

    (tomli-w 1.2 writes a tab as itself, which cannot be seen in a separator, and every element
    of an array on a line of its own.)
    """
    return "\n".join(_table_lines(table, "")).strip("\n") + "\n"


def _table_lines(table: Mapping[str, Value], path: str) -> list[str]:
    lines: list[str] = []
    inner_lines: list[str] = []
    for key, value in table.items():
        inner = f"{path}.{_key(key)}" if path else _key(key)
        if isinstance(value, Mapping):
            inner_lines += ["", f"[{inner}]", *_table_lines(value, inner)]
        elif tables := _tables(value):
            for each in tables:
                inner_lines += ["", f"[[{inner}]]", *_table_lines(each, inner)]
        else:
            lines.append(f"{_key(key)} = {toml_value(value)}")
    return lines + inner_lines


def _tables(value: Value) -> list[Mapping[str, Value]]:
    """Return the elements of an array of nothing but tables; none for any other value."""
    elements = value if isinstance(value, list | tuple) else ()
    tables = [each for each in elements if isinstance(each, Mapping)]
    return tables if len(tables) == len(elements) else []


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else toml_value(key)


def toml_value(value: Value) -> str:
    """Return a value as TOML, on one line."""
    if isinstance(value, str):  # JSON's escapes are TOML's, except that TOML wants DEL escaped too
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return (
            "{"
            + ", ".join(f"{_key(key)} = {toml_value(each)}" for key, each in value.items())
            + "}"
        )
    return "[" + ", ".join(map(toml_value, value)) + "]"


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
    """Values that are each valid and do not go together; `location` is the key to change.

    `others` are further faults of the same table, which do not follow from this one.
    """

    def __init__(self, location: KeyPath, reason: str, *others: Problem) -> None:
        self.problems: tuple[Problem, ...] = ((location, reason), *others)
        super().__init__(reason)


def first_problem(error: ValidationError, model: type[BaseModel]) -> Problem:
    """Return the key of the first problem in validating a `model`, and its reason."""
    return problems(error, model)[0]


def problems(error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """Return the first problem of each key in validating a `model`, unknown keys first."""
    found = error.errors(include_url=False)
    found.sort(key=lambda details: details["type"] not in _UNKNOWN_KEY)
    told: dict[KeyPath, str] = {}
    for details in found:
        for location, reason in _problems(details, model):
            told.setdefault(location, reason)
    for location, reason in tuple(told.items()):
        # A misspelt key explains one that is missing.
        meant = (*location[:-1], reason.partition("; did you mean ")[2].rstrip("?"))
        if told.get(meant) == "missing":
            del told[meant]
    return list(told.items())


def _problems(details: ErrorDetails, model: type[BaseModel]) -> list[Problem]:
    location: KeyPath = tuple(part for part in details["loc"] if part not in _UNION_BRANCHES)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, MisfitError):
        return [(location + inner, reason) for inner, reason in cause.problems]
    if details["type"] in _UNKNOWN_KEY:
        return [(location, f"unknown key{_suggest_key(model, location)}")]
    if details["type"] == "tuple_type" and isinstance(details["input"], dict):
        name = dotted(location)
        reason = f"write [[{name}]], with two brackets: there may be several such tables"
        return [(location, reason)]
    return [(location, _plain_message(details))]


def _suggest_key(model: type[BaseModel], location: KeyPath) -> str:
    """Return a suggestion for an unknown key: the table that it belongs to, or a near key."""
    *table, key = location
    if table and key in model.model_fields:
        return f"; did you mean {key}, above all tables?"
    for name, field in model.model_fields.items():
        if key in _keys_of(field.annotation):
            place = f"[[{name}]]" if _is_array(field.annotation) else f"[{name}]"
            # An override and a key in a wrong table alike: the whole name is right in both.
            return f"; did you mean {name}.{key}, in the table {place}?"
    return suggest(str(key), _known_keys(model, tuple(table)))


def _keys_of(annotation: Any) -> list[str]:
    """Return the keys of a table, of an array of tables or of a table that may be missing."""
    for each in (annotation, *typing.get_args(annotation)):
        if is_dataclass(each):
            return [field.name for field in fields(each)]
        if isinstance(each, type) and issubclass(each, BaseModel):
            return list(each.model_fields)
    return []


def _is_array(annotation: Any) -> bool:
    return typing.get_origin(annotation) is tuple


def suggest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean NAME?" for the nearest of `names`, or nothing when none is near."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def dotted(location: KeyPath) -> str:
    """Return a key in full, such as ``corpus.0.weight``; of no key, what all are in."""
    return ".".join(str(part) for part in location) or "the recipe"


def _plain_message(details: ErrorDetails) -> str:
    """Return pydantic's message without its nouns, and the value that was found."""
    if details["type"] in _MISSING:
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
    if is_dataclass(table):
        return [field.name for field in fields(table)]
    return list(table.model_fields)
