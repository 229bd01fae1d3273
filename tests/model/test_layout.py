"""Lines, gaps and marks end a sentence where the document's own habit says so; names stay whole.

In the examples `|` stands for the border that is expected, and nothing else is one; a `/` stands
for a line break.
"""

import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.text.sentences import Offsets, SentenceMode, split_sentences
from teddy.model.text.words import Tokeniser


def sentences_of(text: str, mode: SentenceMode = "document") -> list[str]:
    words = Tokeniser().offsets(text)
    return [
        text[words[start][0] : words[end - 1][1]]
        for start, end in split_sentences(text, Offsets.of(words), mode)
    ]


def check(example: str) -> None:
    """Compare the sentences of an example without its `|` with those that these mark."""
    text = example.replace("/", "\n")
    marked = [part.strip() for part in text.split("|")]
    assert sentences_of(text.replace("|", "")) == marked


LONG = (
    "the committee heard at some length from the engineers who had looked at the bridge on the day "
    "before and "
)


@pytest.mark.parametrize(
    "example",
    [
        "and then I spoke to Hedda/Marlow about the boat",
        "we had tea with Bruno/Castell in the garden",
        "a letter came from Ines/Harrow this morning",
        "they asked whether Otto/Lindqvist would sing",
        "the prize went to Clara/van Houten, who wept",
        "it was built by Edda/Thorsen and her sons",
        "yesterday I saw old Piet/Grove at the market",
        "she works at the University of/Aberdeen as a cook",
        "we live near New/York and like it there",
        "the ship sails to San/Sebastián in the spring",
        "Yesterday we walked by the sea/and then we met Hedda/Marlow with her dogs/and went home.",
        "It was late when the train/with the players of Real/Madrid came in, and the people/of "
        "the town had gone home/long before that.",
        f"{LONG}Bruno/Castell about the cracks",
        f"{LONG}Ines/Harrow, who had written to them",
        f"{LONG}the town of Santa/Rosa about the cost of it",
        f"{LONG}Otto/Lindqvist and then adjourned until the evening",
        f"{LONG}from old Piet/Grove at the market",
        f"They said that {LONG}Edda/Thorsen said the same",
        "Der Bauer fuhr am Abend mit Jörg/Brandt nach Hause",
        "I saw Petra/Quill at the sea",
        "They made Oskar/Quill chair of the board, for no other member had wanted to be it",
        "ayer hablamos mucho con Rocío/Valverde sobre el viaje",
    ],
)
def test_a_name_over_a_line_break_stays_whole(example: str) -> None:
    check(example)


@pytest.mark.parametrize(
    "example",
    [
        "Hedda Marlow|/Bruno Castell|/Ines Harrow|/Otto Lindqvist",
        "Hedda Marlow|/7 Mill Lane|/Harrow|/Kent",
        "- tea|/- Bread|/- Marlow's jam",
        "* milk from Kent|/* eggs from Harrow",
        "1. Wash the cups|/2. Dry them|/3. Go home",
        "We need:|/• Tea|/• Bread",
        "a) Call Hedda|/b) Call Bruno",
        "# The Boat|/Hedda bought it in May.",
        "The Boat|/Hedda bought it in May.",
        "THE BOAT OF HEDDA MARLOW|/It was old and it leaked.",
        "Red is the rose|/Blue is the sea|/Sweet is the wine|/Old is the tree",
        "The ferry has gone from the quay|/The gulls have all followed it out|/The harbour is "
        "empty but me|/And I have no reason to shout",
        "Hedda: are you there|/Bruno: yes I am|/Hedda: good",
        "Hedda Marlow came to Leeds|/Bruno stayed at home with the dog|/Ines went to sea",
        "The shop is open|/The bank is not|/We wait",
        "Dear Hedda|/Thanks for your letter",
        "Kind regards|/Otto Lindqvist",
        "From: Hedda Marlow|/To: Bruno Castell|/Subject: the boat",
        "El barco llegó ayer|/Rocío lo vio desde la playa|/Nadie más estaba",
        "He left Harrow.|/Ines stayed.",
    ],
)
def test_lists_headings_verse_and_chat_are_cut_at_every_line(example: str) -> None:
    check(example)


