"""Windows are put together exactly, with a reader of known results in the network's place."""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.predictor import Predictor
from teddy.model.tagger import TaggedWords
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.documents import Document, Tagged
from teddy.model.text.sentences import Offsets
from teddy.model.text.windows import Window, split_windows

TAGS = TagSet(("PER", "LOC"))
Reader = Callable[[Window], list[Span]]
"""Finds the spans of a window, in words of the document."""


@st.composite
def layouts(draw: st.DrawFn) -> Document:
    """Sentences of any lengths, and windows of any length and overlap."""
    lengths = draw(st.lists(st.integers(1, 30), max_size=4))
    max_words = draw(st.integers(1, 12))
    return make_document(lengths, max_words, draw(st.integers(0, max_words - 1)))


def make_document(lengths: Sequence[int], max_words: int, overlap: int) -> Document:
    words = [f"w{i}" for i in range(sum(lengths))]
    ends = list(accumulate(len(word) + 1 for word in words))
    offsets = [(end - 1 - len(word), end - 1) for word, end in zip(words, ends, strict=True)]
    sentences = list(pairwise(accumulate(lengths, initial=0)))
    windows = split_windows(words, sentences, max_words, overlap)
    return Document(" ".join(words), Offsets.of(offsets), windows)


@st.composite
def disjoint_spans(draw: st.DrawFn, start: int, end: int) -> list[Span]:
    spans: list[Span] = []
    while start < end and draw(st.booleans()):
        first = draw(st.integers(start, end - 1))
        start = draw(st.integers(first + 1, end))
        spans.append(Span(first, start, draw(st.sampled_from(TAGS.labels))))
    return spans


def sees(gold: list[Span]) -> Reader:
    """A reader that knows the document, but sees of it no more than its window."""

    def read(place: Window) -> list[Span]:
        cut = [
            Span(max(span.start, place.start), min(span.end, place.end), span.label)
            for span in gold
        ]
        return [span for span in cut if span.start < span.end]

    return read


def assemble(predictor: Predictor, document: Document, read: Reader) -> tuple[list[Span], Tagged]:
    """The entities, in words, and all else; the score of a span is 1/3, that of a tag 1/4."""
    outputs = []
    for place in document.windows:
        spans = [
            Span(span.start - place.start, span.end - place.start, span.label)
            for span in read(place)
        ]
        n_words = place.end - place.start
        tags, scores = np.array(TAGS.encode(spans, n_words)), np.full(n_words, 1 / 4)
        outputs.append(
            TaggedWords(spans=spans, scores=[1 / 3] * len(spans), tags=tags, tag_scores=scores)
        )
    tagged = predictor.assemble(document, outputs)
    pairs = list(zip(*document.offsets, strict=True))
    starts = {start: word for word, (start, _) in enumerate(pairs)}
    ends = {end: word + 1 for word, (_, end) in enumerate(pairs)}
    return [
        Span(starts[entity.start], ends[entity.end], entity.label) for entity in tagged.entities
    ], tagged


few = settings(deadline=None, max_examples=80)


@few
@given(data=st.data())
def test_whatever_windows_say_the_tags_spell_the_entities_and_every_word_has_one(
    tiny_predictor: Predictor, data: st.DataObject
) -> None:
    document = data.draw(layouts())
    found, tagged = assemble(
        tiny_predictor, document, lambda place: data.draw(disjoint_spans(place.start, place.end))
    )
    assert [(token.start, token.end) for token in tagged.tokens] == list(
        zip(*document.offsets, strict=True)
    )
    assert [TAGS.index(token.tag) for token in tagged.tokens] == TAGS.encode(
        found, len(document.offsets.starts)
    )
    assert all(
        entity.text == document.text[entity.start : entity.end] for entity in tagged.entities
    )
    assert found == sorted(found)


@few
@given(data=st.data())
def test_an_entity_is_one_that_begins_where_a_window_has_the_say_and_no_earlier_entity_lies(
    tiny_predictor: Predictor, data: st.DataObject
) -> None:
    document = data.draw(layouts())
    windows = document.windows
    said = {place.start: data.draw(disjoint_spans(place.start, place.end)) for place in windows}
    expected: list[Span] = []
    for place in windows:
        for span in said[place.start]:
            taken = expected[-1].end if expected else 0
            if max(place.keep_start, taken) <= span.start < place.keep_end:
                expected.append(span)
    assert assemble(tiny_predictor, document, lambda place: said[place.start])[0] == expected


@few
@given(data=st.data())
def test_an_entity_that_crosses_a_border_comes_whole_when_half_the_overlap_holds_it(
    tiny_predictor: Predictor, data: st.DataObject
) -> None:
    length, max_words = data.draw(st.integers(1, 60)), data.draw(st.integers(1, 12))
    overlap = data.draw(st.integers(0, max_words - 1))
    document = make_document([length], max_words, overlap)
    gold = data.draw(disjoint_spans(0, length))
    gold = [
        Span(span.start, min(span.end, span.start + 1 + (overlap + 1) // 2), span.label)
        for span in gold
    ]
    assert assemble(tiny_predictor, document, sees(gold))[0] == gold


@few
@given(data=st.data())
def test_an_entity_of_any_length_is_found_once_from_its_first_word_and_never_in_pieces(
    tiny_predictor: Predictor, data: st.DataObject
) -> None:
    # With an overlap of a single word a window keeps its very first, and does not know what that
    # word goes on with.
    length, max_words = data.draw(st.integers(1, 60)), data.draw(st.integers(3, 12))
    document = make_document([length], max_words, data.draw(st.integers(2, max_words - 1)))
    gold = data.draw(disjoint_spans(0, length))
    found, _ = assemble(tiny_predictor, document, sees(gold))
    assert [(span.start, span.label) for span in found] == [
        (span.start, span.label) for span in gold
    ]
    assert all(ours.end <= theirs.end for ours, theirs in zip(found, gold, strict=True))


def test_words_of_an_entity_whose_head_no_window_found_are_outside_with_the_rest_of_certainty(
    tiny_predictor: Predictor,
) -> None:
    document = make_document([10], 6, 2)  # [0, 6) keeps up to 5, [4, 10) from there

    def read(place: Window) -> list[Span]:
        return [Span(4, 7, "PER"), Span(8, 9, "LOC")] if place.start == 4 else []

    found, tagged = assemble(tiny_predictor, document, read)
    assert found == [Span(8, 9, "LOC")]
    assert [token.tag for token in tagged.tokens[4:]] == ["O", "O", "O", "O", "S-LOC", "O"]
    assert [token.score for token in tagged.tokens[4:]] == [
        1 / 4,
        3 / 4,
        3 / 4,
        1 / 4,
        1 / 4,
        1 / 4,
    ]
    assert [entity.score for entity in tagged.entities] == [1 / 3]


def test_results_for_another_number_of_windows_are_refused(tiny_predictor: Predictor) -> None:
    document = make_document([10], 6, 2)
    with pytest.raises(ValueError, match="zip"):
        tiny_predictor.assemble(document, [])
