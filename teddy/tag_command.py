"""The command `teddy tag`: a text, a stream, a file, or many files.

What it needs is imported when it runs.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from typer import Option

from teddy.model.commands import ModelOption, PrecisionOption, TextArgument, piped
from teddy.service.bulk.request import TagRequest, ThresholdOption
from teddy.training.data.options import TargetFormat

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.training.data.readers import Example

_Input = Annotated[
    list[Path] | None,
    Option(
        "--input",
        metavar="FILE",
        help="A file, folder or pattern to tag, again and again; - is standard input.",
    ),
]
_Output = Annotated[
    str,
    Option(
        "--output",
        metavar="FILE",
        help="Where to write, or - for standard output; a folder for many.",
    ),
]
_Format = Annotated[
    Literal["auto", "text", "jsonl", "conll", "parquet"],
    Option("--format", help="What --input is; auto goes by its ending, and - is text."),
]
_To = Annotated[
    TargetFormat | None,
    Option(
        "--to",
        help="Write texts and entities in this format of annotations, to correct them in a tool.",
        show_default=False,
    ),
]
_TextField = Annotated[
    str, Option(metavar="NAME", help="The field of an object, or the column of a row, to tag.")
]
_Labels = Annotated[
    str | None,
    Option(metavar="PER,ORG", help="Only entities with these labels.", show_default=False),
]
_MinScore = Annotated[
    float, Option(metavar="SCORE", min=0.0, max=1.0, help="Only entities with at least this score.")
]
_Sentences = Annotated[
    Literal["document", "lines"] | None,
    Option(
        "--sentences",
        help="How texts are cut: by their stops, lines and gaps, or each line is a sentence.  "
        "[default: as the model's recipe says]",
        show_default=False,
    ),
]
_Rules = Annotated[
    Path | None,
    Option(
        "--rules",
        metavar="FILE",
        help="Dictionaries, patterns and more, beside the model: a rules.toml.",
        show_default=False,
    ),
]
_Processes = Annotated[
    int | None,
    Option(metavar="N", min=1, help="Processes for files.  [default: as many as there are cores]"),
]
_Ray = Annotated[
    str | None,
    Option(
        metavar="ADDRESS",
        help="Tag on this Ray cluster; local starts one here.",
        show_default=False,
    ),
]
_Restart = Annotated[
    bool, Option("--restart", help="Throw away what another job has begun in --output.")
]
_Html = Annotated[
    str | None,
    Option(
        "--html",
        metavar="FILE",
        help="Write a page of the texts with their entities marked; - prints it.",
        show_default=False,
    ),
]
_Json = Annotated[
    bool,
    Option("--json", help="Print what the HTTP service answers to TEXT; of files, the summary."),
]


def tag(
    text: TextArgument = None,
    model_file: ModelOption = None,
    sources: _Input = None,
    target_name: _Output = "-",
    form_name: _Format = "auto",
    to: _To = None,
    text_field: _TextField = "text",
    labels: _Labels = None,
    min_score: _MinScore = 0.0,
    threshold: ThresholdOption = None,
    sentences: _Sentences = None,
    rules: _Rules = None,
    processes: _Processes = None,
    ray: _Ray = None,
    restart: _Restart = False,
    as_json: _Json = False,
    html_name: _Html = None,
    precision: PrecisionOption = "auto",
) -> None:
    """Find the entities in a text, or in each record of files.

    TEXT is shown in colour on a terminal; elsewhere, each entity is a line of start, end, label,
    score and text with tabs between them, and with --rules its source and id. Offsets are in
    characters, and the end is the first character after the entity.

    Files are tagged in constant memory and keep their order. To go on with a run that was killed,
    start it again: same inputs, output, model and options. One that is asked to stop (SIGTERM,
    Ctrl-C) exits with 75.

      .txt      a text on each line; the output is JSON lines: {"line", "text", "entities"}
      .jsonl    an object with a "text", a string or a list of words, on each line; "entities" is
                added to it (for words, offsets are in words)
      .conll    a word on each line, in the first column, and a blank line after each sentence;
                a column of BIO tags is added
      .parquet  a column "text"; a column "entities" is added
      .gz .zst  after the first three (.bz2 and .xz too): unpacked, and the output is packed too

    A record that cannot be tagged is answered by {"line", "error"} (in .conll by the tag _, in
    .parquet by null) and the rest goes on; the exit code is then 1. In a folder, the reasons are in
    OUTPUT/NAME.errors.jsonl too.

    Examples:
      teddy tag "He said Teddy Roosevelt was a great President"
      teddy tag --html marked.html "He said Teddy Roosevelt was a great President"
      teddy tag --json --labels PER,ORG "Ada Lovelace wrote to the Royal Society"
      teddy tag --rules rules.toml "Order ORD-123456 is for Ada Lovelace"
      teddy tag --input letters.txt --output letters.jsonl
      tail -f chat.jsonl | teddy tag --input - --format jsonl
      teddy tag --input letters.txt --output tasks.json --to label-studio
      teddy tag --model runs/mine/mine.teddy --input words.conll --output tagged.conll
      teddy tag --input 'corpus/**/*.jsonl.gz' --input more.parquet --output tagged/ --processes 8
    """
    request = TagRequest(**locals() | {"sources": piped(text, sources)})  # a field for each option
    request.check()
    if text is not None:
        _tag_text(text, request)
        return
    from teddy.service.bulk.tag_files import tag_files, write_answers

    if to is None:
        tag_files(request)
    else:
        write_answers(request, partial(_write_examples, request, to))


def _write_examples(
    request: TagRequest,
    form: TargetFormat,
    answers: Iterator[dict[str, Any]],
    predictor: "Predictor",
) -> None:
    """Write tagged texts as `teddy convert` writes annotations."""
    from teddy.training.data.convert_command import Fitting
    from teddy.training.data.writers import format_to_write

    wanted = format_to_write(request.target, form)
    examples = (_example(answer, request) for answer in answers)
    fitting = Fitting("trim", predictor.tokeniser)
    fitting.write(request.target, examples, wanted, predicted=True)


def _example(answer: dict[str, Any], request: TagRequest) -> "Example":
    """Return a tagged text; of words, as a sentence of tokens."""
    from teddy.model.tags.spans import Span
    from teddy.training.data.readers import Example
    from teddy.training.data.readers.rows import join_tokens
    from teddy.training.recipe.corpus_config import FormatConfig

    source = request.sources[0]
    is_line = request.format_of(source) == "text"
    text = answer.pop("text" if is_line else request.text_field)
    line = answer.pop("line") if is_line else 1
    found = answer.pop("entities")
    starts: Sequence[int] = range(len(text) + 1)
    ends = starts
    tokens: list[tuple[int, int]] = []
    if isinstance(text, list):
        starts, last, text = join_tokens(text, FormatConfig())
        tokens, ends = [*zip(starts, last, strict=True)], [0, *last]
    return Example(
        text=text,
        spans=tuple(Span(starts[e["start"]], ends[e["end"]], e["label"]) for e in found),
        span_lines=(line,) * len(found),
        path=str(source),
        line=line,
        is_sentence=bool(tokens),
        document=0,
        tokens=tuple(tokens),
        meta=answer,
    )


def _tag_text(text: str, request: TagRequest) -> None:
    from teddy.model.display import coloured, plain_line
    from teddy.service.bulk.records import entity_fields

    predictor = request.load()
    labels = predictor.labels
    selection = request.selection(labels)
    entities = selection.of(predictor.tag([text], **selection.options)[0])
    if request.html_name is not None:
        from teddy.service.bulk.tag_files import write_page

        write_page(text, entities, request.target)
    elif request.as_json:
        answer = {
            "model": {"name": predictor.manifest.name, "version": predictor.version},
            "entities": [entity_fields(entity) for entity in entities],
        }
        print(json.dumps(answer, ensure_ascii=False))
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(coloured(text, entities, labels), soft_wrap=True)
    else:
        for entity in entities:
            print(plain_line(entity))
