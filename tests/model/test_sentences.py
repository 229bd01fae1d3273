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


@pytest.mark.parametrize(
    "example",
    [
        "She moved to the U.S.|Oskar stayed behind.",
        "They live in Washington, D.C.|Petra likes it.",
        "He left Acme Inc.|Hannah runs it now.",
        "It was sold to Gray & Sons Ltd.|The price was low.",
        "The bank opens at 9 a.m.|Ruth came at ten.",
        "It rained until 6 p.m.|Then it stopped.",
        "We have tea, milk, etc.|Moss wants coffee.",
        "She has a Ph.D.|Her brother has none.",
        "He takes vitamin C.|Hale takes none.",
        "They chose plan B.|Quill was against it.",
        "She has hepatitis B.|It is under control.",
        "The score was 12.|Sarah had won.",
        "It is for Gray Jr.|Thomas paid.",
        "He works for Hale Corp.|Before that he sang.",
        "It was in the old days of the U.K.|Simon was young.",
        "The answer was no.|Five people left.",
        "See the works of Gray et al.|This is new.",
        "She moved to 12 Mill Rd.|Barbara lives there too.",
        "Born in Oct.|Died in May.".replace("Died", "He died"),
        "It has an area of 5 sq. mi.|In 2010 it was larger.",
        "Er mag Hunde, Katzen usw.|Jonas mag nur Hunde.",
        "Sie kam am 3.|Der Zug war leer.",
        "Es kostet 5 Mio.|Das ist viel.",
        "Er wohnt in den USA.|Berlin mag er nicht.",
        "Vive en EE. UU.|Su hermana vive aqu\u00ed.",
        "Lleg\u00f3 tarde.|\u00bfPor qu\u00e9 no llam\u00f3?|\u00a1Qu\u00e9 pena!",
        "Hola Pedro|\u00bfVienes hoy?",
        "Elle aime les chats, les chiens, etc.|Pierre ne les aime pas.",
        "Hij houdt van vis, vlees enz.|Anna niet.",
        "Ama i cani, i gatti ecc.|Giulia no.",
    ],
)
def test_an_abbreviation_ends_a_sentence_by_what_follows(example: str) -> None:
    assert sentences_of(example.replace("|", " ")) == example.split("|")


@pytest.mark.parametrize(
    "text",
    [
        "U.S. Steel closed a mill.",
        "She spoke to Dr. Quill.",
        "Acme Inc. said it would pay.",
        "Ask for No. 5 or Nos. 7 and 8.",
        "They flew to St. Louis.",
        "It opens at 5 p.m. Tuesday.",
        "It opens at 7 a.m. EST.",
        "Gray & Sons Ltd. Chairman Hale resigned.",
        "Gen. Moss met Lt. Col. Hale and Rev. Gray.",
        "The E. B. Moss Library is old.",
        "See Fig. 2, Vol. IV, pp. 14 and Ch. 3.",
        "On Oct. 5 and Sept. 12 it rained.",
        "He met R. De Vries and J. La Rue.",
        "Smith vs. Hale was heard.",
        "Emperor Moss (c. 1818) was mad.",
        "A work by Gray et al. Found was dull.",
        "Wir treffen uns am 3. Oktober in Mainz.",
        "Im 19. Jahrhundert und im 2. Weltkrieg war es anders.",
        "Es gibt z. B. Hunde und z.B. Katzen.",
        "Er kam, d. h. Frau Moss kam.",
        "Es kostet 5 Mio. Euro bzw. Dollar.",
        "Prof. Dr. med. Hale sprach mit Hrn. Moss.",
        "Siehe Bd. 3, S. 14, Nr. 5 und Abs. 2.",
        "Papst Paul VI. Moss kam nicht.",
        "Lleg\u00f3 la Sra. Duarte con el Sr. Moss.",
        "Vive en la Avda. Col\u00f3n, n\u00fam. 4.",
        "Jug\u00f3 en el At. Madrid.",
        "M. Dupont et Mme. Moreau sont venus.",
        "Dhr. Visser sprak met prof. dr. Moss.",
        "Il dott. Bruni e la Sig. Moss parlano.",
        "O Sr. Lopes e a Dra. Moss chegaram.",
        '"Is it?" asked Moss, and "no!" said Hale.',
    ],
)
def test_an_abbreviation_inside_a_sentence_does_not_end_it(text: str) -> None:
    assert sentences_of(text) == [text]


@pytest.mark.parametrize(
    "sentences",
    [
        ["it was late.", "he slept."],
        ["where is it?", "i cannot see it."],
        ["Great :)", "See you soon!"],
        ["She wept.[12]", "He left.[3][4]", "It rained."],
        ["yes!", "no way!", "really."],
    ],
)
def test_sentences_as_people_type_them_are_told_apart(sentences: list[str]) -> None:
    assert sentences_of(" ".join(sentences)) == sentences


def test_chinese_and_japanese_need_no_space_between_sentences() -> None:
    sentences = ["\u4ed6\u8d70\u4e86\u3002", "\u201c\u597d\uff01\u201d", "\u5979\u8bf4\u3002"]
    assert sentences_of("".join(sentences)) == sentences


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\u2028"])
def test_short_lines_and_items_are_sentences_of_their_own(line_break: str) -> None:
    lines = ["Ann Hill", "12 Main Street", "- bears", "- Dolls", "1. Wash", "2) Dry"]
    assert sentences_of(line_break.join(lines)) == lines


BORDERS = [
    *["a. ", '." ', '. " ', "\n\x00", " \n", "a.\n", "1. ", ") ", "\u3002", '? "a '],
    *["a\n", "A\n", "> \n", "a  ", "A\t", "| ", "-----", "----- ", ":) A ", "\u00bfA "],
    *[".[1] A ", "U.S. A ", "a b c Nora\n", "a. b. "],
]


@pytest.mark.parametrize("repeated", BORDERS)
def test_a_long_text_of_nothing_but_borders_is_split(repeated: str) -> None:
    # each would make a splitter that looks back to the sentence's start read the text again for
    # every stop
    text = repeated * 15_000
    words = Tokeniser().offsets(text)
    assert sum(end - start for start, end in split_sentences(text, Offsets.of(words))) == len(words)
