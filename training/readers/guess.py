"""Which format a file most likely has, so that it can be checked or evaluated before anybody has written a recipe."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from model.spans import Scheme, read_tags, write_tags
from training.corpus_config import FormatConfig
from training.readers.conll import DOCUMENT_START, METADATA, read_conll_rows
from training.readers.files import PACKED_SUFFIXES, read_lines
from training.readers.tagged import Rows

_TAG = re.compile(r"O|[BIEMS]-\S+")
_CSV_COLUMNS = {
    "sentence": r"(?i)sentence.*|.*sent_?id",
    "token": r"(?i)words?|tokens?|text",
    "tag": r"(?i)tags?|labels?|ner",
}


def guess_format(path: Path | str) -> FormatConfig:
    """Guess from the suffix (that of packing aside) and, for columns and tables, from what the rows look like.

    Never more than a guess: what does not fit it is then an error of the reader, with its line.
    Raises DataError for a file that is missing, empty, binary, or not UTF-8.
    """
    path = Path(path)
    suffixes = [suffix for suffix in path.suffixes if suffix not in PACKED_SUFFIXES]
    match suffixes[-1].lower() if suffixes else "":
        case ".jsonl" | ".ndjson":
            return FormatConfig(format="jsonl")
        case ".json":
            return FormatConfig(format="docred")
        case ".csv":
            return _guess_table(path)
        case _:
            return _guess_columns(path)


def _guess_table(path: Path) -> FormatConfig:
    """Find the columns of a table by their names, where these are usual ones."""
    header = next(csv.reader(read_lines(path)), [])
    found: dict[str, str] = {}
    for key, pattern in _CSV_COLUMNS.items():
        names = [name for name in header if re.fullmatch(pattern, name)]
        found.update({key: names[0]} if names else {})
    return FormatConfig(format="csv", **{"token": 1, **found})  # type: ignore[arg-type]


def _guess_columns(path: Path) -> FormatConfig:
    lines = [line for line in read_lines(path) if line.strip() and not line.startswith(DOCUMENT_START)]
    lines = [line for line in lines if not METADATA.match(line)]
    separator = "\t" if lines and all("\t" in line for line in lines) else ""
    rows = [line.split(separator or None) for line in lines]
    widths = {len(row) for row in rows}
    width = min(widths, default=1)
    if separator and widths == {10} and all(re.fullmatch(r"\d+([-.]\d+)?", row[0]) for row in rows):
        return FormatConfig(format="conllu")
    token = 1 if width > 2 and all(row[0].isdecimal() for row in rows) else 0
    options = FormatConfig(
        separator=separator,
        token=token,
        tag=_tag_column(rows, range(width - 1, token, -1)),
        ragged=_is_ragged(rows),
    )
    return options.model_copy(update={"scheme": _guess_scheme(list(read_conll_rows(path, options)))})


def _tag_column(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> int:
    """Return the first of `columns` that has nothing but tags, else the last column of all."""
    return next((column for column in columns if all(_TAG.fullmatch(row[column]) for row in rows)), -1)


def _is_ragged(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows differ in width too often for it to be a mistake."""
    odd = sum(len(row) != len(rows[0]) for row in rows)
    return odd > len(rows) / 100


def _guess_scheme(sentences: Sequence[Rows]) -> Scheme:
    """Return the first scheme in which every tag is legal, or BIO."""
    for scheme in (Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES):
        try:
            if all(_is_legal([row.tag for row in rows], scheme) for rows in sentences):
                return scheme
        except ValueError:  # a tag that the scheme does not have
            continue
    return Scheme.BIO


def _is_legal(tags: list[str], scheme: Scheme) -> bool:
    return write_tags(read_tags(tags, scheme), len(tags), scheme) == tags
