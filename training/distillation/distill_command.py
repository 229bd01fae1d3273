"""The command `teddy distill`. What it needs is imported when it runs."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from teddy.training.data.options import label_mapping

if TYPE_CHECKING:
    from teddy.training.distillation.student import Order

_Teachers = Annotated[
    list[str],
    typer.Argument(
        metavar="TEACHER|RECIPE",
        help="Model files, or folders of Hugging Face models; or a .toml file with [distill].",
        show_default=False,
    ),
]
_Text = Annotated[
    list[str] | None,
    typer.Option("--text", metavar="FILES", help="Plain text, a paragraph a line; repeatable."),
]
_Labels = Annotated[
    str | None,
    typer.Option(metavar="LABELS", help="Such as PER,LOC.  [default: those of the teachers]"),
]
_Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        help="Read a label of Hugging Face teachers, and of --train and --dev, as another, or O.",
    ),
]
_Pooling = Annotated[
    Literal["first", "mean"],
    typer.Option(help="For Hugging Face: a word is its first piece, or the mean of its pieces."),
]
_Train = Annotated[
    list[str] | None,
    typer.Option("--train", metavar="FILES", help="Annotated files to learn from as well."),
]
_Dev = Annotated[
    list[str] | None,
    typer.Option("--dev", metavar="FILES", help="Annotated files to measure both on."),
]
_Data = Annotated[Path, typer.Option("--data", metavar="DIR", help="The folder of all files.")]
_Output = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the run goes.  [default: runs/NAME]")
]
_Name = Annotated[str, typer.Option(metavar="NAME", help="The name of the student.")]
_Language = Annotated[str, typer.Option(metavar="CODE", help="The language, such as fr.")]
_Licence = Annotated[str, typer.Option(metavar="LICENCE", help="That of the text.")]
_Words = Annotated[int, typer.Option(min=1, help="The words of the text that an epoch reads.")]
_Resume = Annotated[bool, typer.Option("--resume", help="Go on with the run in --output, if any.")]
_ReadOnly = Annotated[
    bool, typer.Option("--read-only", help="Have the teachers read the text, and stop there.")
]
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Put over a value of the recipe; may be repeated."
    ),
]


def distill(
    teachers: _Teachers,
    text: _Text = None,
    labels: _Labels = None,
    mappings: _Map = None,
    pooling: _Pooling = "first",
    train: _Train = None,
    dev: _Dev = None,
    data: _Data = Path(),
    output: _Output = None,
    name: _Name = "student",
    language: _Language = "",
    licence: _Licence = "not stated",
    words: _Words = 200_000,
    resume: _Resume = False,
    read_only: _ReadOnly = False,
    overrides: _Set = None,
) -> None:
    """Let a small model learn from larger ones, and compare them.

    A teacher is a model file, a checkpoint, or the folder of a token classifier of Hugging Face's
    transformers (config.json, safetensors, tokeniser), which needs the extra teddy[transformers].
    The recipe is written beside the run, OUTPUT.toml; train it again with other values as you like.
    Without --train and --dev, the teachers tag a part of the text for that.

    What teachers say is kept beside the run, in `teachers`: each reads a sentence once, for all
    epochs and students. A reading that was stopped goes on where it was; --read-only does nothing
    else, and two such commands at a time share the work.

    At the end stand the F1 on dev, the words a second and the sizes of teachers and student, which
    OUTPUT/distill.json has too, and the path of the model file.

    Examples:
      teddy distill bert-ner --text 'news/*.txt' --map PERSON=PER --map DATE=O --dev dev.conll
      teddy distill runs/large/large.teddy en --text wiki.txt --labels PER,LOC --words 300_000
      teddy distill mine.toml --data corpora --read-only
    """
    given = locals()
    is_recipe = len(teachers) == 1 and teachers[0].endswith(".toml")
    recipe_file = Path(teachers[0]) if is_recipe else _written(_order(given))
    _run(recipe_file, data, output, overrides or (), resume=resume, read_only=read_only)


def _run(
    recipe_file: Path,
    data: Path,
    output: Path | None,
    overrides: Sequence[str],
    *,
    resume: bool,
    read_only: bool,
) -> None:
    """Train by a recipe, and report; or have its teachers read alone."""
    from teddy.training.job.log import Log
    from teddy.training.job.tracking import observed
    from teddy.training.recipe.recipe import load_recipe

    recipe = load_recipe(recipe_file, overrides)
    output = output or Path("runs") / recipe.name
    with observed(recipe.name, output) as watching:
        if read_only:
            from teddy.training.run_setup import have_teachers_read

            with tempfile.TemporaryDirectory() as stored, watching["interruption"].at_once():
                have_teachers_read(recipe, data, Path(stored) / "sentences", Log().note)
            print(recipe.distill.keep if recipe.distill else "")
            return
        from teddy.training.distillation.teachers import report_on
        from teddy.training.run import train as run_training

        model_file = run_training(recipe, data, output, resume=resume, **watching)
    report = report_on(recipe, data, model_file)
    report.write(output / "distill.json")
    print(*report.lines(), model_file, sep="\n")


def _order(given: Mapping[str, Any]) -> "Order":
    """Return what the arguments of the command say of a student."""
    from teddy.training.distillation.student import Order

    text, labels, data = given["text"] or (), given["labels"], given["data"]
    if not text:
        raise typer.BadParameter("name what the teachers are to read", param_hint="--text")
    names = ("name", "licence", "pooling", "language", "words", "data")
    return Order(
        **{name: given[name] for name in names},
        teachers=_teachers(given["teachers"], data),
        labels=tuple(labels.split(",")) if labels else (),
        text=tuple(text),
        text_name=", ".join(Path(each).name for each in text),
        label_map=dict(map(label_mapping, given["mappings"] or ())),
        train=tuple(given["train"] or ()),
        dev=tuple(given["dev"] or ()),
        output=given["output"] or Path("runs") / given["name"],
    )


def _teachers(names: Sequence[str], data: Path) -> tuple[str, ...]:
    """Return the names as a recipe has them: `hf:` before that of a folder."""
    return tuple(
        f"hf:{name}" if (data / name).is_dir() or Path(name).is_dir() else name for name in names
    )


def _written(order: "Order") -> Path:
    """Write the recipe of an order, and the sentences that teachers tag for it; return its path.

    Raises RecipeError where there is another one, DataError for annotated files that do not fit.
    """
    from teddy.model.errors import RecipeError
    from teddy.model.system.files import write_atomically
    from teddy.training.distillation.student import check_annotations, labels_of, tag_text
    from teddy.training.job.log import Log

    if not order.labels:
        order = replace(order, labels=labels_of(order))
    for label, target in order.label_map.items():
        if target not in {*order.labels, "O"}:
            student = f"the student's labels are {', '.join(order.labels)}"
            raise typer.BadParameter(f"{label}={target}: {student}", param_hint="--map")
    is_new = not order.recipe.exists()
    if is_new:
        check_annotations(order)
    recipe = order.draw()
    if is_new:
        tag_text(order, Log().note)  # first: a recipe that is there has its files
        write_atomically(order.recipe, recipe)
    elif order.recipe.read_text(encoding="utf-8") != recipe:
        reason = (
            "another recipe, or one that was changed: "
            f"go on with it by `teddy distill {order.recipe}`, or give another --name or --output"
        )
        raise RecipeError(order.recipe, None, reason)
    return order.recipe