PROSE = (
    "the old ferry had been sold in the spring to Hedda Marlow of Harrow, whose brother kept the "
    "inn at Port Ellen and had once been a clerk at the bank; there he met Ines de la Torre, a "
    "captain's daughter from Santa Cruz, and with her he went back over the sea to San Sebastián, "
    "where they lived in a small white house until the end of the war"
)


@given(st.integers(20, 160), st.integers(0, 40))
def test_wrapped_prose_is_one_sentence_at_every_width(width: int, skipped: int) -> None:
    lines = textwrap.wrap(PROSE[skipped:], width, break_long_words=False, break_on_hyphens=False)
    if len(lines) > 3:
        assert len(sentences_of("\n".join(lines))) == 1


@pytest.mark.parametrize("width", [24, 36, 48, 72, 100, 140])
def test_a_list_behind_wrapped_prose_is_cut_and_the_prose_is_not(width: int) -> None:
    prose = textwrap.fill(PROSE, width, break_on_hyphens=False)
    items = ["- Tea", "- Otto Lindqvist", "Kent"]
    assert sentences_of("\n".join([f"{prose}.", *items])) == [f"{prose}.", *items]


@pytest.mark.parametrize(
    "example",
    [
        "Hedda Marlow\t|Leeds",
        "Hedda Marlow\t|Leeds\t|1998",
        "Name\t|Town|/Hedda Marlow\t|Leeds|/Bruno Castell\t|York",
        "Hedda Marlow   |Leeds",
        "Hedda Marlow  |Leeds",
        "Hedda Marlow            |Leeds      |12",
        "HEDDA MARLOW     |LEEDS",
        "- Hedda Marlow|/- Leeds",
        "• Hedda Marlow|/• Leeds",
        "1) Hedda Marlow|/2) Leeds",
        "Hedda Marlow|/-----|/Leeds",
        "Hedda Marlow|/==========|/Leeds",
        "Hedda Marlow ───── |Leeds",
        "Hedda Marlow |***** |Leeds",
        "Hedda Marlow \u2502 |Leeds \u2502 |York",
        "Hedda Marlow \u2503 |Leeds",
        "Hedda met  old  Bruno  Castell  in  the  small  town  of  Leeds  at  noon",
        "Hedda left.  |Bruno stayed.",
        "Name:  Hedda Marlow",
        "the cat  sat on it",
    ],
)
def test_tabs_gaps_and_table_borders_end_a_sentence(example: str) -> None:
    check(example)


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hedda Marlow | Leeds | 12", ["Hedda Marlow |", "Leeds |", "12"]),
        (
            "| Hedda Marlow | Leeds |\n| Bruno | York |",
            ["|", "Hedda Marlow |", "Leeds |", "|", "Bruno |", "York |"],
        ),
        ("a||b and x|y", ["a||b and x|y"]),
    ],
)
def test_a_bar_beside_white_space_is_the_border_of_a_cell(text: str, sentences: list[str]) -> None:
    assert sentences_of(text) == sentences


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=20), max_size=8).map("\n".join))
def test_by_lines_each_line_with_a_word_is_one_sentence(text: str) -> None:
    words = Tokeniser().offsets(text)
    sentences = split_sentences(text, Offsets.of(words), "lines")
    breaks = set("\n\r\x0b\x0c\x85\u2028\u2029")
    begins = [
        index
        for index in range(len(words))
        if not index or breaks & set(text[words[index - 1][1] : words[index][0]])
    ]
    assert sentences == list(zip(begins, [*begins[1:], len(words)], strict=False))
