"""What the columns of a file, or of a table, most likely are, and in which scheme its tags are."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Scheme, read_tags, write_tags
from teddy.training.data.readers.columns import (
    DOCUMENT_START,
    EXCEL,
    HEAD_ROWS,
    METADATA,
    TAG,
    is_whole_line,
    read_table,
    split_tags,
)
from teddy.training.data.readers.files import PACKED_SUFFIXES, stream_corpus_lines
from teddy.training.data.readers.rows import spelt_out
from teddy.training.recipe.corpus_config import AUTO, FormatConfig

_CHUNKS = {"NP", "VP", "PP", "ADJP", "ADVP", "SBAR", "PRT", "CONJP", "INTJ", "LST", "UCP"}
"""Labels of syntactic chunks, whose column looks like one of entities."""
_SCHEMES = (
    *(Scheme.BIO, Scheme.IOB1, Scheme.BIOES, Scheme.BMES, Scheme.BILUO, Scheme.BMEWO),
    Scheme.BRACKETS,
)
_OF_ENTITIES = 10
"""The column of entities in OntoNotes' files of CoNLL-2012."""
_MOST_MISTAKES = 10
"""Rows of another width that are mistakes, even where they are many for a small file."""
_MOST_LABELS = 100
"""Values of a column that are labels of entities; a column of words has more."""
_NAMES = {
    "sentence": r"(?i)sentence[\W_]*(#|id|no|number)?|.*sent_?(id|no)|sid",
    "token": r"(?i)words?|tokens?|text|form|content|sentences?|title|document",
    "tag": r"(?i)((ner|bio|iob|entity|word|pos)?[ _-]?(tags?|labels?)|ner|entit(y|ies)|spans|iob)",
}


