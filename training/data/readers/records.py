"""Readers of records in JSON, one a line or in a list, whatever tool wrote them.

What a record says is recognised by its keys::

    {"text": "...", "entities": [{"start": 0, "end": 5, "label": "PER"}]}     Teddy, spaCy (ents)
    {"text": "...", "label": [[0, 5, "PER"]]}                                 doccano
    {"text": "...", "spans": [{"start": 0, ...}], "answer": "accept"}         Prodigy
    ["...", {"entities": [[0, 5, "PER"]]}]                                    spaCy 2
    {"data": {"text": "..."}, "annotations": [{"result": [...]}]}             Label Studio
    {"tokenized_text": ["..."], "ner": [[0, 1, "PER"]]}                       GLiNER, last word
    {"tokens": ["..."], "ner_tags": ["B-PER"]}                                Hugging Face

Spans are half-open and count characters, or what `offset_unit` says. A text is a document, which is
split into sentences; tokens are a sentence.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.training.data.readers.json import is_list_of_records, json_values
from teddy.training.data.readers.label_studio import task_parts
from teddy.training.data.readers.rows import Example
from teddy.training.data.readers.shapes import NOT_GOLD, Parts, Record, tags_key
from teddy.training.recipe.corpus_config import AUTO, FormatConfig, FormatName

_TEXTS = ("jsonl", "doccano", "prodigy", "spacy")
"""Formats of texts with spans: their records are told apart by the keys that they have."""
_DOCCANO = ("label", "labels", "annotations")
_TELLING = frozenset(
    ("vertexSet", "paragraphs", "tokenized_text", "data", "tokens", "words", "answer", "ents")
)
"""Keys without any of which a record is a text with spans."""
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
    if _TELLING.isdisjoint(value):
        return "doccano" if any(type(value.get(key)) is list for key in _DOCCANO) else "jsonl"
    if isinstance(value.get("sents"), list) and "vertexSet" in value:
        return "docred"
    if "paragraphs" in value:
        return "spacy"
    if "tokenized_text" in value:
        return "gliner"
    if isinstance(value.get("data"), dict):
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
    kind = kind_of(value)
    wanted = options.format if options.format in (*_TEXTS, "label-studio", "gliner") else kind
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


def as_record(
    path: Path, line: int, value: Any, options: FormatConfig, document: int = 0
) -> Record | None:
    """Return a value as a record; None for one that was rejected. Raises DataError for others."""
    if isinstance(value, list) and kind_of(value) == "spacy":
        value = {"text": value[0], **value[1]}
    if not isinstance(value, dict):
        raise DataError(path, line, f'want an object with a "text", such as {_EXAMPLE}')
    return None if value.get("answer") in NOT_GOLD else Record(path, line, value, options, document)


def parts_of(record: Record) -> Parts | None:
    """Return a text and its spans, as the record has them; None for a task that is not annotated.

    Raises DataError for a record that has neither text nor spans.
    """
    is_task = isinstance(record.value.get("data"), dict)
    return task_parts(record) if is_task else record.text_parts()
