"""What a tagger is: from text to words, pieces, a network and a model file, and back to entities.

import model

tagger = model.load()                       # the model that ships; or model.load("mine.teddy")
for entity in tagger.tag(["He said, Teddy Roosevelt was a great President!"])[0]:
    print(entity.label, entity.text, entity.score)
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.predictor import Predictor

__all__ = ["load"]


def load(path: str | Path | None = None, *, precision: str = "auto") -> "Predictor":
    """Loads a model file, or the one that ships with Teddy; see `model.predictor.load`."""
    # torch takes seconds to import; `import model` must not, for the sake of the command line.
    from model import predictor

    return predictor.load(path, precision=precision)
