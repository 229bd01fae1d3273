"""The command `teddy convert`. What it needs is imported when it runs."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from teddy.training.data.options import (
    AnnotatorOption,
    DataOptions,
    EncodingOption,
    FieldOption,
    FormatOption,
    MisalignedChoice,
    OffsetUnitOption,
    SchemeOption,
    TagNamesOption,
    TagOption,
    TargetFormat,
    TokenOption,
)

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.text.words import Tokeniser
    from teddy.training.data.align import Misaligned
    from teddy.training.data.readers import Example
    from teddy.training.recipe.corpus_config import FormatName

_BATCH_TEXTS = 256
_Source = Annotated[
    Path, typer.Argument(metavar="IN", help="A file or folder to read.", show_default=False)
]
_Target = Annotated[
    Path, typer.Argument(metavar="OUT", help="The file or folder to write.", show_default=False)
]
_To = Annotated[
    TargetFormat | None,
    typer.Option("--to", help="The format of OUT.  [default: by its ending]"),
]
_Model = Annotated[
    Path | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="Mark what this model finds, in place of the spans of IN, which may have none.",
    ),
]
_Misaligned = Annotated[
    MisalignedChoice,
    typer.Option(help="What becomes of spans that are not made of whole words, in columns."),
]


def convert(
    source: _Source,
    target: _Target,
    to: _To = None,
    model_file: _Model = None,
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    offset_unit: OffsetUnitOption = "auto",
    tag_names: TagNamesOption = None,
    annotator: AnnotatorOption = "",
    field: FieldOption = "auto",
    misaligned: _Misaligned = "trim",
) -> None:
    """Read annotations in one format and write them in another.

    The format of IN is guessed from its content, and said. All that OUT can say is kept: texts,
    spans, tokens, and what else a record has. What it cannot say is an error with its place, so
    that no annotation is lost without a word.

    Files are converted in constant memory, except JSON lists, which are held as text, and .spacy.

    Examples:
      teddy convert export.json train.conll
      teddy convert notes.jsonl notes.parquet
      teddy convert ner/ tasks.json --to label-studio
      teddy convert letters.txt tasks.jsonl --to prodigy --model runs/mine/mine.teddy
    """
    options = DataOptions.of(locals())
    import teddy
    from teddy.model.errors import DataError, counted
    from teddy.model.text.words import Tokeniser
    from teddy.training.data.writers import format_to_write

    wanted = format_to_write(target, to)
    if target.exists() and source.exists() and target.samefile(source):
        raise DataError(target, None, "is the input as well; the output needs a name of its own")
    if wanted != "brat" and not target.parent.is_dir():
        raise DataError(target.parent, None, "no such folder: make it first")
    fitting = Fitting(misaligned, Tokeniser())
    if model_file is not None:
        predictor = teddy.load(model_file)
        fitting.tokeniser = predictor.tokeniser
        examples = _marked(source, predictor, encoding)
    else:
        examples = _read(options, fitting)
    fitting.write(target, examples, wanted, predicted=model_file is not None)
    found = f"{counted(fitting.n_examples, 'text')}, {counted(fitting.n_spans, 'span')}"
    print(f"{target}: {found}", file=sys.stderr)
    if fitting.n_lost:
        dropped = f"{counted(fitting.n_lost, 'span')} dropped: {fitting.first}"
        print(f"teddy: {dropped}", file=sys.stderr)


def _read(options: DataOptions, fitting: "Fitting") -> "Iterator[Example]":
    from teddy.training.data.fitting import fit
    from teddy.training.data.readers import read_examples
    from teddy.training.data.readers.guess import guess_file
    from teddy.training.recipe.corpus_config import FormatConfig

    known = options.stated().items()
    fields = FormatConfig.model_fields
    stated = {key: value for key, value in known if key in fields and value is not None}
    guess = guess_file(options.source, FormatConfig(format=options.form, **stated))
    print(f"{options.source}: {guess}", file=sys.stderr)
    as_it_is = guess.options.model_copy(update={"misaligned": "drop"})
    how = guess.options.model_copy(update={"misaligned": fitting.misaligned})
    for example in read_examples(options.source, as_it_is):
        if fitting.misaligned in _CHANGES:
            example = fit(example, how, fitting.tokeniser, lambda _: None)
        yield example


_CHANGES = ("expand", "contract")
"""Of spans, which are asked for; white space at an edge is trimmed only where it must be."""


@dataclass(slots=True)
class Fitting:
    """Fits spans to tokens for formats that have only these, and counts."""

    misaligned: MisalignedChoice
    tokeniser: "Tokeniser"
    """That of the model which marks the texts, if one does."""
    n_examples: int = 0
    n_spans: int = 0
    n_lost: int = 0
    first: "Misaligned | None" = field(default=None)

    def write(
        self,
        target: Path,
        examples: "Iterable[Example]",
        form: "FormatName",
        *,
        predicted: bool = False,
    ) -> None:
        """Write examples, fitted to what the format can say. Raises as `write_examples` does."""
        from teddy.model.system.memory import collector_paused
        from teddy.training.data.writers import OF_TOKENS, write_examples

        if form in OF_TOKENS or target.suffix == ".spacy":
            examples = (each for example in examples for each in self.sentences(example))
        with collector_paused():
            write_examples(target, self.counted(examples), form, predicted=predicted)

    def counted(self, examples: "Iterable[Example]") -> "Iterator[Example]":
        """Yield the examples, and count them and their spans."""
        for example in examples:
            self.n_examples += 1
            self.n_spans += len(example.spans)
            yield example

    def sentences(self, example: "Example") -> "Iterator[Example]":
        """Yield the sentences of an example, with tokens, and spans of whole tokens."""
        from teddy.model.tags.spans import Span
        from teddy.training.data.align import OFF_BORDERS, Misaligned, align
        from teddy.training.data.fitting import fit
        from teddy.training.data.readers import Example
        from teddy.training.recipe.corpus_config import FormatConfig

        how = FormatConfig(misaligned=self.misaligned)
        example = fit(example, how, self.tokeniser, lambda _: None)
        if example.tokens:
            starts, ends = ({each[side] for each in example.tokens} for side in (0, 1))
            kept = []
            for span, line in zip(example.spans, example.span_lines, strict=True):
                if span.start in starts and span.end in ends:
                    kept.append(span)
                    continue
                surface = example.text[span.start : span.end]
                self.lose(Misaligned(example.path, line, surface, span.label, OFF_BORDERS))
            yield example.with_spans(kept)
            return
        for sentence in align(example, "", self.tokeniser, self.lose):
            places = sentence.offsets
            yield Example(
                text=sentence.text,
                spans=tuple(
                    Span(places[s.start][0], places[s.end - 1][1], s.label) for s in sentence.spans
                ),
                span_lines=(sentence.line,) * len(sentence.spans),
                path=sentence.path,
                line=sentence.line,
                is_sentence=True,
                document=example.document,
                tokens=places,
                meta=example.meta,
            )

    def lose(self, item: "Misaligned") -> None:
        """Count a span that tokens cannot express. Raises DataError where none may be dropped."""
        from teddy.model.errors import DataError

        if self.misaligned != "drop":
            cure = "give --misaligned expand, contract or drop, or write jsonl"
            raise DataError(item.path, item.line, f"{item.about}; {cure}")
        self.n_lost += 1
        self.first = self.first or item


def _marked(source: Path, predictor: "Predictor", encoding: str) -> "Iterator[Example]":
    """Yield the texts of a file with the entities that a model finds."""
    from dataclasses import replace

    from teddy.model.tags.spans import Span

    batch: list[Example] = []

    def tagged() -> "Iterator[Example]":
        found = predictor.tag([each.text for each in batch])
        for example, entities in zip(batch, found, strict=True):
            spans = [Span(each.start, each.end, each.label) for each in entities]
            yield replace(example, spans=tuple(spans), span_lines=(example.line,) * len(spans))

    for example in _texts(source, encoding):
        batch.append(example)
        if len(batch) == _BATCH_TEXTS:
            yield from tagged()
            batch.clear()
    yield from tagged()


def _texts(source: Path, encoding: str) -> "Iterator[Example]":
    """Yield the texts of a file that need not be annotated: lines, records, or any format."""
    from teddy.model.errors import DataError
    from teddy.training.data.readers import Example, read_examples
    from teddy.training.data.readers.files import stream_corpus_lines
    from teddy.training.data.readers.json import json_values
    from teddy.training.data.readers.shapes import SPAN_KEYS, TEXT_KEYS
    from teddy.training.recipe.corpus_config import FormatConfig

    def text_of(number: int, text: str, meta: dict[str, object]) -> Example:
        return Example(
            text=text,
            spans=(),
            span_lines=(),
            path=str(source),
            line=number,
            is_sentence=False,
            document=number,
            meta=meta,
        )

    if source.suffix in (".txt", ".text") and not source.with_suffix(".ann").exists():
        lines = stream_corpus_lines(source, encoding)
        yield from (text_of(number, line, {}) for number, line in lines if line.strip())
    elif source.suffix in (".jsonl", ".json", ".ndjson"):
        for number, value in json_values(source, encoding):
            record = value.get("data", value) if isinstance(value, dict) else {"text": value}
            record = {"text": record} if isinstance(record, str) else record
            key = next((key for key in TEXT_KEYS if isinstance(record.get(key), str)), None)
            if key is None:
                raise DataError(source, number, 'want an object with a "text"')
            dropped = {key, *SPAN_KEYS, "answer", "tokens"}
            meta = {name: each for name, each in record.items() if name not in dropped}
            yield text_of(number, record[key], meta)
    else:
        yield from read_examples(source, FormatConfig(encoding=encoding))
