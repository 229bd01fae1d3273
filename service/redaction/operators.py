"""What is written in the place of a name, by its label.

replace    <PER_1>: numbered by name within a text, or by a code of the key everywhere
mask       as many marks as the name has characters
hash       32 hexadecimal digits of an HMAC under the key
pseudonym  another name of the same kind, as many words, each about as long
encrypt    <PER:...>: AES-GCM under the key; `restore` gives the name back
keep       the name stays
"""

import re
from base64 import b32encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args

from teddy.service.redaction.pseudonyms import Pseudonyms
from teddy.service.redaction.secret import Secret, SecretError

OperatorName = Literal["replace", "mask", "hash", "pseudonym", "encrypt", "keep"]
OPERATORS: tuple[str, ...] = get_args(OperatorName)
Scope = Literal["text", "key"]
MARK = "█"
ANY = "*"
"""The label that stands for all that are not named."""
_HASH_DIGITS = 32
_CODE_LETTERS = 12
_PLAIN_LABEL = re.compile(r"[^A-Za-z0-9_.-]")


class Found(Protocol):
    """An entity, as far as redaction needs it."""

    @property
    def label(self) -> str:
        """Its label."""

    @property
    def text(self) -> str:
        """Its text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """What to do with the names of a label; the other fields are for `mask`."""

    name: OperatorName = "replace"
    character: str = MARK
    keep_last: int = 0

    @classmethod
    def parse(cls, text: str) -> "Operator":
        """Read `mask`, `mask:X` or `mask:X:4`, the last number of characters to keep.

        Raises ValueError.
        """
        name, *rest = text.split(":")
        if name not in OPERATORS or len(rest) > 2 or (rest and name != "mask"):
            raise ValueError(f"an operator is one of {', '.join(OPERATORS)}, not {text}")
        options = dict(zip(("character", "keep_last"), rest, strict=False))
        number = options.get("keep_last", "0")
        if not number.isdecimal():
            raise ValueError(f"mask keeps a number of characters, not {number}")
        character = check_mark(options.get("character", MARK))
        return cls(name=name, character=character, keep_last=int(number))  # type: ignore[arg-type]


def check_mark(character: str) -> str:
    """Return a mark that breaks no format. Raises ValueError for any other."""
    if len(character) != 1 or not (character.isalnum() or character in "█•*#"):
        raise ValueError("a mark is one letter, digit, or one of █•*#")
    return character


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The operators by label, and how far names are consistent: within a text, or under the key."""

    operators: Mapping[str, Operator] = field(default_factory=dict)
    scope: Scope = "text"
    secret: Secret | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        used = {each.name for each in self.operators.values()}
        needs: list[str] = sorted(used & {"hash", "encrypt"}) or (
            ["scope key"] if self.scope == "key" else []
        )
        if needs and self.secret is None:
            raise SecretError(f"{needs[0]} needs a key, and none is set here")

    def of(self, label: str) -> Operator:
        """Return what to do with a label."""
        return self.operators.get(label) or self.operators.get(ANY) or Operator()

    @property
    def encrypts(self) -> bool:
        """Whether anything is encrypted, so that what looks like a token must be too."""
        return any(each.name == "encrypt" for each in self.operators.values())


class Replacements:
    """What is written for the names of one text."""

    def __init__(self, policy: Policy, names: Iterable[Found]) -> None:
        """`names` are all of the text: by the longer ones the shorter are understood."""
        self._policy = policy
        secret = policy.secret if policy.scope == "key" else None
        self._pseudonyms = Pseudonyms(
            secret or Secret.random(), (each.text for each in names if each.label == "PER")
        )
        self._numbers: dict[tuple[str, str], int] = {}
        self._n_of_label: Counter[str] = Counter()

    def of(self, name: str, label: str) -> str:
        """Return what is written for a name; of `encrypt`, see `token`."""
        operator = self._policy.of(label)
        match operator.name:
            case "mask":
                n_kept = min(operator.keep_last, len(name) - 1)
                n_marks = len(name) - n_kept
                return operator.character * n_marks + name[n_marks:]
            case "hash":
                return self._secret.digest(normal(name)).hex()[:_HASH_DIGITS]
            case "pseudonym":
                drawn = self._pseudonyms.of(name, label)
                return drawn or self._numbered(name, label)
        return self._numbered(name, label)

    def token(self, raw: str, label: str) -> str:
        """Return what is written for a piece of a text that is to be encrypted."""
        label = plain_label(label)
        return f"<{label}:{self._secret.encrypt(raw, label)}>"

    @property
    def _secret(self) -> Secret:
        if self._policy.secret is None:
            raise SecretError("this needs a key, and none is set here")
        return self._policy.secret

    def _numbered(self, name: str, label: str) -> str:
        known = normal(name)
        if self._policy.scope == "key":
            drawn = self._secret.draw(f"number {label}", known) % 2**64
            code = b32encode(drawn.to_bytes(8)).decode()[:_CODE_LETTERS].lower()
            return f"<{plain_label(label)}_{code}>"
        number = self._numbers.get((label, known))
        if number is None:
            self._n_of_label[label] += 1
            number = self._numbers[label, known] = self._n_of_label[label]
        return f"<{plain_label(label)}_{number}>"


def normal(name: str) -> str:
    """Return a name as it is compared with others: one space between words, case folded."""
    return " ".join(name.split()).casefold()


def plain_label(label: str) -> str:
    """Return a label that breaks no format."""
    return _PLAIN_LABEL.sub("_", label)