def is_table(path: Path, lines: Sequence[str]) -> bool:
    """Return whether a file begins with a header that names columns."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix not in PACKED_SUFFIXES]
    excel = EXCEL.match(lines[0])
    lines = lines[1:] if excel and lines[1:] else lines
    separator = excel[1] if excel else _separator(lines[0])
    names = [name.strip('" ') for name in lines[0].split(separator)] if separator else []
    known = {key for key, names_ in _NAMES.items() if any(re.fullmatch(names_, n) for n in names)}
    is_csv = suffixes[-1:] == [".csv"] and len(names) > 1
    return {"token", "tag"} <= known or (is_csv and not TAG.fullmatch(names[-1]))


def guess_table(path: Path, options: FormatConfig, reasons: list[str]) -> dict[str, Any]:
    """Return the columns of a table, by their names where these are usual, else by their cells."""
    if options.separator == AUTO:
        with_any = options.model_copy(update={"separator": "\0"})
        first = next(read_table(path, with_any), (1, [""]))[1][0]
        lines = (line for _, line in islice(stream_corpus_lines(path, options.encoding), 1))
        excel = EXCEL.match(next(lines, ""))
        separator = excel[1] if excel else _separator(first) or ","
        options = options.model_copy(update={"separator": separator})
    try:
        rows = [cells for _, cells in islice(read_table(path, options), HEAD_ROWS)]
    except DataError:  # which the reader will report
        rows = [cells for _, cells in islice(read_table(path, options), 1)]
    header, filled = (rows or [[]])[0], [row for row in rows[1:] if any(row)]
    found: dict[str, Any] = {"separator": options.separator, "spans": "tags"}
    tag = _stated(options.tag, header) or _named("tag", header) or _tag_of_cells(header, filled)
    others = [name for name in header if name != tag]
    token = _stated(options.token, header) or _named("token", others)
    sentence = _named("sentence", [name for name in others if name != token])
    others = [name for name in others if name != sentence]
    token = token or max(others, key=lambda name: len(_words(header, filled, name)), default=None)
    sentence = sentence or _counting(header[: header.index(token or header[0])], filled)
    if tag is None or token is None:
        have = ", ".join(header)[:200]
        cure = 'say which with token = "NAME" and tag = "NAME"'
        raise DataError(path, 1, f"no columns of tokens and tags among {have}; {cure}")
    cells = [row[header.index(tag)] for row in filled]
    words = [row[header.index(token)] for row in filled]
    lists = [split_tags(cell) for cell in cells]
    is_sentence = any(
        len(tags) > 1 or cell[:1] == "[" for tags, cell in zip(lists, cells, strict=True)
    )
    if is_sentence:
        found |= {"row": "sentence", "sentence": ""}
        reasons.append(f"a sentence in each row: {token!r} with {tag!r}")
    else:
        if options.row == AUTO and 2 * sum(" " in word.strip() for word in words) > len(words):
            want = 'want a tag for each word, or spans, such as [[0, 3, "PER"]]'
            raise DataError(path, 2, f"{tag!r} has one label for the whole of {token!r}; {want}")
        found |= {"row": "word", "sentence": sentence or ""}
        ends = f"by {sentence!r}" if sentence else "by blank rows"
        ends += "" if sentence or len(filled) < len(rows) - 1 else ", of which there are none"
        reasons.append(f"a word in each row: {token!r} with {tag!r}, sentences {ends}")
        lists = [[str(tag) for tags in lists for tag in tags]]
    of_text = [[str(tag) for tag in tags if isinstance(tag, str)] for tags in lists]
    scheme = guess_scheme([tags for tags in of_text if tags])
    reasons.append(f"tags in {scheme or Scheme.BIO}")
    return found | {"token": token, "tag": tag, "scheme": scheme or Scheme.BIO}


def _separator(header: str) -> str:
    """Return what stands most often between the names of a header."""
    counts = {each: header.count(each) for each in "\t;|,"}
    best = max(counts, key=lambda each: counts[each])
    return best if counts[best] else ""


def _stated(column: int | str, header: Sequence[str]) -> str | None:
    if isinstance(column, int) and -len(header) <= column < len(header):
        return header[column]
    return column if isinstance(column, str) and column in header else None


def _named(key: str, header: Sequence[str]) -> str | None:
    """Return the column with a usual name; of several, one of entities, else the last."""
    names = [name for name in header if re.fullmatch(_NAMES[key], name.strip())]
    of_entities = [name for name in names if re.search(r"(?i)ner|bio|iob|entit", name)]
    of_words = [name for name in names if re.search(r"(?i)word|token|text|form", name)]
    without_pos = [name for name in names if not re.match(r"(?i)pos", name)]
    if key == "tag":
        return next(reversed(of_entities or without_pos or names), None)
    return next(iter((of_words if key == "token" else []) or names), None)


def _words(header: Sequence[str], rows: Sequence[Sequence[str]], name: str) -> set[str]:
    """Return what a column has that is no number."""
    at = header.index(name)
    return {row[at] for row in rows if not row[at].isdecimal()}


def _counting(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return the column that counts the sentences: numbers that stay for some rows, and go on."""
    for at, name in enumerate(header):
        cells = [row[at] for row in rows]
        n_new = sum(before != cell for before, cell in pairwise(cells))
        if all(map(str.isdecimal, cells)) and 0 < n_new == len({*cells}) - 1 < len(cells) - 1:
            return name
    return None


