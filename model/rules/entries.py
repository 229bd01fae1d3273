"""The files of dictionaries: names, one a line or row, with a label and an id where they have one.

.txt          a name on each line
.csv .tsv     a name in a column; with headings if the rule names its columns by them
.jsonl        objects with a name; spaCy's EntityRuler patterns: {"label", "pattern", "id"?}
.gz .bz2 .xz  after any of these: unpacked
"""

import bz2
import csv
import gzip
import json
import lzma
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from teddy.model.errors import RulesError
from teddy.model.rules.config import Column, DictionaryConfig

_OPENERS: Mapping[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
}
_TABLES = (".csv", ".tsv")
_NAME_KEYS = ("text", "name")
_ID_KEY = "id"


class Entry(NamedTuple):
    """A name, or a pattern of tokens as spaCy has them; `line` in its file; `id` may be empty."""

    line: int
    name: str | list[dict[str, Any]]
    label: str
    id: str


def read_entries(rule: DictionaryConfig, path: Path) -> Iterator[Entry]:
    """Yield the entries of a file. Raises RulesError, naming the line, for what cannot be read."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packed = suffixes.pop() if suffixes and suffixes[-1] in _OPENERS else ""
    form = suffixes[-1] if suffixes else ""
    if form not in (".txt", ".jsonl", *_TABLES):
        reason = "its name must end with .txt, .csv, .tsv or .jsonl, perhaps packed as .gz"
        raise RulesError(path, None, reason)
    read = _read_text if form == ".txt" else _read_objects if form == ".jsonl" else _read_table
    number = _LineCount()
    try:
        opened = _OPENERS.get(packed, open)
        with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
            yield from read(rule, path, file, number)
    except FileNotFoundError:
        raise RulesError(path, None, "no such file") from None
    except UnicodeDecodeError:
        raise RulesError(path, number.line + 1, "not UTF-8, on this line or soon after") from None
    except (OSError, EOFError, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or "it is damaged"
        raise RulesError(path, None, f"cannot be read: {reason}") from None


class _LineCount:
    """The number of lines that have been read, for an error while the next one is."""

    line = 0


def _read_text(
    rule: DictionaryConfig, path: Path, file: TextIO, number: _LineCount
) -> Iterator[Entry]:
    if not rule.label:
        raise RulesError(path, None, "a .txt file has no labels: the rule must have a label")
    for line, text in enumerate(file, start=1):
        number.line = line
        name = text.strip()
        if name:
            yield Entry(line, name, rule.label, "")


def _read_table(
    rule: DictionaryConfig, path: Path, file: TextIO, number: _LineCount
) -> Iterator[Entry]:
    form = next(suffix for suffix in reversed(path.suffixes) if suffix.lower() in _TABLES)
    rows = (
        csv.reader(file)
        if form.lower() == ".csv"
        else csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    wanted = (rule.column, rule.label_column, rule.id_column)
    try:
        headings = next(rows, []) if any(isinstance(each, str) and each for each in wanted) else []
        name_at, label_at, id_at = (_place(each, headings, path) for each in wanted)
        name_at = 0 if name_at is None else name_at
        if label_at is None and not rule.label:
            raise RulesError(path, None, "the rule must have a label or a label_column")
        needed = 1 + max(name_at, label_at or 0, id_at or 0)
        for row in rows:
            number.line = line = rows.line_num
            if not any(row):
                continue
            if len(row) < needed:
                raise RulesError(path, line, f"{len(row)} columns, where {needed} are needed")
            label = rule.label if label_at is None else row[label_at].strip()
            if not label:
                raise RulesError(path, line, "no label")
            if name := row[name_at].strip():
                yield Entry(line, name, label, "" if id_at is None else row[id_at].strip())
    except csv.Error as error:
        raise RulesError(path, rows.line_num, str(error)) from None


def _place(column: Column, headings: Sequence[str], path: Path) -> int | None:
    """Return the index of a column; None for one that is not named."""
    if column == "":
        return None
    if isinstance(column, int):
        if column < 1:
            raise RulesError(path, None, f"column {column}: the first one is 1")
        return column - 1
    if column not in headings:
        raise RulesError(path, 1, f"no column {column!r}; there are {', '.join(headings)}")
    return headings.index(column)


def _read_objects(
    rule: DictionaryConfig, path: Path, file: TextIO, number: _LineCount
) -> Iterator[Entry]:
    for line, text in enumerate(file, start=1):
        number.line = line
        if not text.strip():
            continue
        try:
            found = json.loads(text)
        except ValueError as error:
            raise RulesError(path, line, f"not JSON: {error}") from None
        if not isinstance(found, dict):
            raise RulesError(path, line, "not a JSON object")
        yield _entry_of(rule, path, line, found)


def _entry_of(rule: DictionaryConfig, path: Path, line: int, found: Mapping[str, Any]) -> Entry:
    """Return the entry of an object: that of EntityRuler if it has a `pattern`."""
    is_spacy = not rule.column and "pattern" in found
    keys = ("pattern",) if is_spacy else (str(rule.column),) if rule.column else _NAME_KEYS
    name = next((found[key] for key in keys if key in found), None)
    label = found.get(str(rule.label_column) or "label") if not rule.label else rule.label
    entry_id = found.get(str(rule.id_column) or _ID_KEY)
    is_list = isinstance(name, list) and is_spacy and all(isinstance(each, dict) for each in name)
    if not (isinstance(name, str) or is_list) or not name:
        raise RulesError(path, line, f"no {' or '.join(keys)} that is a name")
    if not isinstance(label, str) or not label:
        raise RulesError(path, line, "no label, and the rule has none")
    if not isinstance(entry_id, str | int | None):
        raise RulesError(path, line, "its id is neither a text nor a number")
    return Entry(line, name, label, "" if entry_id is None else str(entry_id))
