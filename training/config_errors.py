"""From pydantic's account of what is wrong with a recipe to one line in the words of the recipe."""

import difflib
import re
import typing
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from teddy.training.toml_lines import KeyPath

_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
"""Pydantic's types of error for it, in a model and in a dataclass."""
_UNION_BRANCHES = ("int", "str")
"""Pydantic names the branch of `int | str` that failed as if it were one more key."""


class MisfitError(ValueError):
    """Values that are each valid and do not go together; `location` is the key to change."""

    def __init__(self, location: KeyPath, reason: str) -> None:
        self.location = location
        super().__init__(reason)


def first_problem(error: ValidationError, model: type[BaseModel]) -> tuple[KeyPath, str]:
    """Return the key of the first problem that validating a `model` found, and what is wrong with it."""
    # A misspelt key comes first, for it explains one that is missing.
    details = min(error.errors(include_url=False), key=lambda details: details["type"] not in _UNKNOWN_KEY)
    location: KeyPath = tuple(part for part in details["loc"] if part not in _UNION_BRANCHES)
    cause = details.get("ctx", {}).get("error")
    if isinstance(cause, MisfitError):
        return location + cause.location, str(cause)
    if details["type"] in _UNKNOWN_KEY:
        return location, f"unknown key{suggest(str(location[-1]), _known_keys(model, location[:-1]))}"
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
    """Return the keys of the table at `location`: the fields of a model, or of a dataclass inside it."""
    table: Any = model
    for part in location:
        if isinstance(part, str):
            annotation = table.model_fields[part].annotation
            # An array of tables is a tuple[Table, ...], a table that may be missing a Table | None.
            table = typing.get_args(annotation)[0] if typing.get_args(annotation) else annotation
    return [field.name for field in fields(table)] if is_dataclass(table) else list(table.model_fields)
