"""Offsets in the unit the reader counts in: this file owns the conversion.

Inside Teddy every offset counts characters (Unicode code points), as Python does. JavaScript, Java and C# count UTF-16
units, Rust and Go count UTF-8 bytes; a client that says so gets offsets that index its own strings.
"""

from collections.abc import Callable, Iterable
from typing import Literal

OffsetUnit = Literal["character", "utf16", "byte"]


def _utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _byte_length(text: str) -> int:
    return len(text.encode())


_LENGTHS: dict[OffsetUnit, Callable[[str], int]] = {"character": len, "utf16": _utf16_length, "byte": _byte_length}


def convert_offsets(text: str, offsets: Iterable[int], unit: OffsetUnit) -> list[int]:
    """Character offsets into `text`, in ascending order, as offsets in `unit`; in time linear in the text.

    Each offset adds the length of what lies between it and the one before, so no part of the text is looked at twice.

    Raises ValueError for an offset that is out of order or outside the text, and UnicodeEncodeError for a lone
    surrogate before an offset (such a text has no UTF-8 form; `model.text.check_text` refuses it first).
    """
    length = len if text.isascii() else _LENGTHS[unit]
    converted, position, total = [], 0, 0
    for offset in offsets:
        if not position <= offset <= len(text):
            raise ValueError(f"offset {offset} after {position} in a text of {len(text)} characters")
        total += length(text[position:offset])
        position = offset
        converted.append(total)
    return converted
