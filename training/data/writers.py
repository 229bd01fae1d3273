"""Writers: one for each format that `teddy convert` writes, from what all readers yield.

What a format cannot say is an error, never left out without a word: a span that is not made of
whole tokens in columns, or two that overlap; a text of several lines where a line is a text.
"""

import csv
import html
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.system.files import atomic_path
from teddy.model.tags.spans import Scheme, Span, write_tags
from teddy.model.text.words import Tokeniser
from teddy.training.data.readers.binary import write_docbin, write_parquet
from teddy.training.data.readers.markup import STRUCTURE
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import FormatName

_BY_SUFFIX: dict[str, FormatName] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".conll": "conll",
    ".iob": "conll",
    ".bio": "conll",
    ".tsv": "conll",
    ".csv": "csv",
    ".xml": "xml",
    ".md": "markdown",
    ".spacy": "spacy",
    ".parquet": "jsonl",
}
OF_TOKENS = ("conll", "csv", "gliner", "datasets")
"""Formats of sentences of tokens, into which documents are divided."""
_SURROGATES = "backslashreplace"
"""How half of a pair is written, which only what else a JSON record has may hold: as JSON does."""
_NAME = re.compile(r"[^\W\d][\w.-]*")


def format_to_write(path: Path, stated: str | None) -> FormatName:
    """Return the format of a file to write: the stated one, or by the ending of its name.

    Raises DataError, naming the formats that can be written.
    """
    form = stated or _BY_SUFFIX.get(path.suffix.lower())
    known = ", ".join([*_TEXTS, "brat"])
    if form is None:
        endings = ", ".join(_BY_SUFFIX)
        reason = f"its ending is none of {endings}; say the format with --to: {known}"
        raise DataError(path, None, reason)
    if form not in _TEXTS and form != "brat":
        raise DataError(path, None, f"{form} is read but not written; --to one of {known}")
    return form  # type: ignore[return-value] # it is among those of the table


def write_examples(
    path: Path, examples: Iterable[Example], form: FormatName, *, predicted: bool = False
) -> None:
    """Write examples in a format, as a stream; the file is there when it is whole.

    The path - is standard output. Spans that a model has `predicted` are marked as such where the
    format can say so, which is in Label Studio.

    Raises DataError for what the format cannot say, with the place of the example in its own file.
    """
    if form == "brat":
        _write_brat(path, examples)
        return
    lines = _PREDICTED.get(form, _TEXTS[form]) if predicted else _TEXTS[form]
    if path == Path("-"):
        with open(1, "w", 1, "utf-8", errors=_SURROGATES, newline="", closefd=False) as file:
            file.writelines(lines(examples))
        return
    with atomic_path(path) as part:
        if path.suffix == ".spacy":
            write_docbin(part, examples, _token_spans)
        elif path.suffix == ".parquet":
            write_parquet(part, examples, _tokens_and_tags if form == "datasets" else None)
        else:
            with part.open("w", encoding="utf-8", errors=_SURROGATES, newline="") as file:
                file.writelines(lines(examples))


_encode = json.JSONEncoder(ensure_ascii=False).encode


def _line(value: Any) -> str:
    return _encode(value) + "\n"


def _lines(record: Callable[[Example], Any]) -> Callable[[Iterable[Example]], Iterator[str]]:
    """Return a writer of a record a line."""
    return lambda examples: (_line(record(example)) for example in examples)


def _list(record: Callable[[Example], Any]) -> Callable[[Iterable[Example]], Iterator[str]]:
    """Return a writer of a list of records, one a line."""

    def pieces(examples: Iterable[Example]) -> Iterator[str]:
        before = "[\n"
        for example in examples:
            yield before + _encode(record(example))
            before = ",\n"
        yield "\n]\n" if before != "[\n" else "[]\n"

    return pieces


def _spans(example: Example) -> list[dict[str, Any]]:
    return [{"start": each.start, "end": each.end, "label": each.label} for each in example.spans]


