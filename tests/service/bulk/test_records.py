import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.tags.spans import Span
from teddy.model.text.documents import Entity
from teddy.model.text.words import Text
from teddy.service.bulk.records import (
    Answer,
    Format,
    Record,
    Selection,
    answer_records,
    ends_record,
)

EVERYTHING = Selection()


def capitals(text: Text) -> Iterator[tuple[int, int, str]]:
    if isinstance(text, str):
        yield from ((*found.span(), found[0]) for found in re.finditer(r"\b[A-Z]\w*", text))
    else:
        yield from ((i, i + 1, word) for i, word in enumerate(text) if word[0].isupper())


class CapitalsTagger:
    """Takes each capitalised word for a person, and each one in capitals for an organisation."""

    def tag(self, texts: Iterable[Text], **_: object) -> list[list[Entity]]:
        return [
            [
                Entity(start, end, "ORG" if name.isupper() else "PER", 1 / len(name), name)
                for start, end, name in capitals(text)
            ]
            for text in texts
        ]

    def tag_sentences(self, sentences: Sequence[Sequence[str]], **_: object) -> list[list[Span]]:
        return [
            [
                Span(i, i + 1, "ORG" if word.isupper() else "PER")
                for i, word in enumerate(words)
                if word[0].isupper()
            ]
            for words in sentences
        ]


def answer(lines: Sequence[bytes], form: Format, selection: Selection = EVERYTHING) -> list[Answer]:
    records = [Record(number, (line,)) for number, line in enumerate(lines, start=1)]
    return answer_records(records, form, CapitalsTagger(), selection)


def answer_sentence(sentence: bytes, first_line: int = 7) -> Answer:
    record = Record(first_line, tuple(sentence.splitlines(keepends=True)))
    (only,) = answer_records([record], Format.CONLL, CapitalsTagger(), EVERYTHING)
    return only


def parsed(answer: Answer) -> dict[str, object]:
    fields: dict[str, object] = json.loads(answer.data)
    return fields


def test_a_line_of_text_is_answered_by_its_number_itself_and_its_entities() -> None:
    (first, second) = answer([b"then Ada spoke\r\n", b"nobody"], Format.TEXT)
    entity = {"start": 5, "end": 8, "label": "PER", "score": 0.3333, "text": "Ada"}
    assert parsed(first) == {"line": 1, "text": "then Ada spoke", "entities": [entity]}
    assert parsed(second) == {"line": 2, "text": "nobody", "entities": []}
    assert (first.n_entities, second.n_entities) == (1, 0)


def test_an_object_keeps_its_fields_and_order_and_gets_entities() -> None:
    (only,) = answer([b'{"id": 4, "text": "Ada", "when": [1.5, null]}\n'], Format.JSONL)
    assert list(parsed(only)) == ["id", "text", "when", "entities"]
    assert parsed(only)["when"] == [1.5, None]


def test_a_list_of_words_is_tagged_with_offsets_in_words() -> None:
    line = b'{"words": ["said", "Ada", "of New York", "IBM"], "text": "x"}'
    record = Record(1, (line,))
    (only,) = answer_records([record], Format.JSONL, CapitalsTagger(), EVERYTHING, "words")
    fields: dict[str, Any] = parsed(only)
    assert [(each["start"], each["end"], each["text"]) for each in fields["entities"]] == [
        (1, 2, "Ada"),
        (3, 4, "IBM"),
    ]
    assert only.n_words == 4
    assert fields["words"] == ["said", "Ada", "of New York", "IBM"]
    empty = answer_records(
        [Record(1, (b'{"words": []}',))], Format.JSONL, CapitalsTagger(), EVERYTHING, "words"
    )
    assert parsed(empty[0]) == {"words": [], "entities": []}


def test_entities_that_an_object_has_already_are_replaced() -> None:
    (only,) = answer([b'{"entities": ["old"], "text": "none"}\n'], Format.JSONL)
    assert parsed(only) == {"entities": [], "text": "none"}


def test_a_blank_line_among_objects_is_passed_over() -> None:
    assert [each.data for each in answer([b"\n", b" \r\n"], Format.JSONL)] == [b"", b""]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"id": 1}', 'no "text"'),
        (b'{"text": 3}', 'no "text"'),
        (b'{"text": ["Ada", 3]}', 'no "text" that is a string or a list of words'),
        (b'{"text": ["Ada", ["Bob"]]}', 'no "text"'),
        (b'{"text": ["Ada", ""]}', "word 1 is empty"),
        (b'{"text": ["Ada", "\\ud800"]}', "surrogate U+D800 at character 0 of word 1"),
        (b'{"text": "x", "n": NaN}', "NaN"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": "\xff"}', "not UTF-8: byte 0xff at byte 10"),
        (b"[" * 100_000, "not JSON"),
        (b'{"n": ' + b"9" * 5000 + b"}", "digits"),
    ],
)
def test_a_line_that_is_no_object_with_a_text_is_answered_by_the_reason_and_the_rest_goes_on(
    line: bytes, reason: str
) -> None:
    before, bad, after = answer([b'{"text": "Ada"}\n', line, b'{"text": "Bob"}'], Format.JSONL)
    assert parsed(before)["entities"]
    assert parsed(after)["entities"]
    fields = parsed(bad)
    assert fields["line"] == 2
    assert reason in str(fields["error"])
    assert bad.error == fields["error"]


