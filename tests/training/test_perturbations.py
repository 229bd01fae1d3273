"""Perturbed sentences: the same entities in order, in the words that a predictor would see."""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence, align
from teddy.training.data.name_perturbations import listed, marked, titled
from teddy.training.data.perturbations import (
    joined,
    lower,
    mistype,
    mistyped,
    title,
    unpunctuated,
    upper,
)
from teddy.training.data.readers.rows import Example

Change = Callable[[Sentence], Sentence | None]

FRAGMENTS = (
    *(
        "Anna",
        "went",
        "to",
        "St.",
        "Mr.",
        "U.S.",
        "don't",
        "John's",
        "New York-based",
        "AT&T",
        "3.5",
        "ẞtraße",
        "İda",
    ),
    *(
        "«",
        "»",
        '"',
        "''",
        "``",
        ",",
        ".",
        "...",
        "!",
        "(",
        ")",
        "-",
        "—",
        "·",
        "漢字",
        "かな",
        "ไทย",
        "👍🏽",
        "e\u0301t\u00e9",
    ),
    *(
        "example.com",
        "no",
        "'s",
        "ΟΔΟΣ",
        "\u200b",
        "\u00ad",
        "%",
        "ǆ",
        "ﬁn",
        "iPhone",
        "McX",
        "@you",
        "#tag",
        ":)",
    ),
)
GAPS = (" ", " ", " ", "", "\n", "\u00a0 ")


@st.composite
def sentences(draw: st.DrawFn) -> Sentence:
    """Sentences with spans of some labels, unknown words, and spans that words cannot express."""
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(FRAGMENTS), st.sampled_from(GAPS)), min_size=1, max_size=9
        )
    )
    text = "Ab" + "".join(gap + part for part, gap in parts)
    cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=7)))
    labels = st.sampled_from(("PER", "LOC", "?"))
    words = Tokeniser().offsets(text)
    spans = [
        Span(start, end, draw(labels)) for start, end in zip(cuts[::2], cuts[1::2], strict=False)
    ]
    borders = sorted(draw(st.sets(st.integers(0, len(words)), max_size=6)))
    for first, last in zip(borders[::2], borders[1::2], strict=False):
        spans.append(Span(words[first][0], words[last - 1][1], draw(labels)))
    example = Example(
        text=text,
        spans=tuple(spans),
        span_lines=(1,) * len(spans),
        path="made-up",
        line=1,
        is_sentence=True,
        document=0,
    )
    (sentence,) = align(example, "made-up", Tokeniser(), lambda _: None)
    return sentence


def sentence_of(text: str, *names: str) -> Sentence:
    """A sentence in which these names are entities."""
    spans = tuple(Span(text.index(name), text.index(name) + len(name), "PER") for name in names)
    lines = (1,) * len(spans)
    example = Example(
        text=text, spans=spans, span_lines=lines, path="p", line=1, is_sentence=True, document=0
    )
    return align(example, "c", Tokeniser(), lambda _: None)[0]


def covered(sentence: Sentence) -> list[str]:
    """The characters of each span, less white space and what is invisible."""
    return ["".join(sentence.words[span.start : span.end]) for span in sentence.spans]


def is_known(sentence: Sentence, word: int) -> bool:
    return not any(first <= word < last for first, last in sentence.unknown)


def assert_whole(sentence: Sentence) -> None:
    """What holds of every sentence."""
    assert sentence.words
    assert list(sentence.offsets) == Tokeniser().offsets(sentence.text)
    assert list(sentence.words) == Tokeniser().split_words(sentence.text)[2]
    ranges = [(span.start, span.end) for span in sentence.spans]
    for each in (ranges, list(sentence.unknown)):
        flat = [border for pair in each for border in pair]
        assert flat == sorted(flat)
        assert all(0 <= start < end <= len(sentence.words) for start, end in each)
    for span in sentence.misaligned:
        assert 0 <= span.start <= span.end <= len(sentence.text)


def labels(sentence: Sentence) -> tuple[list[str], list[str]]:
    return [span.label for span in sentence.spans], [span.label for span in sentence.misaligned]


