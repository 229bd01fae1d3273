"""From a model file to the same model as an ONNX file."""

from teddy.model.bundle import Bundle, extra_files
from teddy.model.export import from_archive
from teddy.model.onnx.archive import seal
from teddy.model.onnx.build import build_model


def to_onnx(bundle: Bundle) -> bytes:
    """The ONNX file of a TorchScript model: its weights, in as many bits as there, and all that is known of it."""
    weights = {name: tensor.numpy() for name, tensor in from_archive(bundle.archive).state_dict().items()}
    graph = build_model(bundle.manifest.network, weights).SerializeToString()
    return seal(graph, extra_files(bundle.manifest, bundle.pieces, bundle.words, bundle.card))
