"""The command `teddy search`. What it needs is imported when it runs."""

import time
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from teddy.model.errors import MissingExtraError
from teddy.training.commands import JsonOption, OutputOption, RecipeArgument, SetOption
from teddy.training.data_options import DataDirectory


def search(
    recipe_file: RecipeArgument,
    data: DataDirectory = Path(),
    output: OutputOption = None,
    trials: Annotated[
        int | None, typer.Option(min=1, help="Training runs in all.  [default: search.trials]", show_default=False)
    ] = None,
    minutes: Annotated[float | None, typer.Option(min=0, help="Begin no trial after so many minutes.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that train trials at the same time.")] = 1,
    overrides: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look for the values of a recipe that give the best F1 on dev.

    The recipe's table [search.ranges] says which values, and between what they may lie: see docs/search.md. Each trial
    is a training run in --output/trials; those that do badly are given up early. At the end best.toml is a recipe for
    `teddy train`, and its path is printed on standard output.

    A search that was stopped, in whatever way, goes on when it is started again, and so does the trial that it was at;
    with more --trials, so does one that was finished. The exit code is 75 when a signal stopped it.

    Examples:
      teddy search mine.toml --data corpora --trials 50
      teddy search mine.toml --data corpora --minutes 480 --jobs 4 --output runs/search
      teddy search mine.toml --set training.epochs=5 --output runs/quick-search
      teddy search mine.toml --json | jq .importances
    """
    if find_spec("optuna") is None:
        raise MissingExtraError("searching needs Optuna: pip install 'teddy[search]'")

    from teddy.training.config import load_recipe

    recipe = load_recipe(recipe_file, [*(overrides or ()), *([f"search.trials={trials}"] if trials else [])])
    output = output or Path("runs") / f"{recipe.name}-search"
    from teddy.training.search.jobs import run_search  # takes seconds, which a mistake need not wait for

    until = None if minutes is None else time.time() + 60 * minutes
    run_search(recipe, data, output, until=until, n_jobs=jobs)
    print((output / "search.json").read_text(encoding="utf-8").rstrip() if as_json else output / "best.toml")
