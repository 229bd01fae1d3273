"""Readers of columns: CoNLL files and CSV tables."""

import ast
import csv
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.training.data.readers.files import stream_corpus_lines
from teddy.training.data.readers.records import read_record
from teddy.training.data.readers.rows import Example, Row, Rows, clean_row, to_examples
from teddy.training.recipe.corpus_config import AUTO, FormatConfig

METADATA = re.compile(
    r"#\s*(newdoc|newpar|global\.columns|[\w.:-]+\s+=|id\s+[\w-]+(\s+domain=\S+)?$)"
)
"""Comments in the manner of CoNLL-U. A mere # says nothing: in tweets it begins tokens, and often
is one."""
DOCUMENT_START = "-DOCSTART-"
TAG = re.compile(r"O|[BIEMSLUW]-\S+|\S*[^-\s]-[BIESMLUW]|(?=[(*])(?:\([^()*\s]+)?(?:\*|(?=\)))\)?")
"""What can be nothing but a tag."""
EXCEL = re.compile(r"\"?sep=(.)\"?[,;\t]*$")
"""The first line of a table by which Excel tells the separator."""
HEAD_ROWS = 2_000
_ELEMENT = re.compile(
    r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[\w.]+|[\])}])(\s+(?=['"\w.\[({-]))?""", re.DOTALL
)
"""An element of a list, and the space before another, where numpy writes no comma."""


def read_conll(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file of columns.

    Raises DataError, naming the line, for a row that cannot be read.
    """
    yield from to_examples(read_conll_rows(path, options), path, options)


def read_conll_rows(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield the sentences of a file as rows, tags unread.

    A line of white space ends a sentence, as does -DOCSTART-.
    """
    rows: list[Row] = []
    n_columns = 0
    if options.row == "sentence":
        yield from _tagged_lines(path, options)
        return
    for number, line in stream_corpus_lines(path, options.encoding):
        prefix = options.comment
        if not line.strip() or line.startswith(DOCUMENT_START):
            if rows:
                yield rows
                rows = []
        elif (prefix and line.startswith(prefix)) or (not rows and METADATA.match(line)):
            continue
        else:
            columns = (
                line.split(options.separator)
                if options.separator
                else re.split(r"[ \t]+", line.strip(" \t"))
            )
            n_columns = n_columns or len(columns)
            if n_columns != len(columns) and options.ragged is not True:
                raise DataError(path, number, _another_width(columns, n_columns))
            token = _cell(path, number, columns, options.token)
            tag = "O" if options.spans == "tokens" else _cell(path, number, columns, options.tag)
            row = clean_row(path, number, token, tag, options)
            rows += [row] if row else []
    if rows:
        yield rows


def _tagged_lines(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield lines that are sentences of words with their tag behind a mark: `Ada/B-PER ran/O`."""
    mark = options.separator
    for number, line in stream_corpus_lines(path, options.encoding):
        rows: list[Row] = []
        words = line.split()
        is_tagged_twice = mark == "|" and all(word.count(mark) > 1 for word in words)
        for word in words:
            token, found, tag = word.rpartition(mark)
            if not found:
                want = f"want a word, {mark!r} and its tag"
                raise DataError(path, number, f"{word!r} has no tag; {want}")
            if is_tagged_twice:  # Ada|NNP|B-PER
                token = token.rpartition(mark)[0]
            row = clean_row(path, number, token, tag, options)
            rows += [row] if row else []
        if rows:
            yield rows


def _another_width(columns: list[str], n_columns: int) -> str:
    hint = f"; set comment = {columns[0]!r} if this is a comment"
    first = f"the first row of the file has {n_columns}"
    return f"{_count(len(columns))}, but {first}{hint if columns[0].startswith('#') else ''}"


def _cell(path: Path, number: int, columns: list[str], index: int | str) -> str:
    try:
        return columns[int(index)]
    except IndexError:
        reason = f"no column {index}: the row has {_count(len(columns))}"
        raise DataError(path, number, reason) from None


def _count(n_columns: int) -> str:
    return "1 column" if n_columns == 1 else f"{n_columns} columns"


def read_csv(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a table with a header.

    Raises DataError, naming the line, for a row it cannot read.
    """
    if options.row == "sentence":
        yield from _read_sentence_rows(path, options)
    else:
        yield from to_examples(read_csv_rows(path, options), path, options)


def read_csv_rows(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield the sentences of a table as rows, tags unread."""
    rows: list[Row] = []
    current = ""
    records = read_table(path, options)
    header_line, header = next(records, (1, []))
    token_at, tag_at = _find_columns(path, header_line, header, (options.token, options.tag))
    sentence_at = (
        _find_columns(path, header_line, header, (options.sentence,))[0]
        if options.sentence != ""
        else None
    )
    for line, cells in records:
        is_blank = not any(cells)
        if is_blank or (sentence_at is not None and cells[sentence_at] not in ("", current)):
            current = current if sentence_at is None or is_blank else cells[sentence_at]
            if rows:
                yield rows
                rows = []
        if not is_blank:
            row = clean_row(path, line, cells[token_at], cells[tag_at], options)
            rows += [row] if row else []
    if rows:
        yield rows


def _read_sentence_rows(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a table that has one in a row: words and tags, or text and spans."""
    records = read_table(path, options)
    header_line, header = next(records, (1, []))
    columns = (options.token, options.tag)
    token_at, tag_at = _find_columns(path, header_line, header, columns)
    with_spans = options.model_copy(update={"token": "text", "tag": "entities"})
    is_of_spans = False
    with suppress(DataError):  # which is raised below, at its line
        head = islice(read_table(path, options), HEAD_ROWS)
        is_of_spans = any(map(_has_spans, (split_tags(cells[tag_at]) for _, cells in head)))
    for line, cells in records:
        if not any(cells):
            continue
        tags = split_tags(cells[tag_at])
        if is_of_spans or _has_spans(tags) or cells[tag_at] == "[]" != cells[token_at]:
            record = {"text": cells[token_at], "entities": tags}
            yield from read_record(path, line, record, with_spans, document=line)
            continue
        tokens = split_cell(cells[token_at])
        if len(tokens) != len(tags):
            found = f"{len(tokens)} words in column {header[token_at]!r}, {len(tags)} tags in"
            reason = f"{found} {header[tag_at]!r}: want one tag for each word, spaces between them"
            raise DataError(path, line, reason)
        record = {"tokens": [*map(str, tokens)], "tags": tags}
        named = options.model_copy(update={"tag": "tags"})
        yield from read_record(path, line, record, named, document=line)


def split_cell(cell: str) -> list[Any]:
    """Return the parts of a cell: of a list as JSON, Python or numpy has it, else its words."""
    if cell.startswith(("[", "(")):
        with suppress(ValueError, RecursionError):
            return list(json.loads(cell))
        with suppress(ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return list(ast.literal_eval(_ELEMENT.sub(_with_comma, cell)))
    return cell.split()


def _with_comma(element: re.Match[str]) -> str:
    return f"{element[1]}, " if element[2] else element[1]


def split_tags(cell: str) -> list[Any]:
    """Return the tags of a cell, between which commas may stand, or its spans."""
    parts = re.split(r"[\s,]+", cell)
    return parts if all(map(TAG.fullmatch, parts)) else split_cell(cell)


def _has_spans(parts: list[Any]) -> bool:
    return not all(isinstance(part, str | int) for part in parts)


def read_table(path: Path, options: FormatConfig) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a table, the header first, each with the line on which it ends.

    A row without cells is yielded as one with empty cells. Raises DataError for a row that has more
    cells than the header, or fewer.
    """
    # Cut as everywhere: csv would take U+2028 or a form feed for the end of a line.
    numbered = stream_corpus_lines(path, options.encoding)
    # Excel's line that names the separator is left out, though counted.
    raw = (f"{line if number > 1 else EXCEL.sub('', line)}\n" for number, line in numbered)
    separator = "," if options.separator in ("", AUTO) else options.separator
    lines = _quoted(raw, separator)
    width = 0
    for line, cells in _records(path, csv.reader(lines, delimiter=separator, strict=True)):
        if width and not cells:
            yield line, [""] * width
        elif cells:
            width = width or len(cells)
            if len(cells) != width:
                cure = "quote a cell that holds the separator, or name another: separator"
                reason = f"{_count(len(cells))}, but the header has {width}; {cure}"
                raise DataError(path, line, reason)
            yield line, cells


def _quoted(lines: Iterable[str], separator: str) -> Iterator[str]:
    """Yield the lines of a table; in rows that are whole, a cell of one quotation mark is quoted.

    A table of words without quoting has such cells, and would be read on to the next one.
    """
    width, is_open = 0, False
    for line in lines:
        cells = line.split(separator) if '"' in line or not width else ()
        width = width or len(cells)
        if not is_open and len(cells) == width and '"' in cells[:-1]:
            line = separator.join('""""' if cell == '"' else cell for cell in cells)
        is_open ^= line.count('"') % 2 == 1
        yield line


def _records(path: Path, table: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows, each with the line on which it ends."""
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            line: int = table.line_num  # type: ignore[attr-defined]
            raise DataError(path, line, f"not valid CSV: {error}") from None
        if cells is None:
            return
        yield table.line_num, cells  # type: ignore[attr-defined]


def _find_columns(
    path: Path, line: int, header: list[str], columns: tuple[int | str, ...]
) -> list[int]:
    """Return the indices of columns that are given by name or by number."""
    found = []
    for column in columns:
        if isinstance(column, str) and column in header:
            found.append(header.index(column))
        elif isinstance(column, int) and -len(header) <= column < len(header):
            found.append(column)
        else:
            reason = f"no column {column!r} in the header: {', '.join(header)[:200]}"
            raise DataError(path, line, reason)
    return found


def is_whole_line(line: str, separator: str) -> bool:
    """Return whether a separator, and no white space, divides a line into columns."""
    return separator in line.strip(separator) and not re.search(r"[ \t]", line)
