"""Readers of records in JSON, one a line or in a list, whatever tool wrote them.

What a record says is recognised by its keys::

    {"text": "...", "entities": [{"start": 0, "end": 5, "label": "PER"}]}     Teddy, spaCy (ents)
    {"text": "...", "label": [[0, 5, "PER"]]}                                 doccano
    {"text": "...", "spans": [{"start": 0, ...}], "answer": "accept"}         Prodigy
    ["...", {"entities": [[0, 5, "PER"]]}]                                    spaCy 2
    {"data": {"text": "..."}, "annotations": [{"result": [...]}]}             Label Studio
    {"fields": {"text": "..."}, "responses": {"q": [{"value": [...]}]}}       Argilla
    {"text": "...", "q.responses": [[...]], "q.responses.users": ["..."]}     Argilla, rows
    {"tokenized_text": ["..."], "ner": [[0, 1, "PER"]]}                       GLiNER, last word
    {"tokens": ["..."], "ner_tags": ["B-PER"]}                                Hugging Face

Spans are half-open and count characters, or what `offset_unit` says. A text is a document, which is
split into sentences; tokens are a sentence.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError, TextError
from teddy.model.tags.spans import Span
from teddy.model.text.words import check_text
from teddy.training.data.readers.exports import as_usual
from teddy.training.data.readers.json import is_list_of_records, json_values
from teddy.training.data.readers.label_studio import as_task, is_annotated, is_argilla, task_parts
from teddy.training.data.readers.rows import Example
from teddy.training.data.readers.shapes import NOT_GOLD, SPAN_KEYS, Parts, Record, tags_key
from teddy.training.recipe.corpus_config import AUTO, FormatConfig, FormatName

_TEXTS: tuple[FormatName, ...] = ("jsonl", "doccano", "prodigy", "spacy")
"""Formats of texts with spans: the keys of a record say which it is."""
_STATED: tuple[FormatName, ...] = (*_TEXTS, "label-studio", "argilla", "gliner")
OF_RECORDS: tuple[FormatName, ...] = (*_STATED, "datasets")
"""The formats whose files are read here."""
_DOCCANO = ("label", "labels", "annotations")
_TELLING = {
    *("vertexSet", "paragraphs", "tokenized_text", "data", "tokens", "words", "answer", "ents"),
    *("annotation_id", "responses", "annotation"),
}
"""Keys without any of which a record is a text with spans."""
_USUAL = (*_TEXTS, "datasets")
_CHARACTERS = (AUTO, "character")
_SPAN = {"start", "end", "label"}
_EXAMPLE = '{"text": "Ada ran", "entities": [{"start": 0, "end": 3, "label": "PER"}]}'


def read_records(path: Path, options: FormatConfig, after: int = 0) -> Iterator[Example]:
    """Yield the texts and sentences of a file of JSON, from those behind line `after` on.

    Raises DataError, naming the line, for what is not JSON or has none of the shapes above.
    """
    values = json_values(path, options.encoding, lambda number, _: number > after)
    for document, (number, value) in enumerate(values):
        if number > after:
            yield from read_record(path, number, value, options, document)


def kind_of(value: Any) -> FormatName | None:
    """Return what tool's records look like this one; None if there is none."""
    if isinstance(value, list):
        return "spacy" if not is_list_of_records(value) else None
    if not isinstance(value, dict):
        return None
    if is_argilla(value):
        return "argilla"
    if _TELLING.isdisjoint(value):
        return "doccano" if any(type(value.get(key)) is list for key in _DOCCANO) else "jsonl"
    if isinstance(value.get("sents"), list) and "vertexSet" in value:
        return "docred"
    if "paragraphs" in value:
        return "spacy"
    if "tokenized_text" in value:
        return "gliner"
    if isinstance(value.get("data"), dict) or "annotation_id" in value:
        return "label-studio"
    if tags_key(value, AUTO):
        return "datasets"
    if "answer" in value:
        return "prodigy"
    if "ents" in value:
        return "spacy"
    return "doccano" if any(type(value.get(key)) is list for key in _DOCCANO) else "jsonl"


