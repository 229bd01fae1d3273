"""Files of columns: one token a line, a blank line after each sentence, as the CoNLL tasks made them."""

import re
from collections.abc import Iterator
from pathlib import Path

from teddy.model.errors import DataError
from teddy.training.corpus.config import FormatConfig
from teddy.training.readers.example import Example
from teddy.training.readers.files import stream_corpus_lines
from teddy.training.readers.tagged import Row, Rows, clean_row, to_examples

METADATA = re.compile(r"#\s*(newdoc|newpar|global\.columns|[\w.:-]+\s+=|id\s+[\w-]+(\s+domain=\S+)?$)")
"""Comments in the manner of CoNLL-U. A mere # says nothing: in tweets it begins tokens, and often is one."""
DOCUMENT_START = "-DOCSTART-"


def read_conll(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file of columns. Raises DataError, naming the line, for a row that cannot be read."""
    yield from to_examples(read_conll_rows(path, options), path, options)


def read_conll_rows(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield the sentences of a file as rows, tags unread. A line of white space ends a sentence, as does -DOCSTART-."""
    reader = _ColumnReader(path, options)
    rows: list[Row] = []
    for number, line in stream_corpus_lines(path, options.encoding):
        if not line.strip() or line.startswith(DOCUMENT_START):
            if rows:
                yield rows
                rows = []
        elif not reader.is_comment(line, at_head=not rows):
            row = reader.row(number, line)
            if row is not None:
                rows.append(row)
    if rows:
        yield rows


class _ColumnReader:
    """Turns the lines of one file into rows; its first row sets the number of columns."""

    def __init__(self, path: Path, options: FormatConfig) -> None:
        self._path = path
        self._options = options
        self._n_columns: int | None = None

    def is_comment(self, line: str, *, at_head: bool) -> bool:
        prefix = self._options.comment
        return bool(prefix and line.startswith(prefix)) or (at_head and METADATA.match(line) is not None)

    def row(self, number: int, line: str) -> Row | None:
        options = self._options
        columns = line.split(options.separator) if options.separator else re.split(r"[ \t]+", line.strip(" \t"))
        self._check_columns(number, columns)
        if options.spans == "tokens":
            return clean_row(self._path, number, self._column(number, columns, options.token), "O", options)
        token = self._column(number, columns, options.token)
        return clean_row(self._path, number, token, self._column(number, columns, options.tag), options)

    def _check_columns(self, number: int, columns: list[str]) -> None:
        if self._n_columns is None:
            self._n_columns = len(columns)
        if self._n_columns != len(columns) and not self._options.ragged:
            hint = f"; set comment = {columns[0]!r} if this is a comment" if columns[0].startswith("#") else ""
            reason = f"{_count(len(columns))}, but the first row of the file has {self._n_columns}{hint}"
            raise DataError(self._path, number, reason)

    def _column(self, number: int, columns: list[str], index: int | str) -> str:
        try:
            return columns[int(index)]
        except IndexError:
            raise DataError(self._path, number, f"no column {index}: the row has {_count(len(columns))}") from None


def _count(n_columns: int) -> str:
    return "1 column" if n_columns == 1 else f"{n_columns} columns"
