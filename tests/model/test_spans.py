"""The schemes spell every span they can, and repair what is illegal as the CoNLL scorer does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Scheme, Span, read_tags, write_tags

LABELS = st.sampled_from(["PER", "LOC", "creative-work"])
PREFIXES = {
    Scheme.IO: "I",
    Scheme.IOB1: "BI",
    Scheme.BIO: "BI",
    Scheme.BIOES: "BIES",
    Scheme.BMES: "BMES",
    Scheme.BILUO: "BILU",
    Scheme.BMEWO: "BMEW",
}


@st.composite
def sentences(draw: st.DrawFn) -> tuple[list[Span], int]:
    """Spans in order and disjoint, and the number of words."""
    stretches = draw(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), LABELS), max_size=6))
    spans, position = [], 0
    for gap, length, label in stretches:
        spans.append(Span(position + gap, position + gap + length, label))
        position += gap + length
    return spans, position + draw(st.integers(0, 3))


def tags_of(scheme: Scheme) -> st.SearchStrategy[list[str]]:
    """Any tags at all: most sequences are illegal."""
    tag = st.builds("{}-{}".format, st.sampled_from(PREFIXES[scheme]), LABELS)
    return st.lists(st.one_of(st.just("O"), tag), max_size=12)


def conlleval_spans(tags: list[str]) -> list[Span]:
    """The rules of the CoNLL scorer: does a chunk end before this tag, does one start at it?"""

    def chunk_ends(previous: str, tag: str, previous_label: str, label: str) -> bool:
        pairs = [
            "BB",
            "BS",
            "BO",
            "IB",
            "IS",
            "IO",
            "EE",
            "EI",
            "EO",
            "ES",
            "EB",
            "SS",
            "SI",
            "SO",
            "SE",
            "SB",
        ]
        return previous + tag in pairs or (previous != "O" and previous_label != label)

    def chunk_starts(previous: str, tag: str, previous_label: str, label: str) -> bool:
        pairs = [
            "BB",
            "IB",
            "OB",
            "EB",
            "SB",
            "BS",
            "IS",
            "OS",
            "ES",
            "SS",
            "EE",
            "EI",
            "SE",
            "SI",
            "OE",
            "OI",
        ]
        return previous + tag in pairs or (tag != "O" and previous_label != label)

    spans = []
    previous, previous_label, start = "O", "", 0
    for position, written in enumerate([*tags, "O"]):
        prefix, _, label = written.partition("-")
        tag = {"M": "I", "L": "E", "U": "S", "W": "S"}.get(prefix, prefix)
        if chunk_ends(previous, tag, previous_label, label):
            spans.append(Span(start, position, previous_label))
        if chunk_starts(previous, tag, previous_label, label):
            start = position
        previous, previous_label = tag, label
    return spans


def merged_where_they_touch(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for span in spans:
        if merged and merged[-1].end == span.start and merged[-1].label == span.label:
            merged[-1] = Span(merged[-1].start, span.end, span.label)
        else:
            merged.append(span)
    return merged


@pytest.mark.parametrize(
    "scheme", [each for each in Scheme if each not in (Scheme.IO, Scheme.PLAIN)]
)
@given(sentence=sentences())
def test_what_is_written_is_read_back(scheme: Scheme, sentence: tuple[list[Span], int]) -> None:
    spans, n_words = sentence
    tags = write_tags(spans, n_words, scheme)
    assert len(tags) == n_words
    assert read_tags(tags, scheme) == spans


@pytest.mark.parametrize("scheme", [Scheme.IO, Scheme.PLAIN])
@given(sentence=sentences())
def test_without_a_mark_of_the_first_word_neighbours_with_one_label_read_back_as_one_span(
    scheme: Scheme, sentence: tuple[list[Span], int]
) -> None:
    spans, n_words = sentence
    read = read_tags(write_tags(spans, n_words, scheme), scheme)
    assert read == merged_where_they_touch(spans)


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        ("(PER* *) * (LOC*)", [Span(0, 2, "PER"), Span(3, 4, "LOC")]),
        ("*) * (PER* (LOC* *", [Span(2, 3, "PER"), Span(3, 5, "LOC")]),
    ],
)
def test_brackets_that_do_not_match_are_repaired(tags: str, spans: list[Span]) -> None:
    assert read_tags(tags.split(), Scheme.BRACKETS) == spans
    with pytest.raises(ValueError, match="not a tag of the scheme brackets"):
        read_tags(["*", "B-PER"], Scheme.BRACKETS)


@pytest.mark.parametrize("scheme", PREFIXES)
@given(data=st.data())
def test_any_sequence_of_tags_is_repaired_as_conlleval_reads_it(
    scheme: Scheme, data: st.DataObject
) -> None:
    tags = data.draw(tags_of(scheme))
    assert read_tags(tags, scheme) == conlleval_spans(tags)


@pytest.mark.parametrize("scheme", PREFIXES)
@given(data=st.data())
def test_repair_loses_no_tagged_word(scheme: Scheme, data: st.DataObject) -> None:
    tags = data.draw(tags_of(scheme))
    labels = ["O"] * len(tags)
    for span in read_tags(tags, scheme):
        labels[span.start : span.end] = [span.label] * (span.end - span.start)
    assert labels == [tag[2:] or "O" for tag in tags]


@given(sentence=sentences())
def test_the_order_in_which_spans_are_given_does_not_matter(
    sentence: tuple[list[Span], int],
) -> None:
    spans, n_words = sentence
    assert write_tags(reversed(spans), n_words, Scheme.BIOES) == write_tags(
        spans, n_words, Scheme.BIOES
    )


def test_each_scheme_spells_the_same_spans_in_its_own_way() -> None:
    spans = [Span(0, 1, "PER"), Span(1, 4, "PER"), Span(5, 6, "creative-work")]
    assert write_tags(spans, 6, Scheme.IO) == ["I-PER"] * 4 + ["O", "I-creative-work"]
    assert write_tags(spans, 6, Scheme.IOB1) == [
        "I-PER",
        "B-PER",
        "I-PER",
        "I-PER",
        "O",
        "I-creative-work",
    ]
    assert write_tags(spans, 6, Scheme.BIO) == [
        "B-PER",
        "B-PER",
        "I-PER",
        "I-PER",
        "O",
        "B-creative-work",
    ]
    assert write_tags(spans, 6, Scheme.BIOES) == [
        "S-PER",
        "B-PER",
        "I-PER",
        "E-PER",
        "O",
        "S-creative-work",
    ]
    assert write_tags(spans, 6, Scheme.BMES) == [
        "S-PER",
        "B-PER",
        "M-PER",
        "E-PER",
        "O",
        "S-creative-work",
    ]


@pytest.mark.parametrize(
    "tag", ["", "X-PER", "B-", "B", "PER", "-PER", "b-PER", "BI-PER", "o", "M-PER"]
)
def test_a_malformed_tag_is_refused_by_name(tag: str) -> None:
    with pytest.raises(ValueError, match=repr(tag)):
        read_tags(["O", tag], Scheme.BIO)


@pytest.mark.parametrize(
    "spans",
    [
        [Span(0, 2, "PER"), Span(1, 3, "LOC")],
        [Span(0, 3, "PER"), Span(1, 2, "LOC")],
        [Span(1, 1, "PER")],
        [Span(2, 5, "PER")],
        [Span(-1, 1, "PER")],
        [Span(0, 1, "")],
    ],
)
def test_spans_that_no_tags_can_spell_are_refused(spans: list[Span]) -> None:
    with pytest.raises(ValueError, match=r"words|overlap"):
        write_tags(spans, 4, Scheme.BIO)