@pytest.mark.parametrize(
    ("change", "change_text"),
    [
        (lower, lambda text: text.lower()),
        (upper, lambda text: text.upper()),
        (title, None),
        (unpunctuated, None),
        (lambda sentence: unpunctuated(sentence, only_last=True), None),
        (lambda sentence: mistyped(sentence, np.random.default_rng(1)), None),
    ],
    ids=["lower", "upper", "title", "unpunctuated", "unpunctuated at the end", "mistyped"],
)
@given(sentences())
def test_the_same_entities_are_found_in_the_words_of_a_predictor(
    change: Change, change_text: Callable[[str], str] | None, sentence: Sentence
) -> None:
    result = change(sentence)
    if result is None:
        return
    assert_whole(result)
    assert labels(result) == labels(sentence)
    assert (result.corpus, result.path, result.line) == (
        sentence.corpus,
        sentence.path,
        sentence.line,
    )
    if change_text is not None:
        words = [
            [sentence.words[i] for i in range(span.start, span.end)] for span in sentence.spans
        ]
        assert covered(result) == ["".join(map(change_text, each)) for each in words]


@given(sentences())
def test_nothing_that_was_unknown_becomes_known(sentence: Sentence) -> None:
    """Each word that a change of case leaves in its characters is as unknown as before."""
    result = upper(sentence)
    if result is None or len(result.words) != len(sentence.words):
        return
    inside = {word for span in sentence.spans for word in range(span.start, span.end)}
    for word in range(len(sentence.words)):
        if word not in inside:
            assert is_known(result, word) == is_known(sentence, word)


@given(sentences())
def test_a_title_differs_from_the_sentence_in_first_letters_only(sentence: Sentence) -> None:
    result = title(sentence)
    if result is not None:
        assert result.text.lower().replace("\u0307", "") == sentence.text.lower().replace(
            "\u0307", ""
        ) or any(letter.title().lower() != letter.lower() for letter in sentence.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a bear in the old town, and on it.", "A Bear in the Old Town, and on It."),
        ("they didn't go to example.com", "They Didn't Go to example.com"),
        (
            "they did n't see the iPhone of John's aunt",
            "They Did n't See the iPhone of John's Aunt",
        ),
        ("well-known (new) songs", "Well-Known (New) Songs"),
    ],
)
def test_a_title_looks_like_a_headline(text: str, expected: str) -> None:
    result = title(sentence_of(text))
    assert result is not None
    assert result.text == expected


@given(sentences())
def test_without_punctuation_all_other_words_stay_and_no_sentence_is_empty(
    sentence: Sentence,
) -> None:
    for only_last in (False, True):
        result = unpunctuated(sentence, only_last=only_last)
        if result is None:
            continue
        assert result.words
        kept = [character for character in sentence.text if character.isalnum()]
        assert [character for character in result.text if character.isalnum()] == kept


@pytest.mark.parametrize(
    ("text", "all_gone", "last_gone"),
    [
        ('He said: "Yes, Anna-Maria."', "He said Yes Anna Maria", 'He said: "Yes, Anna-Maria'),
        (
            "Mr. Lind lives in the U.S. , Anna does n't .",
            "Mr. Lind lives in the U.S. Anna does n't",
            None,
        ),
        ("3.5 % of AT&T", "3.5 % of AT&T", "3.5 % of AT&T"),
    ],
)
def test_without_punctuation_words_stay_apart(
    text: str, all_gone: str, last_gone: str | None
) -> None:
    result = unpunctuated(sentence_of(text))
    assert result is not None
    assert result.text == all_gone
    if last_gone is not None:
        result = unpunctuated(sentence_of(text), only_last=True)
        assert result is not None
        assert result.text == last_gone


def test_a_name_of_punctuation_only_is_kept_and_one_with_some_is_not_lost() -> None:
    result = unpunctuated(sentence_of("We heard !!! at Yahoo! , she said .", "!!!", "Yahoo!"))
    assert result is not None
    assert covered(result) == ["!!!", "Yahoo"]
    assert result.text == "We heard !!! at Yahoo she said"


def test_a_sentence_of_punctuation_only_has_no_such_form() -> None:
    assert unpunctuated(sentence_of("... !")) is None
    assert unpunctuated(sentence_of("... !"), only_last=True) is None


