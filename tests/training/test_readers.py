import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, Span, write_tags
from teddy.training.data.readers import Example, read_examples
from teddy.training.data.readers.files import find_files
from teddy.training.data.readers.guess import guess_file
from teddy.training.recipe.corpus_config import FormatConfig

BIO_COLUMNS = FormatConfig(
    format="conll",
    separator="",
    token=0,
    tag=-1,
    scheme=Scheme.BIO,
    spans="tags",
    ragged=False,
    comment="",
)
"""Nothing is left to guess."""
ANNA = "Anna B-PER\nmet O\nNew B-LOC\nYork I-LOC\n. O\n"


def read(path: Path, text: str | bytes, options: FormatConfig | None = None) -> list[Example]:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(read_examples(path, options or BIO_COLUMNS))


def surfaces(example: Example) -> list[tuple[str, str]]:
    return [(example.text[span.start : span.end], span.label) for span in example.spans]


def test_columns_become_a_text_with_spans_in_characters(tmp_path: Path) -> None:
    [example] = read(tmp_path / "a.conll", ANNA)
    assert example.text == "Anna met New York ."
    assert example.spans == (Span(0, 4, "PER"), Span(9, 17, "LOC"))
    assert example.span_lines == (1, 3)
    assert (example.line, example.is_sentence) == (1, True)


@pytest.mark.parametrize(
    "separator", ["\n", "\n \t \n", "\r\n\r\n", "\n-DOCSTART- -X-\n\n", "\n\n\n# text = Anna O\n"]
)
def test_blank_lines_document_marks_and_metadata_separate_sentences(
    tmp_path: Path, separator: str
) -> None:
    examples = read(tmp_path / "a.conll", ANNA + separator + ANNA)
    assert [example.text for example in examples] == ["Anna met New York ."] * 2
    assert examples[1].document == 1


@pytest.mark.parametrize(
    ("options", "row"),
    [
        (FormatConfig(token=1, tag=2, separator="\t"), "7\tNew York\tB-LOC\t-"),
        (FormatConfig(token=-1, tag=0, separator="|"), "B-LOC|x|New York"),
        (FormatConfig(token_strip="^en:", separator="\t"), "en:New York\tB-LOC"),  # noqa: S106
        (FormatConfig(outside=("B-O",), separator="\t"), "New York\tB-LOC\n!\tB-O"),
    ],
)
def test_any_separator_and_any_column_can_be_chosen(
    tmp_path: Path, options: FormatConfig, row: str
) -> None:
    [example] = read(tmp_path / "a.conll", row + "\n", options)
    assert surfaces(example) == [("New York", "LOC")]


def test_a_hash_is_a_token_unless_it_begins_metadata_or_the_chosen_prefix(tmp_path: Path) -> None:
    text = "# sent_id = 3\n# O\n#Monday O\n## note\nAnna B-PER\n"
    [example] = read(tmp_path / "a.conll", text, FormatConfig(comment="## "))
    assert example.text == "# #Monday Anna"
    assert example.line == 2


def test_a_line_ends_at_line_feeds_only(tmp_path: Path) -> None:
    [example] = read(tmp_path / "a.conll", "a\u2028b O\nc\x85d\x0ce B-PER\n")
    assert surfaces(example) == [("c\x85d\x0ce", "PER")]
    assert example.span_lines == (2,)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".xz", lzma.compress), (".gz", gzip.compress), (".bz2", bz2.compress)]
)
def test_packed_files_read_as_plain_ones(
    tmp_path: Path, suffix: str, pack: Callable[[bytes], bytes]
) -> None:
    [example] = read(tmp_path / f"a.conll{suffix}", pack(ANNA.encode()))
    assert example.text == "Anna met New York ."
    with pytest.raises(DataError, match=f"a damaged {suffix} file"):
        read(tmp_path / f"b.conll{suffix}", pack(ANNA.encode() * 9)[:-9])


def test_a_byte_order_mark_is_not_part_of_the_first_word(tmp_path: Path) -> None:
    [example] = read(tmp_path / "a.conll", "\ufeff" + ANNA)
    assert example.text.startswith("Anna")


def test_other_encodings_are_read(tmp_path: Path) -> None:
    [example] = read(
        tmp_path / "a.conll", "Zoë B-PER\n".encode("cp1252"), FormatConfig(encoding="cp1252")
    )
    assert example.text == "Zoë"


