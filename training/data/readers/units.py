"""The units that offsets in a file count: which of them fit the text."""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from teddy.model.text.offsets import OffsetUnit, character_offsets

Item = tuple[int, int, str, str | None]
"""Start, end and label of a span, and its own text where the file gives it."""
OWN_TEXT = 5
"""Spans on borders of words that say as much as one with its own text, which is no chance."""
_SKINS = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
SEEN = (
    "; they count what is seen as a character (grapheme clusters), as Swift does: count "
    "unicodeScalars, or utf16 units"
)
"""The cure for offsets in grapheme clusters."""
UNITS: tuple[OffsetUnit, ...] = ("character", "utf16", "byte")


def characters_of(
    text: str, items: Iterable[Sequence[Any]], unit: OffsetUnit
) -> dict[int, int | None]:
    """Return the characters at which offsets in a unit lie; None for those inside of one."""
    wanted = sorted({place for item in items for place in item[:2]})
    return dict(zip(wanted, character_offsets(text, wanted, unit), strict=True))


def fitting(text: str, items: Sequence[Item], unit: OffsetUnit | None) -> int:
    """Return how well spans fit the text in a unit; None stands for what is seen as a character.

    One for each that has borders of words, and as much as for several (`OWN_TEXT`) for each that
    has its own text.
    """
    places = characters_of(text, items, unit) if unit else _seen(text)
    n_fitting = 0
    for start, end, _, own in items:
        first, last = places.get(start), places.get(end)
        if first is None or last is None or not 0 <= first < last <= len(text):
            continue
        is_own = text[first:last] == own
        n_fitting += is_own * OWN_TEXT if own is not None else _is_on_borders(text, first, last)
    return n_fitting


def _seen(text: str) -> dict[int, int | None]:
    """Return where what is seen as a character begins: about what Unicode calls grapheme clusters.

    Near enough to notice offsets that count them, not to read them.
    """
    borders: list[int | None] = []
    n_flags = 0
    for at, each in enumerate(text):
        is_flag = "\U0001f1e6" <= each <= "\U0001f1ff"
        n_flags = n_flags + 1 if is_flag else 0
        joins = unicodedata.category(each) in ("Mn", "Me", "Mc", "Cf") or each in _SKINS
        joins |= text[at - 1 : at] == "\u200d" or (is_flag and n_flags % 2 == 0)
        if at == 0 or not (joins or text[at - 1 : at + 1] == "\r\n"):
            borders.append(at)
    return dict(enumerate([*borders, len(text)]))


def _is_on_borders(text: str, start: int, end: int) -> bool:
    before, behind = text[max(0, start - 1) : start + 1], text[end - 1 : end + 1]
    cuts = (len(each) == 2 and each.isalnum() for each in (before, behind))
    return not any(cuts) and not text[start].isspace() and not text[end - 1].isspace()


def unit_hint(text: str, items: Sequence[Item]) -> str:
    """Return the cure, if there is a unit in which all spans fit."""
    for unit in UNITS:
        if items and fitting(text, items, unit) >= len(items):
            return f'; they fit with offset_unit = "{unit}"'
    if items and fitting(text, items, None) >= len(items):
        return SEEN
    shifted = [(start, end + 1, label, own) for start, end, label, own in items]
    if (
        all(own for *_, own in items)
        and fitting(text, shifted, "character") == len(items) * OWN_TEXT
    ):
        return "; its end is the last character: add 1, for ends are half-open"
    return ""
