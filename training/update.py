"""A model that learns on: what its recipe becomes, and the network that it starts from.

An update is a training run like any other, of a recipe that `open_update` completes: the labels are those of the model
and then the recipe's own; the shape is the model's; old corpora stand among the others, each with the labels that it
annotates; and the model as it was teaches what it becomes (learning without forgetting, Li & Hoiem 2017; for entities,
Monaikul et al. 2021), in the way of `teddy.training.distill`. What is completed is saved, so that the recipe in a run's
directory says all of it; completing it once more changes nothing.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from teddy.model.config import FeatureConfig
from teddy.model.errors import ModelFileError, TrainingError
from teddy.training.config import Recipe
from teddy.training.config_errors import dotted, first_problem
from teddy.training.corpus.config import CorpusConfig
from teddy.training.distill_config import DistillConfig
from teddy.training.start import SHAPE, Start, find_start, load_start
from teddy.training.update_config import UpdateConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What `open_update` found: the recipe, completed, and the network to start from."""

    recipe: Recipe
    start: Start
    notes: tuple[str, ...]
    """What of the recipe the model has put aside, and what is missing, for whoever watches the run."""


def open_update(recipe: Recipe, data: Path) -> Update | None:
    """What the recipe's `[update]` table describes, with its files below `data`; None without such a table.

    Raises ModelFileError for a file that is neither a model nor a checkpoint, or not the one that the recipe was
    completed with, and TrainingError where the completed recipe contradicts itself.
    """
    config = recipe.update
    if config is None:
        return None
    path = find_start(config.model, data)
    start = load_start(path)
    if not start.labels:
        raise ModelFileError(path, "an encoder knows no labels: start.weights takes it, there is no model to update")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if config.sha256 not in ("", digest):
        raise ModelFileError(path, f"not the model that this update began with (SHA-256 {config.sha256[:12]}...)")
    completed = _completed(recipe, config.model_copy(update={"sha256": digest}), start)
    return Update(recipe=completed, start=start, notes=tuple(_notes(recipe, completed, path)))


def _completed(recipe: Recipe, config: UpdateConfig, start: Start) -> Recipe:
    own = [_annotating(corpus, recipe.labels) for corpus in recipe.corpus]
    old = [_annotating(corpus, start.labels) for corpus in config.rehearsal]
    rehearse = (*config.rehearse, *(corpus.name for corpus in old))
    values: dict[str, Any] = {
        **{name: getattr(recipe, name) for name in Recipe.model_fields if name in recipe.model_fields_set},
        "labels": (*start.labels, *(label for label in recipe.labels if label not in start.labels)),
        "corpus": (*own, *old),
        "update": config.model_copy(update={"rehearse": rehearse, "rehearsal": ()}),
        "features": start.features,
        "network": _shaped(recipe, start),
        "start": recipe.start.model_copy(update={"weights": ""}),
        "distill": _teaching(recipe, config),
    }
    values.pop("embedding", None)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        location, reason = first_problem(error, Recipe)
        raise TrainingError(f"{dotted(location)}: {reason}") from error


def _annotating(corpus: CorpusConfig, labels: tuple[str, ...]) -> CorpusConfig:
    """The corpus, saying what its silence meant: it annotates all labels that there were when it was written down."""
    return corpus if corpus.annotates is not None else corpus.model_copy(update={"annotates": labels})


def _shaped(recipe: Recipe, start: Start) -> Any:
    """The network of the recipe, its dropout for example, in the shape of the model's."""
    shape = {name: getattr(start.network, name) for name in (*SHAPE, "decoder")}
    return type(recipe.network)(**{**asdict(recipe.network), **shape})


def _teaching(recipe: Recipe, config: UpdateConfig) -> DistillConfig | None:
    if recipe.distill is None:
        return DistillConfig(teachers=(config.model,)) if config.predictions else None
    return (
        recipe.distill if recipe.distill.teachers else recipe.distill.model_copy(update={"teachers": (config.model,)})
    )


def _notes(recipe: Recipe, completed: Recipe, path: Path) -> Iterator[str]:
    """What the recipe states and the model has otherwise, and what it lacks."""
    for table, names in (("features", [each.name for each in fields(FeatureConfig)]), ("network", [*SHAPE, "decoder"])):
        asked, taken = getattr(recipe, table), getattr(completed, table)
        for name in names:
            if getattr(asked, name) != getattr(taken, name):
                yield f"{table}.{name} is {getattr(taken, name)}, as in {path}; not {getattr(asked, name)}"
    if recipe.start.weights:
        yield f"start.weights is {path}; not {recipe.start.weights}"
    if completed.update and not completed.update.rehearse and not (completed.distill and completed.distill.text):
        yield "neither old corpora nor text: what was learnt before will be forgotten where the new texts are unlike it"
    if recipe.embedding.vectors:
        yield f"embedding.vectors is left out: {path} has an embedding"
