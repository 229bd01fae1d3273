"""The reader of brat: a text in NAME.txt, and beside it NAME.ann with a line for each entity."""

import re
from collections.abc import Iterator
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.tags.spans import Span
from teddy.training.data.readers.files import read_text, stream_lines
from teddy.training.data.readers.rows import Example
from teddy.training.data.readers.shapes import Record
from teddy.training.recipe.corpus_config import UNKNOWN, FormatConfig

_ENTITY = re.compile(r"T\d+\t(\S+) (\d+) ([\d; ]*?)(\d+)(?:\t(.*))?")


def read_brat(path: Path, options: FormatConfig) -> Iterator[Example]:
    """Yield the texts of a folder, or the one of an .ann or .txt file.

    Of an entity in several parts, the words from the first to the last are unknown; parts between
    which is nothing but white space, as brat writes an entity of several lines, are one. Raises
    DataError, naming the line of the .ann file, for a line that is no entity though it begins so.
    """
    for document, notes in enumerate(brat_files(path)):
        text = read_text(notes.with_suffix(".txt"), options.encoding)
        spans: list[Span] = []
        lines: list[int] = []
        for number, line in stream_lines(notes, options.encoding):
            if not line.startswith("T"):  # relations, events, attributes, notes
                continue
            found = _ENTITY.fullmatch(line)
            if found is None:
                want = "want tabs between T1, PER 0 3, and Ada"
                raise DataError(notes, number, f"not an entity: {line[:60]!r}; {want}")
            label, start, parts, end, own = found.groups()
            gaps = re.findall(r"(\d+);(\d+)", f"{parts}{end}")
            is_whole = not any(text[int(a) : int(b)].strip() for a, b in gaps)
            item = (int(start), int(end), label if is_whole else UNKNOWN, own if is_whole else None)
            record = Record(notes, number, {}, options, document)
            spans += record.example(text, [item], {}).spans
            lines.append(number)
        yield Example(
            text=text,
            spans=tuple(spans),
            span_lines=tuple(lines),
            path=str(notes),
            line=1,
            is_sentence=False,
            document=document,
        )


def brat_files(path: Path) -> list[Path]:
    """Return the .ann files of a folder, or the one of a text. Raises DataError if one lacks."""
    found = sorted(path.rglob("*.ann")) if path.is_dir() else [path.with_suffix(".ann")]
    if not found:
        raise DataError(path, None, "no .ann file: brat has NAME.txt and NAME.ann for each text")
    for each in found:
        for part in (each, each.with_suffix(".txt")):
            if not part.is_file():
                reason = f"no such file: brat wants {part.name} beside {each.name}"
                raise DataError(part, None, reason)
    return found