def _with_meta(record: dict[str, Any], example: Example) -> dict[str, Any]:
    """Return a record with what else the example says, which replaces nothing."""
    return record | dict(example.meta) | record


def _teddy(example: Example) -> dict[str, Any]:
    return _with_meta({"text": example.text, "entities": _spans(example)}, example)


def _doccano(example: Example) -> dict[str, Any]:
    spans = [[each.start, each.end, each.label] for each in example.spans]
    return _with_meta({"text": example.text, "label": spans}, example)


def _prodigy(example: Example) -> dict[str, Any]:
    tokens = [
        {"text": example.text[start:end], "start": start, "end": end, "id": number}
        for number, (start, end) in enumerate(example.tokens)
    ]
    known = {"tokens": tokens} if tokens else {}
    marks = {"spans": _spans(example), "answer": "accept"}
    return _with_meta({"text": example.text, **known, **marks}, example)


def _label_studio(example: Example, found: str = "annotations") -> dict[str, Any]:
    """Return a task; offsets are characters, as Label Studio has counted since 1.4."""
    results = [
        {
            "from_name": "label",
            "to_name": "text",
            "type": "labels",
            "value": {
                "start": each.start,
                "end": each.end,
                "text": example.text[each.start : each.end],
                "labels": [each.label],
            },
        }
        for each in example.spans
    ]
    return {"data": _with_meta({"text": example.text}, example), found: [{"result": results}]}


def _spacy(example: Example) -> list[Any]:
    return [example.text, {"entities": [[s.start, s.end, s.label] for s in example.spans]}]


def _gliner(example: Example) -> dict[str, Any]:
    tokens, spans = _token_spans(example)
    words = [example.text[start:end] for start, end in tokens]
    ner = [[each.start, each.end - 1, each.label] for each in spans]
    return _with_meta({"tokenized_text": words, "ner": ner}, example)


def _datasets(example: Example) -> dict[str, Any]:
    tokens, tags = _tokens_and_tags(example)
    return _with_meta({"tokens": tokens, "ner_tags": tags}, example)


def _conll(examples: Iterable[Example]) -> Iterator[str]:
    for number, example in enumerate(examples):
        rows = zip(*_tokens_and_tags(example), strict=True)
        yield ("\n" if number else "") + "".join(f"{token}\t{tag}\n" for token, tag in rows)


def _csv(examples: Iterable[Example]) -> Iterator[str]:
    yield "sentence,token,tag\n"
    for number, example in enumerate(examples, start=1):
        buffer = io.StringIO()
        table = csv.writer(buffer, lineterminator="\n")
        table.writerows((number, *row) for row in zip(*_tokens_and_tags(example), strict=True))
        yield buffer.getvalue()


def _token_spans(example: Example) -> tuple[Sequence[tuple[int, int]], list[Span]]:
    """Return tokens and spans of tokens. Raises DataError for a span of other borders."""
    tokens = example.tokens or Tokeniser().offsets(example.text)
    starts = {start: place for place, (start, _) in enumerate(tokens)}
    ends = {end: place + 1 for place, (_, end) in enumerate(tokens)}
    spans = []
    for span in sorted(example.spans):
        if span.start not in starts or span.end not in ends:
            surface = example.text[span.start : span.end]
            cure = "--misaligned expand, contract or drop"
            raise _refused(example, f"{span.label} {surface!r} is not made of whole tokens; {cure}")
        spans.append(Span(starts[span.start], ends[span.end], span.label))
    return tokens, spans


def _tokens_and_tags(example: Example) -> tuple[list[str], list[str]]:
    """Return tokens and BIO tags. Raises DataError for what no sequence of tags can say."""
    tokens, spans = _token_spans(example)
    words = [" ".join(example.text[start:end].split()) for start, end in tokens]
    try:
        return words, write_tags(spans, len(words), Scheme.BIO)
    except ValueError as error:
        raise _refused(example, f"{error}; write jsonl, or another format of texts") from None


def _refused(example: Example, reason: str) -> DataError:
    return DataError(example.path, example.line, reason)


