"""From data files to a recipe that trains, or to all that is wrong with them."""

import json
import shlex
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.errors import DataError, RecipeError, TeddyError
from teddy.model.system.files import write_atomically
from teddy.training.check.finding_kinds import Severity
from teddy.training.check.report import CheckReport
from teddy.training.draft.drawing import draw_recipe
from teddy.training.draft.survey import FileSurvey, name_of, survey
from teddy.training.recipe.recipe import Recipe

_MOST_WORDS = 500_000
"""The check of more takes minutes, and memory for all sentences."""
_MOST_ERRORS = 20
"""Of one file."""


class UnfitDataError(TeddyError):
    """Files that no recipe can train on as they are; `problems` has all that is wrong."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A recipe that trains on some files."""

    name: str
    text: str
    """The recipe, in TOML."""
    files: tuple[FileSurvey, ...]
    remarks: tuple[str, ...]
    """What looks wrong with the files and does not keep the recipe from training: a line each."""

    def write(self, path: Path) -> None:
        """Write the recipe. Raises RecipeError where there is a file already."""
        refuse_existing(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.text)


def refuse_existing(path: Path) -> None:
    """Raise RecipeError where there is a file already."""
    if path.exists():
        raise RecipeError(path, None, "it is there already: remove it, or name another file")


def draft_recipe(sources: Sequence[str], data: Path, *, starts: bool = True) -> Draft:
    """Look at files below `data` and return a recipe for them.

    `starts`: whether it may start from the English model. Raises UnfitDataError with all that is
    wrong with any of the files.
    """
    files = survey(sources, data)
    if problems := [*_problems(files, data)]:
        raise UnfitDataError(problems)
    name = name_of(sources[0])
    text = draw_recipe(name, files, starts=starts)
    recipe = Recipe.model_validate_json(json.dumps(tomllib.loads(text)))
    remarks = tuple(_remarks(recipe, files, data))
    return Draft(name=name, text=text, files=tuple(files), remarks=remarks)


def _remarks(recipe: Recipe, files: Sequence[FileSurvey], data: Path) -> Iterator[str]:
    check = f"teddy check {recipe.name}.toml" + with_data(data)
    n_words = sum(each.n_words for each in files)
    if n_words > _MOST_WORDS:
        yield f"{n_words:,} words are too many to look for mistakes on the way: {check}"
        return
    from teddy.training.check.checking import check_recipe  # which imports torch

    report = check_recipe(recipe, data, path=f"{recipe.name}.toml")
    if report.has_errors:
        raise UnfitDataError([*_errors_of(report)])
    kinds = report.by_kind().items()
    warnings = {kind: found for kind, found in kinds if kind.severity is Severity.WARNING}
    for kind, found in warnings.items():
        yield f"{kind.title}: {len(found):,}; the first: {found[0]}"
    if warnings:
        yield f"{check} shows them all, and what to do"


def with_data(data: Path) -> str:
    """Return the option of a command for the folder of the data."""
    return "" if data == Path() else f" --data {shlex.quote(str(data))}"


def _problems(files: Sequence[FileSurvey], data: Path) -> Iterator[str]:
    for each in files:
        if each.role == "test":
            continue
        yield from map(str, each.errors[:_MOST_ERRORS])
        if len(each.errors) > _MOST_ERRORS:
            yield f"{data / each.name}: and {len(each.errors) - _MOST_ERRORS:,} more such places"
        if each.errors:
            continue
        if not each.labels:
            reason = "no entity in it: is the right column, or key, read as the tag?"
            yield str(DataError(data / each.name, None, f"{reason} It is read as {each.guess}"))
        elif each.loses_too_many:
            lost = f"{each.n_lost:,} of {each.labels.total():,} entities do not fit the text"
            yield str(DataError(data / each.name, None, f"{lost}: do offsets count another unit?"))
    train = [each for each in files if each.role == "train"]
    has_dev = any(each.role == "dev" for each in files)
    if not has_dev and not any(each.errors for each in train):
        n_documents = sum(len(each.documents) for each in train)
        if n_documents < 2:
            yield (
                f"{data / train[0].name}: one document cannot be divided into train and dev: give "
                "a second file, named dev, or cut the text into several"
            )


def _errors_of(report: CheckReport) -> Iterator[str]:
    for finding in report.findings:
        if finding.kind.severity is Severity.ERROR:
            yield f"{finding} ({finding.kind.title}). {finding.kind.advice}"
