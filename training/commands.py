"""The commands `teddy train` and `export`. What they need is imported when they run."""

import json
import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

from teddy.model.commands import use_one_thread
from teddy.model.errors import MissingExtraError
from teddy.training.job.options import MetricsFileOption, MetricsPortOption, PushgatewayOption, shown
from teddy.training.tracking.tracked import MlflowOption, tracked

RecipeArgument = Annotated[Path, typer.Argument(metavar="RECIPE", help="A .toml file.", show_default=False)]
RunDataOption = Annotated[
    Path,
    typer.Option("--data", metavar="DIR", envvar="TEDDY_TRAIN_DATA", help="What the recipe's files are relative to."),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", envvar="TEDDY_TRAIN_OUTPUT", help="Where the run goes.  [default: runs/NAME]"),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", envvar="TEDDY_TRAIN_RESUME", help="Go on with the run that is in --output, or begin where none is."
    ),
]
UpdateOption = Annotated[
    Path | None,
    typer.Option("--update", metavar="MODEL", help="Teach this model file or checkpoint the recipe's corpora."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Put over a value of the recipe; may be repeated."),
]
RayOption = Annotated[
    int | None,
    typer.Option("--ray", metavar="N", min=1, help="Train with N workers of a Ray cluster: see docs/distributed.md."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")]


def train(
    recipe_file: RecipeArgument,
    data: RunDataOption = Path(),
    output: OutputOption = None,
    resume: ResumeOption = False,
    update: UpdateOption = None,
    overrides: SetOption = None,
    metrics_file: MetricsFileOption = None,
    metrics_port: MetricsPortOption = None,
    pushgateway: PushgatewayOption = None,
    mlflow: MlflowOption = None,
    workers: RayOption = None,
) -> None:
    """Train a model as a recipe says, and write its model file.

    A run leaves its resolved recipe, metrics, curves, checkpoints, an evaluation on dev and NAME.teddy in --output. At
    the end, the path of the model file is printed on standard output. A run that has finished is left as it is.

    A run that is stopped or killed goes on with --resume, and ends as if it had not been. SIGTERM and Ctrl-C let it
    write a checkpoint first: the exit code is then 75, and 3 when the loss is no number any more.

    Examples:
      teddy train training/recipes/conll2003.toml --data corpora
      teddy train mine.toml --set training.epochs=3 --set network.cell=gru --output runs/try
      teddy train mine.toml --resume
      teddy train mine.toml --update runs/old/old.teddy
      teddy train mine.toml --metrics-file /var/lib/prometheus/node-exporter/mine.prom
      teddy train mine.toml --mlflow local
    """
    from teddy.model.interruption import interruptions
    from teddy.training.config import load_recipe
    from teddy.training.distributed.launch import launched
    from teddy.training.job.job import Job

    launch = launched(os.environ)
    changes = [*(overrides or ()), *([f"update.model={json.dumps(str(update))}"] if update else [])]
    recipe = load_recipe(recipe_file, changes)
    output = output or Path("runs") / recipe.name
    if workers is not None:
        _refuse_on_ray(
            {"metrics-file": metrics_file, "metrics-port": metrics_port, "pushgateway": pushgateway, "mlflow": mlflow}
        )
        from teddy.training.distributed.ray_train import train_on_ray

        print(train_on_ray(recipe, data, output, n_workers=workers, resume=resume))
        return
    job = Job(recipe.name)
    if not launch.is_first:
        metrics_file = metrics_port = pushgateway = mlflow = None
    with (
        interruptions() as interruption,
        shown(job, metrics_file, metrics_port, pushgateway),
        tracked(output, mlflow) as watchers,
    ):
        from teddy.training.distributed.world import joined
        from teddy.training.run import train as run_training  # takes seconds, which a mistake need not wait for

        resume = resume or launch.restarts > 0
        with joined(launch) as world:
            model_file = run_training(
                recipe, data, output, resume=resume, job=job, watchers=watchers, interruption=interruption, world=world
            )
    if launch.is_first:
        print(model_file)


def _refuse_on_ray(options: Mapping[str, object]) -> None:
    """Refuse what only a run in this process can do, instead of leaving it out without a word, and all without Ray."""
    for name, value in options.items():
        if value is not None:
            raise typer.BadParameter("cannot show a run of --ray, which is in other processes", param_hint=f"--{name}")
    if find_spec("ray") is None:
        raise MissingExtraError("--ray needs the extra `ray`: pip install 'teddy[ray]'")


def export(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A .checkpoint of a run, or a model file.", show_default=False)
    ],
    model_file: Annotated[Path, typer.Argument(metavar="MODEL", help="The file to write.", show_default=False)],
    form: Annotated[
        Literal["auto", "torchscript", "onnx"],
        typer.Option("--format", help="Of MODEL; auto is onnx where its name ends in .onnx, else torchscript."),
    ] = "auto",
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="What the run's files are relative to; only for a run that has not ended."),
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option(metavar="RECIPE", help="Take the [card] table of this recipe for the model card."),
    ] = None,
) -> None:
    """Write the model file of a checkpoint, or a model as ONNX.

    A run that ended has written its model file already, with its best checkpoint. ONNX is for ONNX Runtime, here or in
    another language: it wants the extra teddy[onnx], and is compared with TorchScript before it is written.

    Examples:
      teddy export runs/mine/best.checkpoint mine.teddy
      teddy export runs/mine/last.checkpoint early.teddy --data corpora
      teddy export runs/mine/best.checkpoint mine.teddy --card mine.toml   # with what is known of it by now
      teddy export mine.teddy mine.onnx
    """
    of_checkpoint = source.suffix == ".checkpoint"
    to_onnx = form == "onnx" or (form == "auto" and model_file.suffix == ".onnx")
    if not of_checkpoint and (data or card):
        raise typer.BadParameter("goes with a checkpoint", param_hint="--data" if data else "--card")
    if source.suffix in (".teddy", ".onnx") and not to_onnx:
        raise typer.BadParameter("a model file can only be exported as ONNX: name it .onnx", param_hint="MODEL")
    if to_onnx:
        use_one_thread()

    from teddy.training.config import load_recipe
    from teddy.training.publish import export as write_model_file
    from teddy.training.publish_onnx import export_onnx

    write = export_onnx if to_onnx else write_model_file
    write(source, model_file, data, None if card is None else load_recipe(card).card)
