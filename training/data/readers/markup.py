"""Readers of marks in the text, a text a line: `<PER>Ada</PER> ran` and `[Ada](PER) ran`."""

import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import stream_corpus_lines
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import FormatConfig

TAG = re.compile(r"<(/?)([^\W\d][\w.:-]*)((?:\s+[\w:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)\s*(/?)>")
_ATTRIBUTE = re.compile(r"\s(?i:label|type|class|value)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
_FRAME = re.compile(r"\s*<[?!][^>]*>\s*")
STRUCTURE = {
    *("corpus", "root", "doc", "docs", "document", "html", "head", "body", "title", "text"),
    *("article", "tei", "div", "p", "par", "paragraph", "s", "sent", "sentence", "sentences"),
}
"""Elements that divide a file and are no entities."""
LINK = re.compile(r"\[((?:[^\[\]\\]|\\.)+)\]\(([^()\[\]]+)\)|\\([\[\]\\])")
_NESTED = re.compile(r"\]\((?!\S*://)[^()\[\]\s]+\)")
_Line = tuple[str, list[Span]]


SECTION = re.compile(r"##\s*(intent|synonym|regex|lookup|entity)\s*:")
"""The heads of Rasa's sections, of which those of intents have examples."""
_OBJECT = re.compile(r"\](\{[^{}]*\})")
_ITEM = re.compile(r"^\s*[-*]\s+")
_OPENNLP = re.compile(r"<START(?::([^\s<>\"]+))?>\s(.*?)\s<END>")
_WITH_VALUE = re.compile(r"\]\(([^():]+):[^()]*\)")
_DOCUMENTS = {
    "gatedocument": ("GATE", "export it as GATE's JSON"),
    "textwithnodes": ("GATE", "export it as GATE's JSON"),
    "xmi:xmi": ("UIMA", "export it from INCEpTION as WebAnno TSV 3"),
    "passage": ("BioC", "BioC's JSON is read"),
    "folia": ("FoLiA", "export its words and entities as columns"),
    "naf": ("NAF", "export its words and entities as columns"),
    "tags": ("MAE", 'put each text with its tags into {"text": ..., "entities": [...]}'),
}
"""Formats whose elements are no entities, by an element that tells them, with the cure."""


def read_xml(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts of a file with an element around each entity.

    Raises DataError, naming the line, for an element that does not end where it should.
    """
    yield from _read(path, options, _parse_xml)


def read_markdown(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts of a file with entities as links to their labels. Raises DataError."""
    yield from _read(path, options, _parse_markdown)


def _read(path: Path, options: FormatConfig, parse: Callable[[str], _Line]) -> Iterator[Example]:
    document = 0
    for number, line in _of_rasa(path, stream_corpus_lines(path, options.encoding)):
        if not line.strip() or _FRAME.fullmatch(line):
            continue
        try:
            text, spans = parse(line)
        except ValueError as error:
            raise DataError(path, number, str(error)) from None
        if not text.strip():
            continue
        yield Example(
            text=text,
            spans=tuple(spans),
            span_lines=(number,) * len(spans),
            path=str(path),
            line=number,
            is_sentence=False,
            document=document,
        )
        document += 1


def as_xml(line: str) -> str:
    """Return a line with the marks of OpenNLP, `<START:PER> Ada <END> ran`, as elements."""
    return _OPENNLP.sub(
        lambda found: f'<entity label="{found[1] or "default"}">{found[2]}</entity>', line
    )


def _of_rasa(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield lines, those of Rasa as their examples: without its sections, values and objects."""
    section = ""
    for number, line in lines:
        if found := SECTION.match(line):
            section = found[1]
        elif not section:
            yield number, line
        elif section == "intent":
            example = _ITEM.sub("", line)
            yield (
                number,
                _WITH_VALUE.sub(r"](\1)", _OBJECT.sub(partial(_named, path, number), example)),
            )


def _named(path: Path, number: int, mark: re.Match[str]) -> str:
    """Return the label of `]{"entity": "city"}` as `](city)`."""
    try:
        return f"]({json.loads(mark[1])['entity']})"
    except (ValueError, KeyError, TypeError):
        reason = f"not an entity of Rasa: {mark[1][:60]}"
        raise DataError(path, number, f'{reason}; want {{"entity": "city"}}') from None


def _parse_xml(line: str) -> _Line:
    """Return text and spans of a line. Raises ValueError, saying why."""
    line, text, at = as_xml(line), "", 0
    opened: list[tuple[str, str, int]] = []
    spans: list[Span] = []
    for mark in TAG.finditer(line):
        is_end, name, attributes, is_empty = mark.groups()
        text += html.unescape(line[at : mark.start()])
        at = mark.end()
        if name.lower() in _DOCUMENTS:
            whose, cure = _DOCUMENTS[name.lower()]
            raise ValueError(f"<{name}> of a document of {whose}, which is not read: {cure}")
        if name.lower() in STRUCTURE and not attributes.strip().startswith("label"):
            continue
        if is_end:
            if not opened or opened[-1][0] != name:
                found = f"<{opened[-1][0]}> is open" if opened else "nothing is open"
                raise ValueError(f"</{name}> at character {mark.start() + 1}, but {found}")
            _, label, start = opened.pop()
            if start < len(text):
                spans.append(Span(start, len(text), label))
        elif not is_empty:
            named = _ATTRIBUTE.search(attributes)
            label = html.unescape(named[1] or named[2] or "") if named else ""
            opened.append((name, label or name, len(text)))
    text += html.unescape(line[at:])
    if opened:
        name = opened[-1][0]
        reason = f"<{name}> does not end on its line; want <{name}>Ada</{name}>"
        raise ValueError(f"{reason}, and &lt; for a mere <")
    return text, sorted(spans)


def _parse_markdown(line: str) -> _Line:
    """Return text and spans of a line; links to addresses are text.

    Raises ValueError for a mark without a label, and for one in another.
    """
    text, at = "", 0
    if inner := _NESTED.search(re.sub(r"\\.", "", LINK.sub("", line))):
        raise ValueError(f"a mark around another, {inner[0]!r}: want one, or xml")
    spans: list[Span] = []
    for mark in LINK.finditer(line):
        text += line[at : mark.start()]
        at, start = mark.end(), len(text)
        surface, label, escaped = mark.groups()
        if label and "://" in label:
            text += mark[0]
            continue
        text += escaped or re.sub(r"\\([\[\]\\])", r"\1", surface)
        if label is not None:
            if not label.strip():
                raise ValueError("a mark has no label; want [Ada](PER)")
            spans.append(Span(start, len(text), label.strip()))
    return text + line[at:], spans
