"""Words lie where they should, in any text at all."""

import re
import unicodedata
from html import unescape

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from teddy.model.errors import TextError
from teddy.model.text.words import MAX_WORD_CHARACTERS, READABLE_VERSIONS, Tokeniser, check_text

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
    *["&eacute;", "&#233;", "&nbsp;", "&#x200B;", "&hellip;", "&foo;", "&amp;lt;", "&#38;#"],
    *["Jae", "in", "5", "mg", "l'", "dell'", "-se", "#New", "York", "iPhone", "13", "Inc."],
]
CHUNKS = st.lists(st.sampled_from(FRAGMENTS) | st.characters(), max_size=8).map("".join)
TEXTS = st.lists(CHUNKS | st.sampled_from([" ", "\r\n", "\t", "\u3000", "\x1f"]), max_size=8).map(
    "".join
)


FIRST = Tokeniser(1)
LANGUAGES = ["", "en", "de", "es", "nl", "fr", "it", "pt-BR", "xx"]
TOKENISERS = st.sampled_from([FIRST, *(Tokeniser(2, language) for language in LANGUAGES)])


def words_of(text: str, tokeniser: Tokeniser) -> list[str]:
    return tokeniser.split_words(text)[2]


def must_be_covered(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf")


def covered_and_due(text: str, tokeniser: Tokeniser) -> tuple[set[int], set[int]]:
    """The positions that lie in words, and those that must: all but spaces, however written."""
    offsets = tokeniser.offsets(text)
    covered = [position for start, end in offsets for position in range(start, end)]
    assert len(covered) == len(set(covered)), "a character lies in two words"
    due = {position for position, character in enumerate(text) if must_be_covered(character)}
    if tokeniser.version > 1:
        for match in re.finditer("&#?[0-9A-Za-z]+;", text):
            meant = unescape(match[0])
            if len(meant) == 1 and not must_be_covered(meant):
                due -= set(range(*match.span()))
    return set(covered), due


@given(TEXTS, TOKENISERS)
def test_words_are_in_order_disjoint_and_without_space(text: str, tokeniser: Tokeniser) -> None:
    end_of_last = 0
    for start, end in tokeniser.offsets(text):
        assert end_of_last <= start < end <= start + MAX_WORD_CHARACTERS
        assert not any(character.isspace() for character in text[start:end])
        end_of_last = end
    assert end_of_last <= len(text)


@given(TEXTS, TOKENISERS)
def test_every_character_that_is_neither_space_nor_ignorable_lies_in_a_word(
    text: str, tokeniser: Tokeniser
) -> None:
    covered, due = covered_and_due(text, tokeniser)
    assert due <= covered


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_every_character_of_the_first_planes_is_covered(version: int) -> None:
    text = "a" + "a".join(map(chr, [*range(0xD800), *range(0xE000, 0x1FFFF, 3)]))
    covered, due = covered_and_due(text, Tokeniser(version))
    assert not [f"U+{ord(text[position]):04X}" for position in due - covered]


@given(TEXTS, TEXTS, st.sampled_from([" ", "\n", "\u00a0"]), TOKENISERS)
def test_what_stands_behind_white_space_changes_nothing(
    before: str, behind: str, space: str, tokeniser: Tokeniser
) -> None:
    shift = len(before) + 1
    shifted = [(start + shift, end + shift) for start, end in tokeniser.offsets(behind)]
    assert tokeniser.offsets(before + space + behind) == tokeniser.offsets(before) + shifted


@given(CHUNKS, TOKENISERS)
@example("etc.", FIRST)
@example("Ohio.", Tokeniser())
@example("Teddy,", Tokeniser())
@example("Mr.", Tokeniser())
def test_the_short_cuts_for_short_chunks_give_what_the_grammar_gives(
    chunk: str, tokeniser: Tokeniser
) -> None:
    # ignorable characters change no word, but make the chunk too long for any short cut
    assert tokeniser.split_words(chunk) == tokeniser.split_words(chunk + 50 * "\x00")


@given(TEXTS, TOKENISERS)
def test_a_word_is_what_its_stretch_of_the_text_reads(text: str, tokeniser: Tokeniser) -> None:
    starts, ends, words = tokeniser.split_words(text)
    assert words == [
        tokeniser.read(text[start:end]) for start, end in zip(starts, ends, strict=True)
    ]
    assert all(words)


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
def test_words_are_split_as_the_grammar_of_the_first_version_says(
    text: str, words: str | None
) -> None:
    if words is None:
        assert words_of(text, FIRST) == [text[:5], text[5:7], text[7:]]
    else:
        assert words_of(text, FIRST) == words.split()


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_flags_and_key_caps_are_one_word_each(version: int) -> None:
    flags, caps = ["\U0001f1eb\U0001f1f7", "\U0001f1e9\U0001f1ea"], ["1\ufe0f\u20e3", "#\u20e3"]
    assert words_of("".join(flags + caps), Tokeniser(version)) == flags + caps


@pytest.mark.parametrize("version", READABLE_VERSIONS)
def test_a_long_word_is_cut_into_pieces_and_nothing_is_dropped(version: int) -> None:
    text = "x" * (3 * MAX_WORD_CHARACTERS + 7)
    offsets = Tokeniser(version).offsets(text)
    assert [end - start for start, end in offsets] == [MAX_WORD_CHARACTERS] * 3 + [7]
    assert "".join(words_of(text, Tokeniser(version))) == text


@pytest.mark.parametrize("version", READABLE_VERSIONS)
@pytest.mark.parametrize(
    "word",
    [
        *["a.", "'", "http://", "www.", "@", "a@", "a-", "-", "1,", "a'", "n't", ".com", "&#1"],
        *["_", "a_", "#a", "#aB", "a1", "aaa1", "1-", "1:", "5m", "l'", "Jae-", "J.", "&", "&a;"],
    ],
)
def test_a_long_text_without_a_space_is_split_and_nothing_is_dropped(
    word: str, version: int
) -> None:
    # each would make a pattern that backtracks read the text again for every word
    text = word * (60_000 // len(word))
    assert "".join(words_of(text, Tokeniser(version, "it"))) == text


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
