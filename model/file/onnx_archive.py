"""How an ONNX file carries what every model file has; read and written without the package onnx.

    the graph               what any ONNX runtime reads
    metadata_props          manifest.json, words.txt, card.md as text, pieces.model and lexicon in
                            base64 (see `teddy.model.file.bundle`)
    the last of them        "teddy-sha256": the digest of every byte before its 64 digits

An ONNX file is a protobuf message, whose fields are read in any order and may be added to at the
end: each metadata entry is field 14 of the message, itself a message of a key (field 1) and a value
(field 2).
"""

import base64
import hashlib
from collections.abc import Iterator, Mapping

MAGIC = b"\x08\x08\x12\x05teddy"
"""How our ONNX files begin: the version of the file format, 8, and the name of the producer."""
_METADATA = 14
_BYTES = 2
"""The wire type of a field that is as long as it says."""
_DIGITS = 64
_BINARY = ("pieces.model", "lexicon")


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _entry(key: bytes, value: bytes) -> bytes:
    return _field(_METADATA, _field(1, key) + _field(2, value))


def _varint(value: int) -> bytes:
    """Encode in seven bits a byte, the lowest first; the eighth bit says that more follow."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*digits, value])


MARK = _entry(b"teddy-sha256", b"0" * _DIGITS)[:-_DIGITS]
"""What stands before the digest at the end of a file."""


def seal(graph: bytes, extra_files: Mapping[str, bytes]) -> bytes:
    """Return an ONNX model with `extra_files` in its metadata and its digest at the end.

    Raises ValueError when the model is not as `teddy.training.export.onnx_graph` makes it.
    """
    if not graph.startswith(MAGIC):
        raise ValueError("the serialised graph does not begin as ours do")
    packed = {
        name: base64.b64encode(each) if name in _BINARY else each
        for name, each in extra_files.items()
    }
    body = b"".join(
        [graph, *(_entry(name.encode(), content) for name, content in packed.items()), MARK]
    )
    return body + hashlib.sha256(body).hexdigest().encode()


def extra_files(content: bytes) -> dict[str, bytes]:
    """Return what `seal` put beside the graph. Raises ValueError for another format."""
    found: dict[str, bytes] = {}
    for number, field in _fields(memoryview(content)):
        if number == _METADATA:
            entry = dict(_fields(field))
            name, value = bytes(entry.get(1, b"")).decode(), bytes(entry.get(2, b""))
            found[name] = base64.b64decode(value, validate=True) if name in _BINARY else value
    return found


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and content of each field of a message; of a whole number, its bytes."""
    position = 0
    while position < len(content):
        tag, position = _read_varint(content, position)
        if tag & 7 == _BYTES:
            length, position = _read_varint(content, position)
            end = position + length
        elif tag & 7 == 0:
            _, end = _read_varint(content, position)
        else:
            end = position + {1: 8, 5: 4}.get(tag & 7, len(content))
        if end > len(content):
            raise ValueError("a field of the message goes on past its end")
        yield tag >> 3, content[position:end]
        position = end


def _read_varint(content: memoryview, position: int) -> tuple[int, int]:
    """Return a whole number, and the position after it."""
    value = 0
    for index, byte in enumerate(content[position : position + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, position + index + 1
    raise ValueError("a number in the message does not end")
