"""The mistakes of an evaluation as reports show them: by kind, each of them explained."""

from collections.abc import Iterator
from dataclasses import dataclass

from teddy.training.evaluate import Evaluation, Mistake
from teddy.training.mistakes import Kind

EXPLAINED = {
    Kind.LABEL: "The borders are right, the label is not.",
    Kind.BORDERS: "The label is right, but the entity begins or ends elsewhere.",
    Kind.BOTH: "An entity was seen here, but it begins or ends elsewhere, and its label is another.",
    Kind.SPURIOUS: "Nothing is annotated here.",
    Kind.MISSED: "Nothing was predicted here.",
}


@dataclass(frozen=True, slots=True)
class MistakesOfKind:
    """Those kept of one kind, at least one; `total` is how many there are."""

    kind: Kind
    mistakes: tuple[Mistake, ...]
    total: int

    @property
    def explained(self) -> str:
        """What is wrong, and how many of them are shown."""
        n = len(self.mistakes)
        how_many = f"All {self.total:,}" if n == self.total else f"{n:,} of {self.total:,}"
        has_scores = any(one.score is not None for one in self.mistakes)
        surest = ", those first of which the tagger was surest" if has_scores else ""
        return f"{EXPLAINED[self.kind]} {how_many}{surest}."


def mistakes_by_kind(evaluation: Evaluation) -> Iterator[MistakesOfKind]:
    """Give the kinds of which there are mistakes."""
    for kind in EXPLAINED:
        shown = tuple(mistake for mistake in evaluation.mistakes if mistake.kind is kind)
        if shown:
            yield MistakesOfKind(kind, shown, evaluation.n_by_kind[kind])
