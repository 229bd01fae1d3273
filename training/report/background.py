"""What a report says beside the scores: data, model, recipe, curves, machine and cost, as far as they are known."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from teddy.model.bundle import Manifest, TrainingData
from teddy.training.card_config import CardConfig
from teddy.training.report.cost import Cost
from teddy.training.report.data import PartCounts
from teddy.training.report.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What the model is, was trained on, and may be used for; `card` is the recipe's `[card]` table."""

    name: str
    language: str
    labels: tuple[str, ...]
    training_data: tuple[TrainingData, ...]
    card: CardConfig

    @classmethod
    def of(cls, manifest: Manifest) -> "ModelFacts":
        """Take the facts from a model file."""
        recipe = tomllib.loads(manifest.recipe)
        return cls(
            name=manifest.name,
            language=manifest.language,
            labels=manifest.labels,
            training_data=manifest.training_data,
            card=CardConfig.model_validate_json(json.dumps(recipe.get("card", {}))),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """What is None or empty is left out of the report.

    Attributes:
        data: the parts of the corpora.
        rows: of the run's metrics.jsonl.
        recipe: resolved, as TOML.
        precision: what the network computed in.
    """

    data: Sequence[PartCounts] = ()
    model: ModelFacts | None = None
    rows: Sequence[Mapping[str, object]] = ()
    recipe: str = ""
    machine: Machine | None = None
    precision: str = ""
    cost: Cost | None = None
