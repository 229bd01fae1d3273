"""The whole ONNX graph of a tagger: feature rows in, tags and their probabilities out."""

from onnx import ModelProto, ValueInfoProto

from teddy.model.config import NetworkConfig
from teddy.model.onnx.cells import Weights
from teddy.model.onnx.decoding import decode, field_of
from teddy.model.onnx.graph import Graph, doubles, floats, wholes
from teddy.model.onnx.layers import emissions, word_vectors

VECTORS = "vectors"
"""The value between the two parts of the graph: the vectors of distinct words."""


def word_inputs() -> list[ValueInfoProto]:
    """What words are made of: see `teddy.model.batching`."""
    return [wholes("rows", "F"), wholes("starts", "U")]


def vectors_output(width: int) -> ValueInfoProto:
    """The vectors of distinct words."""
    return floats(VECTORS, "U", width)


def network_inputs(width: int) -> list[ValueInfoProto]:
    """What the network reads once it has the words' vectors."""
    return [vectors_output(width), wholes("words", "B", "T"), wholes("lengths", "B")]


def decoded_outputs() -> list[ValueInfoProto]:
    """What `Network.forward` gives, in its order."""
    return [wholes("tags", "B", "T"), *(doubles(name, "B", "T") for name in ("marginal", "opening", "closing"))]


def build_model(config: NetworkConfig, weights: Weights) -> ModelProto:
    """The network of these weights, with the inputs and outputs of `teddy.model.network.Network` and one output more.

    Inputs, int64: `rows` [F], `starts` [U], `words` [B, T], `lengths` [B], each at least 1: see `teddy.model.batching`.
    Outputs: `tags` int64, `marginal`, `opening` and `closing` float64, all [B, T]; `emissions` float32 [B, T, K].
    `weights` are those of a state dict, in 32 bits or, to be stored so, in 16.
    """
    graph = Graph()
    field = field_of(weights)
    vectors = graph.add("Identity", word_vectors(graph, "rows", "starts", weights, config), name=VECTORS)
    scores = emissions(graph, vectors, "words", "lengths", weights, config)
    outputs = decoded_outputs()
    for output, value in zip(outputs, decode(graph, scores, "lengths", field), strict=True):
        graph.transpose(value, 1, 0, name=output.name)
    graph.transpose(scores, 1, 0, 2, name="emissions")
    inputs = [*word_inputs(), wholes("words", "B", "T"), wholes("lengths", "B")]
    return graph.as_model("tagger", inputs, [*outputs, floats("emissions", "B", "T", field.n_tags)])
