"""The model of a process that does nothing but tag."""

import os
from typing import TYPE_CHECKING

from teddy.model.bulk.workers import LoadedModel, ModelChoice

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor


def load_model(choice: ModelChoice) -> "Predictor":
    """Load a model for a process that does nothing but tag, on one thread. Raises TeddyError when it is refused."""
    # A sentence is too little work to share among threads, and the processes share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from teddy.model.memory import settle
    from teddy.model.predictor import load

    predictor = load(choice.path, precision=choice.precision)
    settle()
    return predictor


def describe(predictor: "Predictor") -> LoadedModel:
    """Return what is to be known of a loaded model."""
    manifest = predictor.manifest
    return LoadedModel(
        name=manifest.name, version=predictor.version, labels=tuple(manifest.labels), precision=predictor.precision
    )
