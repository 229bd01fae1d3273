"""Kinds of matches that Teddy knows: an expression for what looks like one, and a check of it.

Check digits are those of python-stdnum; telephone numbers are checked by phonenumbers.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from teddy.model.errors import MissingExtraError
from teddy.model.rules.config import BuiltinConfig, BuiltinKind

if TYPE_CHECKING:
    from collections.abc import Iterator

Place = tuple[int, int]
Refine = Callable[[str, int, int], Place | None]

_MONTH = (
    r"(?:Jan(?:uary|\.)?|Feb(?:ruary|\.)?|Mar(?:ch|\.)?|Apr(?:il|\.)?|May|June?|July?"
    r"|Aug(?:ust|\.)?|Sept?(?:ember|\.)?|Oct(?:ober|\.)?|Nov(?:ember|\.)?|Dec(?:ember|\.)?)"
)
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_CURRENCY = (
    r"(?:USD|EUR|GBP|JPY|CNY|INR|CHF|SEK|NOK|DKK|PLN|CZK|HUF|RUB|TRY|BRL|MXN|ZAR|KRW|AUD|CAD|NZD)"
)
_AMOUNT = r"\d(?:[\d.,'\x{a0}]*\d)?(?:\s?(?:thousand|million|billion|trillion|mn|bn|[kKM])\b)?"
_DOMAINS = (
    "com|org|net|edu|gov|int|info|io|dev|app|co|eu|uk|us|de|fr|es|it|nl|se|no|dk|fi|pl|ch|at|be"
)
_SHORTEST_ID = 5
_trailing = re.compile(r"[.,;:!?'\"\u2019\u201d\u2026]+$")


@dataclass(frozen=True, slots=True)
class Builtin:
    """The expressions of a kind, in RE2's syntax, and its check."""

    sources: Sequence[str]
    refine: Refine | None = None


