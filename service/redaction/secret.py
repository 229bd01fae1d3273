"""The key of redaction: read from a file or the environment, and never shown.

    one key a line, each of at least 32 characters; the first one is used, all can restore

From each line three keys are derived, so that none can stand for another: one for hashes, one for
what is drawn (numbers and pseudonyms), one for AES-GCM.
"""

import hmac
import os
from base64 import b32decode, b32encode
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teddy.model.errors import FileError, MissingExtraError, TeddyError

LEAST_CHARACTERS = 32
_NONCE_BYTES = 12
_LEAST_BYTES = _NONCE_BYTES + 16
"""Of what AES-GCM makes of nothing: the nonce and the tag."""


class SecretError(TeddyError):
    """No key where one is needed, or one that is too short. The message never has any of it."""


@dataclass(frozen=True, slots=True)
class Secret:
    """The keys of redaction. It cannot be printed or pickled by accident."""

    _keys: Sequence[bytes] = field(repr=False)

    @classmethod
    def read(cls, path: Path | None, given: str | None = None) -> "Secret | None":
        """Return the keys in a file or, without one, those given; None if there is neither.

        Raises FileError for a file that cannot be read, SecretError for a key that is too short.
        """
        if path is not None:
            try:
                given = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "not UTF-8"
                raise FileError(path, None, f"the key cannot be read: {reason}") from None
        elif not given:
            return None
        keys = [line.strip() for line in given.splitlines() if line.strip()]
        if not keys or min(map(len, keys)) < LEAST_CHARACTERS:
            raise SecretError(
                f"a key of redaction has at least {LEAST_CHARACTERS} characters: "
                "openssl rand -base64 32"
            )
        return cls(tuple(key.encode() for key in keys))

    @classmethod
    def random(cls) -> "Secret":
        """Return a key that is forgotten with its text."""
        return cls((os.urandom(LEAST_CHARACTERS),))

    def __reduce__(self) -> str:
        raise TypeError("a key is not pickled")

    def _derived(self, purpose: str, key: bytes | None = None) -> bytes:
        return hmac.digest(key or self._keys[0], f"teddy {purpose}".encode(), "sha256")

    def digest(self, name: str) -> bytes:
        """Return the HMAC-SHA256 of a name."""
        return hmac.digest(self._derived("hash"), name.encode(), "sha256")

    def draw(self, purpose: str, name: str) -> int:
        """Return a number of 256 bits that stands for a name."""
        drawn = hmac.digest(self._derived(f"draw {purpose}"), name.encode(), "sha256")
        return int.from_bytes(drawn)

    def encrypt(self, text: str, label: str) -> str:
        """Return a text under AES-GCM with a nonce of its own, in a-z and 2-7.

        The label is authenticated with it. Raises MissingExtraError.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = _aes(self._derived("encrypt")).encrypt(nonce, text.encode(), label.encode())
        return b32encode(nonce + sealed).decode().rstrip("=").lower()

    def decrypt(self, token: str, label: str) -> str | None:
        """Return what `encrypt` was given; None for what none of the keys has made.

        Raises MissingExtraError.
        """
        try:
            content = b32decode(token.upper() + "=" * (-len(token) % 8))
        except ValueError:
            return None
        if len(content) < _LEAST_BYTES:
            return None
        from cryptography.exceptions import InvalidTag

        for key in self._keys:
            cipher = _aes(self._derived("encrypt", key))
            try:
                opened = cipher.decrypt(
                    content[:_NONCE_BYTES], content[_NONCE_BYTES:], label.encode()
                )
            except InvalidTag:
                continue
            return str(opened, "utf-8")
        return None


def _aes(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError:
        raise MissingExtraError(
            "encryption needs the package cryptography: pip install 'teddy[redact]'"
        ) from None
    return AESGCM(key)
