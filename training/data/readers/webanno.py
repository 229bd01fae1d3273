"""The reader of WebAnno TSV 3, which WebAnno, INCEpTION and other tools on UIMA export."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import stream_corpus_lines
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import AUTO, FormatConfig

ANY_HEADER = "#FORMAT=WebAnno TSV"
_HEADER = f"{ANY_HEADER} 3"
_HEAD = 3
"""Columns before those of the layers: id, offsets, token."""
_LAYER = re.compile(r"#T_(SP|CH|RL)=([^|]*)\|?(.*)")
_VALUE = re.compile(r"((?:[^\[\]|\\]|\\.)*)(?:\[(\d+)\])?")


def read_webanno(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the sentences of a file, with the spans of the layer and feature that `tag` names.

    Raises DataError, naming the line, for a row that cannot be read.
    """
    columns: list[tuple[str, str, str]] = []
    sentence: _Sentence | None = None
    chosen: int | None = None
    document = 0
    for number, line in stream_corpus_lines(path, options.encoding):
        if layer := _LAYER.fullmatch(line):
            kind, name, features = layer.groups()
            columns += [(kind, name, each) for each in features.split("|")]
        elif line.startswith("#Text="):
            text = _plain(line.removeprefix("#Text="))
            if sentence is None or sentence.tokens:
                sentence = _Sentence(path, number, text)
            else:  # the text goes on
                sentence.text += f"\n{text}"
        elif line.startswith("#"):
            if line.startswith(ANY_HEADER) and not line.startswith(_HEADER):
                raise DataError(path, number, f"{line[8:]!r}; export it as WebAnno TSV 3")
        elif not line.strip():
            if sentence is not None and sentence.tokens:
                yield sentence.example(document)
                document, sentence = document + 1, None
        else:
            if chosen is None:
                chosen = _choose(path, columns, options)
            if sentence is None:
                raise DataError(path, number, "a token before the line #Text= of its sentence")
            layer_name = columns[chosen][1].rpartition(".")[2]
            sentence.add(number, line.split("\t"), _HEAD + chosen, layer_name)
    if sentence is not None and sentence.tokens:
        yield sentence.example(document)


def _choose(path: Path, columns: list[tuple[str, str, str]], options: FormatConfig) -> int:
    """Return which column of the layers has the labels."""
    of_spans = [i for i, (kind, _, _) in enumerate(columns) if kind == "SP"]
    names = [f"{columns[i][1]}|{columns[i][2]}" for i in of_spans]
    wanted = options.tag
    if isinstance(wanted, str) and wanted != AUTO:
        found = [i for i, name in zip(of_spans, names, strict=True) if name.endswith(wanted)]
    elif len(of_spans) == 1:
        found = of_spans
    else:
        found = [i for i, name in zip(of_spans, names, strict=True) if "NamedEntity|val" in name]
    if len(found) != 1:
        cure = f'say which with tag = "{names[0]}"' if names else "want a line #T_SP=LAYER|FEATURE"
        raise DataError(path, None, f"layers with spans: {', '.join(names) or 'none'}; {cure}")
    return found[0]


@dataclass(slots=True)
class _Sentence:
    """A sentence as its rows come in."""

    path: Path
    line: int
    text: str
    tokens: list[tuple[int, int]] = field(default_factory=list)
    begin: int = 0
    """Of the last token, in the offsets of the file."""
    spans: dict[tuple[str, str], tuple[Span, int]] = field(default_factory=dict)
    """By label and number, each with its line."""

    def add(self, number: int, cells: list[str], column: int, layer: str) -> None:
        place = re.fullmatch(r"(\d+)-(\d+)", cells[1]) if len(cells) > column else None
        if place is None:
            want = f"want an id, offsets such as 0-3, a token and {column - _HEAD + 1} columns"
            raise DataError(self.path, number, f"not a row of WebAnno TSV 3; {want}")
        token, begin = _plain(cells[2]), int(place[1])
        if "." in cells[0] and self.tokens:  # a part of the token before
            start = self.tokens[-1][0] + begin - self.begin
        else:
            start = self.text.find(token, self.tokens[-1][1] if self.tokens else 0)
            self.begin = begin
        if start < 0 or self.text[start : start + len(token)] != token:
            raise DataError(
                self.path, number, f"the token {token!r} is not in #Text= behind the last"
            )
        if "." not in cells[0]:
            self.tokens.append((start, start + len(token)))
        if cells[column] not in ("_", ""):
            for at, value in enumerate(re.split(r"(?<!\\)\|", cells[column])):
                self._label(number, start, start + len(token), value, at, layer)

    def _label(self, number: int, start: int, end: int, value: str, at: int, layer: str) -> None:
        found = _VALUE.fullmatch(value)
        if found is None:
            raise DataError(self.path, number, f"not a value of WebAnno TSV 3: {value!r}")
        label = layer if found[1] == "*" else _plain(found[1])
        if label == "_":
            return
        # What has no number is on this token alone.
        key = (label, found[2] or f"{start}.{end}.{at}")
        known, line = self.spans.get(key, (Span(start, end, label), number))
        self.spans[key] = (replace(known, end=end), line)

    def example(self, document: int) -> Example:
        found = sorted(self.spans.values())
        return Example(
            text=self.text,
            spans=tuple(span for span, _ in found),
            span_lines=tuple(line for _, line in found),
            path=str(self.path),
            line=self.line,
            is_sentence=True,
            document=document,
            tokens=tuple(self.tokens),
        )


def _plain(text: str) -> str:
    """Return a text without WebAnno's escapes."""
    return re.sub(
        r"\\(.)", lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), text
    )
