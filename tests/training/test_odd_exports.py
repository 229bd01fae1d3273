"""Odd but legal variants of what tools write are read as they were meant, or refused with a cure.

A table each: what is read, with the spans; and what is refused, with the message.
"""

import json
from pathlib import Path

import pytest

from teddy.model.errors import DataError
from teddy.training.data.readers import read_examples
from teddy.training.data.readers.guess import guess_file
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
    "tags with commas between them": (
        "a.csv",
        'text,labels\nAda ran home,"B-PER,O, O"\nIt fell,"O,O"\n',
        [*ADA, []],
    ),
    "lists as numpy prints them": (
        "a.csv",
        "id,tokens,ner_tags\n"
        """0,"['Ada' ""d'Arc, x"" 'ran'\n 'home']",['B-PER' 'I-PER' 'O' 'O']\n"""
        "1,['no'],['O']\n",
        [[("Ada d'Arc, x", "PER")], []],
    ),
    "spans as numpy prints them": (
        "a.csv",
        "text,entities\nAda met Ada,\"[{'start': 0, 'end': 3, 'label': 'PER'}\n"
        " {'start': 8, 'end': 11, 'label': 'PER'}]\"\nno one,[]\n",
        [ADA[0] * 2, []],
    ),
    "spans of any column, as JSON": (
        "a.csv",
        'id,label,text\n1,"[{""start"": 0, ""end"": 3, ""labels"": [""PER""], ""x"": null}]",'
        "Ada ran\n2,,no one\n3,[],no two\n",
        [*ADA, [], []],
    ),
    "numbers that count the sentences, under any name": (
        "a.csv",
        "Satz;Wort;Art;Etikett\n1;Ada;N;B-PER\n1;lief;V;O\n2;Ada;N;B-PER\n",
        ADA * 2,
    ),
    "quotation marks in a table that is not quoted": (
        "a.tsv",
        'word\ttag\nAda\tB-PER\n"\tO\nran\tO\n"\tO\n',
        ADA,
    ),
    "tags without a label": ("a.conll", "Ada B\nd'Arc I\nran O\n", [[("Ada d'Arc", "ENTITY")]]),
    "letters that are labels": ("a.conll", "Ada S\nran O\nit O\n", [[("Ada", "S")]]),
    "brackets around one word": (
        "a.conll",
        "Ada (PER)\nmet *\nNora (PER*\nFinch *)\n",
        [[*ADA[0], *NORA[0]]],
    ),
    "the key of labels in MISC, by its tags": (
        "a.conllu",
        "1\tAda\t_\tPROPN\t_\t_\t0\t_\t_\tname=B-PER|Entity=(1-x\n"
        "2\tran\t_\tVERB\t_\t_\t1\t_\t_\tname=O|Entity=1)\n\n",
        ADA,
    ),
    "no spans of coreference": (
        "a.conllu",
        "1\tAda\t_\tPROPN\t_\t_\t0\t_\t_\tEntity=(1-person-x)\n\n",
        [[("Ada", "PROPN")]],
    ),
    "addresses in markdown": (
        "a.md",
        "[a page](https://a.example/b) of [Ada](PER)\n",
        ADA,
    ),
    "a title beside the text": (
        "a.json",
        '[{"data": {"title": "A", "body": "Ada ran"}, "annotations": [{"result": ['
        '{"type": "labels", "value": {"start": 0, "end": 3, "labels": ["PER"]}}]}]}]',
        ADA,
    ),
}

