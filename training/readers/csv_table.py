"""CSV tables with one token a row, and a column that is filled where a sentence begins."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from teddy.model.errors import DataError
from teddy.training.corpus.config import FormatConfig
from teddy.training.readers.example import Example
from teddy.training.readers.files import read_text
from teddy.training.readers.tagged import Row, Rows, clean_row, to_examples


def read_csv(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a table with a header. Raises DataError, naming the line, for a row it cannot read."""
    yield from to_examples(read_csv_rows(path, options), path, options)


def read_csv_rows(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield the sentences of a table as rows, tags unread."""
    text = read_text(path, options.encoding)
    # Lines are cut here as everywhere, since csv would take U+2028 or a form feed for the end of one.
    table = csv.reader(re.findall(r"[^\n]*\n|[^\n]+", text), delimiter=options.separator or ",", strict=True)
    rows: list[Row] = []
    current = ""
    records = _records(path, table)
    header_line, header = next(records, (1, []))
    sentence_at, token_at, tag_at = _find_columns(path, header_line, header, options)
    for line, cells in records:
        if len(cells) != len(header):
            raise DataError(path, line, f"{len(cells)} columns, but the header has {len(header)}")
        if cells[sentence_at] not in ("", current):
            current = cells[sentence_at]
            if rows:
                yield rows
                rows = []
        row = clean_row(path, line, cells[token_at], cells[tag_at], options)
        if row is not None:
            rows.append(row)
    if rows:
        yield rows


def _records(path: Path, table: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line on which it ends."""
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            raise DataError(path, table.line_num, f"not valid CSV: {error}") from None  # type: ignore[attr-defined]
        if cells is None:
            return
        if cells:
            yield table.line_num, cells  # type: ignore[attr-defined]


def _find_columns(path: Path, line: int, header: list[str], options: FormatConfig) -> list[int]:
    """Return the indices of the columns of sentence, token and tag, given by name or by number."""
    found = []
    for column in (options.sentence, options.token, options.tag):
        if isinstance(column, str) and column in header:
            found.append(header.index(column))
        elif isinstance(column, int) and -len(header) <= column < len(header):
            found.append(column)
        else:
            raise DataError(path, line, f"no column {column!r} in the header: {', '.join(header)[:200]}")
    return found
