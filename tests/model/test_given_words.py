"""A text that is given as words: what is found is what the text itself has, counted in words."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.drift.profile import Profiler
from teddy.model.errors import TextError
from teddy.model.predictor import Predictor
from teddy.model.tags.spans import Scheme, Span, read_tags
from teddy.model.text.documents import Tagged
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import MAX_WORD_CHARACTERS, Text, Tokeniser, n_characters
from tests.model.test_predictor import SENTENCES, any_text, assert_same, few, scores

ODD = ["New York", "don't", "New-York", " ", "\u200b", "\n", "a\tb", "\ufffd", "U.S.A", "x" * 250]
any_words = st.lists(
    st.sampled_from([*ODD, "Anna", "Berg", "went", "to", "Oslo", "."]) | st.text(min_size=1)
)


def tag(predictor: Predictor, text: Text) -> Tagged:
    (tagged,) = predictor.tag_documents([text])
    return tagged


def cut(text: str) -> list[tuple[list[str], list[tuple[int, int]]]]:
    """The words of each sentence, and their characters."""
    starts, ends, words = Tokeniser().split_words(text)
    places = list(zip(starts, ends, strict=True))
    sentences = split_sentences(text, Offsets(starts, ends))
    return [(words[first:last], places[first:last]) for first, last in sentences]


@few
@given(text=any_text | st.sampled_from([*SENTENCES, "Mira met Otto Lind in Lund " * 60]))
def test_the_words_of_each_sentence_give_what_the_text_gives(
    tiny_predictor: Predictor, text: str
) -> None:
    sentences = cut(text)
    found = [tag(tiny_predictor, words) for words, _ in sentences]
    mapped = [
        (places[each.start][0], places[each.end - 1][1], each.label)
        for tagged, (_, places) in zip(found, sentences, strict=True)
        for each in tagged.entities
    ]
    whole = tag(tiny_predictor, text)
    assert mapped == [(each.start, each.end, each.label) for each in whole.entities]
    assert [t.tag for tagged in found for t in tagged.tokens] == [t.tag for t in whole.tokens]
    for kind in ("entities", "tokens"):
        alone = [each.score for tagged in found for each in getattr(tagged, kind)]
        together = [each.score for each in getattr(whole, kind)]
        assert alone == pytest.approx(together, abs=1e-6)


@few
@given(words=any_words)
def test_every_word_has_one_tag_and_an_entity_is_its_words_with_spaces_between(
    tiny_predictor: Predictor, words: list[str]
) -> None:
    tagged = tag(tiny_predictor, words)
    n_words = len(words)
    assert tagged.n_words == tagged.n_tagged_words == n_words
    assert [(each.start, each.end) for each in tagged.tokens] == [
        (i, i + 1) for i in range(n_words)
    ]
    assert all(0 <= score <= 1 for score in scores(tagged))
    for each in tagged.entities:
        assert each.text == " ".join(words[each.start : each.end])
    spelt = read_tags([each.tag for each in tagged.tokens], Scheme.BIOES)
    assert spelt == [Span(each.start, each.end, each.label) for each in tagged.entities]
    assert [spelt] == tiny_predictor.tag_sentences([words])


@few
@given(texts=st.lists(any_words | any_words.map(tuple) | any_text, max_size=6))
def test_words_and_texts_together_read_as_each_alone(
    tiny_predictor: Predictor, texts: list[Sequence[str]]
) -> None:
    together = list(tiny_predictor.tag_documents(texts))
    for tagged, text in zip(together, texts, strict=True):
        assert_same(tagged, tag(tiny_predictor, text))


@few
@given(words=st.lists(st.text()))
def test_the_length_is_that_of_the_words_with_spaces_between(words: list[str]) -> None:
    assert n_characters(words) == n_characters(" ".join(words)) == len(" ".join(words))


def test_the_network_reads_of_a_long_word_as_much_as_the_tokeniser_puts_into_one(
    tiny_predictor: Predictor,
) -> None:
    long = "Oslo" * 100
    (window,) = tiny_predictor.prepare(["in", long]).windows
    assert (
        window.words
        == ["in", Tokeniser().split_words(long)[2][0]]
        == ["in", long[:MAX_WORD_CHARACTERS]]
    )
    found = [each.text for each in tag(tiny_predictor, ["in", long]).entities]
    assert found in ([], [long])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["Anna", ""], "word 1 is empty: leave it out"),
        ([""], "word 0 is empty: leave it out"),
        (["Anna", "a\udfff"], "lone surrogate U+DFFF at character 1 of word 1"),
        (["\ud800", ""], "lone surrogate U+D800 at character 0 of word 0"),
    ],
)
def test_what_cannot_be_a_word_is_named_by_its_position(
    tiny_predictor: Predictor, words: list[str], said: str
) -> None:
    for call in (tiny_predictor.tag, tiny_predictor.tag_sentences):
        with pytest.raises(TextError) as refused:
            call([["Oslo"], words])
        assert str(refused.value) == said


@pytest.mark.parametrize("text", ["Anna Berg went to Oslo.", "In New Haven, OTTO LIND met Mira!"])
def test_for_drift_words_count_as_their_text(tiny_predictor: Predictor, text: str) -> None:
    profiler = Profiler(tiny_predictor.manifest.labels, tiny_predictor.tagger.features.pieces)
    counts = [
        profiler.count(tiny_predictor.prepare(each), tag(tiny_predictor, each))
        for each in (text, Tokeniser().split_words(text)[2])
    ]
    assert counts[0] == counts[1]
