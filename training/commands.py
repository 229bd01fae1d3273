"""The commands `teddy train`, `export`, `search`, `pretrain` and `sample`."""

import json
import os
import sys
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from teddy.model.commands import use_one_thread
from teddy.model.errors import MissingExtraError
from teddy.training.data.options import DataDirectory
from teddy.training.draft.init_command import recipe_beside
from teddy.training.draft.try_command import next_steps
from teddy.training.job.options import MetricsFileOption, MetricsPortOption, PushgatewayOption
from teddy.training.job.tracking import MlflowOption, observed

RecipeArgument = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A .toml file.", show_default=False)
]
SourcesArgument = Annotated[
    list[Path],
    typer.Argument(
        metavar="RECIPE|DATA",
        help="A .toml file; or annotated files, for a recipe like that of teddy init.",
        show_default=False,
    ),
]
RunDataOption = Annotated[
    Path,
    typer.Option(
        "--data", metavar="DIR", envvar="TEDDY_TRAIN_DATA", help="The folder of the recipe's files."
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", envvar="TEDDY_TRAIN_OUTPUT", help="Where the run goes.  [default: runs/NAME]"
    ),
]
ResumeOption = Annotated[
    bool,
    typer.Option(
        "--resume", envvar="TEDDY_TRAIN_RESUME", help="Go on with the run in --output, if any."
    ),
]
UpdateOption = Annotated[
    Path | None,
    typer.Option("--update", metavar="MODEL", help="Teach this model file or checkpoint."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Put over a value of the recipe; may be repeated."
    ),
]
RayOption = Annotated[
    int | None,
    typer.Option("--ray", metavar="N", min=1, help="Train with N workers of a Ray cluster."),
]
SourceArgument = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE", help="A .checkpoint of a run, or a model file.", show_default=False
    ),
]
ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="The file to write.", show_default=False)
]
FormatOption = Annotated[
    Literal["auto", "torchscript", "onnx"],
    typer.Option("--format", help="Of MODEL; auto is onnx for NAME.onnx, else torchscript."),
]
CheckpointDataOption = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="The folder of the files of a run that has not ended."),
]
CardOption = Annotated[
    Path | None,
    typer.Option(metavar="RECIPE", help="Take the [card] table of this recipe for the model card."),
]
TrialsOption = Annotated[
    int | None,
    typer.Option(min=1, help="Training runs in all.  [default: search.trials]", show_default=False),
]
MinutesOption = Annotated[float | None, typer.Option(min=0, help="Begin no trial after them.")]
JobsOption = Annotated[int, typer.Option(min=1, help="Processes that train trials at once.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")]
RunArgument = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="The folder of a pre-training run.", show_default=False),
]
PromptOption = Annotated[
    str, typer.Option(metavar="TEXT", help="What to go on with; empty: a word by chance.")
]
WordsOption = Annotated[int, typer.Option(min=1, help="The most words to write.")]
TemperatureOption = Annotated[
    float, typer.Option(min=0.01, help="Below 1 the usual, above 1 the unusual.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Another seed, another text.")]
BackwardOption = Annotated[
    bool, typer.Option("--backward", help="Write what comes before the prompt.")
]


