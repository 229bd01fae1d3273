from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Misaligned, Sentence, align
from teddy.training.data.readers import Example
from teddy.training.recipe.corpus_config import UNKNOWN

Align = Callable[..., tuple[list[Sentence], list[Misaligned]]]


@pytest.fixture
def aligned() -> Align:
    def run(
        text: str, *spans: tuple[str, str], is_sentence: bool = True
    ) -> tuple[list[Sentence], list[Misaligned]]:
        """Align a text whose spans are given as their words and their label."""
        found = [
            Span(text.index(words), text.index(words) + len(words), label) for words, label in spans
        ]
        return align_spans(text, found, is_sentence=is_sentence)

    return run


def align_spans(
    text: str, spans: list[Span], *, is_sentence: bool
) -> tuple[list[Sentence], list[Misaligned]]:
    reports: list[Misaligned] = []
    lines = tuple(range(10, 10 + len(spans)))
    example = Example(
        text=text,
        spans=tuple(spans),
        span_lines=lines,
        path="a.txt",
        line=3,
        is_sentence=is_sentence,
        document=0,
    )
    return align(example, "letters", Tokeniser(), reports.append), reports


def test_spans_on_word_borders_become_spans_of_words(aligned: Align) -> None:
    [sentence], reports = aligned(
        "Ada Byron met (Mary) today", ("Ada Byron", "PER"), ("Mary", "PER")
    )
    assert sentence.words == ("Ada", "Byron", "met", "(", "Mary", ")", "today")
    assert sentence.spans == (Span(0, 2, "PER"), Span(4, 5, "PER"))
    assert (sentence.unknown, sentence.misaligned, reports) == ((), (), [])
    assert (sentence.corpus, sentence.path, sentence.line) == ("letters", "a.txt", 3)


def test_a_span_off_word_borders_is_reported_and_its_words_are_unknown(aligned: Align) -> None:
    [sentence], reports = aligned("Ada left London early", ("da left", "PER"), ("London", "LOC"))
    assert sentence.spans == (Span(2, 3, "LOC"),)
    assert sentence.unknown == ((0, 2),)
    assert sentence.misaligned == (Span(1, 8, "PER"),)
    assert [str(report) for report in reports] == [
        "a.txt:10: PER 'da left' does not fall on word borders"
    ]


def test_of_overlapping_spans_the_longest_is_kept_and_the_others_are_reported(
    aligned: Align,
) -> None:
    [sentence], reports = aligned(
        "the Bank of Little Snoring opened",
        ("Snoring opened", "LOC"),
        ("the Bank", "PER"),
        ("Bank of Little Snoring", "ORG"),
    )
    assert sentence.spans == (Span(1, 5, "ORG"),)
    assert sentence.unknown == ((0, 1), (5, 6))
    assert [report.reason for report in reports] == ["overlaps a longer span"] * 2


def test_what_cannot_be_seen_at_the_edges_of_a_span_is_no_part_of_a_word(aligned: Align) -> None:
    [sentence], reports = aligned("by \ufeffAda\u200b today", ("\ufeffAda\u200b", "PER"))
    assert (sentence.words, reports) == (("by", "Ada", "today"), [])
    assert sentence.spans == (Span(1, 2, "PER"),)


def test_a_span_with_a_space_at_its_edge_is_reported(aligned: Align) -> None:
    [sentence], reports = aligned("by Ada today", ("Ada ", "PER"))
    assert (sentence.spans, len(reports)) == ((), 1)


def test_a_span_marked_twice_is_one_span(aligned: Align) -> None:
    [sentence], reports = aligned("Ada left", ("Ada", "PER"), ("Ada", "PER"))
    assert (sentence.spans, sentence.misaligned, reports) == ((Span(0, 1, "PER"),), (), [])


def test_a_part_of_a_word_is_not_taken_for_the_word(aligned: Align) -> None:
    [sentence], reports = aligned("Adams left", ("Adams", "PER"), ("Ada", "PER"))
    assert sentence.spans == (Span(0, 1, "PER"),)
    assert [report.text for report in reports] == ["Ada"]


def test_one_span_with_two_labels_is_reported(aligned: Align) -> None:
    [sentence], reports = aligned("Ada left", ("Ada", "PER"), ("Ada", "LOC"))
    assert sentence.spans == (Span(0, 1, "LOC"),)
    assert [report.label for report in reports] == ["PER"]


def test_the_words_of_an_unknown_span_may_be_anything_but_known_spans_within_it_stay(
    aligned: Align,
) -> None:
    [sentence], reports = aligned("the Ada prize again", ("the Ada prize", UNKNOWN), ("Ada", "PER"))
    assert sentence.spans == (Span(1, 2, "PER"),)
    assert sentence.unknown == ((0, 1), (2, 3))
    assert (sentence.misaligned, reports) == ((), [])


