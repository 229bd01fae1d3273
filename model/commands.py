"""The commands `teddy tag` and `teddy inspect`. What they need is imported when they run, not for their help."""

import json
import os
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from model.bulk import Progress
    from model.predictor import Predictor
    from model.records import Format, Selection

STANDARD_STREAM = Path("-")

PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "int8"],
    typer.Option(help="What the network computes in; auto is the fastest that gives the same entities."),
]


def tag(
    text: Annotated[str | None, typer.Argument(help="A text; or give --input.", show_default=False)] = None,
    model_file: Annotated[
        Path | None, typer.Option("--model", metavar="FILE", help="A model file.  [default: the one that ships]")
    ] = None,
    source: Annotated[
        Path | None, typer.Option("--input", metavar="FILE", help="A file to tag, or - for standard input.")
    ] = None,
    target: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="Where to write, or - for standard output.")
    ] = STANDARD_STREAM,
    form: Annotated[
        Literal["auto", "text", "jsonl", "conll"],
        typer.Option("--format", help="What --input is; auto goes by its ending, and - is text."),
    ] = "auto",
    labels: Annotated[
        str | None, typer.Option(metavar="PER,ORG", help="Only entities with these labels.", show_default=False)
    ] = None,
    min_score: Annotated[
        float, typer.Option(metavar="SCORE", min=0.0, max=1.0, help="Only entities with at least this score.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the HTTP service answers to TEXT.")] = False,
    precision: PrecisionOption = "auto",
) -> None:
    """Find the entities in a text, or in each record of a file.

    TEXT is shown in colour on a terminal; elsewhere, each entity is a line of start, end, label, score and text with
    tabs between them. Offsets are in characters, and the end is the first character after the entity.

    A file is tagged in constant memory and its order is kept. A run that was killed goes on where it was when it is
    started again: same input, output, model and options.

      .txt     a text on each line; the output is JSON lines: {"line", "text", "entities"}
      .jsonl   an object with a "text" on each line; "entities" is added to it
      .conll   a word on each line, in the first column, and a blank line after each sentence;
               a column of BIO tags is added

    A record that cannot be tagged is answered by {"line", "error"} (in .conll, by the tag _) and the rest goes on; the
    exit code is then 1.

    Examples:
      teddy tag "He said Teddy Roosevelt was a great President"
      teddy tag --json --labels PER,ORG "Ada Lovelace wrote to the Royal Society"
      teddy tag --input letters.txt --output letters.jsonl
      tail -f chat.jsonl | teddy tag --input - --format jsonl
      teddy tag --model runs/mine/mine.teddy --input words.conll --output tagged.conll
    """
    request = _Request(text, model_file, source, target, form, labels, min_score, as_json, precision)
    request.check()
    if text is not None:
        _tag_text(text, request)
    elif source is not None:
        _tag_input(source, request)


def inspect(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")] = False,
    as_card: Annotated[bool, typer.Option("--card", help="Print its model card, in Markdown.")] = False,
) -> None:
    """Say what is in a model file: labels, network, training data and licences, scores.

    The file is checked and read; nothing in it is run.

    Examples:
      teddy inspect runs/mine/mine.teddy
      teddy inspect --json model/pretrained/en.teddy | jq .training_data
      teddy inspect --card runs/mine/mine.teddy > CARD.md
    """
    if as_json and as_card:
        raise typer.BadParameter("is Markdown; the card's numbers are in --json too", param_hint="--card")

    from model.bundle import read_bundle
    from model.display import model_fields, model_lines
    from model.errors import ModelFileError

    bundle = read_bundle(model_file)
    if as_card:
        if not bundle.card:
            raise ModelFileError(model_file, "it has no model card: it was exported before there were any")
        print(bundle.card, end="")
        return
    if as_json:
        _print_json(model_fields(bundle), indent=2)
    else:
        print("\n".join(model_lines(bundle)))


