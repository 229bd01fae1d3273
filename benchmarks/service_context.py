"""What all sections of the service's benchmark share: size, time, texts, and their entities."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.load.question import Found, Question, entities_of, single_questions
from benchmarks.rounds import Clock
from benchmarks.texts import Source, single_texts

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    total_seconds: float
    rounds: int
    turn_seconds: float
    worker_counts: tuple[int, ...]
    connections: tuple[int, ...]
    contenders: tuple[str, ...]
    sections: tuple[str, ...]
    reloads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One promise of the service and what was measured of it.

    `must` and `aim` are as good at least, or at most.
    """

    name: str
    value: float
    must: float | None = None
    aim: float | None = None
    unit: str = ""
    at_most: bool = False
    detail: str = ""

    def holds(self, limit: float | None) -> bool | None:
        """Whether the value is as good as `limit`; None without one."""
        if limit is None:
            return None
        return self.value <= limit if self.at_most else self.value >= limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What one section gave: a table, and the figures that count."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    figures: list[Figure]


@dataclass(slots=True, kw_only=True)
class Context:
    """One run of the benchmark."""

    scale: Scale
    clock: Clock
    source: Source
    model_file: Path
    folder: Path
    note: Callable[[str], None]
    _paragraphs: Iterator[str] | None = None
    _predictor: "Predictor | None" = None
    _singles: list[Question] = field(default_factory=list)

    @property
    def paragraphs(self) -> Iterator[str]:
        """Paragraphs that no section has had."""
        if self._paragraphs is None:
            self._paragraphs = self.source.paragraphs()
        return self._paragraphs

    @property
    def predictor(self) -> "Predictor":
        """The model in this process, which says what must be found.

        Its precision is chosen once, for servers too.

        Each worker of a server would choose for itself by measuring, and two may choose differently
        on a busy machine."""
        if self._predictor is None:
            import teddy

            self._predictor = teddy.load(self.model_file)
        return self._predictor

    def found(self, texts: Sequence[str]) -> Found:
        """What the model finds in each text."""
        return {self.predictor.version: entities_of(self.predictor, texts)}

    def single_texts(self, number: int) -> list[str]:
        """Return `n` new texts of 25 words."""
        return list(islice(single_texts(self.paragraphs), number))

    def short_questions(self, number: int = 3000) -> list[Question]:
        """Return requests for one short text each, with known answers, the same for all."""
        if len(self._singles) < number:
            texts = self.single_texts(number)
            self._singles = single_questions(texts, self.found(texts))
        return self._singles[:number]


def counted(workers: int) -> str:
    """Return `1 worker`, `2 workers` and so on."""
    return f"{workers} worker{'s' if workers > 1 else ''}"


def milliseconds(seconds: float) -> str:
    """For a table."""
    return f"{1000 * seconds:,.1f} ms"
