"""The command `teddy compare`. What it needs is imported when it runs."""

import json
from pathlib import Path
from typing import Annotated

import typer

from teddy.model.commands import PrecisionOption, use_one_thread
from teddy.training.data_options import (
    AnnotatesOption,
    DataArgument,
    DataDirectory,
    DataOptions,
    EncodingOption,
    FormatOption,
    MapOption,
    SchemeOption,
    TagOption,
    TokenOption,
)


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A model file: what was there.", show_default=False)],
    second: Annotated[Path, typer.Argument(metavar="B", help="A model file: what is new.", show_default=False)],
    source: DataArgument,
    data: DataDirectory = Path(),
    form: FormatOption = "auto",
    token: TokenOption = None,
    tag: TagOption = None,
    scheme: SchemeOption = None,
    encoding: EncodingOption = "utf-8",
    mappings: MapOption = None,
    annotates: AnnotatesOption = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write compare.html and compare.json there.")
    ] = None,
    most: Annotated[
        int,
        typer.Option("--changes", metavar="N", min=0, help="Show so many of what got better, and of what got worse."),
    ] = 10,
    n_draws: Annotated[int, typer.Option("--draws", metavar="N", min=100, help="Of the bootstrap.")] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap; the same one gives the same result.")] = 1,
    speed: Annotated[bool, typer.Option("--speed", help="Measure the words per second of both, in turns.")] = False,
    precision: PrecisionOption = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")] = False,
) -> None:
    """Say whether model B is better than model A, how sure that is, and what got better and worse.

    DATA is a file or a recipe, as in `teddy evaluate`. Only labels count that both models have and that DATA annotate.
    The difference in F1 is tested by the paired bootstrap over sentences and by approximate randomisation.

    Examples:
      teddy compare runs/old/mine.teddy runs/new/mine.teddy mine.toml --data corpora
      teddy compare old.teddy new.teddy dev.conll --report runs/new/compare
      teddy compare --json old.teddy new.teddy dev.conll | jq .overall.p_bootstrap
      teddy compare old.teddy new.teddy dev.conll --speed --changes 0
    """
    use_one_thread()
    options = DataOptions(
        source=source,
        data=data,
        form=form,
        token=token,
        tag=tag,
        scheme=scheme,
        encoding=encoding,
        mappings=mappings or (),
        annotates=annotates,
    )
    options.check()
    from teddy.training.compare.pair import compare_models

    pair = compare_models(
        (first, second), options.corpora, precision=precision, n_draws=n_draws, seed=seed, most=most, speed=speed
    )
    if report is not None:
        from teddy.training.report.html_compare import write_comparison

        write_comparison(pair, report, f"{first.name} and {second.name} on {source.name}")
    print(json.dumps(pair.as_dict(), ensure_ascii=False) if as_json else "\n".join(pair.lines()))
