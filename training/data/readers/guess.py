"""What a file most likely is: its format, columns, tagging scheme and unit of offsets, and why.

Recipes, `teddy check` and the commands that read a file all guess in the same way. It is never more
than a guess: what does not fit it is an error of the reader, with its line, and what is stated is
not guessed.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError, counted
from teddy.model.text.offsets import OffsetUnit
from teddy.training.data.readers.binary import arrow_records, feature_names
from teddy.training.data.readers.brat import read_brat
from teddy.training.data.readers.conllu import (
    COLUMNS,
    OF_PHRASES,
    guess_tree,
    named_columns,
    read_conllu,
)
from teddy.training.data.readers.exports import as_usual, refuse_lines
from teddy.training.data.readers.files import stream_lines
from teddy.training.data.readers.guess_columns import (
    guess_columns,
    guess_scheme,
    guess_table,
    is_table,
    tagged_by,
)
from teddy.training.data.readers.json import json_values
from teddy.training.data.readers.markup import LINK, SECTION, STRUCTURE, TAG, as_xml
from teddy.training.data.readers.records import OF_RECORDS, as_record, kind_of, parts_of
from teddy.training.data.readers.rows import Example
from teddy.training.data.readers.shapes import NOT_GOLD, tags_key
from teddy.training.data.readers.units import OWN_TEXT, SEEN, UNITS, Item, fitting
from teddy.training.data.readers.webanno import ANY_HEADER
from teddy.training.recipe.corpus_config import AUTO, UNKNOWN, FormatConfig, FormatName

HEAD_LINES = 20_000
"""Lines at the head of a file from which its columns and tags are guessed."""
_MOST_RECORDS = 1_000
_CLEARLY = 3
"""Spans that must fit better in another unit than in characters."""
_MOST = 0.8
"""And the share of all that must fit."""
_MAY_BE_JSON = re.compile(r"\s*[\[{]|[A-Za-z_][\w ]*=\s*\[")
_ENDS_IN_TAG = re.compile(r"\s(O|[BI]-\S+)\s*$")
_UNIT_NAMES = {"utf16": "UTF-16 units", "byte": "UTF-8 bytes", "character": "characters"}
_COLUMNS = frozenset(["separator", "token", "tag", "scheme", "spans", "ragged", "comment"])
_TABLE = frozenset(["separator", "token", "tag", "sentence", "row", "scheme", "spans"])
_RECORDS = frozenset(["offset_unit", "scheme", "spans"])
_GUESSED: dict[str, frozenset[str]] = {
    "conll": _COLUMNS,
    "conllu": frozenset(["field", "scheme", "spans"]),
    "csv": _TABLE,
    **dict.fromkeys(OF_RECORDS, _RECORDS),
    "brat": frozenset(["offset_unit"]),
}
"""The keys that are guessed for each format."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """How a file is read: what was stated, and what the file says of the rest."""

    path: Path
    options: FormatConfig
    reasons: tuple[str, ...]
    """What was found, and why it is read so: a phrase each, the format first."""

    def __str__(self) -> str:
        """Return the reasons on one line."""
        return "; ".join(self.reasons)


def resolved(path: Path, options: FormatConfig) -> FormatConfig:
    """Return the options with what they leave open; those that leave nothing open as they are."""
    if options.format != AUTO and not _GUESSED.get(options.format, frozenset()) & options.guessed:
        return options
    return guess_file(path, options).options


def guess_file(path: Path | str, stated: FormatConfig | None = None) -> Guess:
    """Guess what the options leave open: the format by the content, then what belongs to it.

    Raises DataError for a file that is missing, empty, of no format that Teddy knows, or in another
    encoding.
    """
    path, stated = Path(path), stated or FormatConfig()
    form, why = (stated.format, "as stated") if stated.format != AUTO else _format(path, stated)
    options = stated.model_copy(update={"format": form})
    found: dict[str, Any] = {}
    reasons = [f"{form} ({why})"]
    if form == "conll":
        found = guess_columns(_head(path, options), options, reasons)
    elif form == "csv":
        found = guess_table(path, options, reasons)
    elif form == "conllu":
        found = guess_tree(_head(path, options), options, reasons)
        if found["field"].endswith(OF_PHRASES):
            _tell_parts(read_conllu(path, options.model_copy(update=found)), reasons)
    elif form == "brat":
        found = {"offset_unit": "character"}
        _tell_parts(read_brat(path, options), reasons)
    elif form in _GUESSED and path.suffix != ".spacy":
        found = _guess_records(path, options, reasons)
    if form == "conll" and str in (type(stated.token), type(stated.tag)):
        for key, column in (("token", stated.token), ("tag", stated.tag)):
            if isinstance(column, str) and column != AUTO:
                reason = f"no column {column!r}: the file has no header; set {key} to a number"
                raise DataError(path, None, reason)
    kept = {key: value for key, value in found.items() if getattr(stated, key) in (AUTO, ())}
    return Guess(path=path, options=options.model_copy(update=kept), reasons=tuple(reasons))


def is_binary(path: Path) -> bool:
    """Whether this is a parquet or arrow file, or a folder of them."""
    if path.is_dir():
        return any([*path.glob("*.arrow"), *path.glob("*.parquet"), *path.glob("dataset_*.json")])
    return path.suffix in (".parquet", ".arrow")


def _format(path: Path, stated: FormatConfig) -> tuple[FormatName, str]:
    """Return the format, and why it is most likely this one."""
    if is_binary(path):
        return "datasets", "parquet or arrow"
    if path.suffix == ".ann" or (path.is_dir() and any(path.rglob("*.ann"))):
        return "brat", "texts with .ann files"
    if path.is_dir():
        raise DataError(path, None, "a folder without .ann, .arrow or .parquet files: name a file")
    if path.suffix == ".spacy":
        return "spacy", "a DocBin"
    if path.suffix == ".txt" and path.with_suffix(".ann").is_file():
        return "brat", "it has an .ann file beside it"
    head = _head(path, stated)
    lines = [line for line in head[:200] if line.strip()]
    if not lines:
        raise DataError(path, None, "the file is empty")
    if lines[0].startswith(ANY_HEADER):
        return "webanno", lines[0][1:]
    if {".yml", ".yaml"} & {each.lower() for each in path.suffixes}:
        want = "put its examples into a .md file, a text on each line: to [Oslo](city)"
        raise DataError(path, None, f"YAML, as of Rasa and Snips, which is not read: {want}")
    is_json = bool(_of_json(path))
    if is_json or (_MAY_BE_JSON.match(lines[0]) and not LINK.match(lines[0])):
        records = _first_records(path, stated)
        if is_json and not records:
            raise DataError(path, None, "the file has no record")
        if records:
            kind = kind_of(as_usual(path, 1, records[0])) or "jsonl"
            names = list(records[0])[:6] if isinstance(records[0], dict) else ["text", "entities"]
            return kind, f"records of {', '.join(map(str, names))}"
    if any(named_columns(line) for line in lines if line.startswith("#")) or _is_tree(lines):
        return "conllu", "the columns of CoNLL-U"
    if not tagged_by(lines):
        refuse_lines(path, lines[:1])
    if is_table(path, lines):
        return "csv", "a header that names columns"
    if ".xml" in path.suffixes or _is_xml(lines):
        return "xml", "elements around entities"
    if lines[0].startswith("#begin document"):
        return "conll", "the columns of CoNLL-2012"
    if any(map(SECTION.match, lines)):
        return "markdown", "the sections of Rasa"
    if any(map(_has_link, lines)) and not any(_ENDS_IN_TAG.search(line) for line in lines):
        return "markdown", "marks such as [Ada](PER)"
    if tagged_by(lines):
        return "conll", "words with their tags"
    if _is_prose(lines) and not stated.guessed >= _COLUMNS - {"comment", "ragged"}:
        return "conll", "columns"
    if _is_prose(lines):
        want = "want a word and its tag on each line, or an export that docs/formats.md lists"
        raise DataError(path, 1, f"plain text without annotations: {lines[0][:40]!r}; {want}")
    return "conll", "columns"


def _tell_parts(examples: Iterator[Example], reasons: list[str]) -> None:
    """Say how many entities are in several parts, up to what cannot be read."""
    n_parts = 0
    with suppress(DataError):  # which the reader will report
        for example in examples:
            n_parts += sum(span.label == UNKNOWN for span in example.spans)
    if n_parts:
        parts = f"{counted(n_parts, 'entity')} in several parts"
        reasons.append(f"{parts}: their words are unknown")


def _head(path: Path, options: FormatConfig) -> list[str]:
    return [line for _, line in islice(stream_lines(path, options.encoding), HEAD_LINES)]


def _first_records(path: Path, options: FormatConfig) -> list[Any]:
    """Return the first record, or nothing where this is no JSON after all."""
    try:
        return [value for _, value in islice(json_values(path, options.encoding), 1)]
    except DataError:
        if _of_json(path):
            raise
        return []


def _of_json(path: Path) -> set[str]:
    """Return the endings of a name that promise JSON, or the list of a program."""
    return {each.lower() for each in path.suffixes} & {".json", ".jsonl", ".ndjson", ".py"}


def _is_tree(lines: list[str]) -> bool:
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    word_id = re.compile(r"\d+([-.]\d+)?")
    return bool(rows) and all(
        len(row) == len(COLUMNS) and word_id.fullmatch(row[0]) for row in rows
    )


def _is_xml(lines: list[str]) -> bool:
    for line in lines:
        line = as_xml(line)
        ends = {mark[2] for mark in TAG.finditer(line) if mark[1]}
        starts = {mark[2] for mark in TAG.finditer(line) if not mark[1]}
        if any(name.lower() not in STRUCTURE for name in starts & ends):
            return True
    return False


def _has_link(line: str) -> bool:
    return any(found[2] and "/" not in found[2] for found in LINK.finditer(line))


def _is_prose(lines: list[str]) -> bool:
    """Whether the lines differ in their number of words as sentences do."""
    widths = Counter(len(line.split("\t" if "\t" in line else None)) for line in lines)
    _, most = widths.most_common(1)[0]
    return (len(lines) == 1 and max(widths) > 5) or (len(widths) > 3 and most < len(lines) / 2)


def _guess_records(path: Path, options: FormatConfig, reasons: list[str]) -> dict[str, Any]:
    """Guess what tags of tokens mean, or the unit of offsets."""
    found: dict[str, Any] = {"spans": "tags", "scheme": "bio", "offset_unit": "character"}
    values = (
        ((0, value) for value in arrow_records(path))
        if is_binary(path)
        else json_values(path, options.encoding)
    )
    head = [value for _, value in islice(_until_error(values), _MOST_RECORDS)]
    settled = sum(isinstance(each, dict) and each.get("answer") in NOT_GOLD for each in head)
    if settled:
        reasons.append(f"{settled:,} of {len(head):,} records were rejected or ignored: left out")
    if one := sum(isinstance(each, dict) and each.get("_is_binary") is True for each in head):
        reasons.append(
            f"{one:,} of {len(head):,} records answer for one suggestion, as of ner.teach: other "
            "entities of their texts are unmarked, and are read as none"
        )
    of_tasks = Counter(
        each.get("id") for each in head if isinstance(each, dict) and "annotator" in each
    )
    if not options.annotator and (n_more := of_tasks.total() - len(of_tasks)):
        cure = 'annotator = "1" reads those of one'
        reasons.append(f"{n_more:,} texts are repeated with the marks of another annotator: {cure}")
    tagged = [each for each in head if isinstance(each, dict) and tags_key(each, options.tag)]
    if tagged and kind_of(tagged[0]) == "datasets":
        key = tags_key(tagged[0], options.tag) or ""
        names = options.tag_names or feature_names(path, key)
        lists = [each[tags_key(each, options.tag) or key] for each in tagged]
        reasons.append(f"tags in {key}")
        if names:
            found["tag_names"] = names
            reasons.append(f"numbers of {', '.join(names[:5])}")
            known = [
                [tag for tag in tags if isinstance(tag, str) or tag < len(names)] for tags in lists
            ]
            lists = [
                [names[tag] if isinstance(tag, int) else tag for tag in tags] for tags in known
            ]
        scheme = guess_scheme([[str(tag) for tag in tags] for tags in lists])
        if scheme is not None:
            found["scheme"] = scheme
            reasons.append(f"tags in {scheme}")
    elif options.offset_unit == AUTO:
        found["offset_unit"] = _guess_unit(path, options, reasons)
    return found


def _guess_unit(path: Path, options: FormatConfig, reasons: list[str]) -> OffsetUnit:
    """Return the unit in which most spans fit, of texts in which the units differ."""
    fits: Counter[OffsetUnit] = Counter()
    n_spans = most = seen = 0
    for text, items in islice(_texts_that_tell(path, options), _MOST_RECORDS):
        n_spans += len(items)
        most += sum(OWN_TEXT if own is not None else 1 for *_, own in items)
        for unit in UNITS:
            fits[unit] += fitting(text, items, unit)
        seen += fitting(text, items, None)
    best = max(UNITS, key=lambda unit: fits[unit])
    if seen >= max(fits[best] + _CLEARLY, _MOST * most):
        reason = f"offsets of {n_spans:,} spans fit no unit that is read{SEEN}"
        raise DataError(path, None, f'{reason}; where they are right, offset_unit = "character"')
    if fits[best] < fits["character"] + _CLEARLY or fits[best] < _MOST * most:
        return "character"
    reasons.append(
        f"offsets in {_UNIT_NAMES[best]}, which fit {n_spans:,} spans better than characters"
    )
    return best


def _texts_that_tell(path: Path, options: FormatConfig) -> Iterator[tuple[str, list[Item]]]:
    """Yield the texts with characters outside of ASCII, and their spans as the file has them."""
    values: Iterator[tuple[int, Any]] = (
        ((0, value) for value in islice(arrow_records(path), _MOST_RECORDS))
        if is_binary(path)
        else json_values(path, options.encoding, _may_tell)
    )
    for line, value in _until_error(values):
        with suppress(DataError):  # which the reader will report
            record = as_record(path, line, value, options)
            parts = parts_of(record) if record is not None else None
            if parts and parts[1] and not parts[0].isascii():
                yield parts[0], parts[1]


def _until_error(values: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Yield what comes before a line that cannot be read, which the reader will report."""
    with suppress(DataError):
        yield from values


def _may_tell(_: int, line: str) -> bool:
    return not line.isascii() or "\\u" in line


def guesses(paths: Iterable[Path], options: FormatConfig) -> Iterator[str]:
    """Yield how files are read, one line for all that are read alike; nothing of what is stated."""
    counts: Counter[str] = Counter()
    for path in paths if options.guessed else ():
        with suppress(DataError):
            counts[str(guess_file(path, options))] += 1
    for how, n_files in counts.items():
        yield how if n_files == 1 else f"{how} ({n_files:,} files)"