@given(st.text("abcXYZéß", min_size=2, max_size=9), st.integers(0, 10_000))
def test_a_slip_of_the_fingers_gives_another_word_by_one_edit(word: str, seed: int) -> None:
    slipped = mistype(word, np.random.default_rng(seed))
    assert slipped != word
    assert abs(len(slipped) - len(word)) <= 1
    if len(slipped) > len(word):
        assert any(slipped == word[:i] + word[i] + word[i:] for i in range(len(word)))
    elif len(slipped) < len(word):
        assert any(slipped == word[:i] + word[i + 1 :] for i in range(len(word)))
    elif sorted(slipped) == sorted(word):
        places = [i for i in range(len(word)) if word[i] != slipped[i]]
        assert len(places) == 2
        assert places[1] == places[0] + 1
    else:
        ((old, new),) = [(a, b) for a, b in zip(word, slipped, strict=True) if a != b]
        assert old.isupper() == new.isupper()
        assert any(
            f"{a}{b}" in row
            for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
            for a, b in _both(old, new)
        )


def _both(one: str, other: str) -> list[tuple[str, str]]:
    return [(one.lower(), other.lower()), (other.lower(), one.lower())]


def test_a_tenth_of_the_longer_words_is_mistyped_and_no_other() -> None:
    words = ("seven", "bears", "see", "Oslo", "U.S.", "x3x4x")
    text = " ".join(words * 1000)
    result = mistyped(sentence_of(text), np.random.default_rng(1))
    assert result is not None
    hits = dict.fromkeys(words, 0)
    for place, word in enumerate(result.text.split(" ")):
        hits[words[place % len(words)]] += word != words[place % len(words)]
    assert hits["see"] == hits["U.S."] == hits["x3x4x"] == 0
    for word in ("seven", "bears", "Oslo"):
        assert abs(hits[word] - 100) < 4 * 90**0.5


@given(sentences(), sentences())
def test_a_joined_sentence_has_the_entities_of_both_and_is_one_sentence_to_the_splitter(
    first: Sentence, second: Sentence
) -> None:
    result = joined(first, second)
    if result is None:
        return
    assert_whole(result)
    assert labels(result)[0] == labels(first)[0] + labels(second)[0]
    assert covered(result) == covered(first) + covered(second)
    # No white space at the border, or one space; so the border is found by counting the rest.
    solid = len("".join(first.text.split()))
    at = next(
        i for i in range(len(result.text) + 1) if len("".join(result.text[:i].split())) == solid
    )
    ends = {
        result.offsets[start - 1][1]
        for start, _ in split_sentences(result.text, Offsets.of(result.offsets))[1:]
    }
    assert at not in ends


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("It was the end.", "The bears slept.", "It was the end.The bears slept."),
        ("It was the end .", "The bears slept .", "It was the end.The bears slept ."),
        ('She said "no."', "Anna left.", 'She said "no."Anna left.'),
        ("Who ? !", "anna", "Who ?!anna"),
        ("the end", "of bears", "the end of bears"),
        ("The end", "Anna left.", "The end Anna left."),
    ],
)
def test_a_joined_text_is_what_is_written_without_the_space(
    first: str, second: str, expected: str
) -> None:
    result = joined(sentence_of(first), sentence_of(second))
    assert result is not None
    assert result.text == expected
    assert list(result.offsets) == Tokeniser().offsets(expected)
    assert split_sentences(expected, Offsets.of(result.offsets)) == [(0, len(result.words))]


def test_sentences_that_cannot_run_together_are_not_joined() -> None:
    # The splitter sees the end of a Chinese sentence whatever follows, and `Oslo.it` is read as a
    # web address.
    assert joined(sentence_of("她在北京。"), sentence_of("他走。")) is None
    assert joined(sentence_of("This is Oslo.", "Oslo"), sentence_of("it was.")) is None
    assert joined(sentence_of("This is fun."), sentence_of("it was.")) is not None


@given(sentences(), st.integers(0, 1000))
def test_a_title_stands_before_persons_and_is_not_part_of_them(
    sentence: Sentence, seed: int
) -> None:
    changed = titled(sentence, "PER", np.random.default_rng(seed))
    if changed is None:
        return
    assert_whole(changed)
    assert labels(changed) == labels(sentence)
    for before, after, span in zip(covered(sentence), covered(changed), changed.spans, strict=True):
        assert before.endswith(after) if span.label == "PER" else before == after


