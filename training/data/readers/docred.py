"""Readers of JSON: lines of texts with spans, and documents in the manner of (Re-)DocRED.

Of lines three common shapes are read, and `label` of the first may also be called `type`::

    {"text": "...", "entities": [{"start": 0, "end": 5, "label": "PER"}]}
    {"text": "...", "spans": [{"start": 0, "end": 5, "label": "PER"}]}
    {"text": "...", "label": [[0, 5, "PER"]]}

Spans are half-open and count Unicode code points. A line is a document: it is split into sentences.

A document is an object in a list, with `sents` (sentences of tokens) and `vertexSet` (entities,
each a list of mentions with `sent_id`, `pos` as a half-open range of tokens, and `type`). Such a
file may be one line, so an error names the document instead.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import read_text, stream_corpus_lines
from teddy.training.data.readers.rows import Example, join_tokens
from teddy.training.recipe.corpus_config import FormatConfig

_SPAN_KEYS = ("entities", "spans", "label", "labels")


def read_jsonl(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts of a file.

    Raises DataError, naming the line, for a line that has none of the shapes above.
    """
    for number, line in stream_corpus_lines(path, options.encoding):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            problem = getattr(error, "msg", "nested too deeply")
            raise DataError(path, number, f"not valid JSON: {problem}") from None
        yield _example(path, number, value)


def _example(path: Path, number: int, value: Any) -> Example:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise DataError(path, number, 'want an object with a "text"')
    present = [key for key in _SPAN_KEYS if key in value]
    if not present:
        cure = "where there are none, give an empty list"
        raise DataError(path, number, f'no "entities" beside the text; {cure}')
    items = value[present[0]]
    if not isinstance(items, list):
        raise DataError(path, number, f'"{present[0]}" is not a list')
    spans = tuple(_span(path, number, item, len(value["text"])) for item in items)
    return Example(
        text=value["text"],
        spans=spans,
        span_lines=(number,) * len(spans),
        path=str(path),
        line=number,
        is_sentence=False,
        document=number,
    )


def _span(path: Path, number: int, item: Any, n_characters: int) -> Span:
    match item:
        case (
            {"start": int(start), "end": int(end), "label": str(label)}
            | {"start": int(start), "end": int(end), "type": str(label)}
            | [int(start), int(end), str(label)]
        ):
            pass
        case _:
            raise DataError(path, number, f"not a span: {json.dumps(item)[:80]}")
    if not 0 <= start < end <= n_characters:
        where = f"does not lie in a text of {n_characters} characters"
        raise DataError(path, number, f"span {start} to {end} ({label}) {where}")
    if not label.strip():
        raise DataError(path, number, f"span {start} to {end} has an empty label")
    return Span(start, end, label)


def read_docred(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of all documents.

    Raises DataError, naming the document, for one that has another shape.
    """
    try:
        documents = json.loads(read_text(path, options.encoding))
    except json.JSONDecodeError as error:
        raise DataError(path, error.lineno, f"not valid JSON: {error.msg}") from None
    except RecursionError:
        raise DataError(path, None, "not valid JSON: nested too deeply") from None
    if not isinstance(documents, list):
        raise DataError(path, 1, "want a list of documents")
    for number, document in enumerate(documents):
        try:
            yield from _sentences(path, number, document, options)
        except (KeyError, TypeError, IndexError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
            reason = f"document {number} (from 0) is not in the manner of DocRED: {problem}"
            raise DataError(path, None, reason) from None


def _sentences(path: Path, number: int, document: Any, options: FormatConfig) -> Iterator[Example]:
    mentions: list[list[Span]] = [[] for _ in document["sents"]]
    for entity in document["vertexSet"]:
        for mention in entity:
            (start, end), place = mention["pos"], mention["sent_id"]
            if not 0 <= start < end <= len(document["sents"][place]):
                raise ValueError(f"mention at {start} to {end} is not in sentence {place}")
            mentions[place].append(Span(start, end, mention["type"]))
    for tokens, spans in zip(document["sents"], mentions, strict=True):
        starts, ends, text = join_tokens(tokens, options)
        ordered = sorted(set(spans))
        yield Example(
            text=text,
            spans=tuple(
                Span(starts[span.start], ends[span.end - 1], span.label) for span in ordered
            ),
            span_lines=(1,) * len(ordered),
            path=str(path),
            line=1,
            is_sentence=True,
            document=number,
        )