def _xml(examples: Iterable[Example]) -> Iterator[str]:
    for example in examples:
        yield _marked(example, _element, _escaped) + "\n"


def _element(label: str) -> tuple[str, str]:
    if _NAME.fullmatch(label) and label.lower() not in STRUCTURE:
        return f"<{label}>", f"</{label}>"
    return f'<entity label="{html.escape(label)}">', "</entity>"


def _escaped(text: str) -> str:
    """Return a text for one line of XML: line ends and white space at its start as numbers."""
    plain = html.escape(text, quote=False)
    return re.sub(
        r"[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029\ufeff]", lambda c: f"&#{ord(c[0])};", plain
    )


def _markdown(examples: Iterable[Example]) -> Iterator[str]:
    for example in examples:
        if "\n" in example.text or "\r" in example.text:
            raise _refused(example, "a text of several lines, which markdown cannot say; write xml")
        if bad := [
            span.label for span in example.spans if re.search(r"[()\[\]]|^\s|\s$|://", span.label)
        ]:
            raise _refused(
                example, f"the label {bad[0]!r} has brackets, :// or white space at an edge"
            )
        marked = _marked(
            example,
            lambda label: ("[", f"]({label})"),
            lambda text: re.sub(r"[\[\]\\]", r"\\\g<0>", text),
            nested=False,
        )
        yield marked + "\n"


def _marked(
    example: Example,
    marks: Callable[[str], tuple[str, str]],
    escaped: Callable[[str], str],
    *,
    nested: bool = True,
) -> str:
    """Return a text with marks around its spans. Raises DataError for spans that cross."""
    text, pieces, at = example.text, [], 0
    opened: list[Span] = []
    if not text.strip():
        raise _refused(example, "a text without a word cannot be a line; remove it")

    def close(until: int) -> None:
        nonlocal at
        while opened and opened[-1].end <= until:
            pieces.extend([escaped(text[at : opened[-1].end]), marks(opened[-1].label)[1]])
            at = opened.pop().end

    for span in sorted(example.spans, key=lambda span: (span.start, -span.end)):
        close(span.start)
        if opened and (span.end > opened[-1].end or not nested):
            raise _refused(example, f"{opened[-1]} and {span} overlap; write jsonl")
        pieces += [escaped(text[at : span.start]), marks(span.label)[0]]
        at = span.start
        opened.append(span)
    close(len(text))
    return "".join([*pieces, escaped(text[at:])])


def _write_brat(folder: Path, examples: Iterable[Example]) -> None:
    """Write a text and its notes for each example, numbered."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise DataError(folder, None, "the folder is not empty; name a new one")
    for number, example in enumerate(examples):
        rows = []
        for place, span in enumerate(example.spans, start=1):
            surface = re.sub(r"\s", " ", example.text[span.start : span.end])
            if not re.fullmatch(r"\S+", span.label):
                raise _refused(
                    example, f"the label {span.label!r} has white space; brat allows none"
                )
            rows.append(f"T{place}\t{span.label} {span.start} {span.end}\t{surface}\n")
        name = folder / f"{number:06}"
        name.with_suffix(".txt").write_text(example.text, encoding="utf-8", newline="")
        name.with_suffix(".ann").write_text("".join(rows), encoding="utf-8", newline="")


_TEXTS: Mapping[str, Callable[[Iterable[Example]], Iterator[str]]] = {
    "jsonl": _lines(_teddy),
    "doccano": _lines(_doccano),
    "prodigy": _lines(_prodigy),
    "label-studio": _list(_label_studio),
    "spacy": _list(_spacy),
    "gliner": _list(_gliner),
    "datasets": _lines(_datasets),
    "conll": _conll,
    "csv": _csv,
    "xml": _xml,
    "markdown": _markdown,
}
_PREDICTED: Mapping[str, Callable[[Iterable[Example]], Iterator[str]]] = {
    "label-studio": _list(partial(_label_studio, found="predictions")),
}
