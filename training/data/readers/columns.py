"""Readers of columns: CoNLL files, CSV tables and CoNLL-U.

Of CoNLL-U the text is put together from the forms and `SpaceAfter=No`. The words of a multi-word
token ("don't" is "do" and "n't") are found in its form when they spell it out; a word that does not
("au" is "à" and "le") gets the token as a whole, so that it is seen, and reported, as a span that
shares its characters with another.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import read_text, stream_corpus_lines
from teddy.training.data.readers.rows import Example, Row, Rows, clean_row, to_examples
from teddy.training.recipe.corpus_config import FormatConfig

METADATA = re.compile(
    r"#\s*(newdoc|newpar|global\.columns|[\w.:-]+\s+=|id\s+[\w-]+(\s+domain=\S+)?$)"
)
"""Comments in the manner of CoNLL-U. A mere # says nothing: in tweets it begins tokens, and often
is one."""
DOCUMENT_START = "-DOCSTART-"

_FORM, _MISC = 1, 9
_FIELDS = {"upos": 3, "xpos": 4, "feats": 5, "deprel": 7, "misc": _MISC}
_N_COLUMNS = 10


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
            if n_columns != len(columns) and not options.ragged:
                raise DataError(path, number, _another_width(columns, n_columns))
            token = _cell(path, number, columns, options.token)
            tag = "O" if options.spans == "tokens" else _cell(path, number, columns, options.tag)
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
    yield from to_examples(read_csv_rows(path, options), path, options)


def read_csv_rows(path: Path, options: FormatConfig) -> Iterator[Rows]:
    """Yield the sentences of a table as rows, tags unread."""
    text = read_text(path, options.encoding)
    # Cut as everywhere: csv would take U+2028 or a form feed for the end of a line.
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    table = csv.reader(lines, delimiter=options.separator or ",", strict=True)
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
        rows += [row] if row else []
    if rows:
        yield rows


def _records(path: Path, table: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line on which it ends."""
    while True:
        try:
            cells = next(table, None)
        except csv.Error as error:
            line: int = table.line_num  # type: ignore[attr-defined]
            raise DataError(path, line, f"not valid CSV: {error}") from None
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
            reason = f"no column {column!r} in the header: {', '.join(header)[:200]}"
            raise DataError(path, line, reason)
    return found


def read_conllu(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file.

    Raises DataError, naming the line, for a row that cannot be read.
    """
    column, key = _field(path, options.field)
    sentence = _Sentence(path, column, key, document=0)
    for number, line in stream_corpus_lines(path, options.encoding):
        if not line.strip():
            if sentence.line:
                yield sentence.example()
                sentence = _Sentence(path, column, key, sentence.document + 1)
        elif not line.startswith("#"):
            sentence.add(number, line)
    if sentence.line:
        yield sentence.example()


def _field(path: Path, name: str) -> tuple[int, str]:
    """Return the column of a field and, for a column of KEY=value pairs, the key."""
    head, _, key = name.partition(":")
    if head not in _FIELDS or bool(key) != (head in ("misc", "feats")):
        wanted = "want upos, xpos, deprel, misc:KEY or feats:KEY"
        raise DataError(path, None, f"unknown field {name!r}: {wanted}")
    return _FIELDS[head], key


@dataclass(slots=True)
class _Sentence:
    """A sentence as its rows come in."""

    path: Path
    column: int
    key: str
    document: int
    line: int = 0
    text: str = ""
    spans: list[Span] = field(default_factory=list)
    span_lines: list[int] = field(default_factory=list)
    token_start: int = 0
    """Where the multi-word token began that is being spelled out."""
    token_end: int = 0
    last_inner: int = 0
    """The id of its last word; 0 outside of one."""
    cursor: int = 0
    """How much of it its words have spelled out so far."""
    space_before: bool = False

    def add(self, number: int, line: str) -> None:
        columns = line.split("\t")
        if len(columns) != _N_COLUMNS:
            reason = f"{len(columns)} columns, but CoNLL-U has {_N_COLUMNS}"
            raise DataError(self.path, number, reason)
        self.line = self.line or number
        word_id, form = columns[0], columns[_FORM]
        first, dash, last = word_id.partition("-")
        if "." in word_id:  # an empty node of the enhanced graph: not in the text
            return
        if not first.isdecimal() or bool(dash) != last.isdecimal():
            raise DataError(self.path, number, f"bad word id {word_id!r}")
        if not form.strip():
            raise DataError(self.path, number, "the form is empty")
        if dash:
            self._append(form, columns[_MISC])
            self.token_start, self.token_end = len(self.text) - len(form), len(self.text)
            self.cursor, self.last_inner = 0, int(last)
        elif int(first) <= self.last_inner:
            self._label(number, columns, *self._place_inner(form))
        else:
            self._append(form, columns[_MISC])
            self._label(number, columns, len(self.text) - len(form), len(self.text))

    def _append(self, form: str, misc: str) -> None:
        self.text += " " + form if self.space_before else form
        self.space_before = "SpaceAfter=No" not in misc.split("|")

    def _place_inner(self, form: str) -> tuple[int, int]:
        """Return the end of a word of a multi-word token: after its letters, else the token's."""
        start = self.token_start + self.cursor
        if start + len(form) <= self.token_end and self.text.startswith(form, start):
            self.cursor += len(form)
            return start, start + len(form)
        self.cursor = self.token_end - self.token_start
        return self.token_start, self.token_end

    def _label(self, number: int, columns: list[str], start: int, end: int) -> None:
        value = columns[self.column]
        if self.key:
            pairs = dict(pair.partition("=")[::2] for pair in value.split("|"))
            value = pairs.get(self.key, "")
        if value not in ("", "_"):
            self.spans.append(Span(start, end, value))
            self.span_lines.append(number)

    def example(self) -> Example:
        return Example(
            text=self.text,
            spans=tuple(self.spans),
            span_lines=tuple(self.span_lines),
            path=str(self.path),
            line=self.line,
            is_sentence=True,
            document=self.document,
        )
