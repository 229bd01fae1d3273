"""JSON lines: one text a line with spans in characters, as annotation tools export them.

Three common shapes are read, and `label` of the first may also be called `type`::

    {"text": "...", "entities": [{"start": 0, "end": 5, "label": "PER"}]}
    {"text": "...", "spans": [{"start": 0, "end": 5, "label": "PER"}]}
    {"text": "...", "label": [[0, 5, "PER"]]}

Spans are half-open and count Unicode code points. A line is a document: it is split into sentences.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.spans import Span
from teddy.training.corpus.config import FormatConfig
from teddy.training.readers.example import Example
from teddy.training.readers.files import stream_corpus_lines

_SPAN_KEYS = ("entities", "spans", "label", "labels")


def read_jsonl(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts of a file. Raises DataError, naming the line, for a line that has none of the shapes above."""
    for number, line in stream_corpus_lines(path, options.encoding):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise DataError(path, number, f"not valid JSON: {getattr(error, 'msg', 'nested too deeply')}") from None
        yield _example(path, number, value)


def _example(path: Path, number: int, value: Any) -> Example:
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        raise DataError(path, number, 'want an object with a "text"')
    present = [key for key in _SPAN_KEYS if key in value]
    if not present:
        raise DataError(path, number, 'no "entities" beside the text; where there are none, give an empty list')
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
        case {"start": int(start), "end": int(end), "label": str(label)}:
            pass
        case {"start": int(start), "end": int(end), "type": str(label)}:
            pass
        case [int(start), int(end), str(label)]:
            pass
        case _:
            raise DataError(path, number, f"not a span: {json.dumps(item)[:80]}")
    if not 0 <= start < end <= n_characters:
        raise DataError(
            path, number, f"span {start} to {end} ({label}) does not lie in a text of {n_characters} characters"
        )
    if not label.strip():
        raise DataError(path, number, f"span {start} to {end} has an empty label")
    return Span(start, end, label)