@pytest.mark.parametrize(
    ("content", "options", "line", "reason"),
    [
        ("Anna B-PER\nmet\n", {}, 2, "1 column, but the first row of the file has 2"),
        ("Anna B-PER\nwith New York O\n", {}, 2, "4 columns, but the first row of the file has 2"),
        ("Anna B-PER\n# a note of mine\n", {}, 2, "set comment = '#' if this is a comment"),
        ("Anna B-PER\n", {"tag": 2}, 1, "no column 2: the row has 2 columns"),
        ("Anna B-PER\n", {"token": -3}, 1, "no column -3"),
        ("Anna O\nmet X-PER\n", {}, 2, "bad tag 'X-PER' for the scheme bio"),
        ("Anna O\n\nmet PER\n", {}, 3, "bad tag 'PER'"),
        ("Anna S-PER\n", {}, 1, "bad tag 'S-PER'"),
        ("Anna\tO\n\tO\n", {"separator": "\t"}, 2, "the token is empty"),
        ("Anna\tO\nmet\t\n", {"separator": "\t"}, 2, "the tag is empty"),
        ("", {}, None, "the file is empty"),
        (" \n\n", {}, None, "the file is empty"),
        ("-DOCSTART- O\n\n", {}, None, "the file has no sentence"),
        (b"Anna O\nm\xe9t O\n", {}, 2, "not utf-8 text: byte 0xe9"),
        (b"Anna O\n\x00\x01\x02\n", {}, 2, "a binary file"),
    ],
)
def test_a_broken_column_file_names_line_and_reason(
    tmp_path: Path, content: str | bytes, options: dict[str, object], line: int | None, reason: str
) -> None:
    path = tmp_path / "a.conll"
    with pytest.raises(DataError) as caught:
        read(path, content, BIO_COLUMNS.model_copy(update=options))
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert reason in caught.value.reason
    assert "\n" not in str(caught.value)


def test_rows_that_differ_and_tokens_that_are_empty_can_be_allowed(tmp_path: Path) -> None:
    options = FormatConfig(separator="\t", token=0, tag=1, ragged=True, skip_empty_tokens=True)
    [example] = read(tmp_path / "a.conll", "Anna\tB-PER\tsure\n \tO\nmet\tO\n", options)
    assert example.text == "Anna met"
    with pytest.raises(DataError, match=r"a\.conll:1: the token is empty"):
        read(tmp_path / "a.conll", "\tB-PER\n", options)


def test_each_token_can_be_a_span_to_learn_the_borders_of_words(tmp_path: Path) -> None:
    options = FormatConfig(join="", keep_apart=True, spans="tokens", separator="\t")
    [example] = read(tmp_path / "a.conll", "我们\n爱\nLady\nAda\n和\n12\n年\n", options)
    assert example.text == "我们爱Lady Ada和12年"
    assert [text for text, _ in surfaces(example)] == [
        "我们",
        "爱",
        "Lady",
        "Ada",
        "和",
        "12",
        "年",
    ]
    assert {label for _, label in surfaces(example)} == {"WORD"}


def test_a_missing_file_and_a_directory_are_data_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        list(read_examples(tmp_path / "none.conll", FormatConfig()))
    with pytest.raises(DataError, match="a folder without"):
        list(read_examples(tmp_path, FormatConfig()))


def test_globs_find_files_in_order_and_each_once(tmp_path: Path) -> None:
    for name in ("b.txt", "a.txt", "c.dat"):
        (tmp_path / name).touch()
    found = find_files(["c.dat", "*.txt", "a.*"], tmp_path)
    assert [path.name for path in found] == ["c.dat", "a.txt", "b.txt"]
    with pytest.raises(DataError, match=r"\*\.csv: no such file"):
        find_files(["*.csv"], tmp_path)


def test_what_comes_with_the_recipes_is_found_by_name_unless_the_data_have_their_own(
    tmp_path: Path,
) -> None:
    (shipped,) = find_files(["namesakes.jsonl"], tmp_path)
    assert shipped.parent.name == "recipes"
    (tmp_path / "namesakes.jsonl").touch()
    assert find_files(["namesakes.jsonl"], tmp_path) == [tmp_path / "namesakes.jsonl"]


