"""CoNLL-U: ten columns a word. Each word that has the chosen field is a span with that field as its label.

The text is put together from the forms and `SpaceAfter=No`. The words of a multi-word token ("don't" is "do" and "n't")
are found in its form when they spell it out; a word that does not ("au" is "à" and "le") gets the token as a whole, so
that it is seen, and reported, as a span that shares its characters with another.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.spans import Span
from teddy.training.corpus.config import FormatConfig
from teddy.training.readers.example import Example
from teddy.training.readers.files import stream_corpus_lines

_FORM, _UPOS, _XPOS, _FEATS, _DEPREL, _MISC = 1, 3, 4, 5, 7, 9
_N_COLUMNS = 10


def read_conllu(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file. Raises DataError, naming the line, for a row that cannot be read."""
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
    columns = {"upos": _UPOS, "xpos": _XPOS, "deprel": _DEPREL, "misc": _MISC, "feats": _FEATS}
    if head not in columns or bool(key) != (head in ("misc", "feats")):
        raise DataError(path, None, f"unknown field {name!r}: want upos, xpos, deprel, misc:KEY or feats:KEY")
    return columns[head], key


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
            raise DataError(self.path, number, f"{len(columns)} columns, but CoNLL-U has {_N_COLUMNS}")
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
            self.token_start, self.token_end, self.cursor = len(self.text) - len(form), len(self.text), 0
            self.last_inner = int(last)
        elif int(first) <= self.last_inner:
            self._label(number, columns, *self._place_inner(form))
        else:
            self._append(form, columns[_MISC])
            self._label(number, columns, len(self.text) - len(form), len(self.text))

    def _append(self, form: str, misc: str) -> None:
        self.text += " " + form if self.space_before else form
        self.space_before = "SpaceAfter=No" not in misc.split("|")

    def _place_inner(self, form: str) -> tuple[int, int]:
        """Return where a word of a multi-word token stands: the next characters if it spells them, else the token."""
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
