"""From a file to a model that is ready to answer at full speed: loaded, checked, and warm."""

import gc
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import TYPE_CHECKING

from teddy.model.bundle import read_version
from teddy.model.errors import ModelFileError
from teddy.service.model_files import ModelFile
from teddy.service.settings import Settings

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

Load = Callable[..., "Predictor"]
"""Loads a model: `load(path)`, or `load(None)` for the one that ships; with `sha256=` if it is pinned.

Raises ModelFileError. It is called in a thread, and for one model after another.
"""

WARM_UP_SHAPES = ((1, 8), (1, 32), (8, 24), (64, 24))
"""Texts at a time, words in each. The first texts of a cold model took up to 153 ms, now 7; the calls take 130."""
WARM_UP_CALLS = 3


def model_loader(settings: Settings) -> Load:
    """`predictor.load` with the precision that was set. Torch is imported here, in the thread that loads."""

    def load(path: Path | None, sha256: str | None = None) -> "Predictor":
        from teddy.model.memory import give_back, settle
        from teddy.model.predictor import load

        # Requests that were cancelled are cycles, through their tracebacks, and keep their model: without this, sixteen
        # replaced ones were in memory at once. It takes little time, since what came with torch is frozen below.
        gc.collect()
        predictor = load(path, precision=settings.precision, sha256=sha256)
        warm_up(predictor)
        if not gc.get_freeze_count():  # once: what comes with a model is little, and goes when it is replaced
            settle()
        give_back()
        return predictor

    return load


def load_unless(load: Load, file: ModelFile, version: str | None) -> "Predictor | None":
    """The model in `file`, or None if that is `version`: then it need not even be loaded to know. Raises as `load`."""
    if version and file.path and has_version(file.path, version):
        return None
    predictor = load(file.path, sha256=file.pinned) if file.pinned else load(file.path)
    return None if predictor.version == version else predictor


def has_version(path: Path, version: str) -> bool:
    """Whether a file is whole and of that version. What is wrong with one that is not, loading it will say."""
    try:
        return read_version(path) == version
    except ModelFileError:
        return False


def warm_up(predictor: "Predictor") -> None:
    """Call a model with batches of several shapes, made of the words of its canary; one without words stays cold."""
    words = " ".join(canary.text for canary in predictor.manifest.canary).split()
    if not words:
        return
    for n_texts, n_words in WARM_UP_SHAPES:
        text = " ".join(islice(cycle(words), n_words))
        for _ in range(WARM_UP_CALLS):
            predictor.tag([text] * n_texts)
