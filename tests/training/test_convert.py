"""What a format can say comes back equal from a file that Teddy has written."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from teddy.cli import run
from teddy.model.errors import DataError
from teddy.model.predictor import Predictor
from teddy.model.tags.spans import Span
from teddy.training.data.readers import Example, read_examples
from teddy.training.data.writers import write_examples
from teddy.training.recipe.corpus_config import FormatConfig, FormatName

LABELS = ["PER", "creative-work", "LOC"]
TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"),
    min_size=1,
    max_size=30,
).filter(lambda text: text.strip("\ufeff").strip())
WORDS = st.text(st.characters(categories=["L", "N", "So"]), min_size=1, max_size=5)
META = st.dictionaries(st.sampled_from(["id", "source", "n"]), st.integers() | WORDS, max_size=2)
quiet = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=60,
    deadline=None,
)


def example(
    text: str,
    spans: Sequence[Span],
    tokens: Sequence[tuple[int, int]] = (),
    meta: dict[str, Any] | None = None,
) -> Example:
    return Example(
        text=text,
        spans=tuple(spans),
        span_lines=(1,) * len(spans),
        path="here",
        line=1,
        is_sentence=bool(tokens),
        document=0,
        tokens=tuple(tokens),
        meta=meta or {},
    )


@st.composite
def any_spans(draw: st.DrawFn) -> Example:
    """A text with spans that may overlap, and what else a record says."""
    text = draw(TEXTS)
    places = st.integers(0, len(text))
    bounds = draw(st.lists(st.tuples(places, places), max_size=4))
    spans = [Span(a, b, draw(st.sampled_from(LABELS))) for a, b in bounds if a < b]
    return example(text, spans, meta=draw(META))


@st.composite
def nested_spans(draw: st.DrawFn, *, depth: int = 2) -> Example:
    """A text with spans of which each is apart from the others, inside of one or around it."""
    text = draw(TEXTS)
    spans: list[Span] = []

    def fill(start: int, end: int, left: int) -> None:
        while left and start < end and draw(st.booleans()):
            first = draw(st.integers(start, end - 1))
            last = draw(st.integers(first + 1, end))
            spans.append(Span(first, last, draw(st.sampled_from(LABELS))))
            fill(first, last, left - 1)
            start = last

    fill(0, len(text), depth)
    return example(text, sorted(set(spans)))


@st.composite
def sentences(draw: st.DrawFn) -> Example:
    """Tokens with a space between them, and disjoint spans of whole tokens."""
    words = draw(st.lists(WORDS, min_size=1, max_size=8))
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
    tokens = [(start, start + len(word)) for start, word in zip(starts, words, strict=True)]
    spans, at = [], draw(st.integers(0, 2))
    while at < len(words):
        last = draw(st.integers(at, len(words) - 1))
        spans.append(Span(tokens[at][0], tokens[last][1], draw(st.sampled_from(LABELS))))
        at = last + draw(st.integers(1, 3))
    return example(" ".join(words), spans, tokens)


def there_and_back(path: Path, examples: list[Example], form: FormatName) -> list[Example]:
    write_examples(path, examples, form)
    options = FormatConfig(format="datasets" if path.suffix == ".parquet" else form)
    options = options.model_copy(update={"misaligned": "drop", "offset_unit": "character"})
    return list(read_examples(path, options))


def said(examples: list[Example], *, tokens: bool = False) -> list[tuple[Any, ...]]:
    return [
        (each.text, sorted(each.spans), {**each.meta}, each.tokens if tokens else ())
        for each in examples
    ]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("jsonl", "a.jsonl"),
        ("jsonl", "a.parquet"),
        ("doccano", "a.jsonl"),
        ("prodigy", "a.jsonl"),
        ("label-studio", "a.json"),
    ],
)
@given(examples=st.lists(any_spans(), min_size=1, max_size=4))
@quiet
def test_texts_with_any_spans_and_what_else_a_record_says_come_back(
    tmp_path: Path, form: FormatName, name: str, examples: list[Example]
) -> None:
    assert said(there_and_back(tmp_path / name, examples, form)) == said(examples)


@given(examples=st.lists(any_spans(), min_size=1, max_size=4))
@quiet
def test_pairs_of_spacy_come_back_without_what_else_a_record_says(
    tmp_path: Path, examples: list[Example]
) -> None:
    bare = [example(each.text, each.spans) for each in examples]
    assert said(there_and_back(tmp_path / "a.json", examples, "spacy")) == said(bare)


@given(examples=st.lists(nested_spans(), min_size=1, max_size=4))
@quiet
def test_elements_come_back_where_spans_are_nested(tmp_path: Path, examples: list[Example]) -> None:
    assert said(there_and_back(tmp_path / "a.xml", examples, "xml")) == said(examples)


@given(examples=st.lists(nested_spans(depth=1), min_size=1, max_size=4))
@quiet
def test_links_come_back_on_one_line(tmp_path: Path, examples: list[Example]) -> None:
    lines = [each for each in examples if "\n" not in each.text] or [example("Ada", [])]
    assert said(there_and_back(tmp_path / "a.md", lines, "markdown")) == said(lines)


@given(data=st.data())
@quiet
def test_a_folder_of_brat_comes_back(tmp_path: Path, data: st.DataObject) -> None:
    examples = data.draw(st.lists(any_spans(), min_size=1, max_size=3))
    bare = [example(each.text, each.spans) for each in examples]
    folder = tmp_path / str(len([*tmp_path.iterdir()]))
    assert said(there_and_back(folder, bare, "brat")) == said(bare)


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("conll", "a.conll"),
        ("csv", "a.csv"),
        ("gliner", "a.json"),
        ("datasets", "a.jsonl"),
        ("datasets", "a.parquet"),
        ("prodigy", "a.jsonl"),
    ],
)
@given(examples=st.lists(sentences(), min_size=1, max_size=4))
@quiet
def test_sentences_of_tokens_come_back(
    tmp_path: Path, form: FormatName, name: str, examples: list[Example]
) -> None:
    found = there_and_back(tmp_path / name, examples, form)
    assert said(found, tokens=True) == said(examples, tokens=True)


@given(examples=st.lists(sentences(), min_size=1, max_size=3))
@quiet
def test_a_docbin_comes_back(tmp_path: Path, examples: list[Example]) -> None:
    pytest.importorskip("spacy")
    found = there_and_back(tmp_path / "a.spacy", examples, "spacy")
    assert said(found, tokens=True) == said(examples, tokens=True)


@pytest.mark.parametrize(
    ("form", "bad", "message"),
    [
        ("conll", example("Adams", [Span(0, 3, "PER")]), "not made of whole tokens; --misaligned"),
        (
            "csv",
            example("Ada B", [Span(0, 3, "A"), Span(0, 5, "B")]),
            "overlap; a sequence of tags",
        ),
        ("xml", example("Ada Bo C", [Span(0, 6, "A"), Span(4, 8, "B")]), "overlap; write jsonl"),
        ("markdown", example("Ada\nBo", []), "several lines, which markdown cannot say; write xml"),
        ("markdown", example("Ada", [Span(0, 3, "A(B")]), "'A(B' has brackets"),
        ("brat", example("Ada", [Span(0, 3, "A B")]), "'A B' has white space; brat allows none"),
    ],
)
def test_what_a_format_cannot_say_is_refused_with_its_place(
    tmp_path: Path, form: FormatName, bad: Example, message: str
) -> None:
    with pytest.raises(DataError, match=r"here:1: ") as caught:
        write_examples(tmp_path / "out", [bad], form)
    assert message in str(caught.value)
    assert not (tmp_path / "out").is_file()


def test_convert_goes_from_any_format_to_any_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "a.jsonl"
    text = "Ada ran home. Bo saw Oslo."
    record = {"id": 7, "text": text, "label": [[0, 3, "PER"], [20, 25, "LOC"]]}
    source.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert run(["convert", str(source), str(tmp_path / "b.conll")]) == 0
    said_on_the_way = capsys.readouterr().err
    assert "a.jsonl: doccano (records of id, text, label)" in said_on_the_way
    assert "b.conll: 2 texts, 2 spans" in said_on_the_way
    rows = (tmp_path / "b.conll").read_text(encoding="utf-8")
    assert "Ada\tB-PER\nran\tO\n" in rows
    assert "\n\nBo\tO\nsaw\tO\nOslo\tB-LOC\n" in rows
    assert run(["convert", str(source), str(tmp_path / "c.parquet")]) == 0
    back = tmp_path / "d.jsonl"
    assert run(["convert", str(tmp_path / "c.parquet"), str(back), "--to", "doccano"]) == 0
    assert json.loads(back.read_text(encoding="utf-8")) == record


def test_convert_drops_spans_only_when_it_may(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "a.jsonl", tmp_path / "b.conll"
    record = {"text": "Adams ran", "entities": [[0, 3, "PER"], [6, 9, "ACT"]]}
    source.write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert run(["convert", str(source), str(target)]) == 2
    assert "PER 'Ada' does not fall on word borders; give --misaligned" in capsys.readouterr().err
    assert not target.exists()
    assert run(["convert", str(source), str(target), "--misaligned", "drop"]) == 0
    assert "1 span dropped: " in capsys.readouterr().err
    assert run(["convert", str(source), str(target), "--misaligned", "expand"]) == 0
    assert target.read_text(encoding="utf-8") == "Adams\tB-PER\nran\tB-ACT\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.jsonl", "a.jsonl"], "is the input as well"),
        (["a.jsonl", "b.xyz"], "its ending is none of .jsonl"),
        (["none.jsonl", "b.conll"], "no such file"),
    ],
)
def test_convert_refuses_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_text('{"text": "Ada", "entities": []}\n', encoding="utf-8")
    assert run(["convert", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert message in line


def test_a_terminal_is_shown_three_lines_as_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "Ada"}\n', encoding="utf-8")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert run(["convert", str(tmp_path / "a.jsonl"), str(tmp_path / "b.conll")]) == 2
    said_on_the_way = capsys.readouterr().err
    assert "give an empty list\nIt should look like this:\n  {" in said_on_the_way
    assert '"entities": [{"start": 0, "end": 3, "label": "PER"}]}' in said_on_the_way


def test_convert_marks_what_a_model_finds(tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.jsonl"
    source.write_text("Teddy Roosevelt was here.\n\nIt rained.\n", encoding="utf-8")
    model = Path(__file__).parents[2] / "model" / "pretrained" / "en.teddy"
    arguments = ["convert", str(source), str(target), "--to", "prodigy", "--model", str(model)]
    assert run(arguments) == 0
    found = list(read_examples(target, FormatConfig()))
    assert [[each.text[s.start : s.end] for s in each.spans] for each in found] == [
        ["Teddy Roosevelt"],
        [],
    ]


@pytest.mark.parametrize(
    ("form", "name"),
    [
        ("jsonl", "a.jsonl"),
        ("doccano", "a.jsonl"),
        ("prodigy", "a.jsonl"),
        ("label-studio", "a.json"),
        ("spacy", "a.json"),
        ("gliner", "a.json"),
        ("datasets", "a.jsonl"),
        ("conll", "a.conll"),
        ("csv", "a.csv"),
        ("xml", "a.xml"),
        ("markdown", "a.md"),
        ("brat", "a"),
    ],
)
def test_tag_writes_what_it_finds_in_every_format(
    tmp_path: Path,
    shell: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tiny_predictor: Predictor,
    form: FormatName,
    name: str,
) -> None:
    texts = ["Anna Berg went to Port Ellen .", "Nobody was there .", "Who saw Mira in Lund today ?"]
    records = [{"note": n, "text": each} for n, each in enumerate([*texts, texts[0].split()])]
    source, target = tmp_path / "in.jsonl", tmp_path / name
    source.write_text("".join(json.dumps(each) + "\n" for each in records), encoding="utf-8")
    monkeypatch.setattr("teddy.model.predictor.load", lambda *_, **__: tiny_predictor)
    how = ["tag", "--input", source, "--output", target, "--to", form]
    assert shell(*how) == (0, "", "teddy: 4 lines, 6 entities, 0 not tagged\n")
    if form == "label-studio":  # in which they are no annotations yet
        tasks = json.loads(target.read_text(encoding="utf-8"))
        done = [{"data": each["data"], "annotations": each["predictions"]} for each in tasks]
        target.write_text(json.dumps(done), encoding="utf-8")
    found = list(read_examples(target, FormatConfig(format=form)))
    wanted = [*tiny_predictor.tag(texts), *tiny_predictor.tag(texts[:1])]
    assert [each.text for each in found] == [*texts, texts[0]]
    assert [[*each.spans] for each in found] == [
        [Span(each.start, each.end, each.label) for each in entities] for entities in wanted
    ]
    if form in ("jsonl", "doccano", "prodigy", "label-studio"):
        assert [each.meta for each in found] == [{"note": n} for n in range(4)]


def test_tag_writes_a_format_to_standard_output_and_tells_what_it_could_not_tag(
    tmp_path: Path,
    shell: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tiny_predictor: Predictor,
) -> None:
    monkeypatch.setattr("teddy.model.predictor.load", lambda *_, **__: tiny_predictor)
    (tmp_path / "a.txt").write_bytes(b"Mira met Jonas Falk .\n\xff\nNobody was there .\n")
    how = ["tag", "--input", tmp_path / "a.txt", "--labels", "PER"]
    code, output, told = shell(*how, "--to", "markdown")
    assert output == "[Mira](PER) met [Jonas Falk](PER) .\nNobody was there .\n"
    assert code == 1
    assert "first of those not tagged: line 2: not UTF-8" in told


def test_what_else_a_record_says_replaces_nothing_of_what_it_says(tmp_path: Path) -> None:
    odd = {"text": "Ada ran", "entities": [], "label": [[0, 3, "PER"]], "answer": "\ud83d"}
    (tmp_path / "a.jsonl").write_text(json.dumps(odd) + "\n", encoding="utf-8")
    assert run(["convert", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]) == 0
    written = json.loads((tmp_path / "b.jsonl").read_text(encoding="utf-8"))
    assert written["entities"] == [{"start": 0, "end": 3, "label": "PER"}]


def test_what_an_error_says_to_state_is_an_option(tmp_path: Path) -> None:
    """Of `teddy convert` and of `teddy check`."""
    numbers = '{"tokens": ["Ada", "ran"], "ner_tags": [1, 0]}\n'
    (tmp_path / "a.jsonl").write_text(numbers, encoding="utf-8")
    spans = {"from_name": "l", "type": "labels", "value": {"start": 0, "end": 3, "labels": ["PER"]}}
    both = [{"completed_by": 1, "result": []}, {"completed_by": 2, "result": [spans]}]
    task = [{"data": {"text": "Ada ran"}, "annotations": both}]
    (tmp_path / "b.json").write_text(json.dumps(task), encoding="utf-8")
    row = "1\tAda\t_\tX\t_\t_\t0\t_\t_\tNER=O|Other=B-PER\n\n"
    (tmp_path / "c.conllu").write_text(row, encoding="utf-8")
    for file, option, value in [
        ("a.jsonl", "--tag-names", "O,B-PER"),
        ("b.json", "--annotator", "2"),
        ("c.conllu", "--field", "misc:Other"),
    ]:
        path, out = str(tmp_path / file), tmp_path / f"{file}.out.jsonl"
        assert run(["convert", path, str(out), option, value]) == 0
        assert json.loads(out.read_text())["entities"][0]["label"] == "PER"
        assert run(["check", path, option, value]) == 0


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.conll").write_text("Ada B-PER\n", encoding="utf-8")
    assert run(["convert", str(tmp_path / "a.conll"), str(tmp_path / "no" / "b.jsonl")]) == 2
    assert f"{tmp_path / 'no'}: no such folder" in capsys.readouterr().err
