"""A first recipe, with comments that say what was found and why it is so."""

import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from glob import escape
from typing import Any

from teddy.model.system.toml import toml_value
from teddy.training.draft.survey import FileSurvey, model_to_start_from
from teddy.training.recipe.corpus_config import OUTSIDE, UNKNOWN
from teddy.training.report.markdown import one_line

_COLUMNS = 96
_FEW = 50
"""Entities of a label; fewer teach little."""
_FEW_DOCUMENTS = 100


def draw_recipe(name: str, files: Sequence[FileSurvey], *, starts: bool = True) -> str:
    """Return the text of a recipe for files of which at least one can be read.

    `starts`: whether it may start from a model that ships. Keys that fit the size of the data by
    themselves are left out.
    """
    return "".join(f"{line}\n" for line in _lines(name, files, starts))


def label_map(files: Sequence[FileSurvey]) -> dict[str, str]:
    """Return the labels of the files that the recipe cannot have, and what becomes of each."""
    of_train = {label for each in files if each.role == "train" for label in each.labels}
    targets: dict[str, str] = {}
    for label in dict.fromkeys(label for each in files for label in each.labels):
        target = "_".join(label.split())
        if target in ("", OUTSIDE, UNKNOWN):
            target = OUTSIDE
        elif label not in of_train:
            target = UNKNOWN
        if target != label or target == OUTSIDE:
            targets[label] = target
    return targets


def _lines(name: str, files: Sequence[FileSurvey], starts: bool) -> Iterator[str]:
    used = [each for each in files if each.role != "test" and each.guess is not None]
    yield from _comment(
        "A first recipe, by `teddy init`. Change what you like: docs/recipes.md lists all keys."
    )
    yield f"name = {toml_value(name)}"
    yield ""
    yield from _labels(used)
    yield ""
    yield from _corpus(name, used)
    for each in files:
        if each.role == "test":
            what = f"{each.name} is left out, as its name says that it is for the last measurement"
            yield from _comment(f"{what}: teddy evaluate runs/{name}/{name}.teddy {each.name}")
    yield ""
    yield from _start(used, starts)
    yield ""
    yield from _comment(
        "All other keys are left out: those of [training] and [network] fit the number of words by "
        "themselves. The run writes down what it has chosen, in its recipe.toml."
    )


def _labels(used: Sequence[FileSurvey]) -> Iterator[str]:
    targets = label_map(used)
    counts: dict[str, Counter[str]] = {"train": Counter(), "dev": Counter()}
    for each in used:
        for label, n in each.labels.items():
            counts[each.role][targets.get(label, label)] += n
    labels = [each for each, _ in counts["train"].most_common() if each not in (OUTSIDE, UNKNOWN)]
    yield from _comment("The entities of each label are counted behind it.")
    yield "labels = ["
    for label in labels:
        n, n_dev = counts["train"][label], counts["dev"][label]
        of_dev = f" and {n_dev:,} in dev" if n_dev else ""
        few = f"; under {_FEW} teach little" if n < _FEW else ""
        yield f"    {toml_value(label)},  # {n:,}{of_dev}{few}"
    yield "]"


def _corpus(name: str, used: Sequence[FileSurvey]) -> Iterator[str]:
    yield "[[corpus]]"
    yield f"name = {toml_value(name)}"
    yield 'licence = "yours"  # the model file names it'
    yield from _format(used)
    for role in ("train", "dev"):
        if names := [each.name for each in used if each.role == role]:
            yield f"{role} = {toml_value([escape(each) for each in names])}"
    yield from _holdout(used)
    if targets := label_map(used):
        reasons = []
        if UNKNOWN in targets.values():
            reasons.append(f"{UNKNOWN}: train has no example of it, so it is unknown in dev")
        if OUTSIDE in targets.values():
            reasons.append(f"{OUTSIDE}: no entity")
        yield from _comment("; ".join(["Labels of the files that get another name", *reasons]))
        yield f"map = {toml_value(targets)}"


def _format(used: Sequence[FileSurvey]) -> Iterator[str]:
    """Yield how the files are read: the format, and the keys that no reader guesses."""
    read_as = [(each.name, str(each.guess)) for each in used]
    if len({how for _, how in read_as}) == 1:
        yield from _comment(f"Read as {read_as[0][1]}.")
    else:
        for name, how in read_as:
            yield from _comment(f"{name} is read as {how}.")
    yield from _comment("If that is wrong, say it here: see docs/formats.md.")
    forms = {each.guess.options.format for each in used if each.guess}
    if len(forms) == 1:
        yield f"format = {toml_value(forms.pop())}"
    options: dict[str, Any] = {key: value for each in used for key, value in each.options.items()}
    for key, value in options.items():
        yield f"{key} = {toml_value(value)}{_WHY.get(key, '')}"
    n_lost = sum(each.n_lost for each in used)
    if n_lost:
        n_spans = sum(each.labels.total() for each in used)
        yield from _comment(
            f"{n_lost:,} of {n_spans:,} entities begin or end inside a word and are not learnt: "
            "misaligned.txt of the run lists them."
        )


_WHY = {
    "encoding": "  # the file is not UTF-8",
    "skip_empty_tokens": "  # rows without a token",
    "misaligned": "  # entities that begin or end inside a word are read as whole words",
    "join": "  # words of this script have no spaces between them",
    "token_strip": "  # a mark on every token that is not part of it",
    "outside": "  # tags that mean no entity",
}


def _holdout(used: Sequence[FileSurvey]) -> Iterator[str]:
    if any(each.role == "dev" for each in used):
        return
    n_documents = sum(len(each.documents) for each in used)
    share = 0.2 if n_documents < _FEW_DOCUMENTS else 0.1
    yield from _comment(
        f"There are no dev files, so {share:.0%} of the {n_documents:,} documents (or sentences, "
        "where the format has no documents) choose the best weights and measure the model: each "
        "label in its share and, if it can be, on both sides; equal texts on one side."
    )
    yield f"holdout = {share}"
    yield "balanced = true"


def _start(used: Sequence[FileSurvey], starts: bool) -> Iterator[str]:
    """Yield the start: a model that ships for Latin script, also where no language is the same.

    (1,000 sentences, dev F1 of one seed, from nothing and from `en`: GermEval 48.2 and 61.0;
    Spanish of CoNLL-2002, with an earlier `en` and earlier defaults, 66.9 and 71.0.)
    """
    n_words = sum(each.n_words for each in used if each.role == "train")
    if not starts:
        return
    model = model_to_start_from(" ".join(each.sample for each in used))
    if model is None:
        yield from _comment(
            "The network starts from nothing: the models that ship have read Latin script, and "
            "this is another one."
        )
        return
    yield from _comment(
        f"{n_words:,} words of Latin script: the network starts from what the model `{model}` has "
        "learnt, which saves annotations. If that is another language and you have many, compare "
        "with a run without this table."
    )
    yield "[start]"
    yield f"weights = {toml_value(model)}"


def _comment(text: str) -> list[str]:
    """Return a comment of one or more lines. A file may hold anything, also control characters."""
    return textwrap.wrap(
        one_line(text),
        width=_COLUMNS,
        initial_indent="# ",
        subsequent_indent="# ",
        break_long_words=False,
        break_on_hyphens=False,
    )