def test_titles_are_of_many_kinds_and_half_of_the_persons_lose_their_first_names() -> None:
    sentence = sentence_of("Ada Finch met Bo in Oslo , said Ms Quill .", "Ada Finch", "Bo", "Quill")
    seen: Counter[str] = Counter()
    for seed in range(200):
        changed = titled(sentence, "PER", np.random.default_rng(seed))
        assert changed is not None
        names = covered(changed)
        assert names[0] in ("AdaFinch", "Finch")
        assert names[1:] == ["Bo", "Quill"]
        assert changed.text.endswith("in Oslo , said Ms Quill .")
        seen[names[0]] += 1
        seen[changed.words[0]] += 1
    assert 80 < seen["Finch"] < 120
    assert len(seen) > 40


def test_no_other_label_gets_a_title_and_a_small_name_gets_a_small_one() -> None:
    sentence = sentence_of("we saw ada finch .", "ada finch")
    random = np.random.default_rng(1)
    assert titled(sentence, "LOC", random) == replace(sentence, **moved(sentence))
    changed = titled(sentence, "PER", random)
    assert changed is not None
    assert changed.text == changed.text.lower() != " " + sentence.text


def moved(sentence: Sentence) -> dict[str, Any]:
    """The text and the offsets behind a gap."""
    offsets = tuple((start + 1, end + 1) for start, end in sentence.offsets)
    return {"text": " " + sentence.text, "offsets": offsets}


@given(sentences(), st.integers(0, 1000))
def test_no_entity_is_lost_when_names_get_marks_but_user_names(
    sentence: Sentence, seed: int
) -> None:
    changed = marked(sentence, np.random.default_rng(seed))
    if changed is not None:
        assert_whole(changed)
        n_user_names = changed.text.count("@") - changed.text.count("@ ")
        assert 0 <= len(sentence.spans) - len(changed.spans) <= n_user_names


def test_a_mark_that_a_corpus_has_apart_is_joined_to_its_name() -> None:
    sentence = sentence_of("so true @ adafinch , see you in # Oslo", "adafinch", "Oslo")
    changed = marked(sentence, np.random.default_rng(0))
    assert changed is not None
    assert changed.text == " so true @adafinch , see you in #Oslo"
    assert covered(changed) == ["#Oslo"]


def test_a_name_becomes_a_handle_or_a_hashtag() -> None:
    sentence = sentence_of("I met Ada Finch there", "Ada Finch")
    texts = set()
    for seed in range(100):
        changed = marked(sentence, np.random.default_rng(seed))
        assert changed is not None
        texts.add(re.sub(r"\d+", "2024", changed.text))
        # A user name is no entity.
        assert len(changed.spans) == ("@" not in changed.text)
    assert texts == {
        f" I met {name} there"
        for name in (
            *("@adafinch", "@AdaFinch", "#adafinch", "#AdaFinch"),
            *("#adafinch2024", "#AdaFinch2024"),
        )
    }


@given(sentences(), st.integers(0, 1000))
def test_a_list_is_the_names_of_a_sentence_and_what_parts_them(
    sentence: Sentence, seed: int
) -> None:
    changed = listed(sentence, np.random.default_rng(seed))
    assert changed is None or len(sentence.spans) >= 2
    if changed is None:
        return
    assert_whole(changed)
    assert [span.label for span in changed.spans] == [span.label for span in sentence.spans]
    assert covered(changed) == covered(sentence)
    names = "".join(covered(sentence))
    left = Counter("".join(changed.text.split())) - Counter(names)
    assert set(left) <= set("|,-;\u200b\u00ad")


def test_two_names_of_one_kind_are_never_parted_by_a_space_alone() -> None:
    sentence = sentence_of("Ada Finch , Bo Quill", "Ada Finch", "Bo Quill")
    texts = {listed(sentence, np.random.default_rng(seed)) for seed in range(60)}
    assert {each.text for each in texts if each} == {
        f"Ada Finch{gap}Bo Quill" for gap in ("\t", "\n", " | ", ", ", " - ", "; ")
    }
