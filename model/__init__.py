"""What a tagger is: from text to words, pieces, a network and a model file, and back to entities.

import model

tagger = model.load()                       # the model that ships; or model.load("mine.teddy")
for entity in tagger.tag(["He said, Teddy Roosevelt was a great President!"])[0]:
    print(entity.label, entity.text, entity.score)
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model.predictor import Predictor

__all__ = ["load"]


# oneDNN keeps a thousand kernels by default, of 0.2 MB each, and does not give them back. Batches have few shapes (see
# model/batching.py). torch reads this when it first computes, so it has no effect in a program that has done so before.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "32")


def load(path: str | Path | None = None, *, precision: str = "auto") -> "Predictor":
    """Loads a model file, or the one that ships with Teddy; see `model.predictor.load`."""
    # torch takes seconds to import; `import model` must not, for the sake of the command line.
    from model import predictor

    return predictor.load(path, precision=precision)
