"""A model as an ONNX file, compared with what it was made from before it gets its name."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from teddy.model.bundle import read_bundle
from teddy.model.errors import ModelFileError
from teddy.model.files import atomic_path
from teddy.model.onnx.extra import onnx_extra
from teddy.model.predictor import Predictor, load
from teddy.model.tagger import TaggedWords
from teddy.training.card_config import CardConfig
from teddy.training.publish import export

_TOLERANCE = 1e-5
"""Of a probability, between the two networks in 32 bits."""


def export_onnx(source: Path, onnx_file: Path, data: Path | None = None, card: CardConfig | None = None) -> None:
    """Writes a model file, or the model of a checkpoint (see `teddy.training.publish.export`), as an ONNX file.

    Raises what `export` does, MissingExtraError without `teddy[onnx]`, ModelFileError for a source that is ONNX already
    or whose ONNX network does not give the same on the canary texts; then nothing is written.
    """
    if source.suffix != ".checkpoint":
        write_onnx(source, onnx_file)
        return
    with TemporaryDirectory() as folder:
        model_file = Path(folder) / f"{onnx_file.stem}.teddy"
        export(source, model_file, data, card)
        write_onnx(model_file, onnx_file)


def write_onnx(model_file: Path, onnx_file: Path) -> None:
    """Writes a model file as an ONNX file; raises as `export_onnx` does."""
    with onnx_extra():
        from teddy.model.onnx.convert import to_onnx
    bundle = read_bundle(model_file)
    if bundle.format == "onnx":
        raise ModelFileError(model_file, "an ONNX file already")
    onnx_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(onnx_file) as temporary:
        temporary.write_bytes(to_onnx(bundle))
        difference = first_difference(load(model_file, precision="fp32"), load(temporary, precision="fp32"))
        if difference is not None:
            raise ModelFileError(onnx_file, f"not written: {difference}")


def first_difference(torch_script: Predictor, onnx: Predictor) -> str | None:
    """What ONNX Runtime tells otherwise of the model's canary texts, together and each alone; None: nothing."""
    canary = torch_script.manifest.canary
    documents = [torch_script.prepare(each.text) for each in canary]
    together = [window for document in documents for window in document.windows]
    for windows in (together, *(document.windows for document in documents)):
        for expected, found in zip(torch_script.predict(windows), onnx.predict(windows), strict=True):
            if list(expected.tags) != list(found.tags):
                return "ONNX Runtime gives a canary text other tags than TorchScript"
            gap = np.abs(_probabilities(expected) - _probabilities(found)).max(initial=0.0)
            if not gap <= _TOLERANCE:
                return f"ONNX Runtime gives a canary text probabilities that differ from TorchScript's by {gap:.1e}"
    return None


def _probabilities(words: TaggedWords) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    scores: Sequence[float] = [*words.tag_scores, *words.scores]
    return np.array(scores, dtype=np.float64)
