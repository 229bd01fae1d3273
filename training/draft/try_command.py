"""The command `teddy try`: sentences are typed, and their entities shown.

What it needs is imported when it runs.
"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from teddy.model.commands import use_one_thread


def try_(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN|RECIPE|MODEL",
            help="The folder of a run, its recipe, or a model file.  [default: the one that ships]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Type sentences, and see what a model finds in them.

    Each line of standard input is a text. Entities are in colour on a terminal, and in brackets
    elsewhere. An empty line is passed over; Ctrl-D ends.

    Examples:
      teddy try
      teddy try runs/mine
      echo "Ada met Grace in Oslo." | teddy try mine.toml
    """
    use_one_thread()
    from rich.console import Console
    from rich.text import Text

    from teddy.model.display import coloured
    from teddy.model.predictor import load

    predictor = load(None if source is None else model_of(source))
    labels = predictor.manifest.labels
    is_typed = sys.stdin.isatty() and sys.stdout.isatty()
    console = Console(highlight=False)
    console.print(Text(f"{predictor.manifest.name} finds {', '.join(labels)}"), soft_wrap=True)
    if is_typed:
        console.print("Type a sentence and Enter; Ctrl-D ends.", style="dim")
    while True:
        if is_typed:
            print("> ", end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if text := line.strip():
            entities = predictor.tag([text])[0]
            shown = coloured(text, entities, labels, brackets=not console.is_terminal)
            console.print(shown if entities else Text(f"{text}  (nothing found)"), soft_wrap=True)


try_.__name__ = "try"  # the name of the command, which Python does not let a `def` have


def model_of(source: Path) -> Path:
    """Return the model file of a run, of a recipe's run, or of its own name.

    Raises ModelFileError where there is none yet.
    """
    from teddy.model.errors import ModelFileError
    from teddy.training.recipe.recipe import load_recipe

    if source.suffix.lower() == ".toml":
        recipe = load_recipe(source)
        # Beside the run, as `teddy train` keeps it; or where a run goes without --output.
        runs = [source.with_suffix(""), Path("runs") / recipe.name]
        run = next((each for each in runs if each.is_dir()), runs[-1])
        train = f"teddy train {shlex.quote(str(source))}"
    elif source.is_dir():
        run, train = source, f"teddy train RECIPE --output {shlex.quote(str(source))} --resume"
    else:
        return source
    models = sorted(run.glob("*.teddy"))
    if len(models) != 1:
        found = ", ".join(each.name for each in models) or "no model file"
        raise ModelFileError(run, f"want one .teddy file, found {found}; {train} writes it")
    return models[0]


def next_steps(model_file: Path, run: Path) -> list[str]:
    """Return what to do with a model, in lines to be shown behind a run."""
    name, file = model_file.stem, shlex.quote(str(model_file))
    return [
        "next:",
        f"  teddy try {shlex.quote(str(run))}",
        f"  teddy serve --model {shlex.quote(name)}={file}",
    ]
