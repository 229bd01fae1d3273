"""Sentences partition the words; better one that is too long than a name cut in two."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.sentences import Offsets, split_sentences
from teddy.model.text.words import Tokeniser

FRAGMENTS = [
    "Teddy",
    "he",
    "Mr.",
    "J.",
    "U.S.",
    "No",
    "The",
    "5",
    ".",
    "!",
    "?!",
    "...",
    "\u3002",
    '"',
    "\u201d",
    ")",
    "(",
    ",",
    "-",
]
SPACES = ["", " ", "\n", "\r\n", "\n\n", "\u2029", "\x00", " " * 50]
TEXTS = st.lists(
    st.sampled_from(FRAGMENTS) | st.sampled_from(SPACES) | st.characters(), max_size=30
).map("".join)


def sentences_of(text: str) -> list[str]:
    words = Tokeniser().offsets(text)
    return [
        text[words[start][0] : words[end - 1][1]]
        for start, end in split_sentences(text, Offsets.of(words))
    ]


@given(TEXTS)
def test_sentences_partition_the_words_in_order_and_none_is_empty(text: str) -> None:
    words = Tokeniser().offsets(text)
    sentences = split_sentences(text, Offsets.of(words))
    assert all(start < end for start, end in sentences)
    assert [word for start, end in sentences for word in range(start, end)] == list(
        range(len(words))
    )


@given(TEXTS, TEXTS)
def test_a_blank_line_always_ends_a_sentence(before: str, behind: str) -> None:
    text = before + "\n\n" + behind
    words = Tokeniser().offsets(text)
    n_before = len(Tokeniser().offsets(before))
    borders = {0, len(words)} | {start for start, _ in split_sentences(text, Offsets.of(words))}
    assert n_before in borders


@pytest.mark.parametrize(
    "text",
    [
        "He said, Teddy Roosevelt was a great President!",
        "J. R. R. Tolkien met Dr. Fox and Mr. Hill of Acme Inc. in Ohio.",
        "The U.S. Senate sat at 5 p.m. Eastern time.",
        "U.S. President Ann Hill said . ",
        "The flag of the U . S . A . is at No . 5 .",
        '"Really?" she asked.',
        "Pay 3.50 to example.com or Yahoo!Mail",
        "1. Wash the bear.",
        "She waited... and waited, all alone (why?), for him.",
        "A line of running prose that goes on as far as here, then is wrapped before\n"
        "Teddy Roosevelt is named.",
        "a short line\nthat goes on",
        "GEN. HILL AND ST. IVES",
    ],
)
def test_one_sentence_stays_one(text: str) -> None:
    assert sentences_of(text) == [text.strip()]


@pytest.mark.parametrize(
    "sentences",
    [
        ["He left.", "Teddy stayed!", "Why?", "Nobody knows\u2026", "Ask her."],
        ['He said "Go."', "Then (it was late.)", "\u201cSleep!\u201d", "She did."],
        [
            "They live in the U.S.",
            "The bears do not.",
            "He works for Acme Inc.",
            "She works for J.",
            "It rains.",
        ],
        ["Ask No. 5.", "No.", "Ask again."],
        ['He said " Go . "', "She went ."],
        [
            "\u00bfQu\u00e9?",
            "\u00a1No!",
            "\u00c9l no.",
            "\u041e\u043d \u0442\u0443\u0442.",
            "\u0414\u0430.",
        ],
    ],
)
def test_sentences_in_a_line_are_told_apart(sentences: list[str]) -> None:
    assert sentences_of(" ".join(sentences)) == sentences


def test_chinese_and_japanese_need_no_space_between_sentences() -> None:
    sentences = ["\u4ed6\u8d70\u4e86\u3002", "\u201c\u597d\uff01\u201d", "\u5979\u8bf4\u3002"]
    assert sentences_of("".join(sentences)) == sentences


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\u2028"])
def test_short_lines_and_items_are_sentences_of_their_own(line_break: str) -> None:
    lines = ["Ann Hill", "12 Main Street", "- bears", "- Dolls", "1. Wash", "2) Dry"]
    assert sentences_of(line_break.join(lines)) == lines


@pytest.mark.parametrize(
    "repeated", ["a. ", '." ', '. " ', "\n\x00", " \n", "a.\n", "1. ", ") ", "\u3002", '? "a ']
)
def test_a_long_text_of_nothing_but_borders_is_split(repeated: str) -> None:
    # each would make a splitter that looks back to the sentence's start read the text again for
    # every stop
    text = repeated * 15_000
    words = Tokeniser().offsets(text)
    assert sum(end - start for start, end in split_sentences(text, Offsets.of(words))) == len(words)
