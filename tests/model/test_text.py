"""Words lie where they should, in any text at all."""

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teddy.model.errors import TextError
from teddy.model.text.words import MAX_WORD_CHARACTERS, check_text, tokenise

# pieces that the grammar treats in a special way, to be stuck together at random
FRAGMENTS = [
    *[
        "Teddy",
        "e",
        "s",
        "don",
        "n't",
        "'",
        "\u2019",
        "U.S.",
        "J.",
        "Mr.",
        "Ltd",
        "etc",
        "AT&T",
        "3",
        "1,000",
        ".5",
        "_",
    ],
    *[
        "-",
        "--",
        ".",
        "...",
        ",",
        ":",
        ";",
        ")",
        "(",
        '"',
        "''",
        "!",
        "?!",
        "@",
        "#",
        "&",
        "&amp;",
        "%",
        "$",
    ],
    *["http://", "www.", "a.example.com/x", "me@x.org"],
    *[
        "\u00e9",
        "\u0301",
        "\u4eac",
        "\u30ab",
        "\u0e40\u0e21\u0e37\u0e2d",
        "\u1780\u17d2",
        "\u0928\u094d",
        "\u05d0",
    ],
    *[
        "\U0001f44d",
        "\U0001f3fd",
        "\U0001f468",
        "\U0001f1eb",
        "\U0001f1f7",
        "\ufe0f",
        "\u20e3",
        "\U000e0067",
    ],
    *["\u200d", "\u200b", "\u00ad", "\ufeff", "\x00", "\u202e"],
]
CHUNKS = st.lists(st.sampled_from(FRAGMENTS) | st.characters(), max_size=8).map("".join)
TEXTS = st.lists(CHUNKS | st.sampled_from([" ", "\r\n", "\t", "\u3000", "\x1f"]), max_size=8).map(
    "".join
)


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in tokenise(text)]


