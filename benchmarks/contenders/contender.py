"""What all contenders can do, and how one is named."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

FIRST_TEXT = "He said, Teddy Roosevelt was a great President!"
"""A contender is ready when it has tagged this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One row of the tables."""

    name: str
    kind: str
    """`teddy`, `spacy` or `transformer`."""
    path: str
    """The model file, or the folder that was prepared; empty for the model that ships."""
    precision: str = "fp32"
    cores: int = 1
    least_texts: int = 1
    """It is given multiples of so many short texts: its batch."""


class Contender(Protocol):
    """A tagger that is loaded."""

    @property
    def details(self) -> str:
        """What it really is: versions, the precision that was chosen."""

    def tag(self, texts: Sequence[str]) -> int:
        """Tags texts on all the cores it has, and tells the number of entities."""

    def words_read(self, texts: Sequence[str]) -> int:
        """How many of the texts' words, counted by white space, it really reads."""
