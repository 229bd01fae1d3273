"""The values of settings: lists, and files and digests by the names of models."""

import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import SecretStr

from teddy.model.file.shipped import shipped_models

DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def as_variable(value: object) -> str:
    """Return a setting's value as its variable has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each}" if name else str(each) for name, each in value.items())
    if isinstance(value, tuple):
        return ",".join(map(as_variable, value))
    return str(value)


def split_list(value: str) -> list[str]:
    """Return the parts between commas, without empty ones."""
    return [item.strip() for item in value.split(",") if item.strip()]


def parse_model(item: str) -> tuple[str, Path]:
    """Read `NAME=FILE`, or `FILE` alone, whose name is its stem.

    Where there is no such file, it may be the name of a model that ships: `en`, `german=de`.

    Raises ValueError for a name that is not plain, and without a file.
    """
    name, equals, file = item.strip().rpartition("=")
    path = Path(file)
    name = name if equals else path.stem
    if not MODEL_NAME.fullmatch(name) or not file:
        raise ValueError(
            f"{item!r} is not NAME=FILE, with a name of up to 64 letters, digits, '.', '_' and '-'"
        )
    return name, path if path.exists() else shipped_models().get(file, path)


def parse_rules(item: str) -> tuple[str, Path]:
    """Read `NAME=FILE`, or `FILE`, whose name is empty. Raises ValueError."""
    name, _, file = item.rpartition("=")
    if not file or not MODEL_NAME.fullmatch(name or "a"):
        raise ValueError(f"{item!r} is neither FILE nor NAME=FILE")
    return name, Path(file)


def parse_digest(item: str) -> tuple[str, str]:
    """Read `NAME=SHA256`. Raises ValueError for anything else."""
    name, _, digest = item.partition("=")
    if not MODEL_NAME.fullmatch(name) or not DIGEST.fullmatch(digest):
        raise ValueError(f"{item!r} is not NAME=SHA256, with 64 hexadecimal digits")
    return name, digest.lower()
