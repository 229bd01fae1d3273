"""Defaults that fit the amount of training data, for the keys that a recipe leaves out.

With the defaults of a large corpus, 50 sentences make two updates an epoch, and a run of them ends
before it has learnt anything. What is fitted is decided once, at the start of a run, and written
into its recipe.toml; from so many words that nothing is fitted, all defaults are those of
`teddy.training.recipe.recipe`.
"""

import json
import math
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from pydantic import ValidationError

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.training.recipe.recipe import Recipe, TrainingConfig
from teddy.training.recipe.words import PiecesConfig

_LARGE = TrainingConfig()
_UPDATES_AN_EPOCH = 100
"""A batch is so much smaller that an epoch has so many updates, as far as `_FEWEST_BATCH_WORDS`
lets it."""
_FEWEST_BATCH_WORDS = 80
_FEWEST_UPDATES = 1000
"""Of a run; with fewer, there are more epochs, at most `_MOST_EPOCHS`."""
_FEWEST_SCHEDULED, _MOST_SCHEDULED = 700, 1000
"""The updates over which the learning rate rises and falls: those of `_LARGE.epochs`, in these
bounds.

(200 sentences of MIT Movie, drawn at random, the mean dev F1 of seeds 1 and 2 from `en`: 74.0
after 30 epochs of 80 words, in 870 updates; 72.9 after 20 epochs of 40 words, in 1,210. From
nothing: 68.1 and 67.8.)

No gain, dev F1 of seed 1: a name in half of the sentences replaced by another of its label (Dai &
Adel 2020; 200 of MIT Movie 68.2 for 69.0, GermEval 49.1 for 49.3); each row of a word dropped with
probability 0.3 (67.9, and 49.6); dropouts of 0.5 for 0.3 (from `en` 71.8 for 73.9, GermEval 47.7);
from `en` half the learning rate (72.5), or a tenth or none for the embedding (73.4 and 73.2);
GermEval in twice the words a batch and twice the epochs (48.1), or with a hidden width of 256
(50.2, and 48.7 at the end). Not decided: from `en`, 1,000 of MIT Movie with `feature_dropout` 0.1
and `word_dropout` 0.05, 82.7 for 82.4."""
_MOST_EPOCHS = 100
_FITTED = ("batch_words", "epochs", "schedule_share", "evaluations_per_epoch", "patience")
_MOST_EVALUATIONS = 30
"""Of a run with more epochs than usual."""
_PATIENCE_UPDATES = 400
"""At least so many updates without a better dev F1 end a run."""
_Table = TypeVar("_Table", FeatureConfig, NetworkConfig)
_SMALL: dict[str, Any] = {
    "features": FeatureConfig(word_rows=50_000),
    "network": NetworkConfig(layers=1, normalise=True),
    "pieces": PiecesConfig(vocabulary=1000),
}
"""A network that learns more from little. (200 sentences of MIT Movie, dev F1 of one seed: after
380 updates 64.9, and 55.9 with the usual shape; after 1,140 65.8 and 63.4.)

With few pieces an unseen word is made of pieces that training words have too. (1,000 sentences, dev
F1 of one seed, with at most 8,000 and 1,000: GermEval 45.1 and 47.1, Spanish of CoNLL-2002 after 8
epochs 58.5 and 61.8, MIT Movie after 10 epochs 80.5 and 80.1; 200 of MIT Movie have fewer anyway.)

No gain: after training, zeros in the rows that no training word has (the same runs, the last
evaluation: +0.4, +0.3 and +0.4 with 8,000 pieces, 0.0, 0.0 and -0.2 with 1,000; 200 of MIT Movie
-0.6). Nor is a start from `en` better when it learns at 0.3 of the rate (200 of MIT Movie, one
seed: 74.3, and 74.9 at the whole rate)."""
SHAPE = (
    "embedding_width",
    "normalise",
    "cell",
    "layers",
    "hidden_width",
    "bidirectional",
    "combine",
    "dense_widths",
)
"""The keys of a network's configuration that decide the shapes and the meaning of its weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FittedKey:
    """A default that was fitted to the data, and why."""

    key: str
    """In full, such as `training.epochs`."""
    value: float
    usual: float
    """The default for large data."""
    reason: str

    def __str__(self) -> str:
        values = (str(each).lower() for each in (self.value, self.usual))
        return "{} = {}, since {} (else {})".format(self.key, next(values), self.reason, *values)


def fit_to_data(recipe: Recipe, n_words: float) -> tuple[Recipe, tuple[FittedKey, ...]]:
    """Return the recipe with defaults for epochs of `n_words`, and what was changed.

    Keys of `[training]` that the recipe has stay as they are, and so do the pieces of one that has
    `[pieces]`, and shape and pieces of a network whose recipe has `[features]` or `[network]`, or
    that starts from trained weights.
    """
    stated = recipe.training.model_fields_set
    found: list[FittedKey] = []
    training = recipe.training

    def fit(key: str, value: float, reason: str) -> None:
        nonlocal training
        usual = getattr(_LARGE, key)
        if key not in stated and value != usual:
            found.append(FittedKey(key=f"training.{key}", value=value, usual=usual, reason=reason))
            training = training.model_copy(update={key: value})

    most, words = _LARGE.batch_words, f"an epoch has {n_words:,.0f} words"
    batch_words = min(most, max(_FEWEST_BATCH_WORDS, round(n_words / _UPDATES_AN_EPOCH)))
    fit("batch_words", batch_words, words)
    n_updates = max(1, math.ceil(n_words / training.batch_words))
    updates = f"an epoch has about {n_updates:,} update{'s' if n_updates > 1 else ''}"
    epochs = min(_MOST_EPOCHS, math.ceil(_FEWEST_UPDATES / n_updates))
    fit("epochs", max(_LARGE.epochs, epochs), updates)
    if batch_words < most:
        scheduled = max(_FEWEST_SCHEDULED, min(_MOST_SCHEDULED, _LARGE.epochs * n_updates))
        share = round(scheduled / (n_updates * training.epochs), 2)
        fit("schedule_share", min(1.0, max(0.01, share)), updates)
    if training.epochs > _LARGE.epochs and "epochs" not in stated:
        every = math.ceil(training.epochs / _MOST_EVALUATIONS)
        fit("evaluations_per_epoch", 1 / every, f"there are {training.epochs} epochs")
    patience = math.ceil(_PATIENCE_UPDATES * training.evaluations_per_epoch / n_updates)
    fit("patience", max(_LARGE.patience, patience), updates)
    fitted = recipe.model_copy(update={"training": training})
    if batch_words < most:
        small = {name: _SMALL[name] for name in _left_open(recipe)}
        fitted = fitted.model_copy(update=small)
        for table in small:
            values = fitted.model_dump()[table]
            for name, usual in recipe.model_dump()[table].items():
                if (value := values[name]) != usual:
                    key = f"{table}.{name}"
                    found.append(FittedKey(key=key, value=value, usual=usual, reason=words))
    return fitted, tuple(found)


def _left_open(recipe: Recipe) -> list[str]:
    """Return the tables of `_SMALL` that small data may decide."""
    stated = recipe.model_fields_set
    if recipe.start.weights or recipe.update or stated & {"features", "network"}:
        return []
    return [table for table in _SMALL if table not in stated]


def fill_in(recipe: Recipe, text: str) -> Recipe | None:
    """Return the recipe with what an earlier process of its run has fitted, as it stands in `text`.

    `text` is a resolved recipe in TOML. None if that is of another recipe.
    """
    try:
        found = Recipe.model_validate_json(json.dumps(tomllib.loads(text)))
    except (tomllib.TOMLDecodeError, ValidationError):
        return None
    stated = recipe.training.model_fields_set
    training = {name: getattr(found.training, name) for name in _FITTED if name not in stated}
    filled = recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})
    filled = filled.model_copy(update={name: getattr(found, name) for name in _left_open(recipe)})
    if recipe.start.weights:
        filled = with_shape(filled, found.features, found.network)
    return filled if filled.dump_toml() == text else None


def with_shape(recipe: Recipe, features: FeatureConfig, network: NetworkConfig) -> Recipe:
    """Return the recipe with the features and the shape of other weights.

    Keys that the recipe has at another value than the default stay as they are.
    """
    taken: dict[str, Any] = {
        "features": _taken(recipe.features, features, [each.name for each in fields(features)]),
        "network": _taken(recipe.network, network, SHAPE),
    }
    return recipe.model_copy(update=taken)


def _taken(own: _Table, other: _Table, names: Sequence[str]) -> _Table:
    default = type(own)()
    unchanged = [name for name in names if getattr(own, name) == getattr(default, name)]
    return replace(own, **{name: getattr(other, name) for name in unchanged})
