"""The command `teddy check`. What it needs is imported when it runs."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from teddy.training.data.options import (
    AnnotatorOption,
    DataArgument,
    DataDirectory,
    DataOptions,
    EncodingOption,
    FieldOption,
    FormatOption,
    OffsetUnitOption,
    SchemeOption,
    TagNamesOption,
    TagOption,
    TokenOption,
)

if TYPE_CHECKING:
    from teddy.training.check.noise import NoiseOptions
    from teddy.training.check.report import CheckReport

_PLAIN_EVERY_SECONDS = 30.0


_Deep = Annotated[
    bool,
    typer.Option("--deep", help="Also look for label noise, by cross-validated training: minutes."),
]
_Folds = Annotated[int, typer.Option(metavar="N", min=2, max=20, help="The folds of --deep.")]
_Start = Annotated[
    Literal["auto", "en", "none"],
    typer.Option(help="The start of --deep's taggers; auto is en for Latin script."),
]
_Seed = Annotated[
    int,
    typer.Option(metavar="N", min=0, help="The seed of --deep; the same seed, the same report."),
]
_Show = Annotated[int, typer.Option(metavar="N", min=0, help="Findings to show of each kind.")]
_All = Annotated[bool, typer.Option("--all", help="Show all findings.")]
_Json = Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")]


def check(
    source: DataArgument,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    offset_unit: OffsetUnitOption = "auto",
    tag_names: TagNamesOption = None,
    annotator: AnnotatorOption = "",
    field: FieldOption = "auto",
    deep: _Deep = False,
    folds: _Folds = 4,
    start: _Start = "auto",
    seed: _Seed = 1,
    show: _Show = 10,
    show_all: _All = False,
    as_json: _Json = False,
) -> None:
    """Look for mistakes in data before they cost a night of training.

    Counts the data and lists what looks wrong, the gravest first, each with a cure: lines that
    cannot be read, illegal tags, labels that train or dev lacks, the same words labelled in two
    ways, dev sentences that are also in train, wrong decodings, and more. The exit code is 1 when
    there are errors.

    With --deep, taggers are trained on parts of the data and read the rest: annotations that differ
    from theirs are listed, the most suspicious first.

    Examples:
      teddy check mine.toml --data corpora
      teddy check mine.toml --data corpora --deep
      teddy check train.conll --scheme iob1 --show 50
      teddy check --json notes.jsonl | jq .counts
    """
    options = DataOptions.of(locals())
    from teddy.model.errors import DataError

    if not options.is_recipe and not source.exists():
        # What is wrong inside a file is a finding instead.
        raise DataError(source, None, "no such file")
    from teddy.training.check.noise import NoiseOptions

    noise = NoiseOptions(folds=folds, seed=seed, start=start) if deep else None
    report = _check(options, noise)
    if as_json:
        print(json.dumps(report.as_dict(), ensure_ascii=False))
    else:
        from rich.console import Console

        from teddy.training.check.display import as_text, print_report

        limit = None if show_all else show
        if sys.stdout.isatty():
            print_report(report, Console(), limit)
        else:
            print(as_text(report, limit), end="")
    if report.has_errors:
        raise typer.Exit(1)


def _check(options: DataOptions, deep: "NoiseOptions | None") -> "CheckReport":
    from teddy.model.errors import DataError
    from teddy.training.check.checking import check_file, check_recipe, unreadable
    from teddy.training.check.report import CheckReport
    from teddy.training.data.named_file import file_config

    with _shown_progress(wanted=deep is not None) as progressed:
        if options.is_recipe:
            recipe, path = options.recipe(), options.source
            return check_recipe(recipe, options.data, path=path, deep=deep, on_progress=progressed)
        try:
            named = file_config(options.source, (), **options.stated())
        except DataError as error:
            return CheckReport(parts=(), findings=(unreadable(error),))
        return check_file(options.source, named, deep=deep, on_progress=progressed)


@contextmanager
def _shown_progress(*, wanted: bool) -> Iterator[Callable[[float], None]]:
    """Give a function that shows the share that is done: in a bar, or on a line now and then."""
    if not wanted:
        yield lambda _: None
    elif sys.stderr.isatty():
        from rich import progress as bars
        from rich.console import Console

        columns = (
            bars.TextColumn("label noise"),
            bars.BarColumn(),
            bars.TaskProgressColumn(),
            bars.TimeRemainingColumn(),
        )
        with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task("", total=1.0)
            yield lambda share: shown.update(task, completed=share)
    else:
        yield _PlainProgress()


class _PlainProgress:
    """A line on standard error every half minute; its clock starts at the first update."""

    def __init__(self) -> None:
        self._last_line = time.monotonic()
        self._first: tuple[float, float] | None = None

    def __call__(self, share: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, share)
        began, first_share = self._first
        if share > first_share and now - self._last_line >= _PLAIN_EVERY_SECONDS:
            self._last_line = now
            left_seconds = (now - began) * (1 - share) / (share - first_share)
            line = f"label noise: {share:.0%} done, about {left_seconds:,.0f} s left"
            print(line, file=sys.stderr, flush=True)
