"""What annotation tools export is read as it was annotated; what is malformed is refused in words.

The files of `exports/` are made by its make.py; those of spaCy, `datasets`, doccano, Label
Studio and Argilla by these themselves.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme
from teddy.model.text.words import Tokeniser
from teddy.training.check.checking import check_file
from teddy.training.check.finding_kinds import FindingKind
from teddy.training.data.align import Misaligned
from teddy.training.data.corpora import load_corpus
from teddy.training.data.readers import SAMPLES, read_examples
from teddy.training.data.readers.guess import guess_file
from teddy.training.recipe.corpus_config import CorpusConfig, FormatConfig, FormatName

EXPORTS = Path(__file__).parent / "exports"
GOLD = [
    [("Ada Lovelace", "PER"), ("Bo", "PER"), ("New York", "LOC")],
    [("Oslo", "LOC"), ("Zoë", "PER")],
    [],
]
FORMATS = {
    "argilla.json": "argilla",
    "argilla.parquet": "datasets",
    "brat": "brat",
    "datasets-card/train.jsonl": "datasets",
    "datasets-folder": "datasets",
    "datasets.parquet": "datasets",
    "docbin.spacy": "spacy",
    "doccano-relations.jsonl": "jsonl",
    "doccano.jsonl": "doccano",
    "flair.txt": "conll",
    "gliner.json": "gliner",
    "inline.md": "markdown",
    "inline.xml": "xml",
    "label-studio-min.json": "label-studio",
    "label-studio-utf16.json": "label-studio",
    "label-studio.json": "label-studio",
    "misc.conllu": "conllu",
    "plus.conllup": "conllu",
    "prodigy.jsonl": "prodigy",
    "sentences.csv": "csv",
    "spacy2-trained.json": "spacy",
    "spacy2.json": "spacy",
    "spacy2.py.txt": "spacy",
    "spacy3.jsonl": "spacy",
    "stanford.tsv": "conll",
    "suffix.txt": "conll",
    "webanno.tsv": "webanno",
    "words.csv": "csv",
}


def spans_of(path: Path, options: FormatConfig | None = None) -> list[list[tuple[str, str]]]:
    return [
        [(each.text[span.start : span.end], span.label) for span in each.spans]
        for each in read_examples(path, options or FormatConfig())
    ]


def write(path: Path, *lines: Any) -> Path:
    """Write lines of text; what is no text, as JSON."""
    texts = [each if isinstance(each, str) else json.dumps(each) for each in lines]
    path.write_text("\n".join(texts) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", FORMATS)
def test_each_export_is_read_exactly_without_a_word_about_it(name: str) -> None:
    if name.endswith(".spacy"):
        pytest.importorskip("spacy")
    guess = guess_file(EXPORTS / name)
    assert guess.options.format == FORMATS[name]
    assert spans_of(EXPORTS / name) == GOLD
    texts = [example.text.strip() for example in read_examples(EXPORTS / name, guess.options)]
    assert texts[0] == "Ada Lovelace met Bo in New York ."
    stated = FormatConfig(format=guess.options.format)
    assert spans_of(EXPORTS / name, stated) == GOLD


def test_a_guess_says_what_it_is_made_of() -> None:
    said = {name: str(guess_file(EXPORTS / name)) for name in FORMATS if "spacy" not in name}
    assert "2 of 5 records were rejected or ignored: left out" in said["prodigy.jsonl"]
    assert "offsets in UTF-16 units" in said["label-studio-utf16.json"]
    assert "numbers of O, B-LOC" in said["datasets-card/train.jsonl"]
    assert "tags in plain" in said["stanford.tsv"]
    assert "labels in misc:NER" in said["misc.conllu"]


def test_offsets_that_count_utf16_units_are_noticed(tmp_path: Path) -> None:
    text = "Thanks 🙏🙏🙏🙏🙏 Oslo Oulu Rome"
    span = {"start": 18, "end": 22, "label": "LOC", "text": "Oslo"}
    path = write(tmp_path / "a.jsonl", {"text": text, "entities": [span]})
    assert spans_of(path) == [[("Oslo", "LOC")]]
    with pytest.raises(
        DataError, match="own text says 'Oslo'; they fit with offset_unit = \"utf16\""
    ):
        spans_of(path, FormatConfig(offset_unit="character"))
    in_bytes = {"text": "Zoë saw Oslo", "entities": [[9, 13, "LOC"]]}
    path = write(tmp_path / "b.jsonl", in_bytes)
    assert spans_of(path, FormatConfig(offset_unit="byte")) == [[("Oslo", "LOC")]]
    assert spans_of(write(tmp_path / "c.jsonl", *[in_bytes] * 3)) == [[("Oslo", "LOC")]] * 3


def test_what_a_reviewer_rejected_is_left_out(tmp_path: Path) -> None:
    spans = [{"start": 0, "end": 3, "label": "PER"}, {"start": 4, "end": 7, "label": "PER"}]
    spans[1]["answer"] = "reject"
    records = [{"text": "Ada ran", "spans": spans, "answer": each} for each in ("accept", "reject")]
    assert spans_of(write(tmp_path / "a.jsonl", *records)) == [[("Ada", "PER")]]


def test_the_filled_list_of_spans_is_read_and_two_are_refused(tmp_path: Path) -> None:
    record = {"text": "Ada ran", "entities": [], "label": [[0, 3, "PER"]]}
    assert spans_of(write(tmp_path / "a.jsonl", record)) == [[("Ada", "PER")]]
    record["entities"] = [[4, 7, "PER"]]
    with pytest.raises(DataError, match='"entities" and "label" have spans: say which with tag'):
        spans_of(write(tmp_path / "b.jsonl", record))
    assert spans_of(tmp_path / "b.jsonl", FormatConfig(tag="label")) == [[("Ada", "PER")]]


def test_of_several_annotators_one_is_chosen(tmp_path: Path) -> None:
    def done(by: object, end: int, name: str = "ner") -> dict[str, Any]:
        value = {"start": 0, "end": end, "labels": ["PER"]}
        result = {"value": value, "from_name": name, "to_name": "text", "type": "labels"}
        return {"completed_by": by, "result": [result]}

    task = {
        "data": {"text": "Ada Bo"},
        "annotations": [done(1, 3), done({"id": 2, "email": "b"}, 6)],
    }
    path = write(tmp_path / "a.json", [task])
    with pytest.raises(DataError, match="annotators 1, 2 differ; say whose to read with annotator"):
        spans_of(path)
    for annotator, expected in (("first", "Ada"), ("1", "Ada"), ("b", "Ada Bo"), ("2", "Ada Bo")):
        assert spans_of(path, FormatConfig(annotator=annotator)) == [[(expected, "PER")]]
    twice = {"data": {"text": "Ada Bo"}, "annotations": [done(1, 3), done(2, 3)]}
    assert spans_of(write(tmp_path / "b.json", [twice])) == [[("Ada", "PER")]]
    both = done(1, 3)
    both["result"] += done(1, 6, "other")["result"]
    path = write(tmp_path / "c.json", [{"data": {"text": "Ada Bo"}, "annotations": [both]}])
    with pytest.raises(DataError, match='several controls: ner, other; say which with tag = "ner"'):
        spans_of(path)
    assert spans_of(path, FormatConfig(tag="other")) == [[("Ada Bo", "PER")]]


def test_responses_of_argilla_that_differ_are_refused_until_one_user_or_question_is_named(
    tmp_path: Path,
) -> None:
    def response(user: str, end: int) -> dict[str, Any]:
        return {"user_id": user, "value": [{"start": 0, "end": end, "label": "PER"}]}

    record: dict[str, Any] = {"fields": {"text": "Ada Bo"}, "responses": {"q": [response("a", 3)]}}
    rows = {
        "text": "Ada Bo",
        "q.responses": [each["value"] for each in (response("a", 3), response("b", 6))],
        "q.responses.users": ["a", "b"],
        "q.responses.status": ["submitted", "discarded"],
    }
    unread = {"text": "Bo", "q.responses": None, "q.responses.users": None}
    for path in (write(tmp_path / "a.jsonl", record), write(tmp_path / "b.jsonl", rows, unread)):
        assert guess_file(path).options.format == "argilla"
        assert spans_of(path) == [[("Ada", "PER")]]
    record["responses"]["q"].append(response("b", 6))
    path = write(tmp_path / "c.jsonl", record)
    with pytest.raises(DataError, match="annotators a, b differ; say whose to read with annotator"):
        spans_of(path)
    assert spans_of(path, FormatConfig(annotator="b")) == [[("Ada Bo", "PER")]]
    two = {**record, "responses": {"q": [response("a", 3)], "p": [response("a", 6)]}}
    path = write(tmp_path / "d.jsonl", two)
    with pytest.raises(DataError, match='several controls: p, q; say which with tag = "p"'):
        spans_of(path)
    assert spans_of(path, FormatConfig(tag="q")) == [[("Ada", "PER")]]


def test_annotations_of_one_text_by_several_are_noticed_in_json_min(tmp_path: Path) -> None:
    marks = [{"start": 0, "end": 3, "text": "Ada", "labels": ["PER"]}]
    record = {"text": "Ada ran", "id": 1, "annotation_id": 4, "annotator": 1, "label": marks}
    path = write(tmp_path / "a.json", [record, record | {"annotator": 2, "label": []}])
    assert "1 texts are repeated with the marks of another annotator" in str(guess_file(path))
    assert spans_of(path) == [[("Ada", "PER")], []]
    assert spans_of(path, FormatConfig(annotator="2")) == [[]]


def test_tables_are_read_in_whatever_shape_they_have(tmp_path: Path) -> None:
    expected = [[("Ada", "PER")], [("Oslo", "LOC")]]
    tables = {
        "a row a sentence": "id,text,labels\n1,Ada ran home,B-PER O O\n2,to Oslo,O B-LOC\n",
        "ids before words": "sentence_id\tword\ttag\n0\tAda\tB-PER\n0\tran\tO\n1\tOslo\tB-LOC\n",
        "ids after words": "word;pos_tag;ner_tag;sent_id\nAda;N;B-PER;x\nOslo;N;B-LOC;y\n",
        "blank rows": "token,label\nAda,B-PER\nran,O\n,\nto,O\nOslo,B-LOC\n",
        "blank lines": "token|label\nAda|PER\nran|O\n\nto|O\nOslo|LOC\nby|O\n",
        "lists": """tokens,tags\n"['Ada', 'ran']","['B-PER', 'O']"\n"['Oslo']","['B-LOC']"\n""",
        "spans": "text,entities\nAda ran,\"[(0, 3, 'PER')]\"\nto Oslo,\"[(3, 7, 'LOC')]\"\n",
    }
    for name, table in tables.items():
        path = tmp_path / "a.csv"
        path.write_text(table, encoding="utf-8")
        assert spans_of(path) == expected, name


def test_the_layer_with_most_entities_is_read_and_chunks_are_not(tmp_path: Path) -> None:
    rows = ["#\tmade up\t[2026]", "1\tAda\tB-PER\tO", "2\tUlm\tB-ORG\tB-LOC", "3\tE.\tI-ORG\tO"]
    path = write(tmp_path / "a.tsv", *rows)
    assert spans_of(path) == [[("Ada", "PER"), ("Ulm E.", "ORG")]]
    assert "column 2 has 3 tagged words and is read, column 3 has 1" in str(guess_file(path))
    assert spans_of(path, FormatConfig(tag=3)) == [[("Ulm", "LOC")]]
    chunks = ["Ada N B-NP B-PER", "ran V B-VP O", "home R B-ADVP O"]
    assert spans_of(write(tmp_path / "b.txt", *chunks)) == [[("Ada", "PER")]]


def test_a_mark_of_the_language_on_each_token_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.txt", "de:Ada B-PER", "de:lief O")
    assert "begin with 'de:': token_strip = \"^de:\" leaves that out" in str(guess_file(path))
    assert spans_of(path, FormatConfig(token_strip="^de:")) == [[("Ada", "PER")]]  # noqa: S106


@pytest.mark.parametrize("scheme", [Scheme.BILUO, Scheme.BMEWO, Scheme.BRACKETS, Scheme.PLAIN])
def test_other_schemes_are_guessed(tmp_path: Path, scheme: Scheme) -> None:
    from teddy.model.tags.spans import Span, write_tags

    tags = write_tags([Span(0, 3, "PER"), Span(4, 5, "LOC"), Span(6, 8, "PER")], 20, scheme)
    path = write(tmp_path / "a.txt", *(f"w{n} {tag}" for n, tag in enumerate(tags)))
    assert guess_file(path).options.scheme is scheme
    assert spans_of(path) == [[("w0 w1 w2", "PER"), ("w4", "LOC"), ("w6 w7", "PER")]]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_the_mark_of_utf_16_is_enough(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.txt"
    mark = "" if encoding == "utf-16" else "\ufeff"
    path.write_bytes(f"{mark}Zoë B-PER\nran O\n".encode(encoding))
    assert spans_of(path) == [[("Zoë", "PER")]]


@pytest.mark.parametrize(
    ("misaligned", "expected"),
    [
        ("trim", [("Nora Finch", "PER")]),
        ("expand", [("Nora Finch", "PER"), ("Adams", "PER")]),
        ("contract", [("Nora Finch", "PER")]),
        ("drop", []),
    ],
)
def test_spans_are_fitted_to_words_as_the_recipe_says(
    tmp_path: Path, misaligned: Any, expected: list[tuple[str, str]]
) -> None:
    spans = [[0, 11, "PER"], [15, 18, "PER"]]
    write(tmp_path / "a.jsonl", {"text": "Nora Finch met Adams", "entities": spans})
    config = CorpusConfig(name="c", licence="x", train=("a.jsonl",), misaligned=misaligned)
    told: list[Misaligned] = []
    corpus = load_corpus(config, ["PER"], tmp_path, Tokeniser(), on_misaligned=told.append)
    [sentence] = corpus.train
    words = [(" ".join(sentence.words[s.start : s.end]), s.label) for s in sentence.spans]
    assert words == expected
    assert sum(each.is_lost for each in told) == 2 - len(expected)
    assert len(told) == 2


@pytest.mark.parametrize(("language", "expected"), [("", "d'Ada"), ("fr", "Ada")])
def test_spans_are_fitted_to_the_words_of_the_language(
    tmp_path: Path, language: str, expected: str
) -> None:
    write(tmp_path / "a.jsonl", {"text": "ami d'Ada", "entities": [[6, 9, "PER"]]})
    config = CorpusConfig(name="c", licence="x", train=("a.jsonl",), misaligned="expand")
    tokeniser = Tokeniser(language=language)
    [sentence] = load_corpus(config, ["PER"], tmp_path, tokeniser).train
    [span] = sentence.spans
    assert "".join(sentence.words[span.start : span.end]) == expected


def test_a_corpus_that_loses_many_spans_is_refused_unless_that_is_meant(tmp_path: Path) -> None:
    record = {"text": "Adams left", "entities": [[0, 3, "PER"]]}
    write(tmp_path / "a.jsonl", *[record] * 100)
    config = CorpusConfig(name="c", licence="x", train=("a.jsonl",))
    with pytest.raises(DataError, match=r"a\.jsonl:1: 100 of 100 spans of 'c' are lost"):
        load_corpus(config, ["PER"], tmp_path, Tokeniser())
    refusing = config.model_copy(update={"misaligned": "refuse"})
    with pytest.raises(DataError, match="does not fall on word borders; correct it, or set"):
        load_corpus(refusing, ["PER"], tmp_path, Tokeniser())
    dropping = config.model_copy(update={"misaligned": "drop"})
    assert len(load_corpus(dropping, ["PER"], tmp_path, Tokeniser()).train) == 100


def test_two_labels_on_the_same_words_are_named(tmp_path: Path) -> None:
    spans = [[0, 3, "PER"], [0, 3, "ORG"]]
    path = write(tmp_path / "a.jsonl", {"text": "Ada left", "entities": spans})
    [finding] = [
        each
        for each in check_file(path, FormatConfig()).findings
        if each.kind is FindingKind.MISALIGNED
    ]
    assert finding.message == "PER 'Ada' is marked ORG too, which is kept: one of the two"


def test_check_looks_for_illegal_tags_behind_what_cannot_be_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.txt", "Ada B-PER", "", "broken", "", "Bo I-PER", "ran O", "", "Oslo B-LOC"
    )
    report = check_file(path, FormatConfig(scheme=Scheme.BIO))
    kinds = [(each.kind, each.line) for each in report.findings if each.line]
    assert (FindingKind.UNREADABLE, 3) in kinds
    assert (FindingKind.REPAIRED, 5) in kinds


@pytest.mark.parametrize("form", ["list", "lines", "xml", "table"])
def test_check_goes_on_behind_a_bad_record(tmp_path: Path, form: str) -> None:
    good = '{"text": "Ada ran", "entities": [[0, 3, "PER"]]}'
    bad = '{"text": "Ada ran", "entities": [[0, 30, "PER"]]}'
    files = {
        "list": f"[\n{good},\n{bad},\n{good}\n]\n",
        "lines": f"{good}\n{bad}\n{good}\n",
        "xml": "<PER>Ada</PER> ran\n<PER>Ada ran\n<PER>Ada</PER> ran\n",
        "table": "text,labels\nAda ran,B-PER O\nAda,B-PER O\nAda ran,B-PER O\n",
    }
    path = tmp_path / {"list": "a.json", "lines": "a.jsonl", "xml": "a.xml", "table": "a.csv"}[form]
    path.write_text(files[form], encoding="utf-8")
    report = check_file(path, FormatConfig())
    assert [each.kind for each in report.findings][:1] == [FindingKind.UNREADABLE]
    assert report.parts[0].spans == 2


LONG = "word " * 40
MALFORMED: dict[str, tuple[str, str | bytes, dict[str, Any], str]] = {
    "a row too short": ("a.conll", "Ada B-PER\nran\n", {}, ":2: 1 column, but the first row"),
    "a row too long": ("a.conll", "Ada B-PER\nran home O\n", {}, ":2: 3 columns, but the first"),
    "an unknown prefix": ("a.conll", "Ada X-PER\nran O\n", {}, ":1: bad tag 'X-PER'"),
    "a tag with _": (
        "a.conll",
        "Ada B_PER\nran O\n",
        {},
        ":1: bad tag 'B_PER' for the scheme bio; write B-PER",
    ),
    "a tag in small letters": ("a.conll", "Ada b-per\nran O\n", {}, ":1: bad tag 'b-per'"),
    "numbers for tags": ("a.conll", "Ada 1\nran 0\n", {}, "tag_names = "),
    "another scheme": (
        "a.conll",
        "Ada U-PER\nran O\n",
        {"scheme": Scheme.BIO},
        'set scheme = "biluo"',
    ),
    "plain text": (
        "a.txt",
        f"Ada ran home today.\n{LONG}\nIt rained.\nBo\n",
        {},
        ":1: plain text without annotations",
    ),
    "an empty file": ("a.jsonl", "", {}, "the file is empty"),
    "a cut line": (
        "a.jsonl",
        '{"text": "Ada", "entities": []}\n{"text": "Bo", "ent\n',
        {},
        ":2: not valid JSON",
    ),
    "single quotes": ("a.jsonl", "{'text': 'Ada', 'entities': []}\n", {}, ":1: not valid JSON"),
    "a text that is none": (
        "a.jsonl",
        '{"text": 3, "entities": []}\n',
        {},
        ':1: want an object with a "text" that is a text, not 3',
    ),
    "no spans": ("a.jsonl", '{"text": "Ada"}\n', {}, "where there are none, give an empty list"),
    "spans that are no list": (
        "a.jsonl",
        '{"text": "Ada", "entities": 3}\n',
        {},
        ':1: "entities" is not a list',
    ),
    "a span behind the end": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[0, 9, "PER"]]}\n',
        {},
        ":1: span 0 to 9 (PER) does not lie in a text of 3",
    ),
    "a span without a label": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[0, 3]]}\n',
        {},
        ":1: not a span: [0, 3]; want {",
    ),
    "an empty label": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[0, 3, " "]]}\n',
        {},
        ":1: span 0 to 3 has an empty label",
    ),
    "an empty span": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[1, 1, "PER"]]}\n',
        {},
        ":1: span 1 to 1 (PER) does not lie",
    ),
    "ends that are inclusive": (
        "a.jsonl",
        '{"text": "Ada B", "entities": [{"start": 0, "end": 2, "label": "P", "text": "Ada"}]}\n',
        {},
        "add 1, for ends are half-open",
    ),
    "another text": (
        "a.jsonl",
        '{"text": "Ada B", "entities": [{"start": 0, "end": 3, "label": "P", "text": "Bob"}]}\n',
        {},
        "its own text says 'Bob'; correct the offsets",
    ),
    "a number for a label": (
        "a.jsonl",
        '{"text": "Ada", "label": [[0, 3, 1]]}\n',
        {},
        ":1: 1 stands for a tag, and its name is not known; name the numbers",
    ),
    "tags without names": (
        "a.jsonl",
        '{"tokens": ["Ada"], "ner_tags": [1]}\n',
        {},
        ":1: 1 stands for a tag",
    ),
    "fewer tags than tokens": (
        "a.jsonl",
        '{"tokens": ["Ada", "B"], "ner_tags": ["O"]}\n',
        {},
        ':1: 2 tokens, but 1 tags in "ner_tags"',
    ),
    "a span of tokens behind the end": (
        "a.json",
        '[{"tokenized_text": ["Ada"], "ner": [[0, 1, "P"]]}]',
        {},
        ":1: span 0 to 1 (P) does not lie in a sentence of 1 tokens",
    ),
    "fewer tags in a row": (
        "a.csv",
        "text,labels\nAda ran home,B-PER O\n",
        {},
        ":2: 3 words in column 'text', 2 tags in 'labels'",
    ),
    "a comma too many": (
        "a.csv",
        "word,tag\nAda,B-PER\n1,000,O\n",
        {},
        ":3: 3 columns, but the header has 2; quote a cell",
    ),
    "no known column": (
        "a.csv",
        "a,b\nx,y\n",
        {},
        ':1: no columns of tokens and tags among a, b; say which with token = "NAME"',
    ),
    "an open element": (
        "a.xml",
        "<PER>Ada</PER> ran\n<PER>Bo ran\n",
        {},
        ":2: <PER> does not end on its line",
    ),
    "crossed elements": (
        "a.xml",
        "<A>Ada <B>Bo</A> x</B>\n",
        {},
        ":1: </A> at character 13, but <B> is open",
    ),
    "a note without tabs": (
        "a.ann",
        "T1 PER 0 3 Ada\n",
        {},
        "a.ann:1: not an entity: 'T1 PER 0 3 Ada'; want tabs",
    ),
    "a token that is not in the text": (
        "a.tsv",
        "#FORMAT=WebAnno TSV 3.3\n#T_SP=x.Name|value\n\n#Text=Ada\n1-1\t0-2\tBo\tPER\t\n",
        {},
        ":5: the token 'Bo' is not in #Text=",
    ),
    "another encoding": (
        "a.conll",
        "Zoë B-PER\nran O\n".encode("cp1252"),
        {},
        'Try encoding = "cp1252"',
    ),
    "no column of that name": (
        "a.conllu",
        "1\tAda" + "\t_" * 8 + "\n",
        {"field": "pos"},
        "unknown field 'pos': want upos",
    ),
    "a parquet file that is none": ("a.parquet", "Ada", {}, "not a readable parquet or arrow file"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_malformed_is_refused_in_one_line_with_place_and_cure(
    tmp_path: Path, name: str
) -> None:
    file, content, options, message = MALFORMED[name]
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / file).write_bytes(data)
    if file.endswith(".ann"):
        (tmp_path / "a.txt").write_text("Ada ran", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        spans_of(tmp_path / file, FormatConfig(**options))
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / file))
    assert "\n" not in str(caught.value)
    assert 1 <= len(caught.value.sample.strip().splitlines()) <= 3
    report = check_file(tmp_path / file, FormatConfig(**options))
    assert report.findings[0].kind is FindingKind.UNREADABLE


@pytest.mark.parametrize("form", sorted({*SAMPLES} - {"auto", "brat", "docred", "webanno"}))
def test_the_sample_of_a_format_is_guessed_as_that_format(tmp_path: Path, form: FormatName) -> None:
    sample = SAMPLES[form].partition("(on one line)")[0].partition("\nor ")[0]
    is_record = form in ("jsonl", "prodigy", "gliner")
    sample = sample.partition("\n(")[0].replace("\n", " ") if is_record else sample
    (tmp_path / "a").write_text(sample + "\n", encoding="utf-8")
    assert guess_file(tmp_path / "a").options.format == form
    assert [*spans_of(tmp_path / "a"), [("", "")]][0][0][1] == "PER"
