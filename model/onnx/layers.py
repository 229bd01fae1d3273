"""From words' feature rows to emissions, drawn as an ONNX graph: what `model/network.py` and `model/encoder.py` do.

Time comes first, as ONNX Runtime wants it. Letters: T words of the longest of B sentences, U distinct words with F
feature rows in all, E the embedding width, K tags.
"""

from math import sqrt

import numpy as np
from onnx import GraphProto, TensorProto

from teddy.model.config import NetworkConfig
from teddy.model.onnx.cells import Weights, onnx_cell
from teddy.model.onnx.graph import Graph, floats, truths, wholes

_FAR = 2**62
"""The end of a slice that goes on to the end."""


def word_vectors(graph: Graph, rows: str, starts: str, weights: Weights, config: NetworkConfig) -> str:
    """The vectors of distinct words, each the sum of its rows. Shape: int64 [F], [U] -> [U, E]."""
    # Which row is the first of each word, which the second, ...: as often as the word of most rows has rows.
    zero, one = graph.integers(0), graph.integers(1)
    n_rows = graph.add("Shape", rows)
    ends = graph.add("Concat", graph.add("Slice", starts, one, graph.integers(_FAR)), n_rows, axis=0)
    most = graph.add("ReduceMax", graph.add("Sub", ends, starts), zero, keepdims=0)
    turns = graph.add("Range", graph.constant(np.array(0)), most, graph.constant(np.array(1)))
    places = graph.add("Add", graph.add("Unsqueeze", turns, one), starts)
    has_one = graph.add("Unsqueeze", graph.add("Less", places, ends), graph.integers(2))
    chosen = graph.add("Gather", rows, graph.add("Min", places, graph.add("Sub", n_rows, one)))
    shape = graph.add("Concat", graph.add("Shape", starts), graph.integers(config.embedding_width), axis=0)
    nothing = graph.add("Expand", graph.constant(np.zeros((), dtype=np.float32)), shape)
    table = graph.constant(weights["embedding"], "embedding")
    (summed,) = graph.scan(_add_row(graph.body(), table, config), [nothing], [chosen, has_one])
    if not config.normalise:
        return summed
    scale = graph.constant(weights["normalisation.weight"], "normalisation.weight")
    shift = graph.constant(weights["normalisation.bias"], "normalisation.bias")
    return graph.add("LayerNormalization", summed, scale, shift, axis=-1, epsilon=1e-5)


def _add_row(body: Graph, table: str, config: NetworkConfig) -> GraphProto:
    """One row more of each word that has so many.

    A loop, and not ScatterND with `reduction="add"`, which does it in one go: ONNX Runtime 1.31 lets its threads add to
    the same sum at the same time, and loses some (tried: the sums of 31 batches in 300 came out wrong).
    ScatterElements adds in one thread, but 1,000 words of ten rows take it 23 ms; this, 2.6.
    """
    row = body.add(
        "Where", "has_one", body.add("Gather", table, "chosen"), body.constant(np.zeros((), dtype=np.float32))
    )
    summed = body.add("Add", "so_far", row)
    return body.as_body(
        "add_row",
        [floats("so_far", "U", config.embedding_width), wholes("chosen", "U"), truths("has_one", "U", 1)],
        [floats(summed, "U", config.embedding_width)],
    )


def emissions(graph: Graph, vectors: str, words: str, lengths: str, weights: Weights, config: NetworkConfig) -> str:
    """The score of each tag at each word. Shape: [U, E], int64 [B, T], int64 [B] -> [T, B, K]."""
    values = graph.add("Gather", vectors, graph.transpose(words, 1, 0), axis=0)
    lengths = graph.cast(lengths, TensorProto.INT32)
    for index in range(config.layers):
        values = _recurrent_layer(graph, values, lengths, weights, config, f"encoder.recurrent.{index}.")
    for index in range(len(config.dense_widths)):
        values = _gelu(graph, _linear(graph, values, weights, f"encoder.dense.{index}.0."))
    return _linear(graph, values, weights, "emission.")


def _recurrent_layer(
    graph: Graph, values: str, lengths: str, weights: Weights, config: NetworkConfig, prefix: str
) -> str:
    """Shape: [T, B, input width], int32 [B] -> [T, B, output width]."""
    directions = ("forwards.", "backwards.") if config.bidirectional else ("forwards.",)
    cells = [onnx_cell(config.cell, weights, prefix + direction) for direction in directions]
    first = cells[0]
    peepholes = [cell.peepholes for cell in cells if cell.peepholes is not None]
    inputs = [
        values,
        graph.constant(np.stack([cell.from_input for cell in cells]), prefix + "from_input"),
        graph.constant(np.stack([cell.from_hidden for cell in cells]), prefix + "from_hidden"),
        graph.constant(np.stack([cell.bias for cell in cells]), prefix + "bias"),
        lengths,
    ]
    if peepholes:
        inputs += ["", "", graph.constant(np.stack(peepholes), prefix + "peepholes")]
    read = graph.add(
        first.operator,
        *inputs,
        hidden_size=first.hidden_width,
        direction="bidirectional" if config.bidirectional else "forward",
        **first.attributes,
    )
    if config.combine == "sum":
        return graph.add("ReduceSum", read, graph.integers(1), keepdims=0)
    # [T, directions, B, H]: side by side
    width = first.hidden_width * len(cells)
    return graph.add("Reshape", graph.transpose(read, 0, 2, 1, 3), graph.integers(0, 0, width))


def _linear(graph: Graph, values: str, weights: Weights, prefix: str) -> str:
    weight = graph.constant(weights[prefix + "weight"].T, prefix + "weight")
    return graph.add("Add", graph.add("MatMul", values, weight), graph.constant(weights[prefix + "bias"]))


def _gelu(graph: Graph, values: str) -> str:
    """X * (1 + erf(x / sqrt 2)) / 2: Hendrycks & Gimpel 2016, arXiv:1606.08415."""

    def number(value: float) -> str:
        return graph.constant(np.array(value, dtype=np.float32))

    erf = graph.add("Erf", graph.add("Div", values, number(sqrt(2.0))))
    return graph.add("Mul", graph.add("Mul", values, graph.add("Add", erf, number(1.0))), number(0.5))
