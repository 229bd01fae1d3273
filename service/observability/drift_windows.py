"""The newest texts of each model, as counts: a sliding window that remembers no text.

A text's counts are added to the newest block; a full block is followed by another, and the oldest
block leaves as a whole, when there are too many texts or when it has become too old. So the window
is a few blocks of sums, however many texts it stands for.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from teddy.service.inference.models import ServedModel

if TYPE_CHECKING:
    from teddy.model.drift.profile import Profiler, Sums
    from teddy.model.text.documents import Document, Tagged


BLOCKS = 10
"""In a full window. It slides by a tenth of itself."""
MOST_SECONDS = 24 * 3600.0
BLOCK_SECONDS = 3600.0
"""Few texts fill no block; after so long a new one is begun all the same."""

log = structlog.get_logger("service.drift")


@dataclass(slots=True)
class Block:
    """Texts that came one after another; `begun` when the first of them did, in seconds."""

    begun: float
    sums: "Sums"


class RecentCounts:
    """The sums of at most so many texts, none of them older than a day."""

    def __init__(self, profiler: "Profiler", most_texts: int) -> None:
        self._profiler = profiler
        self._most_texts = most_texts
        self._block_texts = max(1, most_texts // BLOCKS)
        self._blocks: deque[Block] = deque()

    def add(self, counts: "Counter[int]", at: float) -> None:
        """Add a text's counts. `at` is the time, in seconds, and never goes back."""
        if not self._blocks or self._is_full(self._blocks[-1], at):
            self._blocks.append(Block(at, self._profiler.sums()))
        self._profiler.add(self._blocks[-1].sums, counts)
        while sum(block.sums.n_texts for block in self._blocks) > self._most_texts:
            self._blocks.popleft()
        self.forget(at)

    def forget(self, now: float) -> bool:
        """Drop what is too old; say whether there was something."""
        before = len(self._blocks)
        while self._blocks and now - self._blocks[0].begun >= MOST_SECONDS:
            self._blocks.popleft()
        return len(self._blocks) < before

    def total(self) -> "Sums":
        """Return the sums of all texts in the window."""
        total = self._profiler.sums()
        for block in self._blocks:
            total += block.sums
        return total

    def _is_full(self, block: Block, at: float) -> bool:
        return block.sums.n_texts >= self._block_texts or at - block.begun >= BLOCK_SECONDS


@dataclass(frozen=True, slots=True)
class Watched:
    """A version of a model, and the counts of its newest texts."""

    version: str
    loaded: str
    reference: dict[str, Any]
    profiler: "Profiler"
    recent: RecentCounts

    def as_document(self, name: str) -> dict[str, Any]:
        """Return what the other workers get: plain values, no text."""
        total = self.recent.total()
        return {
            "model": name,
            "version": self.version,
            "loaded": self.loaded,
            "n_texts": total.n_texts,
            "bins": {feature: list(bins) for feature, bins in self.profiler.bins.items()},
            "matrix": total.matrix.tolist(),
            "reference": self.reference,
        }


class DriftWindows:
    """A window for each model; a new version of a model begins a new one. For one thread."""

    def __init__(self, most_texts: int, served: Callable[[], Collection[str]]) -> None:
        """Take the names of the served models from `served`; windows of others are dropped."""
        self._most_texts = most_texts
        self._served = served
        self._watched: dict[str, Watched] = {}
        self._faulty = ""

    def count(self, model: ServedModel, texts: "Sequence[tuple[Document, Tagged]]") -> None:
        """Count texts that `model` has tagged.

        Never raises; what is not to be counted is logged, once in a row.
        """
        try:
            if watched := self._watch(model):
                for document, tagged in texts:
                    watched.recent.add(watched.profiler.count(document, tagged), monotonic())
        # whatever it is, the next texts may be others; and its message may quote a text
        except Exception as error:
            if model.version != self._faulty:
                self._faulty = model.version
                log.error("texts cannot be counted", model=model.name, fault=type(error).__name__)

    def forget(self) -> bool:
        """Drop what is too old, and the models that have gone; say whether there was something."""
        gone = self._watched.keys() - set(self._served())
        for name in gone:
            del self._watched[name]
        n_changed = sum(watched.recent.forget(monotonic()) for watched in self._watched.values())
        return bool(gone or n_changed)

    def as_documents(self) -> list[dict[str, Any]]:
        """Return what the other workers get, model by model."""
        return [watched.as_document(name) for name, watched in self._watched.items()]

    def _watch(self, model: ServedModel) -> Watched | None:
        """Return the window of this version; None for a text of an older version."""
        watched = self._watched.get(model.name)
        if watched is None or (watched.version != model.version and watched.loaded <= model.loaded):
            watched = self._watched[model.name] = self._begin(model)
        return watched if watched.version == model.version else None

    def _begin(self, model: ServedModel) -> Watched:
        from teddy.model.drift.profile import Profiler

        # Nothing here keeps the predictor: a model that is replaced shall leave the memory.
        predictor = model.predictor
        profiler = Profiler(predictor.manifest.labels, predictor.tagger.features.pieces)
        return Watched(
            version=model.version,
            loaded=model.loaded,
            reference={
                name: asdict(each) for name, each in predictor.manifest.reference.features.items()
            },
            profiler=profiler,
            recent=RecentCounts(profiler, self._most_texts),
        )
