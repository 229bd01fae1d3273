"""Readers: one for each file format, all yielding the same `Example`."""

from collections.abc import Callable, Iterator
from pathlib import Path

from teddy.model.errors import DataError, TextError
from teddy.model.text.words import check_text
from teddy.training.data.readers.columns import read_conll, read_conllu, read_csv
from teddy.training.data.readers.json import read_docred, read_jsonl
from teddy.training.data.readers.rows import Example
from teddy.training.recipe.corpus_config import FormatConfig, FormatName

__all__ = ["Example", "read_examples"]


def read_examples(path: Path | str, options: FormatConfig) -> Iterator[Example]:
    """Yield the examples of a file in the order of the file.

    Raises DataError, naming the line where there is one, for a file that is missing, empty, binary
    or damaged, that is not in its encoding, or that has a row, a column, a tag or a span that
    cannot be read.
    """
    path = Path(path)
    n_examples = 0
    for example in _READERS[options.format](path, options):
        try:
            check_text(example.text)
        except TextError as error:
            raise DataError(path, example.line, str(error)) from None
        n_examples += 1
        yield example
    if n_examples == 0:
        raise DataError(path, None, "the file has no sentence")


_READERS: dict[FormatName, Callable[[Path, FormatConfig], Iterator[Example]]] = {
    "conll": read_conll,
    "jsonl": read_jsonl,
    "conllu": read_conllu,
    "csv": read_csv,
    "docred": read_docred,
}