def train(
    sources: SourcesArgument,
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
    """Train a model as a recipe says, or on annotated files, and write its model file.

    A run leaves its resolved recipe, metrics, curves, checkpoints, an evaluation on dev and
    NAME.teddy in --output, and prints the path of the model file. A finished run is left as it is.

    For files, a recipe is written beside the run as `teddy init` does: OUTPUT.toml.

    A run that is stopped or killed goes on with --resume, and ends as if it had not been. SIGTERM
    and Ctrl-C let it write a checkpoint first: the exit code is then 75, and 3 when the loss or
    a gradient is not finite or explodes.

    Examples:
      teddy train tickets.jsonl
      teddy train mine.toml --data corpora --set training.epochs=3 --output runs/try
      teddy train mine.toml --resume
      teddy train mine.toml --update runs/old/old.teddy
      teddy train mine.toml --metrics-file /var/lib/prometheus/node-exporter/mine.prom
      teddy train mine.toml --mlflow local
    """
    from teddy.training.recipe.recipe import load_recipe

    launch = launched(os.environ)
    changes = [*(overrides or ()), *([f"update.model={json.dumps(str(update))}"] if update else [])]
    recipe = load_recipe(recipe_beside(sources, data, output, starts=update is None), changes)
    output = output or Path("runs") / recipe.name
    shown_on: dict[str, Any] = {"metrics_file": metrics_file, "metrics_port": metrics_port}
    shown_on |= {"pushgateway": pushgateway, "mlflow": mlflow}
    if workers is not None:
        _refuse_on_ray(shown_on)
        from teddy.training.learning.distributed.ray_train import train_on_ray

        print(train_on_ray(recipe, data, output, n_workers=workers, resume=resume))
        return
    is_first = launch.get("rank", 0) == 0
    with observed(recipe.name, output, **(shown_on if is_first else {})) as watching:
        from teddy.training.learning.distributed.process_group import join_group

        # Importing torch takes seconds: mistakes are reported before.
        from teddy.training.run import train as run_training

        resume = resume or launch.get("restarts", 0) > 0
        with join_group(**launch) as group:
            model_file = run_training(recipe, data, output, resume=resume, group=group, **watching)
    if is_first:
        steps = next_steps(model_file, output) if sys.stdout.isatty() else ()
        print(model_file, *steps, sep="\n")  # a program that reads it wants the path alone


def launched(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the arguments of `process_group.join_group` that torchrun has set; none without it."""
    if "TORCHELASTIC_RUN_ID" not in environ:
        return {}
    return {
        "rank": int(environ["RANK"]),
        "size": int(environ["WORLD_SIZE"]),
        "local_rank": int(environ["LOCAL_RANK"]),
        "local_size": int(environ["LOCAL_WORLD_SIZE"]),
        "restarts": int(environ["TORCHELASTIC_RESTART_COUNT"]),
    }


def _refuse_on_ray(shown_on: Mapping[str, object]) -> None:
    for name, value in shown_on.items():
        if value is not None:
            reason = "cannot show a run of --ray, which is in other processes"
            raise typer.BadParameter(reason, param_hint=f"--{name.replace('_', '-')}")
    if find_spec("ray") is None:
        raise MissingExtraError("--ray needs the extra `ray`: pip install 'teddy[ray]'")


def export(
    source: SourceArgument,
    model_file: ModelArgument,
    form: FormatOption = "auto",
    data: CheckpointDataOption = None,
    card: CardOption = None,
) -> None:
    """Write the model file of a checkpoint, or a model as ONNX.

    A run that ended has written its model file already. ONNX is for ONNX Runtime, here or in
    another language: it needs the extra teddy[onnx], and is compared with TorchScript first.

    Examples:
      teddy export runs/mine/best.checkpoint mine.teddy
      teddy export runs/mine/last.checkpoint early.teddy --data corpora
      teddy export runs/mine/best.checkpoint mine.teddy --card mine.toml
      teddy export mine.teddy mine.onnx
    """
    to_onnx = form == "onnx" or (form == "auto" and model_file.suffix == ".onnx")
    if source.suffix != ".checkpoint" and (data or card):
        option = "--data" if data else "--card"
        raise typer.BadParameter("goes with a checkpoint", param_hint=option)
    if source.suffix in (".teddy", ".onnx") and not to_onnx:
        reason = "a model file can only be exported as ONNX: name it .onnx"
        raise typer.BadParameter(reason, param_hint="MODEL")
    if to_onnx:
        use_one_thread()

    from teddy.training.export import publish
    from teddy.training.recipe.recipe import load_recipe

    write = publish.export_onnx if to_onnx else publish.export
    write(source, model_file, data, None if card is None else load_recipe(card).card)


def search(
    recipe_file: RecipeArgument,
    data: DataDirectory = Path(),
    output: OutputOption = None,
    trials: TrialsOption = None,
    minutes: MinutesOption = None,
    jobs: JobsOption = 1,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for the values of a recipe that give the best F1 on dev.

    The recipe's table [search.ranges] has the keys and the ranges of their values: see
    docs/search.md. Each trial is a training run in --output/trials; those that do badly are given
    up early. At the end best.toml is a recipe for `teddy train`, and its path is printed.

    A search that was stopped goes on when it is started again; with more --trials, so does one
    that has finished. The exit code is 75 when a signal stopped it.

    Examples:
      teddy search mine.toml --data corpora --trials 50
      teddy search mine.toml --data corpora --minutes 480 --jobs 4 --output runs/search
      teddy search mine.toml --set training.epochs=5 --output runs/quick-search
      teddy search mine.toml --json | jq .importances
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("searching needs Optuna: pip install 'teddy[search]'")

    from teddy.training.recipe.recipe import load_recipe

    changes = [*(overrides or ()), *([f"search.trials={trials}"] if trials else [])]
    recipe = load_recipe(recipe_file, changes)
    output = output or Path("runs") / f"{recipe.name}-search"
    from teddy.training.search.jobs import run_search

    until = None if minutes is None else time.time() + 60 * minutes
    run_search(recipe, data, output, until=until, n_jobs=jobs)
    if as_json:
        print((output / "search.json").read_text(encoding="utf-8").rstrip())
    else:
        print(output / "best.toml")


def pretrain(
    recipe_file: RecipeArgument,
    data: RunDataOption = Path(),
    output: OutputOption = None,
    resume: ResumeOption = False,
    overrides: SetOption = None,
    metrics_file: MetricsFileOption = None,
    metrics_port: MetricsPortOption = None,
    pushgateway: PushgatewayOption = None,
    mlflow: MlflowOption = None,
) -> None:
    """Let an encoder learn from plain text, for a tagger to start from.

    The recipe's table [pretrain] names the text and says what is asked of the encoder. A run leaves
    its resolved recipe, metrics, a checkpoint and NAME.encoder in --output; [start] weights of
    another recipe takes that file. At the end, its path is printed on standard output. Stopping,
    resuming and exit codes are those of `teddy train`.

    Examples:
      teddy pretrain training/recipes/encoder-en.toml --data corpora
      teddy pretrain mine.toml --set pretrain.objective=causal --output runs/causal
      teddy pretrain mine.toml --resume
    """
    from teddy.training.recipe.recipe import load_recipe

    recipe = load_recipe(recipe_file, overrides or (), purpose="pretrain")
    output = output or Path("runs") / recipe.name
    with observed(recipe.name, output, metrics_file, metrics_port, pushgateway, mlflow) as watching:
        from teddy.training.pretrain.run import pretrain as run_pretraining

        encoder_file = run_pretraining(recipe, data, output, resume=resume, **watching)
    print(encoder_file)


def sample(
    run: RunArgument,
    prompt: PromptOption = "",
    words: WordsOption = 40,
    temperature: TemperatureOption = 0.8,
    seed: SeedOption = 1,
    backward: BackwardOption = False,
) -> None:
    """Let the language models of a pre-training run write a sentence, to see what they have learnt.

    The run's objective must be causal. Its two models read in opposite directions: one writes on
    from the prompt, the other writes what may stand before it.

    Examples:
      teddy sample runs/causal --prompt "The river flows"
      teddy sample runs/causal --prompt "was born in Oslo." --backward --temperature 0.6
    """
    use_one_thread()
    from teddy.training.pretrain.sample import as_text, load_language_model

    model = load_language_model(run)
    prompted = model.tokeniser.split_words(prompt)[2] or [model.first_word(seed)]
    written = model.sample(prompted, words, temperature=temperature, seed=seed, backwards=backward)
    print(as_text(written))
