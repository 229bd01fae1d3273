"""The command `teddy inspect`, and what commands share.

What it needs is imported when it runs, not for its help.
"""

import json
import os
import stat
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

import typer

PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "int8"],
    typer.Option(
        help="What the network computes in; auto is the fastest that gives the same entities."
    ),
]

TextArgument = Annotated[
    str | None,
    typer.Argument(metavar="TEXT", help="A text; or give --input, or a pipe.", show_default=False),
]
ModelOption = Annotated[
    Path | None,
    typer.Option(
        "--model", metavar="FILE", help="A model file, or a model that ships.  [default: en]"
    ),
]


def piped(text: str | None, sources: Sequence[Path] | None) -> list[Path]:
    """Return the inputs; without any or a text, standard input if it is a pipe or a file.

    A terminal and /dev/null, which cron and services have there, are not read.
    """
    if text is None and not sources and sys.stdin is not None:
        with suppress(OSError, ValueError):
            if not stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
                return [Path("-")]
    return list(sources or ())


def inspect(
    model_file: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL", help="A model file, or a model that ships.", show_default=False
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print everything, as JSON.")] = False,
    as_card: Annotated[
        bool, typer.Option("--card", help="Print its model card, in Markdown.")
    ] = False,
) -> None:
    """Say what is in a model file: labels, network, training data and licences, scores.

    The file is checked and read; nothing in it is run.

    Examples:
      teddy inspect runs/mine/mine.teddy
      teddy inspect --json en | jq .training_data
      teddy inspect --card runs/mine/mine.teddy > CARD.md
    """
    if as_json and as_card:
        raise typer.BadParameter(
            "is Markdown; the card's numbers are in --json too", param_hint="--card"
        )

    from teddy.model.display import model_fields, model_lines
    from teddy.model.errors import ModelFileError
    from teddy.model.file.bundle import read_bundle
    from teddy.model.file.shipped import find_model

    bundle = read_bundle(find_model(model_file, model_file))
    if as_card:
        if not bundle.card:
            raise ModelFileError(
                model_file, "it has no model card: it was exported before there were any"
            )
        print(bundle.card, end="")
        return
    if as_json:
        print(json.dumps(model_fields(bundle), ensure_ascii=False, indent=2))
    else:
        print("\n".join(model_lines(bundle)))


def use_one_thread() -> None:
    """Let the network compute on one thread, unless the environment sets another number.

    A sentence is too little work to share. (Two cores, threads that sleep while they wait, medians:
    one text in 26 ms instead of 4 with two threads, and 52,000 words/s instead of 69,000 for many.)
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
