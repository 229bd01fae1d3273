"""Built-in kinds: what is one, and what only looks like one; and patterns of tokens."""

import json
from pathlib import Path

import pytest

from teddy.model.errors import RulesError
from teddy.model.rules.loading import load_rules
from teddy.model.rules.merging import Stretches, choose
from teddy.model.text.sentences import Offsets
from teddy.model.text.words import Tokeniser

pytest.importorskip("re2")
pytest.importorskip("phonenumbers")
pytest.importorskip("stdnum")

ENGLISH = Tokeniser(language="en")


def found(folder: Path, toml: str, text: str) -> list[str]:
    """Return what the rules find in a text, in order."""
    (folder / "rules.toml").write_text(toml)
    rules = load_rules(folder / "rules.toml", ENGLISH)
    starts, ends, words = ENGLISH.split_words(text)
    matches = rules.find(text, Offsets(starts, ends), words)
    chosen = sorted(choose(matches, Stretches()), key=lambda match: match.start)
    return [text[m.start : m.end] for m in chosen]


CASES = {
    "email": [
        (
            "Write to ada.l+x@example.co.uk, or (bo@example.org).",
            "ada.l+x@example.co.uk bo@example.org",
        ),
        ("at @ada and a@b and a@b.", ""),
    ],
    "url": [
        (
            "See https://example.org/a_(b)?q=1, www.example.net/x. (http://a.example/b)",
            "https://example.org/a_(b)?q=1 www.example.net/x http://a.example/b",
        ),
        ("Mail ada@example.org; e.g. this", ""),
    ],
    "ip": [
        (
            "Host 192.168.0.1, fe80::1 and 2001:db8:0:0:0:0:0:1.",
            "192.168.0.1 fe80::1 2001:db8:0:0:0:0:0:1",
        ),
        ("At 12:30:59 on 999.1.1.1 or 1.2.3.4.5", ""),
    ],
    "mac": [
        ("From 00:1B:44:11:3a:b7 to 00-1B-44-11-3A-B7.", "00:1B:44:11:3a:b7|00-1B-44-11-3A-B7"),
        ("Not 00:1B:44:11:3A nor 00:1B:44:11:3A:B7:FF.", ""),
    ],
    "iban": [
        (
            "Pay GB82 WEST 1234 5698 7654 32 NOW or DE89370400440532013000.",
            "GB82 WEST 1234 5698 7654 32|DE89370400440532013000",
        ),
        ("Pay GB83 WEST 1234 5698 7654 32", ""),
    ],
    "credit_card": [
        (
            "Card 4111 1111 1111 1111, 5500-0000-0000-0004",
            "4111 1111 1111 1111|5500-0000-0000-0004",
        ),
        ("Card 4111 1111 1111 1112", ""),
    ],
    "date": [
        (
            "On 2024-02-29, 3 May 2021, March 4th, 2020 and 31.12.99",
            "2024-02-29|3 May 2021|March 4th, 2020|31.12.99",
        ),
        ("Version 2024-13-41 of 45.99.12", ""),
    ],
    "time": [("At 12:30, 7 pm and 09:05:59", "12:30|7 pm|09:05:59"), ("A score of 31:12", "")],
    "money": [
        ("It costs $3.50, 20 million euros or EUR 1,000.", "$3.50|20 million euros|EUR 1,000"),
        ("He has 20 horses", ""),
    ],
    "version": [("From v2.1 to 3.10.4-rc.1", "v2.1|3.10.4-rc.1"), ("pi is 3.14, host 1.2.3.4", "")],
    "hashtag": [("So #NewYork and #2024 a#b", "#NewYork")],
    "handle": [("Ask @ada_l. or me@example.org", "@ada_l")],
}


@pytest.mark.parametrize(
    ("kind", "text", "wanted"), [(kind, *each) for kind, rows in CASES.items() for each in rows]
)
def test_a_kind_is_found_and_what_looks_like_it_is_not(
    tmp_path: Path, kind: str, text: str, wanted: str
) -> None:
    separator = "|" if "|" in wanted else " " if kind in ("email", "url", "ip") else "|"
    toml = f'[[builtin]]\nkind = "{kind}"'
    assert found(tmp_path, toml, text) == ([] if not wanted else wanted.split(separator))


