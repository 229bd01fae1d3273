"""The reader of CoNLL-U and CoNLL-U Plus.

The text is put together from the forms and `SpaceAfter=No`. The words of a multi-word token
("don't" is "do" and "n't") are found in its form when they spell it out; a word that does not ("au"
is "à" and "le") gets the token as a whole, so that it is seen, and reported, as a span that shares
its characters with another.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import stream_corpus_lines
from teddy.training.data.readers.guess_columns import guess_scheme
from teddy.training.data.readers.rows import NO_VALUE, Example, Row, sentence_spans, spelt_out
from teddy.training.recipe.corpus_config import AUTO, OUTSIDE, UNKNOWN, FormatConfig

COLUMNS = ["id", "form", "lemma", "upos", "xpos", "feats", "head", "deprel", "deps", "misc"]
_LABELS, _OF_PAIRS = ("upos", "xpos", "deprel"), ("feats", "misc")
_VALUES = {"spans": "values"}
_NER_KEY = re.compile(
    r"(?:^|\|)((?i:ner|entity|ne|named_?entity|ner_?tag)(?==[^(])|[^=|]+(?==[BI]-[^|]))"
)
"""The key of labels in MISC: by its name, or by its tags. (GUM's `Entity=(1-person` are spans of
coreference in brackets.)"""
OF_PHRASES = ":mwe"
"""The end of the column of PARSEME, whose words of a phrase have its number: `1:VID` and `1`."""


def read_conllu(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file.

    Raises DataError, naming the line, for a row that cannot be read.
    """
    columns, sentence = COLUMNS, None
    document = 0
    for number, line in stream_corpus_lines(path, options.encoding):
        if not line.strip():
            if sentence and sentence.line:
                yield sentence.example(document)
                document += 1
            sentence = None
        elif line.startswith("#"):
            columns = named_columns(line) or columns
        else:
            sentence = sentence or _Sentence(path, options, columns)
            sentence.add(number, line)
    if sentence and sentence.line:
        yield sentence.example(document)
    elif document == 0:
        _field(path, options.field, columns)


def named_columns(line: str) -> list[str]:
    """Return the columns that the comment `# global.columns` of CoNLL-U Plus names."""
    head, equals, names = line.partition("=")
    is_header = equals and head.strip("# ") == "global.columns"
    return names.lower().split() if is_header else []


def _field(path: Path, name: str, columns: Sequence[str]) -> tuple[int, str]:
    """Return the column of a field and, for a column of KEY=value pairs, the key."""
    head = name.lower()
    if head in columns and (head in _LABELS or head not in COLUMNS):
        return columns.index(head), ""
    head, _, key = name.partition(":")
    if head.lower() in columns and key and head.lower() in _OF_PAIRS:
        return columns.index(head.lower()), key
    others = [each for each in columns if each not in COLUMNS]
    known = ", ".join(["upos, xpos, deprel", *others, "misc:KEY or feats:KEY"])
    raise DataError(path, None, f"unknown field {name!r}: want {known}")


def guess_tree(lines: list[str], options: FormatConfig, reasons: list[str]) -> dict[str, Any]:
    """Guess the column of CoNLL-U that has the labels, and whether they are tags."""
    columns = next((named for line in lines if (named := named_columns(line))), COLUMNS)
    rows = [line.split("\t") for line in lines if line.strip() and not line.startswith("#")]
    of_ner = [name for name in columns if name not in COLUMNS and re.search(r"(?i)ne|entit", name)]
    keys = [found[1] for row in rows if (found := _NER_KEY.search(row[-1]))]
    field = options.field
    if field == AUTO:
        others = [name for name in columns if name not in COLUMNS]
        field = (of_ner or [f"misc:{key}" for key in keys[:1]] or others or ["upos"])[0]
        reasons.append(f"labels in {field}")
    head, _, key = field.partition(":")
    at = columns.index(head.lower()) if head.lower() in columns else -1
    values = [row[at] for row in rows if len(row) == len(columns)]
    if key and head.lower() in columns:
        pairs = [dict(part.partition("=")[::2] for part in value.split("|")) for value in values]
        values = [pair.get(key, "O") for pair in pairs]
    tags = ["O" if value in ("_", "") else value for value in values]
    scheme = None if field.endswith(OF_PHRASES) else guess_scheme([tags])
    if scheme is None:
        return {"field": field, "spans": "values", "scheme": "bio"}
    reasons.append(f"tags in {scheme}")
    return {"field": field, "spans": "tags", "scheme": scheme}


