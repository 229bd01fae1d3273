"""The command `teddy tag`: a text, a stream, a file, or a job of many files.

What it needs is imported when it runs.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from teddy.model.commands import PrecisionOption
from teddy.service.bulk.request import TagRequest


def tag(
    text: Annotated[
        str | None, typer.Argument(help="A text; or give --input.", show_default=False)
    ] = None,
    model_file: Annotated[
        Path | None,
        typer.Option(
            "--model", metavar="FILE", help="A model file.  [default: the one that ships]"
        ),
    ] = None,
    sources: Annotated[
        list[Path] | None,
        typer.Option(
            "--input",
            metavar="FILE",
            help="A file, folder or pattern to tag, again and again; - is standard input.",
        ),
    ] = None,
    target: Annotated[
        str,
        typer.Option(
            "--output",
            metavar="FILE",
            help="Where to write, or - for standard output; a folder for many.",
        ),
    ] = "-",
    form: Annotated[
        Literal["auto", "text", "jsonl", "conll", "parquet"],
        typer.Option("--format", help="What --input is; auto goes by its ending, and - is text."),
    ] = "auto",
    text_field: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The field of an object, or the column of a row, that is tagged."
        ),
    ] = "text",
    labels: Annotated[
        str | None,
        typer.Option(
            metavar="PER,ORG", help="Only entities with these labels.", show_default=False
        ),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(
            metavar="SCORE", min=0.0, max=1.0, help="Only entities with at least this score."
        ),
    ] = 0.0,
    processes: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Processes for files.  [default: as many as there are cores]"
        ),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Tag on this Ray cluster; local starts one here.",
            show_default=False,
        ),
    ] = None,
    restart: Annotated[
        bool, typer.Option("--restart", help="Throw away what another job has begun in --output.")
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Print what the HTTP service answers to TEXT; of files, the summary."
        ),
    ] = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Find the entities in a text, or in each record of files.

    TEXT is shown in colour on a terminal; elsewhere, each entity is a line of start, end, label,
    score and text with tabs between them. Offsets are in characters, and the end is the first
    character after the entity.

    Files are tagged in constant memory and keep their order. A run that was killed goes on where it
    was when it is started again: same inputs, output, model and options. One that is asked to stop
    (SIGTERM, Ctrl-C) exits with 75.

      .txt      a text on each line; the output is JSON lines: {"line", "text", "entities"}
      .jsonl    an object with a "text" on each line; "entities" is added to it
      .conll    a word on each line, in the first column, and a blank line after each sentence;
                a column of BIO tags is added
      .parquet  a column "text"; a column "entities" is added
      .gz .zst  after the first three (.bz2 and .xz too): unpacked, and the output is packed as its name says

    A record that cannot be tagged is answered by {"line", "error"} (in .conll by the tag _, in
    .parquet by null) and the rest goes on; the exit code is then 1. In a folder, the reasons are in
    OUTPUT/NAME.errors.jsonl too.

    Examples:
      teddy tag "He said Teddy Roosevelt was a great President"
      teddy tag --json --labels PER,ORG "Ada Lovelace wrote to the Royal Society"
      teddy tag --input letters.txt --output letters.jsonl
      tail -f chat.jsonl | teddy tag --input - --format jsonl
      teddy tag --model runs/mine/mine.teddy --input words.conll --output tagged.conll
      teddy tag --input 'corpus/**/*.jsonl.gz' --input more.parquet --output tagged/ --processes 8
    """
    request = TagRequest(
        text=text,
        model_file=model_file,
        sources=tuple(sources or ()),
        target_name=target,
        form_name=form,
        text_field=text_field,
        labels=labels,
        min_score=min_score,
        processes=processes,
        ray=ray,
        restart=restart,
        as_json=as_json,
        precision=precision,
    )
    request.check()
    if text is not None:
        _tag_text(text, request)
        return
    from teddy.service.bulk.tag_files import tag_files

    tag_files(request)


def _tag_text(text: str, request: TagRequest) -> None:
    from teddy.model.display import coloured, plain_line
    from teddy.service.bulk.records import entity_fields

    predictor = request.load()
    labels = predictor.manifest.labels
    entities = request.selection(labels).of(predictor.tag([text])[0])
    if request.as_json:
        identity = {"name": predictor.manifest.name, "version": predictor.version}
        print(
            json.dumps(
                {"model": identity, "entities": [entity_fields(entity) for entity in entities]},
                ensure_ascii=False,
            )
        )
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(coloured(text, entities, labels), soft_wrap=True)
    else:
        for entity in entities:
            print(plain_line(entity))
