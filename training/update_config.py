"""The `[update]` table of a recipe: which model learns on, and how it is kept from forgetting what it knows."""

from collections.abc import Iterator, Sequence
from typing import Self

from pydantic import Field, model_validator

from teddy.training.config_errors import MisfitError, suggest
from teddy.training.corpus.config import CorpusConfig, Table
from teddy.training.toml_lines import KeyPath


class UpdateConfig(Table):
    """The recipe's corpora are what is new; of what is old there are corpora to rehearse, or the model's predictions.

    The model's labels stay and come first, those that only the recipe has are added. Its features, pieces, words and
    the shape of its network are taken, whatever the recipe says of them. Where the recipe has no `[distill]` table, or
    one without `teachers`, the model as it was is the teacher of what it becomes.
    """

    model: str = Field(min_length=1)
    """A model file or a checkpoint, below `--data` or where you are, or `en`; `--update` puts one here."""
    sha256: str = ""
    """Of that file. It is filled in when the run begins, so that the run is never resumed with another."""
    rehearse: tuple[str, ...] = ()
    """Names of the recipe's corpora that are old: the model was trained on them, or on their like."""
    rehearsal: tuple[CorpusConfig, ...] = ()
    """More old corpora, written as `[[corpus]]`. They annotate the model's labels, unless they say which."""
    share: float = Field(default=0.5, gt=0, lt=1)
    """Of the words of an epoch that come from old corpora; less where they are too small, for no epoch has a sentence
    of theirs more often than its `weight`. Which ones is drawn anew for each epoch."""
    predictions: bool = True
    """Whether the model's own predictions are learnt where there is no `[distill]` table."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [*self.rehearse, *(corpus.name for corpus in self.rehearsal)]
        for name in names:
            if names.count(name) > 1:
                raise MisfitError(("rehearse",), f"{name!r} is named twice")
        return self

    def contradictions(self, corpora: Sequence[CorpusConfig]) -> Iterator[tuple[KeyPath, str]]:
        """Yield the keys whose values do not go with the recipe's corpora, and why."""
        names = [corpus.name for corpus in corpora]
        for place, name in enumerate(self.rehearse):
            if name not in names:
                yield ("update", "rehearse", place), f"there is no corpus {name!r}{suggest(name, names)}"
        for place, corpus in enumerate(self.rehearsal):
            if corpus.name in names:
                yield ("update", "rehearsal", place, "name"), f"{corpus.name!r} is the name of two corpora"
        if names and set(names) <= set(self.rehearse):
            yield ("update", "rehearse"), "every corpus is old: there is nothing new to learn"