def test_an_answer_that_is_an_error_carries_the_id_of_its_object() -> None:
    (only,) = answer([b'{"id": "k9", "txt": "Ada"}'], Format.JSONL)
    assert parsed(only)["id"] == "k9"


def test_a_field_that_only_an_escape_can_say_is_passed_on_escaped() -> None:
    (only,) = answer([b'{"text": "Ada", "note": "\\udfff"}'], Format.JSONL)
    assert parsed(only)["note"] == "\udfff"
    assert not only.error


def test_a_line_of_text_that_is_not_utf_8_costs_only_itself() -> None:
    bad, good = answer([b"caf\xe9 Ada\n", b"Ada\n"], Format.TEXT)
    assert parsed(bad) == {"line": 1, "error": "not UTF-8: byte 0xe9 at byte 3 of the line"}
    assert good.n_entities == 1


def test_a_byte_order_mark_is_no_part_of_the_first_text() -> None:
    (only,) = answer([b"\xef\xbb\xbfAda"], Format.TEXT)
    assert parsed(only)["text"] == "Ada"


@given(
    st.lists(st.text(alphabet=st.characters(exclude_characters="\n", exclude_categories=["Cs"])))
)
def test_any_line_of_text_comes_back_as_it_was_with_offsets_into_it(texts: list[str]) -> None:
    for text, each in zip(
        texts, answer([text.encode() + b"\n" for text in texts], Format.TEXT), strict=True
    ):
        fields = parsed(each)
        shown, entities = fields["text"], fields["entities"]
        assert isinstance(shown, str)
        assert isinstance(entities, list)
        assert text.removeprefix("\ufeff").removesuffix("\r") in (shown, f"\ufeff{shown}")
        assert all(shown[one["start"] : one["end"]] == one["text"] for one in entities)


def test_only_entities_with_the_labels_and_the_score_asked_for_are_answered() -> None:
    (only,) = answer(
        [b"Ada IBM Bo"], Format.TEXT, Selection(labels=frozenset(["PER"]), min_score=0.4)
    )
    entities = parsed(only)["entities"]
    assert isinstance(entities, list)
    assert [one["text"] for one in entities] == ["Bo"]


def test_columns_get_a_tag_after_the_separator_that_the_line_has() -> None:
    assert answer_sentence(b"Ada NNP\nsaid VBD\n\n").data == b"Ada NNP B-PER\nsaid VBD O\n\n"
    assert (
        answer_sentence(b"Ada\tNNP\r\nsaid\tVBD\r\n\r\n").data
        == b"Ada\tNNP\tB-PER\r\nsaid\tVBD\tO\r\n\r\n"
    )
    assert answer_sentence(b"IBM").data == b"IBM B-ORG"


def test_a_word_with_a_space_in_it_is_whole_where_tabs_part_the_columns() -> None:
    class Words(CapitalsTagger):
        def tag_sentences(
            self, sentences: Sequence[Sequence[str]], **_: object
        ) -> list[list[Span]]:
            assert [list(words) for words in sentences] == [["New York", "\u00a0"]]
            return super().tag_sentences(sentences)

    record = Record(1, (b"New York\tx\n", b"\xc2\xa0\ty\n"))
    (only,) = answer_records([record], Format.CONLL, Words(), EVERYTHING)
    assert only.data == b"New York\tx\tB-PER\n\xc2\xa0\ty\tO\n"


def test_comments_stay_and_the_mark_between_documents_gets_an_o() -> None:
    assert answer_sentence(b"# id = 1\nAda\n# NN\n\n").data == b"# id = 1\nAda B-PER\n# NN O\n\n"
    assert answer_sentence(b"-DOCSTART- -X-\n\n").data == b"-DOCSTART- -X- O\n\n"
    assert answer_sentence(b"\n").data == b"\n"


def test_a_sentence_that_cannot_be_tagged_gets_an_underscore_for_each_word() -> None:
    bad = answer_sentence(b"Ada\tx\n\xff\ty\n\n")
    assert bad.data == b"Ada\tx\t_\n\xff\ty\t_\n\n"
    assert "not UTF-8" in bad.error
    empty = answer_sentence(b"Ada\tx\n\ty\n\n")
    assert empty.error == "line 8: the first column is empty"
    assert empty.data == b"Ada\tx\t_\n\ty\t_\n\n"


@given(st.binary(max_size=60))
def test_columns_never_lose_or_change_a_byte(content: bytes) -> None:
    lines = content.split(b"\n")
    lines = [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]
    answered = answer_records(
        [Record(1, tuple(lines))], Format.CONLL, CapitalsTagger(), EVERYTHING
    )[0].data
    without = [
        re.sub(rb"[\t ](O|B-PER|B-ORG|_)(\r*\n?)$", rb"\2", line) for line in answered.split(b"\n")
    ]
    if b"\r" not in content and not re.search(rb"[\t ](O|B-PER|B-ORG|_)$", content, re.MULTILINE):
        assert b"\n".join(without) == content


def test_a_record_ends_with_its_line_and_in_columns_with_a_blank_one() -> None:
    assert ends_record(b"Ada\n", Format.TEXT)
    assert ends_record(b"\n", Format.JSONL)
    assert not ends_record(b"Ada\n", Format.CONLL)
    assert ends_record(b" \t\r\n", Format.CONLL)
