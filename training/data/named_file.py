"""A data file named on the command line: which format it most likely has, and how it is read."""

import csv
import glob
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, read_tags, write_tags
from teddy.model.text.words import Tokeniser
from teddy.training.data.corpora import Corpus, load_corpus
from teddy.training.data.readers.columns import DOCUMENT_START, METADATA, read_conll_rows
from teddy.training.data.readers.files import PACKED_SUFFIXES, read_lines
from teddy.training.data.readers.rows import Rows
from teddy.training.recipe.corpus_config import CorpusConfig, FormatConfig, FormatName

_TAG = re.compile(r"O|[BIEMS]-\S+")
_MOST_MISTAKES = 10
"""Rows of another width that are mistakes, even where they are many for a small file."""
_FORMATS: dict[str, FormatName] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "docred",
    ".csv": "csv",
}
"""By suffix; `.conllu` is recognised by its rows."""
_CSV_COLUMNS = {
    "sentence": r"(?i)sentence.*|.*sent_?id",
    "token": r"(?i)words?|tokens?|text",
    "tag": r"(?i)tags?|labels?|ner",
}


def guess_format(path: Path | str, form: FormatName | None = None, **stated: Any) -> FormatConfig:
    """Guess what is not stated: the format by the suffix, columns and scheme by the rows.

    `stated` are fields of `FormatConfig` that are known. Never more than a guess: what does not fit
    it is then an error of the reader, with its line. Raises DataError for a file that is missing,
    empty, binary, or in another encoding.
    """
    path = Path(path)
    known = FormatConfig(**stated)
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix not in PACKED_SUFFIXES]
    form = form or _FORMATS.get(suffixes[-1] if suffixes else "")
    if form == "csv":
        return _guess_table(path, known).model_copy(update=stated)
    if form is None or form == "conll":
        lines = read_lines(path, known.encoding)
        rows = [line for line in lines if line.strip() and not METADATA.match(line)]
        if form is None and _is_tree([row.split("\t") for row in rows]):
            return known.model_copy(update={"format": "conllu"})
        rows = [row for row in rows if not row.startswith(DOCUMENT_START)]
        return _guess_columns(path, rows, stated)
    return known.model_copy(update={"format": form})


def _is_tree(rows: Sequence[Sequence[str]]) -> bool:
    word_id = re.compile(r"\d+([-.]\d+)?")
    return bool(rows) and all(len(row) == 10 and word_id.fullmatch(row[0]) for row in rows)


def _guess_table(path: Path, known: FormatConfig) -> FormatConfig:
    """Find the columns of a table by their names, where these are usual ones."""
    header = next(csv.reader(read_lines(path, known.encoding)), [])
    found: dict[str, int | str] = {"token": 1}
    for key, pattern in _CSV_COLUMNS.items():
        names = [name for name in header if re.fullmatch(pattern, name)]
        found.update({key: names[0]} if names else {})
    return known.model_copy(update={"format": "csv", **found})


def _guess_columns(path: Path, lines: Sequence[str], stated: Mapping[str, Any]) -> FormatConfig:
    separator = "\t" if lines and all("\t" in line for line in lines) else ""
    rows = [line.split(separator or None) for line in lines]
    width = min(map(len, rows), default=1)
    token = 1 if width > 2 and all(row[0].isdecimal() for row in rows) else 0
    found = {
        "separator": separator,
        "token": token,
        "tag": _tag_column(rows, range(width - 1, token, -1)),
        "ragged": _is_ragged(rows),
    }
    options = FormatConfig(**{**found, **stated})
    if "scheme" in stated or isinstance(options.token, str) or isinstance(options.tag, str):
        return options
    try:
        sentences = list(read_conll_rows(path, options))
    except DataError:
        return options  # which the reader will report
    return options.model_copy(update={"scheme": _guess_scheme(sentences)})


def _tag_column(rows: Sequence[Sequence[str]], columns: Sequence[int]) -> int:
    """Return the first of `columns` that has nothing but tags, else the last column of all."""
    of_tags = (each for each in columns if all(_TAG.fullmatch(row[each]) for row in rows))
    return next(of_tags, -1)


def _is_ragged(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows differ in width too often for it to be a mistake."""
    odd = sum(len(row) != len(rows[0]) for row in rows)
    return odd > max(_MOST_MISTAKES, len(rows) / 100)


def _guess_scheme(sentences: Sequence[Rows]) -> Scheme:
    """Return the first scheme in which every tag is legal, or BIO."""
    tagged = [[row.tag for row in rows] for rows in sentences]
    for scheme in (Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES):
        with suppress(ValueError):  # a tag that the scheme does not have
            if all(
                write_tags(read_tags(tags, scheme), len(tags), scheme) == tags for tags in tagged
            ):
                return scheme
    return Scheme.BIO


def file_config(
    path: Path,
    labels: Sequence[str],
    *,
    form: FormatName | None = None,
    encoding: str = "utf-8",
    label_map: Mapping[str, str] | None = None,
    annotates: tuple[str, ...] | None = None,
    **stated: Any,
) -> CorpusConfig:
    """Return a file as a corpus that is all dev.

    The arguments are fields of `recipe.corpus_config`; a format, or a column or scheme in `stated`,
    that is None is guessed from the file.

    Raises: DataError when the file cannot be read, or when the fields do not go together or with
    `labels`.
    """
    try:
        "".encode(encoding)
    except LookupError:
        raise DataError(path, None, f"encoding: unknown encoding {encoding!r}") from None
    stated = {key: value for key, value in stated.items() if value is not None}
    config = CorpusConfig(
        **guess_format(path, form, encoding=encoding, **stated).model_dump(),
        name=path.name,
        licence="not stated",
        dev=(glob.escape(path.name),),
        map=dict(label_map or {}),
        annotates=annotates,
    )
    for key, reason in config.contradictions(labels):
        raise DataError(path, None, f"{'.'.join(map(str, key))}: {reason}")
    return config


def load_file(path: Path, labels: Sequence[str], tokeniser: Tokeniser, **stated: Any) -> Corpus:
    """Read a file as a corpus that is all dev; `stated` are further arguments of `file_config`.

    Raises: DataError, as `load_corpus` and `file_config` do.
    """
    return load_corpus(file_config(path, labels, **stated), labels, path.parent, tokeniser)
