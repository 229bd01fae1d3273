"""The `[distill]` table of a recipe: who teaches the network that is trained, on which text, and how much."""

from collections.abc import Iterator

from pydantic import Field

from teddy.training.corpus.config import Table
from teddy.training.toml_lines import KeyPath


class DistillConfig(Table):
    """Teachers read sentences, and the student learns their whole distribution over the tags beside the annotations.

    They must have the same labels, all or some of the recipe's; their features, pieces and shape are their own.
    """

    teachers: tuple[str, ...] = ()
    """Model files or checkpoints below `--data`, or the name of the model that ships (`en`); of several the mean is
    learnt. Only where a model is updated there need be none: it is then its own teacher."""
    on_corpora: bool = True
    """The training sentences of the corpora are read too: where a corpus does not annotate a label, the teachers do."""
    text: tuple[str, ...] = ()
    """Files of plain text, a paragraph a line, relative to the data directory; globs are allowed, and `.xz`, `.gz` and
    `.bz2` are unpacked."""
    name: str = ""
    """Of the text, for the credit that the model carries."""
    licence: str = ""
    source: str = ""
    """Where the text comes from and whom to credit."""
    words: int = Field(default=200_000, ge=1)
    """Of the text in each epoch, each time from another place. They are spread over the updates of the epoch, to each
    at least one batch; so many words are kept in memory."""
    weight: float = Field(default=1.0, gt=0)
    """Of the distillation loss beside the supervised one; both are means over words."""
    temperature: float = Field(default=1.0, gt=0)
    """Divides the scores of teachers (after their calibration) and student alike; above one, what is improbable
    counts for more."""

    def contradictions(self, *, updates: bool = False) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys whose values do not go with each other, and why; `updates` says whether a model is updated."""
        if not self.teachers and not updates:
            yield ("distill", "teachers"), "missing: somebody must teach"
        if not self.text and not self.on_corpora:
            yield ("distill", "text"), "there is nothing to distil on: give text, or on_corpora = true"
        for key in ("name", "licence"):
            if self.text and not getattr(self, key):
                yield ("distill", key), "missing: the model must credit the text"
