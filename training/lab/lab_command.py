"""The command `teddy lab`.

What it needs is imported when it runs.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from teddy.model.commands import use_one_thread
from teddy.training.draft.init_command import recipe_beside

if TYPE_CHECKING:
    from teddy.training.lab.page import Page, Plan

ExperimentName = Literal[
    "memory", "explode", "backward", "directions", "depth", "cells", "language", "stream"
]
ON_A_CORPUS = ("directions", "depth", "cells", "stream")


def lab(
    name: Annotated[
        ExperimentName, typer.Argument(metavar="NAME", help="The experiment.", show_default=False)
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECIPE|DATA",
            help="For directions, depth, cells, stream.  [default: made-up sentences]",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path, typer.Option("--data", metavar="DIR", help="The folder of the recipe's files.")
    ] = Path(),
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the page and its figures go.")
    ] = Path("runs/lab"),
    quick: Annotated[bool, typer.Option("--quick", help="Smaller, in less than a minute.")] = False,
) -> None:
    """Measure what recurrent layers can do: real training, in minutes, and a page with figures.

    The experiments:
      memory      over how many words each cell remembers, and how gradients and gates behave
      explode     recurrent matrices of a radius above one, with and without clipping
      backward    the LSTM's and the GRU's backward equations beside autograd
      directions  taggers that read from the left, from the right, both ways
      depth       one to three recurrent layers, and dense ones on top
      cells       all cells in one place of a tagger
      language    a language model by characters and by pieces
      stream      a tagger that answers word by word and looks a few words ahead

    It writes NAME.html, NAME.json and NAME.png, and prints what it found and the path of the page.

    Examples:
      teddy lab memory
      teddy lab directions --quick
      teddy lab cells mine.toml --data corpora
      teddy lab depth train.conll dev.conll --output runs/lab
    """
    if sources and name not in ON_A_CORPUS:
        reason = (
            f"{name} learns from made-up sentences alone; {', '.join(ON_A_CORPUS)} take a corpus"
        )
        raise typer.BadParameter(reason, param_hint="RECIPE|DATA")
    use_one_thread()
    recipe = recipe_beside(sources, data, output / name, starts=False) if sources else None
    from teddy.training.lab.page import Plan
    from teddy.training.learning.torch_setup import set_up_memory

    set_up_memory()
    started = time.perf_counter()

    def say(line: str) -> None:
        print(f"teddy: {time.perf_counter() - started:3.0f} s  {line}", file=sys.stderr)

    plan = Plan("quick" if quick else "full", say)
    page = run_experiment(name, plan, recipe, data, output)
    path = page.write(output)
    print(*page.findings, path, sep="\n")


def run_experiment(
    name: ExperimentName, plan: "Plan", recipe: Path | None, data: Path, output: Path
) -> "Page":
    """Run an experiment; those on a corpus make one up where there is no recipe."""
    if name in ON_A_CORPUS:
        from teddy.training.lab import stream, tagging
        from teddy.training.lab.corpus import open_material

        on_corpus = {
            "directions": tagging.directions,
            "depth": tagging.depth,
            "cells": tagging.cells,
            "stream": stream.stream,
        }
        return on_corpus[name](plan, open_material(recipe, data, output, plan.size))
    from teddy.training.lab import backward, explode, language, memory

    alone = {
        "memory": memory.memory,
        "explode": explode.explode,
        "backward": backward.backward,
        "language": language.language,
    }
    return alone[name](plan)
