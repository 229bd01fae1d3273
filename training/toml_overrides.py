"""``key=value`` on a command line, put over the values of a TOML document."""

import re
import tomllib
from typing import Any

from teddy.training.toml_lines import KeyPath


def put_override(values: dict[str, Any], override: str) -> KeyPath:
    """Change `values`, in place, as ``training.epochs=3`` or ``corpus.0.weight=2`` says, and return the key.

    The value is TOML; a bare word such as cpu is a text, which spares quoting quotes in a shell.
    Raises ValueError, saying why, for what is no such thing, or for a place that `values` does not have.
    """
    key, equals, text = (part.strip() for part in override.partition("="))
    if not equals or not all(key.split(".")):
        raise ValueError("want key=value, such as training.epochs=3")
    return put_value(values, key, _value(text))


def put_value(values: dict[str, Any], key: str, value: Any) -> KeyPath:
    """Change `values`, in place, to have a value at a key such as ``corpus.0.weight``; return its path.

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