def read_record(
    path: Path, line: int, value: Any, options: FormatConfig, document: int = 0
) -> Iterator[Example]:
    """Yield what a record says; nothing for one that was rejected or not annotated.

    Raises DataError with the line for a record that says nothing that can be read.
    """
    usual = _usual(path, line, value, options, document)
    if usual is not None:
        yield usual
        return
    value = as_usual(path, line, value)
    kind = kind_of(value)
    wanted = options.format if options.format in _STATED else kind
    if kind is not None and kind != wanted and not (kind in _TEXTS and wanted in _TEXTS):
        raise DataError(path, line, f"want a record of {wanted}, but this looks like {kind}")
    record = as_record(path, line, value, options, document)
    if record is None:
        return
    value = record.value
    if kind == "gliner":
        yield record.of_tokens(value["tokenized_text"], value.get("ner", []), last_is_in=True)
    elif kind == "spacy" and "paragraphs" in value:
        yield from record.of_paragraphs()
    elif kind == "datasets":
        yield from record.of_tags()
    elif record.text_key() is None and (tokens := record.tokens()) is not None:
        yield record.of_tokens(tokens, record.span_list()[1], last_is_in=False)
    elif (parts := parts_of(record)) is not None:
        yield record.example(*parts)


def _usual(
    path: Path, line: int, value: Any, options: FormatConfig, document: int
) -> Example | None:
    """Return the text of a record in the usual shape, in half the time; None for other records."""
    if type(value) is not dict or not _TELLING.isdisjoint(value) or options.format not in _USUAL:
        return None
    text, keys = value.get("text"), [key for key in SPAN_KEYS if key in value]
    if not isinstance(text, str) or len(keys) != 1 or options.token != AUTO or options.tag != AUTO:
        return None
    if options.offset_unit not in _CHARACTERS and not text.isascii():
        return None
    listed, n_characters = value[keys[0]], len(text)
    spans: list[Span] = []
    for each in listed if type(listed) is list else (None,):
        if (type(each) is list or type(each) is tuple) and len(each) == 3:
            start, end, label = each
        elif type(each) is dict and each.keys() == _SPAN:
            start, end, label = each["start"], each["end"], each["label"]
        else:
            return None
        if type(start) is not int or type(end) is not int or type(label) is not str:
            return None
        if not 0 <= start < end <= n_characters or not label.strip():
            return None
        spans.append(Span(start, end, label))
    return Example(
        text=text,
        spans=tuple(spans),
        span_lines=(line,) * len(spans),
        path=str(path),
        line=line,
        is_sentence=False,
        document=document,
        meta={key: each for key, each in value.items() if key != "text" and key != keys[0]},
    )


def as_record(
    path: Path, line: int, value: Any, options: FormatConfig, document: int = 0
) -> Record | None:
    """Return a value as a record; None for one that was rejected, and for null.

    Raises DataError for others.
    """
    value = as_usual(path, line, value)
    if value is None:  # what some tools write for a text without annotations, in place of the text
        return None
    if isinstance(value, list) and kind_of(value) == "spacy":
        value = {"text": value[0], **value[1]}
    if not isinstance(value, dict):
        raise DataError(path, line, f'want an object with a "text", such as {_EXAMPLE}')
    value = as_task(value) if is_argilla(value) else value
    is_gold = value.get("answer") not in NOT_GOLD and is_annotated(value, options.annotator)
    return Record(path, line, value, options, document) if is_gold else None


def parts_of(record: Record) -> Parts | None:
    """Return a text and its spans, as the record has them; None for a task that is not annotated.

    Raises DataError for a record that has neither text nor spans, and for a lone surrogate.
    """
    is_task = isinstance(record.value.get("data"), dict)
    parts = task_parts(record) if is_task else record.text_parts()
    try:
        check_text(parts[0] if parts else "")
    except TextError as error:
        raise record.refused(str(error)) from None
    return parts
