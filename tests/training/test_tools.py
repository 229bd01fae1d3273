"""What more tools write is read with exactly its spans, or refused with the tool's name and a cure.

As in test_odd_exports.py, a table each. The records follow what is known of the tools; no tool has
written them.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from teddy.model.errors import DataError
from teddy.training.data.readers import read_examples
from teddy.training.data.readers.guess import guess_file
from teddy.training.recipe.corpus_config import FormatConfig

Spans = list[list[tuple[str, str]]]
ADA: Spans = [[("Ada", "PER")]]
NORA: Spans = [[("Nora Finch", "PER")]]
CUPT = "# global.columns = ID FORM LEMMA UPOS XPOS FEATS HEAD DEPREL DEPS MISC PARSEME:MWE\n"


def cupt(*rows: tuple[str, str]) -> str:
    lines = (
        f"{at}\t{form}\t_\tX\t_\t_\t0\t_\t_\t_\t{mwe}" for at, (form, mwe) in enumerate(rows, 1)
    )
    return CUPT + "\n".join(lines) + "\n"


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def argilla(text: str, annotation: Any, status: str = "Validated") -> dict[str, Any]:
    prediction = [["ORG", 0, 2, 0.9]]
    tokens = {"text": text, "tokens": text.split(), "prediction": prediction}
    return tokens | {"annotation": annotation, "annotation_agent": "me", "status": status}


def kili(text: str, name: str, kind: str = "DEFAULT") -> dict[str, Any]:
    found = {"beginOffset": 0, "content": text.split()[0], "categories": [{"name": name}]}
    answer = {"NAMED_ENTITIES_RECOGNITION_JOB": {"annotations": [found]}}
    return {"author": {"email": "a@b.example"}, "jsonResponse": answer, "labelType": kind}


def labelbox(text: str, end: int) -> dict[str, Any]:
    place = {"start": 0, "end": end, "token": text.split()[0]}
    found = {"objects": [{"name": "PER", "location": place}], "classifications": []}
    projects = {"p": {"labels": [{"label_details": {"created_by": "a"}, "annotations": found}]}}
    return {"data_row": {"id": "1", "row_data": text}, "projects": projects}


def light(tag: str, end: int, who: str, correct: bool | None = None) -> dict[str, Any]:
    by = [{"annotator": who, "annotator_id": 1}]
    return {"start": 0, "end": end, "tag": tag, "annotated_by": by, "correct": correct}


def ground_truth(text: str, *entities: tuple[int, int, str]) -> dict[str, Any]:
    found = [{"startOffset": a, "endOffset": b, "label": label} for a, b, label in entities]
    about = {"type": "groundtruth/text-span", "human-annotated": "yes"}
    return {"source": text, "job": {"annotations": {"entities": found}}, "job-metadata": about}


ONTO = """#begin document (bc/x/00/x_0000); part 000
bc/x/00/x_0000   0   0   Nora   NNP  (TOP(S(NP*   -   -   -   Sp#1  (PERSON*  (ARG0*  (1
bc/x/00/x_0000   0   1   Finch  NNP  *)           -   -   -   Sp#1  *)        *)      1)
bc/x/00/x_0000   0   2   ran    VBD  (VP*))      run  01  1   Sp#1  *         (V*)    -

bc/x/00/x_0000   0   0   It     PRP  (TOP(S(NP*)  -   -   -   Sp#1  *   -
bc/x/00/x_0000   0   1   fell   VBD  (VP*)))     fall  01  1  Sp#1  *   -

#end document
"""

READ: dict[str, tuple[str, str, Spans]] = {
    "PARSEME: the words of a phrase have its number": (
        "a.cupt",
        cupt(("He", "*"), ("gave", "1:VPC.full"), ("up", "1"), ("and", "*"))
        + "\n"
        + cupt(("took", "1:LVC"), ("a", "*"), ("walk", "1;2:VID"), ("up", "2"))
        + "\n"
        + cupt(("It", "*"), ("fell", "*")),
        [[("gave up", "VPC.full")], [("took a walk", "?"), ("walk up", "VID")], []],
    ),
    "Argilla 1: what a person has marked": (
        "a.jsonl",
        lines(
            argilla("Ada ran", [["PER", 0, 3]]),
            argilla("It ran", None, "Default"),
            argilla("No one", []),
            argilla("Bo ran", [["PER", 0, 2]], "Discarded"),
            argilla("Ada fell", [{"label": "PER", "start": 0, "end": 3, "score": None}]),
        ),
        [*ADA, [], *ADA],
    ),
    "Rasa's JSON": (
        "a.json",
        json.dumps(
            {
                "rasa_nlu_data": {
                    "common_examples": [
                        {
                            "text": "to Oslo",
                            "intent": "go",
                            "entities": [{"start": 3, "end": 7, "value": "o", "entity": "city"}],
                        },
                        {"text": "hi", "intent": "greet"},
                    ],
                    "entity_synonyms": [{"value": "x", "synonyms": ["y"]}],
                }
            }
        ),
        [[("Oslo", "city")], []],
    ),
    "Rasa's sections": (
        "nlu.md",
        "## intent:go\n- to [Oslo](city) and [NYC](city:New York)\n"
        '- by [rail]{"entity": "means", "role": "by"}\n- hello\n\n## lookup:city\n- Rome\n',
        [[("Oslo", "city"), ("NYC", "city")], [("rail", "means")], []],
    ),
    "OpenNLP": (
        "en.train",
        "<START:PER> Nora Finch <END> , 61 , ran .\nIt rained .\n\n<START> Ada <END> ran .\n",
        [*NORA, [], [("Ada", "default")]],
    ),
    "words with a slash and a tag": (
        "a.txt",
        "Nora/B-PER Finch/I-PER ran/O 1/2/O ./O\nIt/O rained/O ./O\n",
        [*NORA, []],
    ),
    "words with a slash and a label": (
        "a.txt",
        "Nora/PER Finch/PER ran/O home/O ./O\nIt/O fell/O\n",
        [*NORA, []],
    ),
    "words with an underscore and a tag": (
        "a.txt",
        "Nora_B-PER Finch_I-PER ran_O\nIt_O fell_O all_O day_O\n",
        [*NORA, []],
    ),
    "words with a bar and a tag": (
        "a.iob",
        "Nora|B-PER Finch|I-PER ran|O\nIt|O fell|O all|O day|O\n",
        [*NORA, []],
    ),
    "words with a part of speech and a tag": (
        "wikiner",
        "Nora|NNP|I-PER Finch|NNP|I-PER ran|VBD|O .|.|O\n\nIt|PRP|O fell|VBD|O\n",
        [*NORA, []],
    ),
    "a word on each line, with a bar": ("a.txt", "Ada|B-PER\nran|O\n\nIt|O\n", [*ADA, []]),
    "the tag before the word": ("a.conll", "B-PER Ada\nO ran\n\nO It\n", [*ADA, []]),
    "the label before the word": ("a.bio", "PER\tAda\nO\tran\nO\tto\n\nO\tit\n", [*ADA, []]),
    "Excel's first line": ("a.csv", "sep=;\nword;tag\nAda;B-PER\nran;O\n", ADA),
    "Excel's first line, quoted": ("a.csv", '"sep=,"\r\nword,tag\r\nAda,B-PER\r\n', ADA),
    "columns of an old Mac": ("a.conll", "Ada B-PER\rran O\r\rIt O\r", [*ADA, []]),
    "a table of an old Mac": ("a.csv", "word,tag\rAda,B-PER\rran,O\r", ADA),
    "JSON lines of an old Mac": (
        "a.jsonl",
        '{"text": "Ada", "entities": [[0, 3, "PER"]]}\r{"text": "It", "entities": []}\r',
        [*ADA, []],
    ),
    "CR within the lines of others": ("a.md", "[Ada](PER)\rran\nIt\n", [*ADA, []]),
    "OntoNotes in the columns of CoNLL-2012": (
        "a.v4_gold_conll",
        ONTO,
        [[("Nora Finch", "PERSON")], []],
    ),
    "DataTurks, whose ends are the last character": (
        "a.json",
        lines(
            {
                "content": "Nora Finch ran",
                "annotation": [
                    {"label": ["PER"], "points": [{"start": 0, "end": 9, "text": "Nora Finch"}]}
                ],
                "extras": None,
            },
            {"content": "It ran", "annotation": None, "extras": None},
        ),
        NORA,
    ),
    "Watson": (
        "a.json",
        json.dumps(
            {
                "intents": [
                    {
                        "intent": "go",
                        "examples": [
                            {"text": "to Oslo", "mentions": [{"entity": "c", "location": [3, 7]}]},
                            {"text": "hi"},
                        ],
                    }
                ],
                "entities": [],
            }
        ),
        [[("Oslo", "c")], []],
    ),
    "LUIS, whose ends are the last character": (
        "a.json",
        json.dumps(
            {
                "luis_schema_version": "3.2.0",
                "intents": [{"name": "go"}],
                "utterances": [
                    {"text": "to Oslo", "entities": [{"entity": "c", "startPos": 3, "endPos": 6}]},
                    {"text": "hi", "entities": []},
                ],
            }
        ),
        [[("Oslo", "c")], []],
    ),
    "Snips": (
        "a.json",
        json.dumps(
            {
                "intents": {
                    "go": {
                        "utterances": [
                            {
                                "data": [
                                    {"text": "to "},
                                    {"text": "Oslo", "entity": "c", "slot_name": "to"},
                                    {"text": " now"},
                                ]
                            }
                        ]
                    }
                },
                "entities": {"c": {"data": []}},
            }
        ),
        [[("Oslo", "c")]],
    ),
    "Dialogflow": (
        "a.json",
        json.dumps(
            [{"data": [{"text": "to "}, {"text": "Oslo", "alias": "x", "meta": "@sys.city"}]}]
        ),
        [[("Oslo", "sys.city")]],
    ),
    "Vertex AI, whose numbers may be texts and leave 0 out": (
        "a.jsonl",
        lines(
            {
                "textContent": "Ada ran",
                "textSegmentAnnotations": [{"endOffset": "3", "displayName": "PER"}],
            },
            {"textContent": "It ran", "textSegmentAnnotations": []},
        ),
        [*ADA, []],
    ),
    "AutoML": (
        "a.jsonl",
        lines(
            {
                "text_snippet": {"content": "Ada ran"},
                "annotations": [
                    {
                        "display_name": "PER",
                        "text_extraction": {"text_segment": {"start_offset": 0, "end_offset": 3}},
                    }
                ],
            }
        ),
        ADA,
    ),
    "Ground Truth": (
        "output.manifest",
        lines(ground_truth("Ada ran", (0, 3, "PER")), ground_truth("It ran")),
        [*ADA, []],
    ),
    "UBIAI": (
        "a.json",
        json.dumps(
            [
                {
                    "documentName": "a",
                    "document": "Ada ran",
                    "tokens": [{"text": "Ada", "start": 0, "end": 3, "entityLabel": "PER"}],
                },
                {"documentName": "b", "document": "It ran", "tokens": []},
            ]
        ),
        [*ADA, []],
    ),
    "Kili: the labels of people": (
        "a.json",
        json.dumps(
            [
                {
                    "content": "Ada ran",
                    "externalId": "1",
                    "labels": [kili("Ada", "ORG", "PREDICTION"), kili("Ada", "PER")],
                },
                {"content": "Bo ran", "externalId": "2", "latestLabel": kili("Bo", "PER")},
                {"content": "It ran", "externalId": "3", "labels": []},
            ]
        ),
        [*ADA, [("Bo", "PER")]],
    ),
    "Labelbox, whose ends are the last character": (
        "a.ndjson",
        lines(labelbox("Ada ran", 2)),
        ADA,
    ),
    "LightTag: without what a reviewer rejected": (
        "a.json",
        json.dumps(
            {
                "examples": [
                    {
                        "example_id": "1",
                        "content": "Ada ran",
                        "annotations": [light("PER", 3, "a", True), light("ORG", 3, "b", False)],
                        "seen_by": [{"annotator": "a"}, {"annotator": "b"}],
                    },
                    {"example_id": "2", "content": "It", "annotations": []},
                    {"example_id": "3", "content": "No", "annotations": [], "seen_by": []},
                ]
            }
        ),
        [*ADA, []],
    ),
    "GATE's JSON": (
        "a.json",
        json.dumps({"text": "Ada ran", "entities": {"PER": [{"indices": [0, 3], "rule": "x"}]}}),
        ADA,
    ),
    "BioC, with the offsets of its document": (
        "a.json",
        json.dumps(
            {
                "documents": [
                    {
                        "passages": [
                            {"offset": 0, "text": "Rain", "infons": {}},
                            {
                                "offset": 5,
                                "text": "Ada ran",
                                "annotations": [
                                    {
                                        "infons": {"type": "PER"},
                                        "text": "Ada",
                                        "locations": [{"offset": 5, "length": 3}],
                                    }
                                ],
                            },
                        ]
                    }
                ]
            }
        ),
        [[], *ADA],
    ),
    "a source that is no job's": (
        "a.jsonl",
        '{"tokens": ["Ada", "ran"], "ner_tags": ["B-PER", "O"], "source": "x", "document": 7}\n',
        ADA,
    ),
    "MASSIVE": (
        "a.jsonl",
        lines({"utt": "to oslo at nine am", "annot_utt": "to [city : oslo] at [time : nine am]"}),
        [[("oslo", "city"), ("nine am", "time")]],
    ),
    "TEI": ("a.xml", '<TEI><p><PER ref="#a">Ada</PER> ran</p></TEI>\n', ADA),
}

REFUSED: dict[str, tuple[str, str, str]] = {
    "PARSEME without annotations": ("a.cupt", cupt(("He", "_")), ":2: not of PARSEME: '_'; want *"),
    "Rasa in YAML": (
        "a.yml",
        "nlu:\n- intent: x\n",
        "YAML, as of Rasa and Snips, which is not read",
    ),
    "no entity of Rasa": (
        "a.md",
        '## intent:go\n- to [Oslo](c)\n- to [Rome]{"role": "x"}\n',
        ":3: not an entity of Rasa",
    ),
    "OpenNLP without an end": (
        "a.train",
        "<START:PER> Ada <END> ran .\n<START:PER> Bo ran .\n",
        ":2: <START:PER> does not end on its line",
    ),
    "a word without a tag": (
        "a.txt",
        "Ada/B-PER ran/O far/O\n" * 20_000 + "Bo ran/O\n",
        ":20001: 'Bo' has no tag; want a word, '/' and its tag",
    ),
    "Argilla's classes of texts": ("a.jsonl", lines(argilla("Ada", "news")), ":1: not a span"),
    "LightTag's annotators who differ": (
        "a.json",
        lines(
            {
                "example_id": "1",
                "content": "Ada ran",
                "annotations": [light("PER", 3, "a")],
                "seen_by": [{"annotator": "a"}, {"annotator": "b"}],
            }
        ),
        ':1: annotators a, b differ; say whose to read with annotator = "a"',
    ),
    "two jobs of Ground Truth": (
        "a.manifest",
        lines(ground_truth("Ada") | {"b": {}, "b-metadata": {}}),
        ":1: not a record of ground_truth: ValueError: want labels of one job, not of job, b",
    ),
    "Labelbox whose own text is another": (
        "a.ndjson",
        lines(labelbox("Ada ran", 5)),
        ":1: span 0 to 6 is 'Ada ra' in the text",
    ),
    "tagtog": ("a.json", '{"annotatable": {}, "entities": []}', ":1: an export of tagtog"),
    "UIMA's JSON": ("a.json", '{"%FEATURE_STRUCTURES": []}', "export it from INCEpTION as WebAnno"),
    "UIMA's XMI": (
        "a.xmi",
        '<xmi:XMI xmi:version="2.0"><ner:NamedEntity begin="0"/></xmi:XMI>\n',
        ":1: <xmi:XMI> of a document of UIMA, which is not read",
    ),
    "Azure": ("a.json", '{"projectFileVersion": "1", "assets": {}}', ":1: an export of Azure's"),
    "Datasaur": ("a.json", '{"labelSets": [], "sentences": [{}]}', ":1: an export of Datasaur's"),
    "GATE's XML": (
        "a.xml",
        '<GateDocument version="3">\n<TextWithNodes>Ada</TextWithNodes>\n</GateDocument>\n',
        ":1: <GateDocument> of a document of GATE, which is not read: export it as GATE's JSON",
    ),
    "BioC's XML": (
        "a.xml",
        "<collection><passage><offset>0</offset><text>Ada</text></passage></collection>\n",
        ":1: <passage> of a document of BioC, which is not read: BioC's JSON is read",
    ),
    "PubTator": ("a.txt", "12|t|Ada\n12|a|Ran\n12\t0\t3\tAda\tPER\n", ":1: a file of PubTator, w"),
    "i2b2": ("a.con", 'c="ada" 1:0 1:0||t="person"\n', ":1: a file of i2b2, which is not read"),
    "YEDDA": (
        "a.anns",
        "[@Ada#PER*] ran to [@Oslo#LOC*] .\n",
        ":1: a file of YEDDA, which is not read: write [Ada](PER) for [@Ada#PER*]",
    ),
    "NLTK's trees": ("a.txt", "(S\n  (PER Ada/NNP)\n  ran/VBD)\n", "nltk.tree2conlltags"),
    "NLTK's trees on a line": ("a.txt", "(S (PER Ada/NNP) ran/VBD)\n", "nltk.tree2conlltags"),
    "Amazon Comprehend": (
        "a.csv",
        "File,Line,Begin Offset,End Offset,Type\na.txt,0,0,3,PER\n",
        ":1: a file of Amazon Comprehend, which is not read: its texts are in other files",
    ),
    "parts of speech": (
        "a.txt",
        "Ada/NNP ran/VBD home/NN ./.\nIt/PRP fell/VBD ./.\n",
        ":1: a file of words with their parts of speech, which is not read: want tags of entities",
    ),
    "FoLiA": ("a.xml", "<FoLiA><w><t>Ada</t></w></FoLiA>\n", ":1: <FoLiA> of a document of FoLiA"),
}


def write(path: Path, content: str) -> Path:
    path.write_bytes(content.encode())
    return path


def spans_of(path: Path) -> Spans:
    return [
        [(each.text[span.start : span.end], span.label) for span in each.spans]
        for each in read_examples(path, FormatConfig())
    ]


@pytest.mark.parametrize("name", READ)
def test_an_export_of_a_tool_is_read_with_its_spans(tmp_path: Path, name: str) -> None:
    file, content, spans = READ[name]
    assert spans_of(write(tmp_path / file, content)) == spans


@pytest.mark.parametrize("name", REFUSED)
def test_an_export_that_is_not_read_is_refused_by_its_name(tmp_path: Path, name: str) -> None:
    file, content, message = REFUSED[name]
    with pytest.raises(DataError) as caught:
        spans_of(write(tmp_path / file, content))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_one_answer_cannot_say_is_told(tmp_path: Path) -> None:
    record = {"text": "Ada met Bo", "spans": [{"start": 0, "end": 3, "label": "PER"}]}
    taught = record | {"answer": "accept", "_view_id": "ner", "_is_binary": True}
    path = write(tmp_path / "a.jsonl", lines(taught, record | {"answer": "accept"}))
    assert "1 of 2 records answer for one suggestion" in str(guess_file(path))


def test_phrases_in_several_parts_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.cupt", cupt(("took", "1:LVC"), ("a", "*"), ("walk", "1")))
    assert "1 entity in several parts: their words are unknown" in str(guess_file(path))