def _tag_of_cells(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return the column that has nothing but tags."""
    for at in range(len(header) - 1, -1, -1):
        cells = [str(part) for row in rows for part in split_tags(row[at])]
        if cells and all(TAG.fullmatch(cell) for cell in cells):
            return header[at]
    return None


def guess_columns(
    lines: Sequence[str], options: FormatConfig, reasons: list[str]
) -> dict[str, Any]:
    """Return how the rows of a file are read, from those at its head."""
    if options.separator == AUTO and options.row == AUTO and (mark := tagged_by(lines)):
        return _guess_tagged_lines(lines, mark, reasons)
    comment = _comment(lines) if options.comment == AUTO else options.comment
    blocks = _blocks(lines, comment)
    rows_of_text = [line for block in blocks for line in block]
    separator = _column_separator(rows_of_text) if options.separator == AUTO else options.separator
    split = [
        [line.split(separator) if separator else line.split() for line in block] for block in blocks
    ]
    rows = [row for block in split for row in block]
    width = min(map(len, rows), default=1)
    is_onto = bool(rows) and width > _OF_ENTITIES and all(row[2].isdecimal() for row in rows)
    is_onto = is_onto and any(line.startswith("#begin document") for line in lines[:200])
    numbered = width > 2 and all(row[0].isdecimal() for row in rows)
    is_behind = width == 2 and not is_onto and _is_tag_first(rows)
    token = 3 if is_onto else int(numbered or is_behind)
    token = options.token if isinstance(options.token, int) else token
    found: dict[str, Any] = {"separator": separator, "token": token, "comment": comment}
    found["ragged"] = is_onto or _is_ragged(rows)
    is_tagged = options.spans in (AUTO, "tags")
    if is_onto:  # the columns behind have brackets too, of arguments
        tag = _OF_ENTITIES
    elif is_behind and token:
        tag = 0
    else:
        tag = _tag_column(rows, range(width - 1, token, -1), reasons)
    tag = options.tag if isinstance(options.tag, int) and is_tagged else tag
    names = {"": "white space", "\t": "tabs", ",": "commas", "|": "bars", ";": "semicolons"}
    reasons.insert(
        1, f"{names.get(separator, separator)} between columns, tokens in {token}, tags in {tag}"
    )
    tags = [[row[tag] for row in block if -len(row) <= tag < len(row)] for block in split]
    tags = [["O" if tag in options.outside else tag for tag in each] for each in tags]
    scheme = guess_scheme(tags) if is_tagged else None
    if scheme is not None:
        reasons.append(f"tags in {scheme}")
    heads = {row[token].partition(":")[0] + ":" for row in rows if token < len(row)}
    prefix = heads.pop() if len(heads) == 1 < len(rows) else ""
    if re.fullmatch(r"\w{2,3}:", prefix) and not options.token_strip:
        reasons.append(
            f'all tokens begin with {prefix!r}: token_strip = "^{prefix}" leaves that out'
        )
    if comment:
        reasons.append(f"lines that begin with {comment!r} are comments")
    return found | {"tag": tag, "scheme": scheme or Scheme.BIO, "spans": "tags"}


def tagged_by(lines: Sequence[str]) -> str:
    """Return the mark between each word and its tag in lines that are sentences, if there is one.

    Most tags are O in lines of entities, and few words end in it.
    """
    words = [word for line in lines for word in line.split()]
    if len(words) == sum(bool(line.strip()) for line in lines):  # columns, a word on each line
        return ""
    for mark in "/|_":
        pairs = [word.rpartition(mark) for word in words]
        n_outside = sum(tag == "O" for *_, tag in pairs)
        if all(token and tag for token, _, tag in pairs) and 3 * n_outside > len(pairs):
            return mark
    return ""


def _guess_tagged_lines(lines: Sequence[str], mark: str, reasons: list[str]) -> dict[str, Any]:
    """Return how lines such as `Ada/B-PER ran/O` are read."""
    tags = [[word.rpartition(mark)[2] for word in line.split()] for line in lines if line.strip()]
    scheme = guess_scheme(tags) or Scheme.BIO
    reasons += [
        f"a sentence on each line, each word with {mark!r} and its tag",
        f"tags in {scheme}",
    ]
    found = {"row": "sentence", "separator": mark, "token": 0, "tag": -1, "comment": ""}
    return found | {"ragged": True, "scheme": scheme, "spans": "tags"}


def _is_tag_first(rows: Sequence[Sequence[str]]) -> bool:
    """Whether the tag stands before its word."""
    columns = [[row[at] for row in rows] for at in (0, 1)]
    if all(map(TAG.fullmatch, columns[1])):
        return False
    if all(map(TAG.fullmatch, columns[0])):
        return True
    plain = [guess_scheme([column]) is not None for column in columns]
    return plain == [True, False]


def _blocks(lines: Iterable[str], comment: str) -> list[list[str]]:
    """Return the rows of each sentence."""
    blocks: list[list[str]] = [[]]
    for line in lines:
        if not line.strip() or line.startswith(DOCUMENT_START):
            blocks.append([])
        elif not (comment and line.startswith(comment)) and (
            blocks[-1] or not METADATA.match(line)
        ):
            blocks[-1].append(line)
    return [block for block in blocks if block]


def _comment(lines: Sequence[str]) -> str:
    """Return the prefix of lines with # at the head of sentences that are unlike all rows."""
    heads = [
        line
        for before, line in zip(["", *lines], lines, strict=False)
        if line.startswith("#") and not before.strip() and not METADATA.match(line)
    ]
    others = [line for line in lines if line.strip() and line not in {*heads}]
    separator = "\t" if others and all("\t" in line for line in others) else None
    rows = [line.split(separator) for line in others]
    are_tagged = all(TAG.fullmatch(row[-1]) for row in rows)
    is_odd = all(
        len(row) not in {*map(len, rows)} or (are_tagged and not TAG.fullmatch(row[-1]))
        for row in (line.split(separator) for line in heads)
    )
    prefix = "#\t" if all(line.startswith("#\t") for line in heads) else "#"
    is_free = not any(line.startswith(prefix) for line in others)
    return prefix if heads and is_odd and is_free else ""


def _column_separator(lines: Sequence[str]) -> str:
    if lines and all("\t" in line for line in lines):
        return "\t"
    for separator in "|;,":
        if lines and all(is_whole_line(line, separator) for line in lines):
            return separator
    return ""


def _tag_column(rows: Sequence[Sequence[str]], columns: Sequence[int], reasons: list[str]) -> int:
    """Return the column of tags that has the most spans, chunks apart, else the last column."""
    of_tags = [at for at in columns if all(TAG.fullmatch(row[at]) for row in rows)]
    labels = {at: {row[at].partition("-")[2] for row in rows} - {""} for at in of_tags}
    of_entities = [at for at in of_tags if not (labels[at] and labels[at] <= _CHUNKS)] or of_tags
    marked = {at: sum(row[at] not in ("O", "*") for row in rows) for at in of_entities}
    if not of_entities:
        return -1
    best = max(of_entities, key=lambda at: marked[at])
    others = [at for at in of_entities if at != best and marked[at]]
    if others:
        counts = ", ".join(f"column {at} has {marked[at]:,}" for at in others)
        reasons.append(f"column {best} has {marked[best]:,} tagged words and is read, {counts}")
    last = max(map(len, rows)) - 1
    return -1 if best == last and len({*map(len, rows)}) == 1 and not others else best


def _is_ragged(rows: Sequence[Sequence[str]]) -> bool:
    """Whether rows differ in width too often for it to be a mistake."""
    odd = sum(len(row) != len(rows[0]) for row in rows)
    return odd > max(_MOST_MISTAKES, len(rows) / 100)


def guess_scheme(sentences: Sequence[Sequence[str]]) -> Scheme | None:
    """Return the first scheme in which every tag is legal; None if there is none.

    BIO if tags have its prefixes and some are illegal; plain where most are O, and the others are
    few labels.
    """
    bare = {tag for tags in sentences for tag in tags if len(tag) == 1} - {"O"}
    is_bare = "B" in bare or bare == {"I"}  # else the letters may be labels
    tagged = [
        [spelt_out(tag) if is_bare or len(tag) > 1 else tag for tag in tags] for tags in sentences
    ]
    for scheme in _SCHEMES:
        with suppress(ValueError):  # a tag that the scheme does not have
            if all(
                write_tags(read_tags(tags, scheme), len(tags), scheme) == tags for tags in tagged
            ):
                return scheme
    for scheme in _SCHEMES:  # with mistakes, which the reader repairs and `check` reports
        with suppress(ValueError):
            if all(read_tags(tags, scheme) is not None for tags in tagged):
                return scheme
    counts = Counter(tag for tags in sentences for tag in tags)
    labels = counts.keys() - {"O"}
    has_prefix = any(
        re.fullmatch(r"[A-Za-z][-_:/]\S+|\S+[-_:/][A-Za-z]|\d+", tag) for tag in labels
    )
    is_plain = counts["O"] and len(labels) <= _MOST_LABELS and not has_prefix
    return Scheme.PLAIN if is_plain and counts["O"] * 5 > counts.total() else None
