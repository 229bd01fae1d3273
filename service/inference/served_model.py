"""A model as it is served: under a name, with what the service says of it."""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.model.errors import FileError, RulesError, TeddyError
from teddy.service.errors import UnknownLabelError
from teddy.service.schemas import ModelDetails, ModelReference, ModelSummary

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor
    from teddy.model.tags.search import Search

LONGEST_REASON = 300
PATH_LIKE = re.compile(r"\S*[/\\]\S*")


def now() -> str:
    """Return the time: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model under the name that clients use.

    A request keeps the model that it began with.

    Attributes: `loaded`, when (UTC, ISO 8601); `refused`, why the file that should have replaced it
    was refused; `rules_refused`, the same of its file of rules.
    """

    name: str
    predictor: "Predictor"
    default: bool
    loaded: str = field(default_factory=now)
    refused: str | None = None
    rules_refused: str | None = None

    @property
    def version(self) -> str:
        """The version in its file."""
        return self.predictor.version

    @property
    def reference(self) -> ModelReference:
        """The model's name and version, for an answer."""
        return ModelReference(name=self.name, version=self.version)

    @property
    def summary(self) -> ModelSummary:
        """The model's entry in the list of models."""
        return ModelSummary.model_validate(self._known())

    @property
    def details(self) -> ModelDetails:
        """All that the service publishes about the model."""
        return ModelDetails.model_validate(self.predictor.manifest.as_dict() | self._known())

    def _known(self) -> dict[str, object]:
        manifest = self.predictor.manifest
        return {
            "name": self.name,
            "version": self.version,
            "default": self.default,
            "language": manifest.language,
            "labels": list(self.predictor.labels),
            "precision": self.predictor.precision,
            "loaded": self.loaded,
            "refused": self.refused,
        }

    def as_default(self, default: bool) -> "ServedModel":
        """Return this model marked as the default model, or not."""
        return self if default == self.default else replace(self, default=default)

    def search(
        self, threshold: float | dict[str, float] | None, n_best: int | None
    ) -> "Search | None":
        """Return what to look for beyond the best path. Raises UnknownLabelError."""
        if threshold is None and not n_best:
            return None
        if isinstance(threshold, dict):
            self.check_labels(list(threshold))
        return self.predictor.search(threshold, n_best or 0)

    def check_labels(self, labels: list[str] | None) -> None:
        """Raise UnknownLabelError if one of `labels` is not a label of the model."""
        known = self.predictor.labels
        for label in labels or ():
            if label not in known:
                raise UnknownLabelError(
                    f"Model {self.name} has no label {label!r}; it has {', '.join(known)}."
                )


def public_reason(error: Exception) -> str:
    """Return why a file was refused, without the machine's paths."""
    if not isinstance(error, TeddyError):
        # the message may contain anything; the log has the details
        return "it cannot be loaded"
    said = error.reason if isinstance(error, FileError) else str(error)
    reason = PATH_LIKE.sub("[...]", said)[:LONGEST_REASON]
    if isinstance(error, RulesError):  # of several files; their names are in the file of rules
        line = "" if error.line is None else f", line {error.line}"
        return f"{Path(error.path).name}{line}: {reason}"
    return reason
