"""The `[card]` table of a recipe: what only a person can say of a model, for its model card."""

from collections.abc import Iterator, Sequence

from pydantic import Field

from teddy.training.config_errors import suggest
from teddy.training.corpus.config import Table
from teddy.training.toml_lines import KeyPath


class CardConfig(Table):
    """Free texts, in Markdown, for the model card (`training.model_card`). What is empty is said not to be stated."""

    description: str = ""
    """What the model is, in a sentence or two."""
    intended_use: str = ""
    out_of_scope: str = ""
    """Uses that it is not made for."""
    limits: str = ""
    """Where it is known to be wrong."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What each label means: label to meaning."""
    licence: str = ""
    """Of the model."""
    seeds: tuple[float, ...] = ()
    """Strict dev F1, 0 to 1, of the same recipe with other seeds, so that the spread can be stated."""

    def contradictions(self, labels: Sequence[str]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys that do not go with the labels of the recipe, and those of F1s that are none."""
        for label in self.labels:
            if label not in labels:
                yield ("labels", label), f"{label!r} is not in labels{suggest(label, labels)}"
        for place, f1 in enumerate(self.seeds):
            if not 0 <= f1 <= 1:
                yield ("seeds", place), f"must be an F1 between 0 and 1, not {f1}"
