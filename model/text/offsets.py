"""Offsets in the unit the reader counts in: this file owns the conversion.

Inside Teddy every offset counts characters (Unicode code points), as Python does. JavaScript, Java
and C# count UTF-16 units, Rust and Go count UTF-8 bytes; a client that says so gets offsets that
index its own strings.
"""

from collections.abc import Callable, Iterable
from typing import Literal

OffsetUnit = Literal["character", "utf16", "byte"]


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _byte_length(text: str) -> int:
    return len(text.encode())


_LENGTHS: dict[OffsetUnit, Callable[[str], int]] = {
    "character": len,
    "utf16": _utf16_length,
    "byte": _byte_length,
}
_CODECS: dict[OffsetUnit, tuple[str, int]] = {
    "character": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "byte": ("utf-8", 1),
}
"""Of each unit the encoding that counts it, and its bytes there."""


def convert_offsets(text: str, offsets: Iterable[int], unit: OffsetUnit) -> list[int]:
    """Character offsets into `text`, in ascending order, as offsets in `unit`; in time linear in the text.

    Each offset adds the length of what lies between it and the one before, so no part of the text
    is looked at twice.

    Raises ValueError for an offset that is out of order or outside the text, and UnicodeEncodeError
    for a lone surrogate before an offset (such a text has no UTF-8 form;
    `teddy.model.text.words.check_text` refuses it first).
    """
    length = len if text.isascii() else _LENGTHS[unit]
    converted, position, total = [], 0, 0
    for offset in offsets:
        if not position <= offset <= len(text):
            raise ValueError(
                f"offset {offset} after {position} in a text of {len(text)} characters"
            )
        total += length(text[position:offset])
        position = offset
        converted.append(total)
    return converted


def character_offsets(text: str, offsets: Iterable[int], unit: OffsetUnit) -> list[int | None]:
    """Offsets in `unit`, in ascending order, as character offsets into `text`; in time linear in the text.

    None stands for an offset that lies outside the text or within a character. Raises
    UnicodeEncodeError for a lone surrogate.
    """
    codec, width = ("ascii", 1) if text.isascii() else _CODECS[unit]
    encoded = text.encode(codec)
    converted: list[int | None] = []
    position, total = 0, 0
    for offset in offsets:
        end = offset * width
        n_characters = (
            _count(encoded[position:end], codec) if position <= end <= len(encoded) else None
        )
        if n_characters is not None:
            position, total = end, total + n_characters
        converted.append(None if n_characters is None else total)
    return converted


def _count(encoded: bytes, codec: str) -> int | None:
    """How many characters these bytes are; None if the last one is cut."""
    try:
        return len(encoded.decode(codec))
    except UnicodeDecodeError:
        return None