@pytest.mark.parametrize("name", ["companies.jsonl", "namesakes.jsonl", "results.jsonl"])
def test_made_up_sentences_mark_whole_words_once(name: str, tmp_path: Path) -> None:
    (path,) = find_files([name], tmp_path)
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len({row["text"] for row in rows}) == len(rows)
    for row in rows:
        text, end = row["text"], 0
        for span in row["entities"]:
            found = text[span["start"] : span["end"]]
            assert span["label"] in {"PER", "ORG", "LOC", "MISC"}
            assert found == found.strip() != ""
            assert span["start"] >= end
            assert not text[: span["start"]][-1:].isalnum()
            end = span["end"]
            assert not text[end:][:1].isalnum()


@pytest.mark.parametrize(
    "line",
    [
        '{"text": "Anna met Bo", "entities": [{"start": 9, "end": 11, "label": "PER"}]}',
        '{"text": "Anna met Bo", "entities": [{"start": 9, "end": 11, "type": "PER"}], "id": 3}',
        '{"text": "Anna met Bo", '
        '"spans": [{"start": 9, "end": 11, "label": "PER", "token_start": 2}]}',
        '{"text": "Anna met Bo", "label": [[9, 11, "PER"]]}',
    ],
)
def test_the_documented_shapes_of_json_lines_are_read(tmp_path: Path, line: str) -> None:
    examples = read(tmp_path / "a.jsonl", f"\n{line}\n", FormatConfig(format="jsonl"))
    assert [(example.line, surfaces(example), example.is_sentence) for example in examples] == [
        (2, [("Bo", "PER")], False)
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", 'want an object with a "text"'),
        ('{"text": 3}', 'want an object with a "text"'),
        ('{"text": "Anna"}', 'no "entities"'),
        ('{"text": "Anna", "entities": {}}', '"entities" is not a list'),
        (
            '{"text": "Anna", "entities": [{"start": 0, "end": 5, "label": "PER"}]}',
            "does not lie in a text of 4",
        ),
        (
            '{"text": "Anna", "entities": [{"start": 2, "end": 2, "label": "PER"}]}',
            "does not lie in a text of 4",
        ),
        ('{"text": "Anna", "entities": [[-1, 2, "PER"]]}', "does not lie in a text of 4"),
        ('{"text": "Anna", "entities": [[0, 2, " "]]}', "empty label"),
        ('{"text": "Anna", "entities": [[0, 2]]}', "not a span: [0, 2]"),
        ('{"text": "A\\ud800", "entities": []}', "surrogate"),
    ],
)
def test_a_broken_json_line_names_line_and_reason(tmp_path: Path, line: str, reason: str) -> None:
    content = '{"text": "Anna", "entities": []}\n' + line
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.jsonl", content, FormatConfig(format="jsonl"))
    assert caught.value.line == 2
    assert reason in caught.value.reason


def conllu_row(number: str, form: str, upos: str = "_", misc: str = "_") -> str:
    return "\t".join([number, form, "_", upos, "_", "_", "_", "_", "_", misc]) + "\n"


def test_conllu_gives_the_text_as_written_with_one_span_a_word(tmp_path: Path) -> None:
    rows = [
        "# sent_id = 1\n",
        conllu_row("1", "Bo", "PROPN"),
        conllu_row("2-3", "can't", misc="SpaceAfter=No"),
        conllu_row("2", "ca", "AUX"),
        conllu_row("3", "n't", "PART"),
        conllu_row("3.1", "ghost", "VERB"),
        conllu_row("4", ",", "PUNCT"),
        conllu_row("5", "# no", "X"),
    ]
    [example] = read(tmp_path / "a.conllu", "".join(rows), FormatConfig(format="conllu"))
    assert example.text == "Bo can't, # no"
    expected = [("Bo", "PROPN"), ("ca", "AUX"), ("n't", "PART"), (",", "PUNCT"), ("# no", "X")]
    assert surfaces(example) == expected
    assert example.span_lines == (2, 4, 5, 7, 8)


def test_words_that_do_not_spell_their_token_have_the_span_of_the_token(tmp_path: Path) -> None:
    rows = [conllu_row("1-2", "au"), conllu_row("1", "à", "ADP"), conllu_row("2", "le", "DET")]
    [example] = read(tmp_path / "a.conllu", "".join(rows), FormatConfig(format="conllu"))
    assert example.spans == (Span(0, 2, "ADP"), Span(0, 2, "DET"))


