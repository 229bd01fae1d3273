"""Odd but legal variants of what tools write are read as they were meant, or refused with a cure.

A table each: what is read, with the spans; and what is refused, with the message.
"""

from pathlib import Path

import pytest

from teddy.model.errors import DataError
from teddy.training.data.readers import read_examples
from teddy.training.recipe.corpus_config import FormatConfig

Spans = list[list[tuple[str, str]]]
ADA: Spans = [[("Ada", "PER")]]
NORA: Spans = [[("Nora Finch", "PER")]]

READ: dict[str, tuple[str, str, Spans]] = {
    "Prodigy leaves spans out where there are none": (
        "a.jsonl",
        '{"text": "Ada ran", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": "accept"}'
        '\n{"text": "It ran", "tokens": [{"text": "It", "start": 0, "end": 2, "id": 0},'
        ' {"text": "ran", "start": 3, "end": 6, "id": 1}], "answer": "accept"}\n',
        [*ADA, []],
    ),
    "null stands for a text without annotations": (
        "a.json",
        '{"annotations": [["Ada ran", {"entities": [[0, 3, "PER"]]}], null]}',
        ADA,
    ),
    "datasets keep a sequence of spans in columns": (
        "a.jsonl",
        '{"text": "Ada ran", "spans": {"start": [0], "end": [3], "label": ["PER"]}}\n'
        '{"text": "It ran", "spans": {"start": [], "end": [], "label": []}}\n',
        [*ADA, []],
    ),
    "tags have a name of their own": (
        "a.jsonl",
        '{"tokens": ["Ada", "ran"], "fine_ner_tags": ["B-PER", "O"]}\n',
        ADA,
    ),
    "an own text in other case, accents and spaces": (
        "a.jsonl",
        '{"text": "Zoe\u0308 Finch ran", "entities": '
        '[{"start": 0, "end": 10, "label": "PER", "word": "zo\u00eb  finch"}]}\n',
        [[("Zoe\u0308 Finch", "PER")]],
    ),
    "the program that made the data": (
        "a.py",
        'import spacy\n# mine\nTRAIN: list = [\n("Ada ran", {"entities": [(0, 3, "PER")]}),\n]\n'
        "NAMES = ['x']\n",
        ADA,
    ),
}

REFUSED: dict[str, tuple[str, str, str]] = {
    "half of a pair": (
        "a.jsonl",
        '{"text": "\U0001f64f x", "entities": []}\n'
        '{"text": "\\ud83d Oslo", "entities": [[2, 6, "LOC"]]}\n',
        ":2: lone surrogate U+D83D",
    ),
    "a null for the spans": (
        "a.jsonl",
        '{"text": "Ada", "entities": null}\n',
        ':1: "entities" is not a list: null; want [{"start": 0, "end": 3, "label": "PER"}]; where',
    ),
    "classes of a text": (
        "a.jsonl",
        '{"text": "Ada", "label": ["news"]}\n',
        ':1: "label" has classes of the whole text: ["news"]',
    ),
    "a text under another name": (
        "a.jsonl",
        '{"id": "7", "body": "Ada ran home", "entities": []}\n',
        '; if "body" is the text, set token = "body"',
    ),
    "true for a place": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[true, 3, "X"]]}\n',
        "not a span",
    ),
    "an empty list": ("a.json", "[]\n", "a.json: the file has no record"),
    "a page in place of JSON": ("a.json", "<html><body>No</body></html>\n", ":1: not valid JSON"),
    "two lists in a program": (
        "a.py",
        'TRAIN = [("Ada", {"entities": []})]\nDEV = [("Bo", {"entities": []})]\n',
        ":2: a second list of records, after line 1; give each its own file",
    ),
    "a name in a list": (
        "a.py",
        'TRAIN = [\n  ("Ada", {"entities": []}),\n  ("Bo", {"entities": [(0, 2, PER)]}),\n]\n',
        ":3: not a list of Python: want texts and numbers, without names or calls",
    ),
}


def spans_of(path: Path, options: FormatConfig | None = None) -> Spans:
    return [
        [(each.text[span.start : span.end], span.label) for span in each.spans]
        for each in read_examples(path, options or FormatConfig())
    ]


@pytest.mark.parametrize("name", READ)
def test_a_legal_variant_is_read_as_it_was_meant(tmp_path: Path, name: str) -> None:
    file, content, spans = READ[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    assert spans_of(tmp_path / file) == spans


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_meant_so_is_refused_with_its_place(tmp_path: Path, name: str) -> None:
    file, content, message = REFUSED[name]
    (tmp_path / file).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        spans_of(tmp_path / file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