def use_one_thread() -> None:
    """Let the network compute on one thread, unless the environment has another number; before torch is imported.

    A sentence is too little work to share. (Two cores, threads that sleep while they wait, medians: one text in 26 ms
    instead of 4 with two threads, and 52,000 words/s instead of 69,000 for many.)
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@dataclass(frozen=True, slots=True)
class _Request:
    """The arguments of `teddy tag`."""

    text: str | None
    model_file: Path | None
    source: Path | None
    target: Path
    form: str
    labels: str | None
    min_score: float
    as_json: bool
    precision: str

    def check(self) -> None:
        """Refuse options that contradict each other, before a model is loaded for nothing."""
        if (self.text is None) == (self.source is None):
            raise typer.BadParameter("give either a text or --input", param_hint="TEXT")
        if self.text is not None and self.target != STANDARD_STREAM:
            raise typer.BadParameter("goes with --input; redirect the standard output instead", param_hint="--output")
        if self.text is not None and self.form != "auto":
            raise typer.BadParameter("says what --input is", param_hint="--format")
        if self.source is not None and self.as_json:
            raise typer.BadParameter("goes with TEXT; what --input gives is JSON already", param_hint="--json")
        if self.source is not None and self.min_score and self.format_of(self.source) == "conll":
            raise typer.BadParameter("columns have no scores", param_hint="--min-score")

    def format_of(self, source: Path) -> "Format":
        """Return the format asked for, or the one that the name of the input tells."""
        from model.bulk import guess_format
        from model.records import Format

        if self.form != "auto":
            return Format(self.form)
        return Format.TEXT if source == STANDARD_STREAM else guess_format(source)

    def load(self, precision: str | None = None) -> "Predictor":
        """Load the model, in the precision asked for unless another is given."""
        use_one_thread()
        import model
        from model.memory import settle

        predictor = model.load(self.model_file, precision=precision or self.precision)
        settle()
        return predictor

    def selection(self, known: tuple[str, ...]) -> "Selection":
        """Return which entities are wanted of a model that knows these labels."""
        from model.records import Selection

        if self.labels is None:
            return Selection(min_score=self.min_score)
        wanted = frozenset(label.strip() for label in self.labels.split(","))
        if strangers := wanted.difference(known):
            message = f"the model has {', '.join(known)}, not {', '.join(sorted(strangers))}"
            raise typer.BadParameter(message, param_hint="--labels")
        return Selection(labels=wanted, min_score=self.min_score)


def _tag_text(text: str, request: _Request) -> None:
    from model.display import coloured, plain_line
    from model.records import entity_fields

    predictor = request.load()
    labels = predictor.manifest.labels
    entities = request.selection(labels).of(predictor.tag([text])[0])
    if request.as_json:
        identity = {"name": predictor.manifest.name, "version": predictor.version}
        _print_json({"model": identity, "entities": [entity_fields(entity) for entity in entities]})
    elif sys.stdout.isatty():
        from rich.console import Console

        Console(highlight=False).print(coloured(text, entities, labels), soft_wrap=True)
    else:
        for entity in entities:
            print(plain_line(entity))


def _tag_input(source: Path, request: _Request) -> None:
    """Tag a file into a file so that it can go on after a kill; anything else as a stream."""
    to_file = request.target != STANDARD_STREAM and (request.target.is_file() or not request.target.exists())
    done = _tag_file(source, request) if to_file and source.is_file() else _tag_stream(source, request, to_file)
    if to_file or done.errors:
        _say(f"{done.lines:,} lines, {done.entities:,} entities, {done.errors:,} not tagged")
    if done.errors:
        _say(f"first of those not tagged: {done.first_error}")
        raise typer.Exit(1)


def _tag_file(source: Path, request: _Request) -> "Progress":
    from model.bulk import Job, earlier_precision, tag_file
    from model.display import shown_progress

    form = request.format_of(source)
    predictor = request.load(earlier_precision(request.target) if request.precision == "auto" else None)
    job = Job(
        source=source,
        target=request.target,
        form=form,
        selection=request.selection(predictor.manifest.labels),
        model=f"{predictor.manifest.name} {predictor.version}",
        precision=predictor.precision,
    )
    with shown_progress(source.stat().st_size) as show:
        return tag_file(job, predictor, show)


def _tag_stream(source: Path, request: _Request, to_file: bool) -> "Progress":
    from model.bulk import Progress, arriving_lines, tag_stream
    from model.files import atomic_path

    form = request.format_of(source)
    done = Progress()
    with ExitStack() as stack:
        stream = stack.enter_context(_open_input(source))
        predictor = request.load()
        selection = request.selection(predictor.manifest.labels)
        target = stack.enter_context(atomic_path(request.target)) if to_file else request.target
        output = stack.enter_context(_open_output(target))
        for progress in tag_stream(arriving_lines(stream), form, predictor, selection, output.write):
            output.flush()
            done = progress
    return done


def _open_input(path: Path) -> BufferedReader:
    return open(0, "rb", closefd=False) if path == STANDARD_STREAM else path.open("rb")


def _open_output(path: Path) -> BufferedWriter:
    return open(1, "wb", closefd=False) if path == STANDARD_STREAM else path.open("wb")


def _say(message: str) -> None:
    print(f"teddy: {message}", file=sys.stderr)


def _print_json(value: object, indent: int | None = None) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=indent))
