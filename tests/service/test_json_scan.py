"""What the scanner foresees is what there is: against a walk byte by byte, and against the strings
of what was written."""

import json
from collections.abc import Iterator
from itertools import pairwise
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.service.errors import BodyTooLargeError, ServiceError, TextTooLongError
from teddy.service.given import MOST_LABELS
from teddy.service.http.json_scan import PART_BYTES, JsonLimits, JsonScanner, scan
from teddy.service.settings import Settings

UNFINISHED = (b"\\", b"\\u", b"\\ud", b"\\uD")
UNLIMITED = JsonLimits()
BITS = [b'"', b"\\", b"\\\\", b'\\"', b"\\n", b"\\u00e9", b"\\uD83d", b"\\ude00", b"u", b"d", b"8"]
BITS += [b",", b":", b"[", b"{", b"]", b"}", b" ", b"a", "é人😀".encode(), b"\xff", b"\x80", b"\0"]


def scanned(pieces: list[bytes]) -> tuple[int, int, int, int]:
    scanner = JsonScanner(UNLIMITED)
    for piece in pieces:
        scanner.feed(piece)
    return scanner.openings, scanner.commas, scanner.quotes, scanner.characters


def walked(text: bytes) -> tuple[int, int, int, int]:
    """The same, byte by byte."""
    openings = commas = quotes = characters = place = 0
    is_inside = False
    while place < len(text) and text[place:] not in UNFINISHED:
        byte = text[place : place + 1]
        if text[place : place + 2] in (b"\\\\", b'\\"'):
            characters += is_inside
            place += 2
            continue
        if byte == b'"':
            is_inside = not is_inside
            quotes += 1
        elif is_inside and byte == b"\\":
            if text[place + 1 : place + 2] == b"u":
                begins_pair = text[place + 2 : place + 4].lower() in (b"d8", b"d9", b"da", b"db")
                characters -= 5 if begins_pair else 4
        elif is_inside:
            characters += not 0x80 <= byte[0] < 0xC0
        else:
            openings += byte in b":[{"
            commas += byte == b","
        place += 1
    return openings, commas, quotes, characters


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from strings(each)
    elif isinstance(value, dict):
        for name, each in value.items():
            yield name
            yield from strings(each)


def cut(text: bytes, places: list[int]) -> list[bytes]:
    borders = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(borders)]


@given(st.lists(st.sampled_from(BITS) | st.binary(max_size=3)), st.lists(st.integers(0)))
def test_any_bytes_cut_anywhere_are_scanned_as_byte_by_byte(
    bits: list[bytes], places: list[int]
) -> None:
    text = b"".join(bits)
    assert scanned(cut(text, places)) == walked(text)


TEXTS = st.text() | st.text(alphabet='\\"/\n\x7fé人😀')
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)


@given(JSON, st.booleans(), st.sampled_from([None, 1]), st.lists(st.integers(0), max_size=5))
def test_of_json_all_strings_are_counted_to_the_character(
    value: Any, is_ascii: bool, indent: int | None, places: list[int]
) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent).encode()
    assert scanned(cut(text, places))[-1] == sum(map(len, strings(value)))


def test_parts_of_a_long_piece_are_scanned_as_one() -> None:
    for unit in (b'"a\\"b",', b"\\u00e9", b"\\\\", "人".encode()):
        text = b'["' + unit * (2 * PART_BYTES // len(unit))
        assert scanned([text]) == walked(text)


LARGEST: dict[str, Any] = {"max_texts": 40, "max_text_characters": 50_000}
OPTIONS = {
    "model": "m" * 64,
    "labels": ["l" * 64] * MOST_LABELS,
    "min_score": 0.5,
    "offset_unit": "character",
    "tokens": True,
}
OF_TEXTS = JsonLimits.of_texts(Settings(**LARGEST))
OF_CORRECTION = JsonLimits.of_correction(Settings(**LARGEST))
ENTITY = {"start": 0, "end": 40, "label": "l" * 64, "text": "x" * 32, "score": 1.0}
ACCEPTED: list[tuple[JsonLimits, Any]] = [
    (OF_TEXTS, {"text": "😀" * 50_000, **OPTIONS}),
    (OF_TEXTS, {"texts": ['\\"'] * 40, **OPTIONS}),
    (OF_TEXTS, {"texts": ["\n" * 1250] * 40, **OPTIONS}),
    (OF_TEXTS, {"words": ["😀"] * 25_000, **OPTIONS}),
    (OF_TEXTS, {"words": ["{" * 50_000], **OPTIONS}),
    (OF_TEXTS, {"texts": [{"words": ["人"] * 625}] * 40, **OPTIONS}),
    (OF_CORRECTION, {"text": "人" * 50_000, "model": "m" * 64, "entities": [ENTITY] * 1562}),
    (JsonLimits.of_line(50_000), {"text": "{" * 50_000, "id": "😀" * 256}),
    (JsonLimits.of_line(49_999), {"words": ['"'] * 25_000, "id": "😀" * 256}),
]


@pytest.mark.parametrize(("limits", "content"), ACCEPTED)
@pytest.mark.parametrize("is_ascii", [True, False])
@pytest.mark.parametrize("indent", [None, 4])
def test_the_largest_request_that_the_settings_allow_is_accepted(
    limits: JsonLimits, content: Any, is_ascii: bool, indent: int | None
) -> None:
    scan(json.dumps(content, ensure_ascii=is_ascii, indent=indent).encode(), limits)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"[[[[]]]]," * 10_000, BodyTooLargeError),
        (b'{"texts":[' + b'"",' * 30_000, BodyTooLargeError),
        (b'{"words":[' + b'"a",' * 30_000, BodyTooLargeError),
        (b"[" + b"1," * 10_000, BodyTooLargeError),
        (b'["",' + b'"",1,' * 10_000, BodyTooLargeError),
        (b"{" + b'"a":1,' * 10_000, BodyTooLargeError),
        (b'"' * 100_000, BodyTooLargeError),
        (b'{"text":"' + b"a" * 400_000 + b'"}', TextTooLongError),
        (b'{"' + b"\\u00e9" * 400_000 + b'":1}', TextTooLongError),
    ],
)
def test_more_is_refused_with_what_was_found_the_limit_and_the_cure(
    text: bytes, error: type[ServiceError]
) -> None:
    with pytest.raises(error, match=r"^The JSON has more than \d+ .*Send .*\.$"):
        scan(text, OF_TEXTS)
    scan(text, JsonLimits(inf, inf))
