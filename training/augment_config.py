"""The `[augment]` table of a recipe: which share of the training sentences is read in another guise."""

from collections.abc import Iterator

from pydantic import Field

from teddy.training.corpus.config import Table
from teddy.training.toml_lines import KeyPath


class AugmentConfig(Table):
    """Shares of the training sentences that are changed as `training.perturbations` says, drawn anew in each epoch."""

    lower: float = Field(default=0.0, ge=0, le=1)
    """In lower case as a whole, as in chats and in what a machine heard."""
    upper: float = Field(default=0.0, ge=0, le=1)
    """IN CAPITALS as a whole, as in headlines and forms."""
    title: float = Field(default=0.0, ge=0, le=1)
    """In the Title Case of Headlines."""
    unpunctuated: float = Field(default=0.0, ge=0, le=1)
    """Without punctuation: half of these without any, half without that at their end only."""
    typos: float = Field(default=0.0, ge=0, le=1)
    """With a slip of the fingers in about every tenth word of four letters or more."""
    joined: float = Field(default=0.0, ge=0, le=1)
    """Two run together as one, as where there is no space behind a full stop. Drawn for whole batches, whose sentences
    are then joined in twos: one long sentence among short ones would make all of them cost as much."""

    @property
    def is_on(self) -> bool:
        """Whether there is anything to do."""
        return any(self.model_dump().values())

    def contradictions(self) -> Iterator[tuple[KeyPath, str]]:
        """Yield the key whose value does not go with the others, and why."""
        if self.lower + self.upper + self.title > 1:
            yield ("augment", "title"), "a sentence has one case: lower, upper and title must not exceed 1 together"
