"""A tag set numbers the BIOES tags, knows which may follow which, and reads numbers as tags."""

from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Scheme, Span, read_tags, write_tags
from teddy.model.tags.tag_set import TagSet

TAGS = TagSet(("PER", "creative-work"))
INDICES = st.lists(st.integers(0, len(TAGS.tags) - 1), max_size=12)


def test_the_outside_is_tag_0_and_each_label_has_four() -> None:
    assert TAGS.tags[:5] == ("O", "B-PER", "I-PER", "E-PER", "S-PER")
    assert TAGS.tags[5:] == (
        "B-creative-work",
        "I-creative-work",
        "E-creative-work",
        "S-creative-work",
    )
    assert TagSet(()).tags == ("O",)


def test_index_and_label_agree_with_the_list_of_tags() -> None:
    for index, tag in enumerate(TAGS.tags):
        assert TAGS.index(tag) == index
        assert TAGS.label_of(index) == (tag[2:] or None)
    with pytest.raises(KeyError):
        TAGS.index("B-LOC")


@given(INDICES)
def test_decoding_equals_reading_the_tags_by_name(indices: list[int]) -> None:
    assert TAGS.decode(indices) == read_tags([TAGS.tags[index] for index in indices], Scheme.BIOES)


@given(INDICES)
def test_encoding_what_was_decoded_spells_the_same_spans(indices: list[int]) -> None:
    spans = TAGS.decode(indices)
    encoded = TAGS.encode(spans, len(indices))
    assert [TAGS.tags[index] for index in encoded] == write_tags(spans, len(indices), Scheme.BIOES)
    assert TAGS.decode(encoded) == spans


def test_a_path_is_allowed_exactly_if_writing_its_spans_gives_it_back() -> None:
    first, last, transitions = TAGS.allowed_first(), TAGS.allowed_last(), TAGS.allowed_transitions()
    for length in range(1, 5):
        for path in product(range(len(TAGS.tags)), repeat=length):
            steps = all(transitions[before][after] for before, after in pairwise(path))
            allowed = first[path[0]] and last[path[-1]] and steps
            assert allowed == (TAGS.encode(TAGS.decode(path), length) == list(path)), path


def test_a_label_outside_the_set_is_refused() -> None:
    with pytest.raises(KeyError, match="LOC"):
        TAGS.encode([Span(0, 1, "LOC")], 1)


@pytest.mark.parametrize("labels", [("PER", "PER"), ("",)])
def test_labels_that_are_empty_or_come_twice_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="labels"):
        TagSet(labels)
