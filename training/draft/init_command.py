"""The command `teddy init`, and `teddy train` on files without a recipe.

What they need is imported when they run.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

_Sources = Annotated[
    list[Path],
    typer.Argument(metavar="DATA", help="Annotated files or folders.", show_default=False),
]
_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of the files.")]
_Output = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="The recipe to write.  [default: NAME.toml]"),
]


def init(sources: _Sources, data: _Data = Path(), output: _Output = None) -> None:
    """Look at annotated files, and write a first recipe for them.

    The recipe says in comments what was found and decided: formats, labels and their counts, what
    is held out as dev, and what the network starts from. Files with train, dev (or valid, testa) or
    test in their names are used as that. All that is wrong with the files is listed at once.

    `teddy train DATA` does the same and trains at once.

    Examples:
      teddy init tickets.jsonl
      teddy init train.conll dev.conll --output names.toml
      teddy init export/ --data corpora
    """
    from teddy.training.draft.draft import draft_recipe, refuse_existing, with_data

    if output is not None:
        refuse_existing(output)
    with _all_problems():
        draft = draft_recipe([str(each) for each in sources], data)
    path = output or Path(f"{draft.name}.toml")
    draft.write(path)
    print(path)
    for file in draft.files:
        what = "left out, as a test file" if file.role == "test" else f"{file.role}, {file.guess}"
        _say(f"{file.name}: {what}")
    for remark in draft.remarks:
        _say(remark)
    _say(f"next: teddy train {shlex.quote(str(path))}{with_data(data)}")


def recipe_beside(sources: Sequence[Path], data: Path, run: Path | None, *, starts: bool) -> Path:
    """Return the recipe that is given; for files, write one beside the run, or find it there.

    Raises RecipeError where that one is of other files, or was changed.
    """
    if len(sources) == 1 and sources[0].suffix.lower() == ".toml":
        return sources[0]
    from teddy.model.errors import RecipeError
    from teddy.training.draft.draft import draft_recipe

    with _all_problems():
        draft = draft_recipe([str(each) for each in sources], data, starts=starts)
    run = run or Path("runs") / draft.name
    path = run.with_name(f"{run.name}.toml")
    if not path.exists():
        draft.write(path)
        for remark in draft.remarks:
            _say(remark)
    elif path.read_text(encoding="utf-8") != draft.text:
        reason = "a recipe of other files, or one that was changed"
        raise RecipeError(path, None, f"{reason}: train that, or give another --output")
    return path


@contextmanager
def _all_problems() -> Iterator[None]:
    """Print each problem of the files on a line of its own, and end with the code of an error."""
    from teddy.training.draft.draft import UnfitDataError

    try:
        yield
    except UnfitDataError as error:
        for problem in error.problems:
            _say(f"error: {problem}")
        raise typer.Exit(2) from None


def _say(line: str) -> None:
    print(f"teddy: {line}", file=sys.stderr)