REFUSED: dict[str, tuple[str, str, str]] = {
    "a tag without a label among others": (
        "a.conll",
        "Ada B-PER\nran O\n\nOslo B\n",
        ":4: the tag 'B' has no label, and 'B-PER' on line 1 has one: write it on both",
    ),
    "a tag with a label among others without": (
        "a.csv",
        "Sentence,Word,Tag\n1,Bo,B\n1,Ada,B-PER\n",
        ":2: the tag 'B' has no label, and 'B-PER' on line 3 has one: write it on both",
    ),
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
    "one label for a text": (
        "a.csv",
        "text,start,end,label\nAda ran,0,3,PER\nIt fell,0,2,X\n",
        ":2: 'label' has one label for the whole of 'text'; want a tag for each word, or spans",
    ),
    "a mark in a mark": (
        "a.md",
        "[the [Ada](PER) Club](ORG)\n",
        ":1: a mark around another, '](ORG",
    ),
    "XML that goes on": ("a.xml", "<s>\n<PER>Ada\nFinch</PER>\n</s>\n", ":2: <PER> does not end"),
    "an older WebAnno": (
        "a.tsv",
        "#FORMAT=WebAnno TSV 2\n# x\n",
        ":1: 'WebAnno TSV 2'; export it as WebAnno TSV 3",
    ),
    "nothing but predictions": (
        "a.json",
        '[{"data": {"text": "Ada"}, "annotations": [], "predictions": [{"result": []}]}]',
        "the file has no sentence: what is rejected, skipped, only predicted or not annotated is",
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


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("file", ["a.conll", "a.jsonl", "a.csv"])
def test_the_mark_of_an_encoding_is_enough(tmp_path: Path, file: str, encoding: str) -> None:
    content = {
        "a.conll": "Ada B-PER\nran O\n",
        "a.jsonl": '{"text": "Ada ran", "entities": [[0, 3, "PER"]]}\n',
        "a.csv": "word,tag\nAda,B-PER\nran,O\n",
    }
    (tmp_path / file).write_text(content[file], encoding=encoding)
    assert spans_of(tmp_path / file) == ADA


@pytest.mark.parametrize(
    ("text", "encoding", "is_western"),
    [
        ("Zoë B-PER\n", "cp1252", True),
        ("東京都 B-LOC\n", "shift_jis", False),
        ("Москва B-LOC\n", "cp1251", False),
    ],
)
def test_an_encoding_is_proposed_where_it_can_be_right(
    tmp_path: Path, text: str, encoding: str, is_western: bool
) -> None:
    (tmp_path / "a.conll").write_bytes(text.encode(encoding))
    with pytest.raises(DataError) as caught:
        spans_of(tmp_path / "a.conll")
    assert ("cp1252" in str(caught.value)) == is_western


def test_a_unit_that_does_not_fit_most_spans_is_not_guessed(tmp_path: Path) -> None:
    text = "Hi 👨‍👩‍👧 Zoe Brandt in Oslo"
    line = json.dumps({"text": text, "label": [[6, 16, "PER"], [12, 17, "LOC"]]})  # none
    (tmp_path / "a.jsonl").write_text(f"{line}\n" * 4, encoding="utf-8")
    assert guess_file(tmp_path / "a.jsonl").options.offset_unit == "character"


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("before", ["👨‍👩‍👧", "🇳🇴🇩🇪", "👍🏽", "e\u0301e\u0301"])
def test_offsets_of_what_is_seen_as_a_character_are_refused(
    tmp_path: Path, before: str, own: bool
) -> None:
    n_seen = 2 if before[0] in "🇳e" else 1
    first = 3 + n_seen + 1
    spans = [(first, first + 10, "PER", "Zoe Brandt"), (first + 14, first + 18, "LOC", "Oslo")]
    entities = [
        {"start": start, "end": end, "label": label} | ({"text": name} if own else {})
        for start, end, label, name in spans
    ]
    record = json.dumps({"text": f"Hi {before} Zoe Brandt in Oslo", "entities": entities})
    (tmp_path / "a.jsonl").write_text(f"{record}\n" * 4, encoding="utf-8")
    with pytest.raises(DataError, match="grapheme clusters"):
        spans_of(tmp_path / "a.jsonl")
    stated = FormatConfig(offset_unit="character")
    if own:  # a single record tells it too
        with pytest.raises(DataError, match=r"own text says .*grapheme clusters"):
            spans_of(tmp_path / "a.jsonl", stated)
    else:
        assert len(spans_of(tmp_path / "a.jsonl", stated)) == 4


def test_parts_of_an_entity_that_a_line_end_divides_are_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Nora\nFinch and Bo Finch", encoding="utf-8")
    entities = "T1\tPER 0 4;5 10\tNora Finch\nT2\tPER 0 4;18 23\tNora Finch\n"
    (tmp_path / "a.ann").write_text(entities, encoding="utf-8")
    whole = ("Nora\nFinch and Bo Finch", "?")
    assert spans_of(tmp_path) == [[("Nora\nFinch", "PER"), whole]]
    assert "1 entity in several parts" in str(guess_file(tmp_path))