@contextmanager
def _extra(package: str) -> "Iterator[None]":
    """Raise MissingExtraError when the block imports a package that is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("phonenumbers", "stdnum"):
            raise
        raise MissingExtraError(
            f"this built-in needs the package {package}, which is not installed: "
            "pip install 'teddy[rules]'"
        ) from error


def make_builtin(config: BuiltinConfig) -> Builtin:
    """Return what finds a kind. Raises ValueError for an unknown number, and MissingExtraError."""
    if config.kind == "national_id":
        return Builtin(
            [
                r"\b(?:[A-Z]{0,6}[- ]?|[a-z]{2})\d[\dA-Za-z]*(?:[-. /+][\dA-Z]{1,12}){0,7}\b",
            ],
            _national_id(config.numbers),
        )
    if config.kind == "phone":
        return Builtin([r"(?:\+|\(|\b)\d[\d\s()./-]{5,24}\d\b"], _phone(config.region))
    if config.kind == "iban":
        return Builtin(
            [r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){2,8}\b"], _groups(_stdnum("iban").is_valid)
        )
    if config.kind == "credit_card":
        return Builtin([r"\b[2-6]\d{3}(?:[ -]?\d){8,15}\b"], _card(_stdnum("luhn").is_valid))
    return _PLAIN[config.kind]


def _stdnum(name: str) -> Any:
    """Return a module of python-stdnum. Raises ValueError for a name that it does not have."""
    with _extra("python-stdnum"):
        import_module("stdnum")
    if not re.fullmatch(r"[a-z]+_?(\.[a-z0-9_]+)?", name):
        raise ValueError(f"numbers: {name!r} is not a name such as se.personnummer")
    try:
        return import_module(f"stdnum.{name}")
    except ModuleNotFoundError:
        raise ValueError(f"numbers: python-stdnum has no {name}") from None


def _before(text: str, start: int) -> str:
    return text[start - 1] if start else ""


def _groups(is_valid: Callable[[str], bool]) -> Refine:
    """Check the longest run of groups, from the first on, that is valid."""

    def refine(text: str, start: int, end: int) -> Place | None:
        while end > start:
            if is_valid(text[start:end]):
                return start, end
            end = max(text.rfind(" ", start, end), start)
        return None

    return refine


def _card(is_valid: Callable[[str], bool]) -> Refine:
    def refine(text: str, start: int, end: int) -> Place | None:
        digits = re.sub(r"\D", "", text[start:end])
        looks = _before(text, start) not in (".", "-", "/") and len(set(digits)) > 1
        return (start, end) if looks and is_valid(digits) else None

    return refine


def _national_id(names: Sequence[str]) -> Refine:
    checks = [_stdnum(name).is_valid for name in names]

    def refine(text: str, start: int, end: int) -> Place | None:
        first = start
        while first < end:
            last = end if text[first] not in " -" else first
            while last > first:
                if last - first < _SHORTEST_ID:
                    break
                if any(check(text[first:last]) for check in checks):
                    return first, last
                last = max(text.rfind(" ", first, last), first)
            space = text.find(" ", first, end)
            first = space + 1 if space >= 0 else end
        return None

    return refine


def _phone(region: str) -> Refine:
    with _extra("phonenumbers"):
        import phonenumbers

    def refine(text: str, start: int, end: int) -> Place | None:
        stretch = text[start:end]
        if not 7 <= sum(map(str.isdigit, stretch)) <= 17:
            return None
        if not region and "+" not in stretch[:2]:
            return None
        for found in phonenumbers.PhoneNumberMatcher(stretch, region or None):
            return start + found.start, start + found.end
        return None

    return refine


def _email(text: str, start: int, end: int) -> Place | None:
    while start < end and text[start] in ".'-+%":
        start += 1
    return (start, end) if text[start] != "@" else None


def _url(text: str, start: int, end: int) -> Place | None:
    """Leave out what a sentence has behind an address: stops, and brackets that it opened."""
    while True:
        stretch = _trailing.sub("", text[start:end])
        for opening, closing in ("()", "[]", "{}", "<>"):
            if stretch.endswith(closing) and stretch.count(closing) > stretch.count(opening):
                stretch = stretch[:-1]
        if start + len(stretch) == end:
            break
        end = start + len(stretch)
    is_part = _before(text, start) in ("@", ".", "-", "/")
    return None if is_part or end <= start else (start, end)


def _ip(text: str, start: int, end: int) -> Place | None:
    stretch = text[start:end].rstrip(".:") if text[start:end].count(".") != 3 else text[start:end]
    try:
        ip_address(stretch)
    except ValueError:
        return None
    following = text[start + len(stretch) : start + len(stretch) + 2]
    is_part = _before(text, start).isalnum() or _before(text, start) in (".", ":")
    goes_on = following[:1].isalnum() or (following[:1] == "." and following[1:].isdigit())
    return None if is_part or goes_on else (start, start + len(stretch))


def _apart(text: str, start: int, end: int) -> Place | None:
    """Let it begin where no word, number or address goes on."""
    before = _before(text, start)
    return (
        None if before.isalnum() or before in ("_", ".", "@", "#", "/", "&", "-") else (start, end)
    )


def _date(text: str, start: int, end: int) -> Place | None:
    numbers = [int(each) for each in re.findall(r"\d+", text[start:end])]
    if not text[start].isdigit() or re.search(r"[A-Za-z]", text[start:end]):
        return _apart(text, start, end)
    year_first = len(re.match(r"\d+", text[start:end])[0]) == 4  # type: ignore[index]
    day, month = (numbers[2], numbers[1]) if year_first else (numbers[0], numbers[1])
    is_day = (day <= 31 and month <= 12) or (day <= 12 and month <= 31 and not year_first)
    following = text[end : end + 2]
    goes_on = following[:1] in ("-", "/", ".") and following[1:].isdigit()
    return _apart(text, start, end) if is_day and day and month and not goes_on else None


def _mac(text: str, start: int, end: int) -> Place | None:
    following = text[end : end + 2]
    goes_on = following[:1] in (":", "-") and following[1:].isalnum()
    return None if goes_on or _before(text, start) in (":", "-") else (start, end)


def _version(text: str, start: int, end: int) -> Place | None:
    following = text[end : end + 2]
    goes_on = following[:1] == "." and following[1:].isdigit()
    return None if goes_on else _apart(text, start, end)


_PLAIN: dict[BuiltinKind, Builtin] = {
    "email": Builtin([r"[\pL\pN._%+'-]+@[\pL\pN-]+(?:\.[\pL\pN-]+)*\.[A-Za-z]{2,24}\b"], _email),
    "url": Builtin(
        [
            r"(?i)\b(?:https?|ftp)://[^\s<>\"]+",
            r"(?i)\bwww\.[^\s<>\"]+\.[^\s<>\"]+",
            rf"(?i)\b(?:[a-z0-9-]+\.)+(?:{_DOMAINS})\b(?:/[^\s<>\"]*)?",
        ],
        _url,
    ),
    "ip": Builtin(
        [r"\b(?:\d{1,3}\.){3}\d{1,3}\b", r"[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}"], _ip
    ),
    "mac": Builtin(
        [rf"\b[0-9A-Fa-f]{{2}}(?:{mark}[0-9A-Fa-f]{{2}}){{5}}\b" for mark in ":-"], _mac
    ),
    "date": Builtin(
        [
            r"\b\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b",
            r"\b\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2})\b",
            rf"\b{_DAY}(?:st|nd|rd|th|\.)?\s(?:of\s)?{_MONTH},?(?:\s\d{{4}}\b)?",
            rf"\b{_MONTH}\s{_DAY}(?:st|nd|rd|th)?\b(?:,?\s\d{{4}}\b)?",
            rf"\b{_MONTH}\s\d{{4}}\b",
        ],
        _date,
    ),
    "time": Builtin(
        [
            r"\b(?:[01]?\d|2[0-3])[:.h][0-5]\d(?::[0-5]\d)?\s?(?:[aApP]\.?[mM]\b\.?)",
            r"\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?\b",
            r"\b(?:1[0-2]|0?[1-9])\s?[aApP]\.?[mM]\b",
        ],
        _apart,
    ),
    "money": Builtin(
        [
            rf"(?:US\$|A\$|C\$|[$€£¥₹]|\b{_CURRENCY}\s?)\s?{_AMOUNT}",
            rf"\b{_AMOUNT}\s?(?:[€£¥₹]|(?:{_CURRENCY}|dollars?|euros?|pounds?|cents?|kronor|kr)\b)",
        ],
        _apart,
    ),
    "version": Builtin(
        [
            r"\bv?\d{1,5}\.\d{1,5}\.\d{1,8}(?:-[0-9A-Za-z][0-9A-Za-z.-]*)?(?:\+[0-9A-Za-z.-]+)?\b",
            r"\bv\d{1,5}(?:\.\d{1,5})?\b",
        ],
        _version,
    ),
    "hashtag": Builtin([r"#[\pL\pN_]*[\pL_][\pL\pN_]*"], _apart),
    "handle": Builtin([r"@[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,62}[A-Za-z0-9_])?"], _apart),
}
"""The kinds that need nothing to be installed but RE2."""
