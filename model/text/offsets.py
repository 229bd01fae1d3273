"""Offsets in the unit of the reader's language.

Inside Teddy every offset counts characters (Unicode code points), as Python does. JavaScript, Java
and C# count UTF-16 units, Rust and Go UTF-8 bytes.
"""

from collections.abc import Iterable, Iterator
from typing import Literal

OffsetUnit = Literal["character", "utf16", "byte"]

_CODECS: dict[OffsetUnit, tuple[str, int]] = {
    "character": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "byte": ("utf-8", 1),
}
"""The encoding that counts each unit, and the unit's bytes there."""


def convert_offsets(text: str, offsets: Iterable[int], unit: OffsetUnit) -> Iterator[int]:
    """Yield ascending character offsets into `text` in `unit`, in time linear in the text.

    Raises ValueError for an offset that is out of order or outside the text, and UnicodeEncodeError
    for a lone surrogate before an offset (`check_text` refuses such a text first).
    """
    codec, width = ("ascii", 1) if text.isascii() else _CODECS[unit]
    position = total = 0
    for offset in offsets:
        if not position <= offset <= len(text):
            raise ValueError(
                f"offset {offset} after {position} in a text of {len(text)} characters"
            )
        total += len(text[position:offset].encode(codec)) // width
        position = offset
        yield total


def character_offsets(text: str, offsets: Iterable[int], unit: OffsetUnit) -> list[int | None]:
    """Convert ascending offsets in `unit` to characters of `text`, in time linear in the text.

    An offset outside the text or within a character becomes None. Raises UnicodeEncodeError for a
    lone surrogate.
    """
    codec, width = ("ascii", 1) if text.isascii() else _CODECS[unit]
    encoded = text.encode(codec)
    converted: list[int | None] = []
    position, total = 0, 0
    for offset in offsets:
        end = offset * width
        if not position <= end <= len(encoded):
            converted.append(None)
            continue
        try:
            total += len(encoded[position:end].decode(codec))
        except UnicodeDecodeError:  # within a character
            converted.append(None)
        else:
            converted.append(total)
            position = end
    return converted
