"""The commands `teddy train`, `evaluate`, `export` and `check`. What they need is imported when they run."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from training.evaluate import Evaluation

DataDirectory = Annotated[Path, typer.Option("--data", metavar="DIR", help="What the recipe's files are relative to.")]
FileFormat = Annotated[
    Literal["auto", "conll", "jsonl", "conllu", "csv", "docred"],
    typer.Option("--format", help="What a data file is; auto goes by its ending."),
]
TokenColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Where the token is; negative from the right.")]
TagColumn = Annotated[str, typer.Option(metavar="COLUMN", help="Where the tag is; csv columns may be named.")]
TagScheme = Annotated[Literal["io", "iob1", "bio", "bioes", "bmes"], typer.Option(help="How tags write spans.")]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="Of a data file.")]
LabelMap = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        show_default=False,
        help="Read a label of the file as one of the model's, as O (no entity) or as ? (unknown). May be repeated.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")]


def train(
    recipe_file: Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml file.", show_default=False)],
    data: DataDirectory = Path(),
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the run goes.  [default: runs/NAME]", show_default=False)
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run that is in --output.")] = False,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Put over a value of the recipe. May be repeated."),
    ] = None,
) -> None:
    """Train a model as a recipe says, and write its model file.

    A run leaves its resolved recipe, metrics, curves, checkpoints, an evaluation on dev, and NAME.teddy in --output.

    Examples:
      teddy train training/recipes/en.toml --data corpora
      teddy train mine.toml --set training.epochs=3 --set network.cell=gru --output runs/try
      teddy train mine.toml --resume
    """
    from training.config import load_recipe
    from training.run import train as run_training

    recipe = load_recipe(recipe_file, overrides or ())
    print(run_training(recipe, data, output or Path("runs") / recipe.name, resume=resume))


def evaluate(
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="A model file.", show_default=False)],
    source: Annotated[Path, typer.Argument(metavar="DATA", help="A data file, or a recipe.", show_default=False)],
    data: DataDirectory = Path(),
    form: FileFormat = "auto",
    token: TokenColumn = "0",  # noqa: S107
    tag: TagColumn = "-1",
    scheme: TagScheme = "bio",
    encoding: Encoding = "utf-8",
    label_map: LabelMap = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write report.md, report.json and confusion.png there.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a model on data whose entities are known.

    DATA is a file (.conll, .jsonl, .conllu, .csv, .json; also packed as .xz, .gz or .bz2), or a recipe whose dev data
    are then used. An entity counts when its start, end and label are all right.

    Examples:
      teddy evaluate runs/mine/mine.teddy dev.conll
      teddy evaluate runs/mine/mine.teddy news.csv --token Word --tag Tag --map geo=LOC --map tim=O
      teddy evaluate runs/mine/mine.teddy mine.toml --data corpora --report runs/mine/dev
    """
    import model
    from training.data import columns, named_data
    from training.measure import measure

    reading = columns(form=form, token=token, tag=tag, scheme=scheme, encoding=encoding, label_map=label_map or ())
    predictor = model.load(model_file)
    evaluation = measure(predictor, named_data(source, data, predictor.manifest.labels, reading))
    if report is not None:
        from training.report import write_report

        write_report(evaluation, report, title=f"{model_file} on {source}")
    if as_json:
        print(json.dumps(evaluation.as_dict(), ensure_ascii=False))
    else:
        print("\n".join(_summary(evaluation)))
