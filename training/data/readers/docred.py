"""Reader of documents in the manner of (Re-)DocRED.

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
from teddy.training.data.readers.files import read_text
from teddy.training.data.readers.rows import Example, join_tokens
from teddy.training.recipe.corpus_config import FormatConfig


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
