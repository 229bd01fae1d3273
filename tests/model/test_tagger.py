"""Laws of the tagger: its spans are what its tags spell, and a sentence's reading is its own."""

from math import prod
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tagger import TaggedWords, Tagger
from teddy.model.tags.spans import Scheme, Span, read_tags
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.vocabulary import train_pieces
from teddy.training.recipe.words import PiecesConfig

VOCABULARY = [
    "Anna",
    "Berg",
    "went",
    "to",
    "Oslo",
    ",",
    "and",
    "so",
    "did",
    "I",
    ".",
    "中",
    "é",
    "😀",
    "U.S.",
]
TAGS = TagSet(("PER", "LOC"))


@pytest.fixture(scope="module")
def features() -> WordFeatures:
    pieces = Pieces(train_pieces(VOCABULARY, PiecesConfig(vocabulary=300)))
    return WordFeatures(pieces, FeatureConfig(shape_rows=8, affix_rows=64))


def make_tagger(features: WordFeatures, decoder: Literal["crf", "softmax"]) -> Tagger:
    """A tagger that has learnt nothing and has strong opinions, so that it finds many entities."""
    torch.manual_seed(4)
    config = NetworkConfig(embedding_width=8, hidden_width=8, decoder=decoder)
    network = Network(config, features.n_rows, TAGS).eval()
    for parameter in network.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.7)
    return Tagger(network, features, TAGS)


@pytest.fixture(scope="module", params=["crf", "softmax"])
def tagger(features: WordFeatures, request: pytest.FixtureRequest) -> Tagger:
    return make_tagger(features, request.param)


def assert_same(found: TaggedWords, expected: TaggedWords) -> None:
    assert (found.spans, found.tags.tolist()) == (expected.spans, expected.tags.tolist())
    assert found.scores == pytest.approx(expected.scores, abs=1e-5)
    assert found.tag_scores == pytest.approx(expected.tag_scores, abs=1e-5)


sentences = st.lists(st.lists(st.sampled_from(VOCABULARY), max_size=9), max_size=7)
few = settings(deadline=None, max_examples=40)


@few
@given(sentences=sentences)
def test_spans_are_what_the_tags_spell(tagger: Tagger, sentences: list[list[str]]) -> None:
    for sentence, result in zip(sentences, tagger.tag(sentences), strict=True):
        assert len(result.tags) == len(result.tag_scores) == len(sentence)
        assert len(result.scores) == len(result.spans)
        assert result.spans == read_tags(
            [TAGS.tags[tag] for tag in result.tags.tolist()], Scheme.BIOES
        )


@few
@given(sentences=sentences)
def test_an_entity_is_no_more_probable_than_the_tag_of_any_of_its_words(
    tagger: Tagger, sentences: list[list[str]]
) -> None:
    for result in tagger.tag(sentences):
        assert all(0 <= score <= 1 for score in [*result.scores, *result.tag_scores])
        for span, score in zip(result.spans, result.scores, strict=True):
            assert score <= min(result.tag_scores[span.start : span.end]) + 1e-9


@few
@given(sentences=sentences)
def test_each_sentence_reads_as_it_does_alone(tagger: Tagger, sentences: list[list[str]]) -> None:
    for sentence, result in zip(sentences, tagger.tag(sentences), strict=True):
        assert_same(result, tagger.tag([sentence])[0])


@few
@given(sentences=sentences, batch_words=st.integers(1, 30))
def test_the_size_of_batches_changes_nothing(
    tagger: Tagger, sentences: list[list[str]], batch_words: int
) -> None:
    small = Tagger(tagger.network, tagger.features, tagger.tag_set, batch_words=batch_words)
    for found, expected in zip(small.tag(sentences), tagger.tag(sentences), strict=True):
        assert_same(found, expected)


def test_sentences_without_words_have_empty_results_in_their_places(tagger: Tagger) -> None:
    before, anna, behind = tagger.tag([[], ["Anna"], []])
    for empty in (before, behind, *tagger.tag([[]])):
        assert (empty.spans, empty.scores, len(empty.tags), len(empty.tag_scores)) == ([], [], 0, 0)
    assert len(anna.tags) == 1
    assert tagger.tag([]) == []


def test_batches_hold_every_sentence_with_words_once_and_only_its_words(tagger: Tagger) -> None:
    sentences = [VOCABULARY[: n % 14] for n in range(70)]
    batches = list(tagger.batches(sentences))
    assert sorted(i for batch in batches for i in batch.members) == [
        i for i, each in enumerate(sentences) if each
    ]
    for batch in batches:
        for member, row, length in zip(
            batch.members, batch.words, batch.lengths.tolist(), strict=False
        ):
            rows, starts = tagger.features.bag(sentences[member])
            with torch.inference_mode():
                expected = tagger.network.word_vectors(
                    torch.from_numpy(rows), torch.from_numpy(starts)
                )
            torch.testing.assert_close(batch.vectors[row[:length]], expected)


def test_the_score_of_an_entity_of_one_word_is_that_of_its_tag(tagger: Tagger) -> None:
    results = tagger.tag([[word, "went", other] for word in VOCABULARY for other in VOCABULARY])
    singles = [
        (score, result.tag_scores[span.start])
        for result in results
        for span, score in zip(result.spans, result.scores, strict=True)
        if span.end - span.start == 1
    ]
    assert singles
    for score, tag_score in singles:
        assert score == pytest.approx(tag_score, abs=1e-9)


def test_where_words_are_independent_the_score_of_a_span_is_the_product_of_its_tags(
    features: WordFeatures,
) -> None:
    tagger = make_tagger(features, "softmax")
    long_spans = 0
    for result in tagger.tag([VOCABULARY[i:] + VOCABULARY[:i] for i in range(len(VOCABULARY))]):
        for span, score in zip(result.spans, result.scores, strict=True):
            product = prod(result.tag_scores[span.start : span.end])
            assert score == pytest.approx(product, rel=1e-9)
            long_spans += span.end - span.start > 1
    assert long_spans


def test_results_are_plain_numbers_that_json_knows(tagger: Tagger) -> None:
    (result,) = tagger.tag([VOCABULARY])
    assert {type(score) for score in [*result.scores, *result.tag_scores.tolist()]} == {float}
    assert {type(tag) for tag in result.tags.tolist()} == {int}
    assert all(
        isinstance(span, Span) and type(span.start) is type(span.end) is int
        for span in result.spans
    )
