"""The loader of a registered model: `mlflow.pyfunc.load_model("models:/NAME/1").predict(texts)`.

MLflow wants pandas for that. Without it, a model file is fetched and loaded as any other:

    directory = mlflow.artifacts.download_artifacts("models:/NAME/1")
    tagger = teddy.load(f"{directory}/NAME.teddy")
"""

from collections.abc import Iterable
from typing import Any

from teddy.model.predictor import Predictor, load


class TaggerOfMlflow:
    """A tagger with the method that MLflow calls."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def predict(
        self, texts: Any, params: dict[str, Any] | None = None
    ) -> list[list[dict[str, str | int | float]]]:
        """Return the entities of each text, as dictionaries; offsets are in characters, half open.

        `texts` is a list of them, or a data frame with one column. There are no `params`.
        """
        if params:
            raise ValueError(f"a tagger has no parameters, not {sorted(params)}")
        column: Iterable[str] = texts.iloc[:, 0] if hasattr(texts, "iloc") else texts
        keys = ("text", "label", "start", "end", "score")
        return [
            [{key: getattr(entity, key) for key in keys} for entity in entities]
            for entities in self._predictor.tag(list(column))
        ]


def _load_pyfunc(path: str) -> TaggerOfMlflow:
    """Load the model file at `path`; MLflow finds this function by its name."""
    return TaggerOfMlflow(load(path))
