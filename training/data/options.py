"""The options by which commands are told what data to read: a file and how it is written, or a recipe."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from teddy.training.data.corpora import Corpus
    from teddy.training.data.named_file import NamedFile
    from teddy.training.recipe.recipe import Recipe

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A data file or a recipe.", show_default=False)
]
DataDirectory = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="What a recipe's files are relative to.")
]
FormatChoice = Literal["auto", "conll", "jsonl", "conllu", "csv", "docred"]
FormatOption = Annotated[
    FormatChoice,
    typer.Option("--format", help="What a file is; auto looks at its name and its rows."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="Where the token is: a number, in csv also a name.  [default: guessed]",
    ),
]
TagOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN", help="Where the tag is; -1 is the last column.  [default: guessed]"
    ),
]
SchemeChoice = Literal["io", "iob1", "bio", "bioes", "bmes"]
SchemeOption = Annotated[
    SchemeChoice | None, typer.Option(help="How tags write entities.  [default: guessed]")
]
EncodingOption = Annotated[str, typer.Option(metavar="NAME", help="Of the file's characters.")]
MapOption = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        help="Read a label as another, as O or as ? (unknown); repeatable.",
    ),
]
AnnotatesOption = Annotated[
    str | None,
    typer.Option(
        metavar="LABELS", help="Labels that DATA marks, such as PER,LOC; others are not counted."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """What the options said; `data` is the directory that a recipe's files are relative to."""

    source: Path
    data: Path = Path()
    form: FormatChoice = "auto"
    token: str | None = None
    tag: str | None = None
    scheme: SchemeChoice | None = None
    encoding: str = "utf-8"
    mappings: Sequence[str] = ()
    annotates: str | None = None

    @property
    def is_recipe(self) -> bool:
        """Whether DATA is a recipe; the options of a file then say nothing."""
        return self.source.suffix.lower() == ".toml"

    def recipe(self) -> "Recipe":
        """Read DATA as a recipe. Raises: RecipeError."""
        from teddy.training.recipe.recipe import load_recipe

        return load_recipe(self.source)

    def named_file(self) -> "NamedFile":
        """Return DATA as a file to be read.

        Raises: typer.BadParameter for a mapping that is none.
        """
        from teddy.model.tags.spans import Scheme
        from teddy.training.data.named_file import NamedFile

        return NamedFile(
            path=self.source,
            form=None if self.form == "auto" else self.form,
            token=_column(self.token),
            tag=_column(self.tag),
            scheme=None if self.scheme is None else Scheme(self.scheme),
            encoding=self.encoding,
            label_map=dict(_mapping(each) for each in self.mappings),
            annotates=None if self.annotates is None else tuple(self.annotates.split(",")),
        )

    def check(self) -> None:
        """Refuse what the options can be refused for before a model is loaded for nothing."""
        if not self.is_recipe:
            self.named_file()

    def corpora(self, labels: Sequence[str]) -> "list[Corpus]":
        """Read the corpora of a recipe, or a file as one that is all dev and has these labels.

        Raises: DataError, RecipeError.
        """
        if self.is_recipe:
            return corpora_of_recipe(self.source, self.data)
        return [self.named_file().load(labels)]


def corpora_of_recipe(recipe_file: Path, data: Path) -> "list[Corpus]":
    """Read the corpora of a recipe. Raises: DataError, RecipeError."""
    from teddy.training.data.corpora import load_corpora
    from teddy.training.recipe.recipe import load_recipe

    return load_corpora(load_recipe(recipe_file), data, on_misaligned=lambda _: None)


def _column(text: str | None) -> int | str | None:
    """Return a column's number, or else its name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def _mapping(text: str) -> tuple[str, str]:
    label, equals, target = text.partition("=")
    if not (label and equals and target):
        raise typer.BadParameter(f"{text!r} is not FROM=TO", param_hint="--map")
    return label, target
