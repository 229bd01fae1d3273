"""The options of commands that read data: a file and its format, or a recipe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from teddy.model.text.words import Tokeniser
    from teddy.training.data.corpora import Corpus
    from teddy.training.recipe.recipe import Recipe

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A data file or a recipe.", show_default=False)
]
DataDirectory = Annotated[
    Path, typer.Option("--data", metavar="DIR", help="The folder of a recipe's files.")
]
# The same as the values of the recipe's keys, which importing pydantic would take to know.
FormatChoice = Literal[
    "auto",
    "conll",
    "conllu",
    "csv",
    "jsonl",
    "doccano",
    "prodigy",
    "label-studio",
    "argilla",
    "spacy",
    "gliner",
    "datasets",
    "brat",
    "webanno",
    "xml",
    "markdown",
    "docred",
]
TargetFormat = Literal[
    "jsonl",
    "doccano",
    "prodigy",
    "label-studio",
    "spacy",
    "gliner",
    "datasets",
    "conll",
    "csv",
    "xml",
    "markdown",
    "brat",
]
"""The formats that are written."""
FormatOption = Annotated[
    FormatChoice,
    typer.Option("--format", help="The format of a file; auto goes by its content."),
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="The column of tokens: a number, in csv also a name.  [default: guessed]",
    ),
]
TagOption = Annotated[
    str | None,
    typer.Option(metavar="COLUMN", help="The column of tags; -1 is the last.  [default: guessed]"),
]
SchemeChoice = Literal["io", "iob1", "bio", "bioes", "bmes", "biluo", "bmewo", "plain", "brackets"]
SchemeOption = Annotated[
    SchemeChoice | None, typer.Option(help="The tagging scheme.  [default: guessed]")
]
OffsetUnitChoice = Literal["auto", "character", "utf16", "byte"]
OffsetUnitOption = Annotated[
    OffsetUnitChoice, typer.Option(help="What the offsets of a file count; auto goes by its spans.")
]
TagNamesOption = Annotated[
    str | None,
    typer.Option(metavar="TAGS", help="What numbers for tags mean, from 0 on: O,B-PER,I-PER."),
]
AnnotatorOption = Annotated[
    str, typer.Option(metavar="NAME", help="Whose annotations to read, of several; or first.")
]
FieldOption = Annotated[
    str, typer.Option(metavar="COLUMN", help="The column of labels in CoNLL-U, such as misc:NER.")
]
MisalignedChoice = Literal["trim", "expand", "contract", "drop", "refuse"]
EncodingOption = Annotated[str, typer.Option(metavar="NAME", help="The encoding of the file.")]
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
        metavar="LABELS",
        help="Labels that DATA annotates, such as PER,LOC; others are not counted.",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The data to read: a file in some format, or a recipe with its files below `data`."""

    source: Path
    data: Path = Path()
    form: FormatChoice = "auto"
    token: str | None = None
    tag: str | None = None
    scheme: SchemeChoice | None = None
    encoding: str = "utf-8"
    offset_unit: OffsetUnitChoice = "auto"
    tag_names: str | None = None
    annotator: str = ""
    field: str = "auto"
    mappings: Sequence[str] = ()
    annotates: str | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any]) -> "DataOptions":
        """Return the options that are among the arguments of a command.

        Raises typer.BadParameter for a mapping that is not FROM=TO, before a model is loaded.
        """
        known = {each.name: arguments[each.name] for each in fields(cls) if each.name in arguments}
        options = cls(**known | {"mappings": arguments.get("mappings") or ()})
        if not options.is_recipe:
            options.stated()
        return options

    @property
    def is_recipe(self) -> bool:
        """Whether DATA is a recipe; the options of a file are then ignored."""
        return self.source.suffix.lower() == ".toml"

    def recipe(self) -> "Recipe":
        """Read DATA as a recipe. Raises RecipeError."""
        from teddy.training.recipe.recipe import load_recipe

        return load_recipe(self.source)

    def stated(self) -> dict[str, Any]:
        """Return the options as `file_config` takes them.

        Raises typer.BadParameter for a mapping that is not FROM=TO.
        """
        from teddy.model.tags.spans import Scheme

        return {
            "form": None if self.form == "auto" else self.form,
            "token": _column(self.token),
            "tag": _column(self.tag),
            "scheme": None if self.scheme is None else Scheme(self.scheme),
            "encoding": self.encoding,
            "offset_unit": self.offset_unit,
            "tag_names": None if self.tag_names is None else tuple(self.tag_names.split(",")),
            "annotator": self.annotator,
            "field": self.field,
            "label_map": dict(label_mapping(each) for each in self.mappings),
            "annotates": None if self.annotates is None else tuple(self.annotates.split(",")),
        }

    def corpora(self, labels: Sequence[str], tokeniser: "Tokeniser") -> "list[Corpus]":
        """Read the corpora of a recipe, or a file as dev data with these labels.

        They are split into the words of the model that they are for. Raises DataError, RecipeError.
        """
        if self.is_recipe:
            return corpora_of_recipe(self.source, self.data, tokeniser)
        from teddy.training.data.named_file import load_file

        return [load_file(self.source, labels, tokeniser, **self.stated())]


def corpora_of_recipe(recipe_file: Path, data: Path, tokeniser: "Tokeniser") -> "list[Corpus]":
    """Read the corpora of a recipe, split into a model's words. Raises DataError, RecipeError."""
    from teddy.training.data.corpora import load_corpora
    from teddy.training.recipe.recipe import load_recipe

    return load_corpora(load_recipe(recipe_file), data, tokeniser)


def _column(text: str | None) -> int | str | None:
    """Return the number of a column, or its name."""
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        return text


def label_mapping(text: str) -> tuple[str, str]:
    """Return the two labels of FROM=TO. Raises typer.BadParameter for anything else."""
    label, equals, target = text.partition("=")
    if not (label and equals and target):
        raise typer.BadParameter(f"{text!r} is not FROM=TO", param_hint="--map")
    return label, target