def test_a_key_of_misc_can_label_words(tmp_path: Path) -> None:
    rows = [conllu_row("1", "Bo", misc="Role=Agent|SpaceAfter=No"), conllu_row("2", "!", misc="_")]
    [example] = read(
        tmp_path / "a.conllu", "".join(rows), FormatConfig(format="conllu", field="misc:Role")
    )
    assert (example.text, surfaces(example)) == ("Bo!", [("Bo", "Agent")])


@pytest.mark.parametrize(
    ("row", "field", "reason"),
    [
        ("1\tBo\tPROPN\n", "upos", "3 columns, but CoNLL-U has 10"),
        (conllu_row("x", "Bo"), "upos", "bad word id 'x'"),
        (conllu_row("1-", "Bo"), "upos", "bad word id '1-'"),
        (conllu_row("1", " "), "upos", "the form is empty"),
        (conllu_row("1", "Bo"), "pos", "unknown field 'pos'"),
        (conllu_row("1", "Bo"), "misc", "unknown field 'misc'"),
    ],
)
def test_a_broken_conllu_file_is_refused(tmp_path: Path, row: str, field: str, reason: str) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.conllu", row, FormatConfig(format="conllu", field=field))
    assert reason in caught.value.reason


CSV = FormatConfig(format="csv", sentence="Sentence", token="Word", tag="Tag")  # noqa: S106
CSV = CSV.model_copy(update={"encoding": "cp1252", "separator": ","})


def test_a_csv_table_starts_a_sentence_where_its_column_is_filled(tmp_path: Path) -> None:
    table = 'Sentence,Word,POS,Tag\n1,"Zoë, Jr.",N,B-per\n,"""",Q,O\n1,sat,V,O\n2,Bo,N,B-per\n'
    examples = read(tmp_path / "a.csv", table.encode("cp1252"), CSV)
    assert [example.text for example in examples] == ['Zoë, Jr. " sat', "Bo"]
    assert surfaces(examples[0]) == [("Zoë, Jr.", "per")]
    assert [example.line for example in examples] == [2, 5]


@pytest.mark.parametrize(
    ("table", "line", "reason"),
    [
        ("Sentence,Form\n1,Bo\n", 1, "no columns of tokens and tags among Sentence, Form"),
        ("Sentence,Word,Tag\n1,Bo\n", 2, "2 columns, but the header has 3"),
        ('Sentence,Word,Tag\n1,"Bo,O\n', 2, "not valid CSV"),
        ("Sentence,Word,Tag\n1,Bo,B-\n", 2, "bad tag 'B-'"),
        ("Sentence,Word,Tag\n", None, "the file has no sentence"),
    ],
)
def test_a_broken_csv_table_names_line_and_reason(
    tmp_path: Path, table: str, line: int | None, reason: str
) -> None:
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a.csv", table, CSV)
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_documents_with_mentions_become_sentences_with_spans(tmp_path: Path) -> None:
    mentions = [
        [{"sent_id": 1, "pos": [0, 2], "type": "PER"}, {"sent_id": 0, "pos": [2, 3], "type": "PER"}]
    ]
    document = {"sents": [["I", "met", "Ada"], ["Lady", "Ada", "left"]], "vertexSet": mentions}
    examples = read(
        tmp_path / "a.json", json.dumps([document, document]), FormatConfig(format="docred")
    )
    assert [surfaces(example) for example in examples] == [
        [("Ada", "PER")],
        [("Lady Ada", "PER")],
    ] * 2
    assert [example.document for example in examples] == [0, 0, 1, 1]


@pytest.mark.parametrize(
    "document",
    [
        {},
        3,
        {"sents": [["a"]], "vertexSet": [[{"sent_id": 0, "pos": [0, 2], "type": "PER"}]]},
        {"sents": [["a"]], "vertexSet": [[{"sent_id": 7, "pos": [0, 1], "type": "PER"}]]},
        {"sents": [["a"]], "vertexSet": [[{"sent_id": 0, "pos": [0], "type": "PER"}]]},
        {"sents": [[3]], "vertexSet": []},
    ],
)
def test_a_document_of_another_shape_is_named(tmp_path: Path, document: object) -> None:
    good = {"sents": [["a"]], "vertexSet": []}
    with pytest.raises(DataError, match=r"document 1 \(from 0\)"):
        read(tmp_path / "a.json", json.dumps([good, document]), FormatConfig(format="docred"))