def must_be_covered(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf")


@given(TEXTS)
def test_words_are_ordered_disjoint_and_hold_no_white_space(text: str) -> None:
    end_of_last = 0
    for start, end in tokenise(text):
        assert end_of_last <= start < end <= start + MAX_WORD_CHARACTERS
        assert not any(character.isspace() for character in text[start:end])
        end_of_last = end
    assert end_of_last <= len(text)


@given(TEXTS)
def test_every_character_that_is_neither_space_nor_ignorable_lies_in_a_word(text: str) -> None:
    covered = {position for start, end in tokenise(text) for position in range(start, end)}
    assert {
        position for position, character in enumerate(text) if must_be_covered(character)
    } <= covered


def test_every_character_of_the_first_planes_is_covered() -> None:
    text = "a" + "a".join(map(chr, [*range(0xD800), *range(0xE000, 0x1FFFF, 3)]))
    covered = {position for start, end in tokenise(text) for position in range(start, end)}
    missed = [text[position] for position in range(len(text)) if position not in covered]
    assert not [f"U+{ord(character):04X}" for character in missed if must_be_covered(character)]


@given(TEXTS, TEXTS, st.sampled_from([" ", "\n", "\u00a0"]))
def test_what_stands_behind_white_space_changes_nothing(
    before: str, behind: str, space: str
) -> None:
    shift = len(before) + 1
    shifted = [(start + shift, end + shift) for start, end in tokenise(behind)]
    assert tokenise(before + space + behind) == tokenise(before) + shifted


@given(CHUNKS)
@example("etc.")
@example("Ohio.")
@example("Teddy,")
def test_the_short_cuts_for_short_chunks_give_what_the_grammar_gives(chunk: str) -> None:
    # ignorable characters change no word, but make the chunk too long for any short cut
    assert tokenise(chunk) == tokenise(chunk + 50 * "\x00")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        (" \r\n\t\u200b\x00 ", ""),
        ("He said, Teddy bears are on sale!", "He said , Teddy bears are on sale !"),
        # numbers
        ("$5 rose 50% to 1,000.50 at 10:30.", "$ 5 rose 50 % to 1,000.50 at 10:30 ."),
        (
            "On 1996-08-22 (or 22/8/96) won 6-4, 3\u20131",
            "On 1996-08-22 ( or 22/8/96 ) won 6-4 , 3\u20131",
        ),
        (
            "the 1980s, 3rd, A320, \u0663\u066b\u0661",
            "the 1980s , 3rd , A320 , \u0663 \u066b \u0661",
        ),
        # abbreviations
        ("U.S. and U.S.-based", "U.S. and U.S. - based"),
        ("Mr. J.R.R. Fox, Ph.D., of Fox Inc.", "Mr. J.R.R. Fox , Ph.D. , of Fox Inc."),
        ("J.Smith vs. AT&T, e.g. at 5 p.m.", "J. Smith vs. AT&T , e.g. at 5 p.m."),
        ("salt&pepper at St.Ives", "salt & pepper at St. Ives"),
        # hyphens
        ("New York-based Jean-Luc -- or al-Amin", "New York - based Jean - Luc -- or al - Amin"),
        # apostrophes
        ("John's, don't, I'LL, CAN'T, we'd've", "John 's , do n't , I 'LL , CA N'T , we 'd 've"),
        ("John\u2019s and won\u2019t", "John \u2019s and wo n\u2019t"),
        ("O'Brien L'Oreal D\u2019Arcy rock'n'roll", "O'Brien L'Oreal D\u2019Arcy rock'n'roll"),
        ("the dogs' 'bone'", "the dogs ' ' bone '"),
        ("'s 'll n't", "'s 'll n't"),
        # the internet
        ("See https://example.org/a_(b)?q=1&r=2.", "See https://example.org/a_(b)?q=1&r=2 ."),
        (
            "(www.example.com), example.co.uk/x; Example.com's",
            "( www.example.com ) , example.co.uk/x ; Example.com 's",
        ),
        ("Mail ann.lee+x@mail.example.org.", "Mail ann.lee+x@mail.example.org ."),
        ("@ann_lee: #Sun4all :-) :D &amp; <b>", "@ann_lee : #Sun4all :-) :D &amp; < b >"),
        ("It ended.Then it began", "It ended . Then it began"),
        # runs
        ("Wait... what?! No!!! -----", "Wait ... what ?! No !!! -----"),
        ("``Yes'' \"no\"", "`` Yes '' \" no \""),
        # emoji: one word however many code points
        ("\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f44d\U0001f3fd\u2764\ufe0f", None),
        # scripts without spaces
        ("\u62111996\u5e74\u7528Python\u3002", "\u6211 1996 \u5e74 \u7528 Python \u3002"),
        ("\u30c6\u30c7\u30a3\u304b\u3099", "\u30c6 \u30c7 \u30a3 \u304b\u3099"),
        (
            "\u0e40\u0e21\u0e37\u0e2d\u0e07\u0e44\u0e17\u0e22",
            "\u0e40\u0e21\u0e37 \u0e2d \u0e07 \u0e44\u0e17 \u0e22",
        ),
        ("\u1781\u17d2\u1798\u17c2\u179a", "\u1781\u17d2\u1798\u17c2 \u179a"),
        # scripts with spaces keep their marks and joiners
        ("\u0928\u094d\u092f\u0942 e\u0301te\u0301", "\u0928\u094d\u092f\u0942 e\u0301te\u0301"),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 co\u00adop",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 co\u00adop",
        ),
        (
            "\u05e6\u05d4\u05f4\u05dc \ud55c\uad6d \uc0ac\ub78c",
            "\u05e6\u05d4\u05f4\u05dc \ud55c\uad6d \uc0ac\ub78c",
        ),
        # what cannot be seen separates, and is no word
        ("\ufeffTeddy\x00Bear\u200bHug", "Teddy Bear Hug"),
    ],
)
def test_words_are_split_as_the_grammar_says(text: str, words: str | None) -> None:
    if words is None:
        assert words_of(text) == [text[:5], text[5:7], text[7:]]
    else:
        assert words_of(text) == words.split()


def test_flags_and_key_caps_are_one_word_each() -> None:
    flags, caps = ["\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea"], ["1\ufe0f\u20e3", "#\u20e3"]
    assert words_of("".join(flags + caps)) == flags + caps


def test_a_long_word_is_cut_into_pieces_and_nothing_is_dropped() -> None:
    text = "x" * (3 * MAX_WORD_CHARACTERS + 7)
    assert [end - start for start, end in tokenise(text)] == [MAX_WORD_CHARACTERS] * 3 + [7]
    assert "".join(words_of(text)) == text


@pytest.mark.parametrize(
    "word", ["a.", "'", "http://", "www.", "@", "a@", "a-", "-", "1,", "a'", "n't", ".com", "&#1"]
)
def test_a_long_text_without_a_space_is_split_and_nothing_is_dropped(word: str) -> None:
    # each would make a pattern that backtracks read the text again for every word
    text = word * (60_000 // len(word))
    assert "".join(words_of(text)) == text


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_text_without_lone_surrogates_passes(text: str) -> None:
    check_text(text)


@given(
    st.text(st.characters(exclude_categories=["Cs"])), st.characters(categories=["Cs"]), st.text()
)
def test_the_first_lone_surrogate_is_refused_by_its_position(
    before: str, surrogate: str, behind: str
) -> None:
    with pytest.raises(TextError, match=rf"U\+{ord(surrogate):04X} at character {len(before)}$"):
        check_text(before + surrogate + behind)
