"""Readers: one for each format, all yielding the same `Example`."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from teddy.model.errors import DataError, TextError
from teddy.model.text.words import check_text
from teddy.training.data.readers.binary import read_arrow, read_docbin
from teddy.training.data.readers.brat import read_brat
from teddy.training.data.readers.columns import read_conll, read_csv
from teddy.training.data.readers.conllu import read_conllu
from teddy.training.data.readers.docred import read_docred
from teddy.training.data.readers.guess import is_binary, resolved
from teddy.training.data.readers.markup import read_markdown, read_xml
from teddy.training.data.readers.records import OF_RECORDS, read_records
from teddy.training.data.readers.rows import Example
from teddy.training.data.readers.webanno import read_webanno
from teddy.training.recipe.corpus_config import FormatConfig, FormatName

_LEFT_OUT = ": what is rejected, skipped, only predicted or not annotated is left out"
__all__ = ["Example", "read_examples"]
_TOKENS = '"tokens": ["Ada", "ran"], "ner_tags": ["B-PER", "O"]'
SAMPLES: dict[FormatName, str] = {
    "auto": 'Ada\tB-PER\nran\tO\nor {"text": "Ada ran", "entities": [[0, 3, "PER"]]}',
    "conll": "Ada\tB-PER\nLovelace\tI-PER\nran\tO",
    "conllu": "1\tAda\t_\tPROPN\t_\t_\t0\t_\t_\tNER=B-PER\n2\tran\t_\tVERB\t_\t_\t0\t_\t_\tNER=O\n",
    "csv": "sentence,token,tag\n1,Ada,B-PER\n1,ran,O",
    "jsonl": '{"text": "Ada ran",\n "entities": [{"start": 0, "end": 3, "label": "PER"}]}\n'
    "(on one line)",
    "doccano": '{"text": "Ada ran", "label": [[0, 3, "PER"]]}\n{"text": "Rain", "label": []}\n',
    "prodigy": '{"text": "Ada ran",\n "spans": [{"start": 0, "end": 3, "label": "PER"}],\n'
    ' "answer": "accept"} (on one line)',
    "label-studio": '[{"data": {"text": "Ada ran"}, "annotations": [{"result": [\n'
    ' {"from_name": "label", "to_name": "text", "type": "labels",\n'
    '  "value": {"start": 0, "end": 3, "labels": ["PER"]}}]}]}]',
    "argilla": '[{"fields": {"text": "Ada ran"}, "responses": {"spans": [{"user_id": "1",\n'
    '  "value": [{"start": 0, "end": 3, "label": "PER"}]}]}}]',
    "spacy": '[["Ada ran", {"entities": [[0, 3, "PER"]]}],\n ["It rained", {"entities": []}]]\n',
    "gliner": '[{"tokenized_text": ["Ada", "ran"],\n  "ner": [[0, 0, "PER"]]}]\n'
    "(first and last token)",
    "datasets": f'{{{_TOKENS}}}\nor numbers in "ner_tags", and\ntag_names = ["O", "B-PER"]',
    "brat": "1.txt: Ada ran\n1.ann: T1<tab>PER 0 3<tab>Ada\n",
    "webanno": "#T_SP=webanno.custom.Name|value\n#Text=Ada ran\n1-1\t0-3\tAda\tPER\t",
    "xml": "<PER>Ada</PER> ran\nIt rained &amp; snowed\n",
    "markdown": "[Ada](PER) ran\nIt rained\n",
    "docred": '[{"sents": [["Ada", "ran"]],\n  "vertexSet": [[{"sent_id": 0, "pos": [0, 1],\n'
    '                  "type": "PER"}]]}]',
}
"""Three lines of each format, shown below an error on a terminal."""


def read_examples(path: Path | str, options: FormatConfig, *, after: int = 0) -> Iterator[Example]:
    """Yield the examples of a file in the order of the file; guess what the options leave open.

    Of records in JSON, those behind the line `after`.

    Raises DataError, naming the line where there is one, for a file that is missing, empty, binary
    or damaged, that is not in its encoding, or that has a row, a column, a tag or a span that
    cannot be read.
    """
    form: FormatName = options.format
    try:
        options = resolved(Path(path), options)
        form = options.format
        yield from _checked(Path(path), options, after)
    except DataError as error:
        error.sample = SAMPLES[form]
        raise


def _checked(path: Path, options: FormatConfig, after: int) -> Iterator[Example]:
    """Yield the examples of a file whose texts can be tagged."""
    n_examples = 0
    read = partial(read_records, after=after) if after else _READERS[options.format]
    for example in read(path, options):
        try:
            check_text(example.text)
        except TextError as error:
            raise DataError(example.path, example.line, str(error)) from None
        n_examples += 1
        yield example
    if n_examples == 0:
        left_out = _LEFT_OUT if options.format in OF_RECORDS else ""
        raise DataError(path, None, f"the file has no sentence{left_out}")


def _read_spacy(path: Path, options: FormatConfig) -> Iterator[Example]:
    return read_docbin(path) if path.suffix == ".spacy" else read_records(path, options)


def _read_datasets(path: Path, options: FormatConfig) -> Iterator[Example]:
    return read_arrow(path, options) if is_binary(path) else read_records(path, options)


_READERS: dict[FormatName, Callable[[Path, FormatConfig], Iterator[Example]]] = {
    "conll": read_conll,
    "conllu": read_conllu,
    "csv": read_csv,
    "jsonl": read_records,
    "doccano": read_records,
    "prodigy": read_records,
    "label-studio": read_records,
    "argilla": read_records,
    "spacy": _read_spacy,
    "gliner": read_records,
    "datasets": _read_datasets,
    "brat": read_brat,
    "webanno": read_webanno,
    "xml": read_xml,
    "markdown": read_markdown,
    "docred": read_docred,
}