TOKENS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=5
).filter(lambda token: not token.startswith(("#", "-", "\ufeff")) and token == token.strip())
LABELS = st.sampled_from(["PER", "creative-work", "語"])


@st.composite
def tagged_sentences(draw: st.DrawFn) -> tuple[list[str], list[Span]]:
    """Tokens, and disjoint spans of them no two of which touch (which IO could not write)."""
    tokens = draw(st.lists(TOKENS, min_size=1, max_size=8))
    spans = []
    start = draw(st.integers(0, 2))
    while start < len(tokens):
        end = draw(st.integers(start + 1, len(tokens)))
        spans.append(Span(start, end, draw(LABELS)))
        start = end + draw(st.integers(1, 3))
    return tokens, spans


@given(
    st.lists(tagged_sentences(), min_size=1, max_size=4),
    st.sampled_from(Scheme),
    st.sampled_from([" ", "\t"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_columns_written_in_any_scheme_read_back_as_the_same_spans(
    tmp_path: Path, sentences: list[tuple[list[str], list[Span]]], scheme: Scheme, separator: str
) -> None:
    blocks = []
    for tokens, spans in sentences:
        tags = write_tags(spans, len(tokens), scheme)
        blocks.append(
            "".join(f"{token}{separator}{tag}\n" for token, tag in zip(tokens, tags, strict=True))
        )
    examples = read(
        tmp_path / "a.conll", "\n".join(blocks), FormatConfig(scheme=scheme, separator=separator)
    )
    assert [example.text for example in examples] == [" ".join(tokens) for tokens, _ in sentences]
    for example, (tokens, spans) in zip(examples, sentences, strict=True):
        expected = [(" ".join(tokens[span.start : span.end]), span.label) for span in spans]
        assert surfaces(example) == expected


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4),
    st.data(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_json_lines_of_any_text_read_back_equal(
    tmp_path: Path, texts: list[str], data: st.DataObject
) -> None:
    lines, expected = [], []
    for text in texts:
        bounds = data.draw(
            st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=3)
        )
        spans = [Span(start, end, "PER") for start, end in bounds if start < end]
        entities = [{"start": span.start, "end": span.end, "label": span.label} for span in spans]
        lines.append(
            json.dumps({"text": text, "entities": entities}, ensure_ascii=data.draw(st.booleans()))
        )
        expected.append((text, tuple(spans)))
    options = FormatConfig(format="jsonl", offset_unit="character")
    examples = read(tmp_path / "a.jsonl", "\n".join(lines), options)
    assert [(example.text, example.spans) for example in examples] == expected


@pytest.mark.parametrize("scheme", [Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES])
@pytest.mark.parametrize(
    ("prefix", "suffix", "separator"), [("", "", " "), ("", " x", " "), ("3\t", "\t-", "\t")]
)
def test_the_format_of_columns_is_guessed_from_their_rows(
    tmp_path: Path, scheme: Scheme, prefix: str, suffix: str, separator: str
) -> None:
    spans = [Span(0, 3, "PER"), Span(3, 4, "PER"), Span(5, 7, "LOC")]
    tags = write_tags(spans, 8, scheme)
    rows = [f"{prefix}w{n}{separator}{tag}{suffix}\n" for n, tag in enumerate(tags)]
    path = tmp_path / "a.txt"
    path.write_text("-DOCSTART- O\n\n# text = w0 w1\n" + "".join(rows), encoding="utf-8")
    [example] = read_examples(path, guess_file(path).options)
    assert surfaces(example) == [("w0 w1 w2", "PER"), ("w3", "PER"), ("w5 w6", "LOC")]


def test_other_formats_are_guessed_from_the_name_or_the_shape(tmp_path: Path) -> None:
    table = tmp_path / "a.csv.gz"
    table.write_bytes(gzip.compress(b"Sentence #,Word,POS,Tag\n1,Bo,N,B-PER\n,left,V,O\n"))
    [example] = read_examples(table, guess_file(table).options)
    assert (example.text, surfaces(example)) == ("Bo left", [("Bo", "PER")])
    tree = tmp_path / "a.txt"
    tree.write_text("# text = Bo\n" + conllu_row("1", "Bo", "PROPN"), encoding="utf-8")
    assert guess_file(tree).options.format == "conllu"
    (tmp_path / "a.json").write_text('[{"sents": [["a"]], "vertexSet": []}]', encoding="utf-8")
    assert guess_file(tmp_path / "a.json").options.format == "docred"