def test_telephone_numbers_are_those_of_a_country(tmp_path: Path) -> None:
    text = "Ring +46 8 123 456 78 or 08-123 456 78; not 1234-5678 nor 2024-01-02."
    assert found(tmp_path, '[[builtin]]\nkind = "phone"', text) == ["+46 8 123 456 78"]
    swedish = '[[builtin]]\nkind = "phone"\nregion = "SE"'
    assert found(tmp_path, swedish, text) == ["+46 8 123 456 78", "08-123 456 78"]


def test_national_ids_have_right_check_digits(tmp_path: Path) -> None:
    toml = '[[builtin]]\nkind = "national_id"\nnumbers = ["se.personnummer", "us.ssn"]'
    text = "He is 880320-0016 here, 536-90-4399 there, and never 880320-0018."
    assert found(tmp_path, toml, text) == ["880320-0016", "536-90-4399"]


@pytest.mark.parametrize(
    ("number", "written"),
    [
        ("it.codicefiscale", "RCCMNL83S18D969H"),
        ("in_.aadhaar", "2341 2341 2346"),
        ("fr.nir", "2 95 10 99 126 111 93"),
        ("bitcoin", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"),
    ],
)
def test_national_ids_are_found_as_they_are_written(
    tmp_path: Path, number: str, written: str
) -> None:
    toml = f'[[builtin]]\nkind = "national_id"\nnumbers = ["{number}"]'
    assert found(tmp_path, toml, f"It is {written}, and not {written[:-3]}.") == [written]


def test_many_expressions_are_searched_together_with_a_match_or_without(tmp_path: Path) -> None:
    toml = "".join(f"[[pattern]]\npattern = '{k}x+'\nlabel = 'X'\n" for k in range(6))
    assert found(tmp_path, toml, "nothing here") == []
    assert found(tmp_path, toml, "a 3xx and 5x") == ["3xx", "5x"]


def test_an_unknown_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"has no se\.nothing") as refused:
        found(tmp_path, '\n[[builtin]]\nkind = "national_id"\nnumbers = ["se.nothing"]', "a")
    assert refused.value.line == 2


PATTERNS: list[tuple[list[dict[str, object]], list[str]]] = [
    ([{"LOWER": "new"}, {"ORTH": {"IN": ["York", "Delhi"]}}], ["new York", "New York"]),
    ([{"IS_DIGIT": True}, {"LOWER": "years", "OP": "?"}], ["17 years", "5"]),
    ([{"SHAPE": "Xxxxx"}, {"TEXT": {"REGEX": "^Y"}}], []),
    ([{"IS_TITLE": True, "OP": "+"}, {"LENGTH": {">=": 5}, "LOWER": "years"}], []),
    ([{"LOWER": "the"}, {"IS_ALPHA": True, "OP": "{1,2}"}], ["the new York"]),
]


@pytest.mark.parametrize(("pattern", "wanted"), PATTERNS)
def test_patterns_of_tokens_match_word_by_word(
    tmp_path: Path, pattern: list[dict[str, object]], wanted: list[str]
) -> None:
    (tmp_path / "ruler.jsonl").write_text(json.dumps({"label": "X", "pattern": pattern}))
    toml = '[[dictionary]]\nfile = "ruler.jsonl"'
    text = "In the new York of New York for 17 years , 5 ."
    assert found(tmp_path, toml, text) == wanted


@pytest.mark.parametrize("pattern", ['[{"POS": "NOUN"}]', '[{"OP": "*"}]', '[{"LOWER": 3}]'])
def test_a_pattern_of_tokens_that_needs_more_than_words_is_refused(
    tmp_path: Path, pattern: str
) -> None:
    (tmp_path / "ruler.jsonl").write_text('\n{"label": "X", "pattern": ' + pattern + "}")
    with pytest.raises(RulesError) as refused:
        found(tmp_path, '[[dictionary]]\nfile = "ruler.jsonl"', "a")
    assert refused.value.line == 2