@dataclass(slots=True)
class _Sentence:
    """A sentence as its rows come in."""

    path: Path
    options: FormatConfig
    columns: Sequence[str]
    column: int = field(init=False)
    """Of the labels, and of their key in it."""
    key: str = field(init=False)
    line: int = 0
    text: str = ""
    rows: list[Row] = field(default_factory=list)
    places: list[tuple[int, int]] = field(default_factory=list)
    """Of the rows, in characters of the text."""
    token_start: int = 0
    """Where the multi-word token began that is being spelled out."""
    token_end: int = 0
    last_inner: int = 0
    """The id of its last word; 0 outside of one."""
    cursor: int = 0
    """How much of it its words have spelled out so far."""
    space_before: bool = False

    def __post_init__(self) -> None:
        self.column, self.key = _field(self.path, self.options.field, self.columns)

    def add(self, number: int, line: str) -> None:
        columns = line.split("\t")
        if len(columns) != len(self.columns):
            form = "CoNLL-U" if self.columns is COLUMNS else "global.columns"
            reason = f"{len(columns)} columns, but {form} has {len(self.columns)}"
            raise DataError(self.path, number, reason)
        self.line = self.line or number
        row = dict(zip(self.columns, columns, strict=True))
        word_id, form, misc = row.get("id", "1"), row.get("form", columns[0]), row.get("misc", "_")
        first, dash, last = word_id.partition("-")
        if "." in word_id:  # an empty node of the enhanced graph: not in the text
            return
        if not first.isdecimal() or bool(dash) != last.isdecimal():
            raise DataError(self.path, number, f"bad word id {word_id!r}")
        if not form.strip():
            raise DataError(self.path, number, "the form is empty")
        if dash:
            self._append(form, misc)
            self.token_start, self.token_end = len(self.text) - len(form), len(self.text)
            self.cursor, self.last_inner = 0, int(last)
        elif int(first) <= self.last_inner:
            self._label(number, columns, *self._place_inner(form))
        else:
            self._append(form, misc)
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
        if self.columns[self.column].endswith(OF_PHRASES):
            self.rows.append(Row(self.text[start:end], value, number))
            self.places.append((start, end))
            return
        tag = OUTSIDE if value in (*NO_VALUE, *self.options.outside) else value
        if self.options.spans != "tags" and tag == OUTSIDE:
            return
        tag = spelt_out(tag) if self.options.spans == "tags" else tag
        self.rows.append(Row(self.text[start:end], tag, number))
        self.places.append((start, end))

    def _phrases(self) -> list[Span]:
        """Return the phrases of PARSEME; from the first to the last word of one in parts, `?`."""
        places: dict[str, list[int]] = {}
        labels: dict[str, str] = {}
        for place, row in enumerate(self.rows):
            for part in row.tag.split(";") if row.tag != "*" else ():
                number, _, label = part.partition(":")
                if not number.isdecimal():
                    want = "want *, or such as 1:VID and 1; _ is in files without annotations"
                    raise DataError(self.path, row.line, f"not of PARSEME: {row.tag!r}; {want}")
                places.setdefault(number, []).append(place)
                labels[number] = labels.get(number) or label
        found = []
        for number, (first, *more) in places.items():
            last = more[-1] if more else first
            is_whole = last - first == len(more)
            found.append(Span(first, last + 1, labels[number] or "MWE" if is_whole else UNKNOWN))
        return sorted(found)

    def example(self, document: int) -> Example:
        is_tagged = self.options.spans == "tags"
        options = self.options if is_tagged else self.options.model_copy(update=_VALUES)
        of_phrases = self.columns[self.column].endswith(OF_PHRASES)
        spans = self._phrases() if of_phrases else sentence_spans(self.rows, self.path, options)
        return Example(
            text=self.text,
            spans=tuple(
                Span(self.places[span.start][0], self.places[span.end - 1][1], span.label)
                for span in spans
            ),
            span_lines=tuple(self.rows[span.start].line for span in spans),
            path=str(self.path),
            line=self.line,
            is_sentence=True,
            document=document,
        )
