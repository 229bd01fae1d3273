"""Writing TOML: the part of it that a recipe needs, since the standard library only reads."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias

Value: TypeAlias = "str | int | float | bool | Sequence[Value] | Mapping[str, Value]"


def dump_toml(table: Mapping[str, Value]) -> str:
    """Return `table` as TOML. Plain values come before sub-tables, otherwise the order is kept."""
    return "\n".join(_table_lines(table, ())).strip("\n") + "\n"


def _table_lines(table: Mapping[str, Value], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    for key, value in table.items():
        inner = (*path, key)
        header = ".".join(_key(part) for part in inner)
        if isinstance(value, Mapping):
            lines += ["", f"[{header}]", *_table_lines(value, inner)]
        elif _is_table(value) and isinstance(value, Sequence):
            for element in value:
                if isinstance(element, Mapping):
                    lines += ["", f"[[{header}]]", *_table_lines(element, inner)]
    return lines


def _is_table(value: Value) -> bool:
    """Whether the value has a header of its own: a table, or an array of nothing but tables."""
    if isinstance(value, Mapping):
        return True
    return not isinstance(value, str) and isinstance(value, Sequence) and bool(value) and all(map(_is_mapping, value))


def _is_mapping(value: object) -> bool:
    return isinstance(value, Mapping)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _string(key)


def _value(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + "}"
    return "[" + ", ".join(_value(inner) for inner in value) + "]"


def _string(text: str) -> str:
    """Quote as JSON does, whose escapes TOML shares, except that TOML wants DEL escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
