"""The lexicon of a recipe, read from its files: `teddy.model.features.lexicon`."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from teddy.model.errors import DataError
from teddy.model.features.lexicon import MOST_CLASSES, Lexicon
from teddy.training.data.readers.files import find_files, stream_lines
from teddy.training.recipe.words import LexiconConfig

_FORM = "expected a word, or a word, a tab and its class, or a path of bits, a word and its count"


def read_lexicon(tables: Sequence[LexiconConfig], data: Path) -> bytes:
    """Return a `Lexicon` of the files that a recipe's tables name below `data`, as it is stored.

    Classes are told apart by file and name. Raises DataError, naming file and line, for files that
    are missing, have no words or lines of another form, and for too many classes.
    """
    numbers: dict[tuple[Path, str], int] = {}
    entries: list[tuple[str, int]] = []
    for table in tables:
        for path in find_files(table.files, data):
            # Stable: without counts the order of the file stays.
            ranked = sorted(_lines(path), key=lambda line: -line[2])
            if not ranked:
                raise DataError(path, None, f"it has no words; {_FORM}, on each line")
            for word, name, _ in islice(ranked, table.words):
                entries.append((word, numbers.setdefault((path, name), len(numbers))))
    if len(numbers) > MOST_CLASSES:
        reason = f"{len(numbers):,} classes, but a lexicon has at most {MOST_CLASSES:,}: are the "
        raise DataError(data, None, f"{reason}columns word and class?")
    return Lexicon.of(entries).serialised


def _lines(path: Path) -> Iterator[tuple[str, str, int]]:
    """Yield word, class and count of each line that has one word; the count is 0 without one."""
    for number, line in stream_lines(path):
        columns = line.split("\t")
        match columns:
            case [bits, word, count] if count.isdecimal() and not bits.strip("01"):
                kind, n = bits, int(count)
            case [word, kind] if kind:
                n = 0
            case [word]:
                kind, n = "", 0
            case _:
                raise DataError(path, number, f"{_FORM}; found {len(columns)} columns")
        if word and not any(map(str.isspace, word)):
            yield word, kind, n
