"""Defaults fit small data; large data, and keys that a recipe states, change nothing."""

import json
import math
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.fitting import fill_in, fit_to_data
from teddy.training.recipe.recipe import (
    Recipe,
    StartConfig,
    TrainingConfig,
    load_recipe,
)
from teddy.training.recipe.words import PiecesConfig

RECIPES = Path(__file__).parents[2] / "training" / "recipes"
FITTED = ("batch_words", "epochs", "schedule_share", "evaluations_per_epoch", "patience")


def recipe_with(training: TrainingConfig, **tables: object) -> Recipe:
    corpus = CorpusConfig(name="a", licence="CC0", train=("a",), holdout=0.1)
    fields = {"name": "x", "labels": ("PER",), "corpus": (corpus,), "training": training}
    return Recipe.model_validate({**fields, **tables})


@given(n_words=st.floats(60_000, 1e9))
def test_large_data_leave_every_default_as_it_is(n_words: float) -> None:
    recipe = recipe_with(TrainingConfig())
    assert fit_to_data(recipe, n_words) == (recipe, ())


@pytest.mark.parametrize(
    ("name", "n_words"), [("conll2003", 203_621), ("en", 600_000), ("wnut17", 62_730)]
)
def test_the_recipes_of_large_corpora_keep_what_they_did(name: str, n_words: int) -> None:
    """The words are those of their training data, those of `en` at the least."""
    recipe = load_recipe(RECIPES / f"{name}.toml")
    fitted, found = fit_to_data(recipe, n_words)
    assert (fitted.dump_toml(), found) == (recipe.dump_toml(), ())


@given(n_words=st.integers(1, 200_000))
def test_small_data_get_enough_updates_and_the_reasons_are_told(n_words: int) -> None:
    recipe = recipe_with(TrainingConfig())
    fitted, found = fit_to_data(recipe, n_words)
    training = fitted.training
    n_updates = math.ceil(n_words / training.batch_words)
    assert n_updates * training.epochs >= 1000 or training.epochs == 100
    assert 40 <= training.batch_words <= 600
    assert training.epochs >= 30
    evaluations = training.epochs * training.evaluations_per_epoch
    assert 15 <= evaluations <= 30.001 or training.epochs == 30
    scheduled = training.schedule_share * training.epochs * n_updates
    assert 650 <= scheduled <= 1050 or training.schedule_share == 1.0
    assert scheduled <= 1050 or n_words >= 60_000
    assert training.patience * n_updates / training.evaluations_per_epoch >= 400
    changed = {
        f"{table}.{key}"
        for table, values in fitted.model_dump().items()
        if isinstance(values, dict)
        for key, value in values.items()
        if value != recipe.model_dump()[table][key]
    }
    assert {each.key for each in found} == changed
    assert all("since an epoch has" in str(each) or "epochs" in str(each) for each in found)


@given(st.sets(st.sampled_from(FITTED)), st.integers(1, 200_000))
def test_what_a_recipe_states_stays(stated: set[str], n_words: int) -> None:
    usual = TrainingConfig()
    recipe = recipe_with(TrainingConfig(**{key: getattr(usual, key) for key in stated}))
    fitted, _ = fit_to_data(recipe, n_words)
    for key in stated:
        assert getattr(fitted.training, key) == getattr(usual, key)


@pytest.mark.parametrize(
    "tables",
    [
        {"network": NetworkConfig()},
        {"features": FeatureConfig()},
        {"start": StartConfig(weights="en")},
    ],
)
def test_a_shape_that_is_stated_or_comes_with_weights_stays(tables: dict[str, object]) -> None:
    recipe = recipe_with(TrainingConfig(), **tables)
    fitted, _ = fit_to_data(recipe, 500)
    for table in ("network", "features", "pieces"):
        assert getattr(fitted, table) == getattr(recipe, table)


def test_pieces_that_are_stated_stay_and_leave_the_shape_open() -> None:
    recipe = recipe_with(TrainingConfig(), pieces=PiecesConfig(vocabulary=8000))
    fitted, _ = fit_to_data(recipe, 500)
    assert fitted.pieces == recipe.pieces
    assert fitted.network.layers == 1
    assert fill_in(recipe, fitted.dump_toml()) == fitted


@given(st.sets(st.sampled_from(FITTED)), st.integers(1, 200_000))
def test_a_resumed_run_takes_the_fitted_values_and_no_others(
    stated: set[str], n_words: int
) -> None:
    usual = TrainingConfig()
    recipe = recipe_with(TrainingConfig(**{key: getattr(usual, key) for key in stated}))
    fitted, _ = fit_to_data(recipe, n_words)
    text = fitted.dump_toml()
    assert fill_in(recipe, text) == fitted
    # The saved recipe is its own: all of its keys are stated.
    saved = Recipe.model_validate_json(json.dumps(tomllib.loads(text)))
    assert fill_in(saved, text) == fitted
    assert fit_to_data(saved, n_words) == (saved, ())
    assert fill_in(recipe.model_copy(update={"seed": 9}), text) is None
    slower = recipe.training.model_copy(update={"learning_rate": 1e-4})
    assert fill_in(recipe.model_copy(update={"training": slower}), text) is None
    assert fill_in(recipe, "no recipe") is None