def test_a_document_is_split_into_sentences_with_offsets_of_their_own(aligned: Align) -> None:
    sentences, _ = aligned(
        "It rained. Ada left Rome.", ("Ada", "PER"), ("Rome", "LOC"), is_sentence=False
    )
    assert [sentence.text for sentence in sentences] == ["It rained.", "Ada left Rome."]
    assert sentences[1].spans == (Span(0, 1, "PER"), Span(2, 3, "LOC"))
    assert sentences[1].offsets[0] == (0, 3)


def test_sentences_that_a_span_crosses_are_joined_again(aligned: Align) -> None:
    text = "It rained. They sang Stop. Go. Now loudly. All left."
    sentences, reports = aligned(text, ("Stop. Go. Now", "MISC"), is_sentence=False)
    assert [sentence.text for sentence in sentences] == [
        "It rained.",
        "They sang Stop. Go. Now loudly.",
        "All left.",
    ]
    assert reports == []


def test_a_span_that_ends_with_its_sentence_joins_nothing(aligned: Align) -> None:
    sentences, _ = aligned(
        "They sang Stop. All left.", ("Stop.", "MISC"), ("All", "PER"), is_sentence=False
    )
    assert [sentence.text for sentence in sentences] == ["They sang Stop.", "All left."]


def test_a_text_without_words_gives_no_sentence_but_its_spans_are_reported(aligned: Align) -> None:
    assert aligned(" \n ") == ([], [])
    sentences, reports = aligned("   ", ("  ", "PER"))
    assert sentences == []
    assert len(reports) == 1


@st.composite
def marked_texts(draw: st.DrawFn) -> tuple[str, list[Span]]:
    text = draw(st.text(st.sampled_from("aB .!?\n'-é語1,"), max_size=40))
    bounds = st.tuples(
        st.integers(0, len(text)),
        st.integers(0, len(text)),
        st.sampled_from(["PER", "LOC", UNKNOWN]),
    )
    return text, [
        Span(start, end, label)
        for start, end, label in draw(st.lists(bounds, max_size=6))
        if start < end
    ]


@given(marked_texts(), st.booleans())
def test_every_word_is_in_one_sentence_and_every_span_is_kept_or_reported(
    marked: tuple[str, list[Span]], is_sentence: bool
) -> None:
    text, spans = marked
    sentences, reports = align_spans(text, spans, is_sentence=is_sentence)
    words = [text[start:end] for start, end in Tokeniser().offsets(text)]
    assert [word for sentence in sentences for word in sentence.words] == words
    assert all(sentence.words for sentence in sentences)
    gold = {span for span in spans if span.label != UNKNOWN}
    n_kept = sum(len(sentence.spans) for sentence in sentences)
    repeated = sum(span.label != UNKNOWN for span in spans) - len(gold)
    # Each distinct gold span is kept or reported; one that is given twice may be reported twice.
    assert len(gold) <= n_kept + len(reports) <= len(gold) + repeated
    if sentences:
        assert sum(len(sentence.misaligned) for sentence in sentences) == len(reports)


@given(marked_texts(), st.booleans())
def test_offsets_spans_and_unknown_words_of_a_sentence_are_consistent(
    marked: tuple[str, list[Span]], is_sentence: bool
) -> None:
    text, spans = marked
    given_surfaces = {(text[span.start : span.end], span.label) for span in spans}
    sentences, _ = align_spans(text, spans, is_sentence=is_sentence)
    for sentence in sentences:
        assert [sentence.text[start:end] for start, end in sentence.offsets] == list(sentence.words)
        ranges = sorted(
            [(span.start, span.end) for span in sentence.spans] + list(sentence.unknown)
        )
        assert all(0 <= start < end <= len(sentence.words) for start, end in ranges)
        assert all(before[1] <= after[0] for before, after in pairwise(ranges))
        for span in sentence.spans:
            surface = sentence.text[
                sentence.offsets[span.start][0] : sentence.offsets[span.end - 1][1]
            ]
            assert (surface, span.label) in given_surfaces
        for span in sentence.misaligned:
            assert (sentence.text[span.start : span.end], span.label) in given_surfaces


@given(marked_texts())
def test_a_span_that_begins_and_ends_where_words_do_and_overlaps_none_is_kept(
    marked: tuple[str, list[Span]],
) -> None:
    text, _ = marked
    words = Tokeniser().offsets(text)
    gold = [Span(words[place][0], words[place][1], "PER") for place in range(0, len(words), 2)]
    sentences, reports = align_spans(text, gold, is_sentence=True)
    assert reports == []
    assert [span for sentence in sentences for span in sentence.spans] == [
        Span(place, place + 1, "PER") for place in range(0, len(words), 2)
    ]
