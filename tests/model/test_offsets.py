import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.offsets import OffsetUnit, character_offsets, convert_offsets

CODECS: dict[OffsetUnit, tuple[str, int]] = {
    "character": ("utf-32-le", 4),
    "utf16": ("utf-16-le", 2),
    "byte": ("utf-8", 1),
}


@st.composite
def texts_with_offsets(draw: st.DrawFn) -> tuple[str, list[int]]:
    text = draw(st.text() | st.text(alphabet="a é中\U0001f9f8\u0301\r\n\0"))
    return text, sorted(draw(st.lists(st.integers(0, len(text)))))


@given(texts_with_offsets(), st.sampled_from(sorted(CODECS)))
def test_what_lies_between_converted_offsets_in_the_encoded_text_is_what_lay_between_them(
    case: tuple[str, list[int]], unit: OffsetUnit
) -> None:
    text, offsets = case
    codec, width = CODECS[unit]
    encoded = text.encode(codec)
    converted = list(convert_offsets(text, offsets, unit))
    assert len(converted) == len(offsets)
    for start, end, new_start, new_end in zip(
        offsets, offsets[1:], converted, converted[1:], strict=False
    ):
        assert encoded[new_start * width : new_end * width].decode(codec) == text[start:end]


def test_an_emoji_is_one_character_two_utf16_units_and_four_bytes() -> None:
    assert list(convert_offsets("🧸!", [0, 1, 2], "character")) == [0, 1, 2]
    assert list(convert_offsets("🧸!", [0, 1, 2], "utf16")) == [0, 2, 3]
    assert list(convert_offsets("🧸!", [0, 1, 2], "byte")) == [0, 4, 5]


@pytest.mark.parametrize("offsets", [[2, 1], [-1], [4], [0, 4]])
@pytest.mark.parametrize("text", ["abc", "äöü"])
def test_offsets_out_of_order_or_outside_the_text_are_refused(
    text: str, offsets: list[int]
) -> None:
    with pytest.raises(ValueError, match="offset"):
        list(convert_offsets(text, offsets, "byte"))


@given(
    st.text() | st.text(alphabet="a é中\U0001f9f8\u0301\r\n\0"),
    st.sampled_from(sorted(CODECS)),
    st.data(),
)
def test_offsets_in_any_unit_are_read_back_and_those_on_no_border_are_none(
    text: str, unit: OffsetUnit, data: st.DataObject
) -> None:
    borders = list(convert_offsets(text, range(len(text) + 1), unit))
    offsets = sorted(data.draw(st.lists(st.integers(-1, borders[-1] + 2))))
    wanted = [borders.index(offset) if offset in borders else None for offset in offsets]
    assert character_offsets(text, offsets, unit) == wanted
