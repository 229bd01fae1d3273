"""`teddy key`. Imports nothing heavy."""

import secrets
import sys
from hashlib import sha256
from typing import Annotated

import typer

from teddy.service.errors import SettingsError
from teddy.service.keys import LINE, Role

RANDOM_BYTES = 32
PREFIX = "teddy_"  # by which scanners for leaked secrets can know one


def key(
    role: Annotated[Role, typer.Option(help="What it is for; an admin may also reload models.")] = "tag",
    name: Annotated[str | None, typer.Option(help="Who has it, for the log. [default: from the digest]")] = None,
) -> None:
    """Make an API key: it is shown once, and its line for TEDDY_API_KEYS_FILE holds only its digest.

    The key goes to standard error and the line to standard output, so that the line can be put where it belongs.

    Examples:
      teddy key
      teddy key --role admin --name operations >> teddy.keys
    """
    made = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    line = " ".join(filter(None, (role, sha256(made.encode("ascii")).hexdigest(), name)))
    if not LINE.fullmatch(line):
        raise SettingsError("--name: up to 64 letters, digits, '.', '_' and '-', the first a letter or a digit")
    print(f"The key, which is shown only now: {made}", file=sys.stderr)
    print(line)
