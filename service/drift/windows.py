"""The newest texts of each model, as counts: what a worker knows of drift."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from teddy.service.drift.recent import RecentCounts
from teddy.service.models import ServedModel

if TYPE_CHECKING:
    from teddy.model.documents import Document, Tagged
    from teddy.model.profile import Profiler

log = structlog.get_logger("service.drift")


@dataclass(frozen=True, slots=True)
class Watched:
    """A version of a model, and the counts of its newest texts."""

    version: str
    loaded: str
    reference: dict[str, Any]
    profiler: "Profiler"
    recent: RecentCounts

    def as_document(self, name: str) -> dict[str, Any]:
        """What other workers are told: plain values, no text."""
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
        """`served` gives the names of the models that there are; the windows of others go."""
        self._most_texts = most_texts
        self._served = served
        self._watched: dict[str, Watched] = {}
        self._faulty = ""

    def count(self, model: ServedModel, texts: "Sequence[tuple[Document, Tagged]]") -> None:
        """Count texts that `model` has tagged. Never raises; what is not to be counted is logged, once in a row."""
        try:
            if watched := self._watch(model):
                for document, tagged in texts:
                    watched.recent.add(watched.profiler.count(document, tagged), monotonic())
        except Exception as error:  # whatever it is, the next texts may be others; and its message may quote a text
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
        """What other workers are told, model by model."""
        return [watched.as_document(name) for name, watched in self._watched.items()]

    def _watch(self, model: ServedModel) -> Watched | None:
        """The window of this version; None for a text of the version before, whose request was slower than the new."""
        watched = self._watched.get(model.name)
        if watched is None or (watched.version != model.version and watched.loaded <= model.loaded):
            watched = self._watched[model.name] = self._begin(model)
        return watched if watched.version == model.version else None

    def _begin(self, model: ServedModel) -> Watched:
        from teddy.model.profile import Profiler

        # Nothing here keeps the predictor: a model that is replaced shall leave the memory.
        predictor = model.predictor
        profiler = Profiler(predictor.manifest.labels, predictor.tagger.features.pieces)
        return Watched(
            version=model.version,
            loaded=model.loaded,
            reference={name: asdict(each) for name, each in predictor.manifest.reference.features.items()},
            profiler=profiler,
            recent=RecentCounts(profiler, self._most_texts),
        )
