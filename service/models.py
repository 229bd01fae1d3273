"""The models that are served: name -> loaded predictor."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from service.errors import NotReadyError, UnknownLabelError, UnknownModelError
from service.metrics import Metrics
from service.schemas import ModelDetails, ModelReference, ModelSummary

if TYPE_CHECKING:
    from model.predictor import Predictor

SHIPPED = "en"
"""The name of the model that is served when none is chosen."""

Load = Callable[[Path | None], "Predictor"]
"""Loads a model file, or the one that ships; raises ModelFileError. It is called in a thread."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model under the name that clients know it by. A request keeps the one that it began with."""

    name: str
    predictor: "Predictor"
    default: bool

    @property
    def reference(self) -> ModelReference:
        """What an answer says of the model that gave it."""
        return ModelReference(name=self.name, version=self.predictor.version)

    @property
    def summary(self) -> ModelSummary:
        """What a list of models says of it."""
        return ModelSummary.model_validate(self._known())

    @property
    def details(self) -> ModelDetails:
        """All that is published of it."""
        return ModelDetails.model_validate(self.predictor.manifest.as_dict() | self._known())

    def _known(self) -> dict[str, object]:
        manifest = self.predictor.manifest
        return {
            "name": self.name,
            "version": self.predictor.version,
            "default": self.default,
            "language": manifest.language,
            "labels": list(manifest.labels),
            "precision": self.predictor.precision,
        }

    def check_labels(self, labels: list[str] | None) -> None:
        """Raises UnknownLabelError if one of `labels` is none of the model's."""
        known = self.predictor.manifest.labels
        for label in labels or ():
            if label not in known:
                raise UnknownLabelError(f"Model {self.name} has no label {label!r}; it has {', '.join(known)}.")


class Models:
    """The models by name, once `load` is done; none before.

    `files` gives each name its file, the default model first; an empty one means the model that ships.
    """

    def __init__(self, files: Mapping[str, Path], load: Load, metrics: Metrics) -> None:
        self._files: Mapping[str, Path | None] = files or {SHIPPED: None}
        self._load = load
        self._metrics = metrics
        self._served: dict[str, ServedModel] = {}

    @property
    def ready(self) -> bool:
        """Whether every model is loaded."""
        return len(self._served) == len(self._files)

    async def load(self) -> None:
        """Load all the files, in a thread, and serve them once all are loaded. Raises ModelFileError."""
        served = {
            name: ServedModel(name, await asyncio.to_thread(self._load, file), default=index == 0)
            for index, (name, file) in enumerate(self._files.items())
        }
        for model in served.values():
            self._metrics.model_info.labels(model.name, model.predictor.version, model.predictor.precision).set(1)
        self._served = served

    def check_ready(self) -> None:
        """Raises NotReadyError while models are being loaded."""
        if not self.ready:
            raise NotReadyError("The models are still being loaded.", retry_after_seconds=1)

    def get(self, name: str | None) -> ServedModel:
        """The model of that name, or the default one. Raises NotReadyError and UnknownModelError."""
        self.check_ready()
        if name is None:
            return next(iter(self._served.values()))
        if name not in self._served:
            raise UnknownModelError(f"There is no model {name[:64]!r} here; there are: {', '.join(self._served)}.")
        return self._served[name]

    def all(self) -> list[ServedModel]:
        """Every model, the default one first. Raises NotReadyError."""
        self.check_ready()
        return list(self._served.values())
