"""From the feature rows of words to emissions, as an ONNX graph.

Time comes first, as ONNX Runtime wants it. Letters: T words of the longest of B sentences, U
distinct words with F feature rows in all, E the embedding width, K tags.

ONNX keeps the gates of an LSTM in the order input, output, forget, candidate, and of a GRU in the
order update, reset, candidate; torch keeps input, forget, candidate, output, and reset, update,
candidate. A cell that lacks a gate is one that has it wide open: a bias of 100, of which the
logistic sigmoid is 1 in 32 bits, and no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
from onnx import GraphProto, TensorProto

from teddy.model.config import CellName, NetworkConfig
from teddy.model.network.onnx_network import floats, truths, wholes
from teddy.training.export.onnx_graph import Array, Graph

Weights = Mapping[str, Array]
"""A network's weights by their names in its state dict."""

_OPEN = 100.0

_FAR = 2**62
"""The end of a slice that goes on to the end."""


@dataclass(frozen=True, slots=True)
class OnnxCell:
    """One direction of a layer: an operator, its attributes, and its weights in its order of gates.

    Shape: `from_input` [G * H, input width], `from_hidden` [G * H, H], `bias` [2 * G * H], the
    input's and then the hidden state's; `peepholes` [3 * H], or none.
    """

    operator: str
    attributes: Mapping[str, Any]
    from_input: Array
    from_hidden: Array
    bias: Array
    peepholes: Array | None = None

    @property
    def hidden_width(self) -> int:
        """H."""
        return int(self.from_hidden.shape[1])


def onnx_cell(cell: CellName, weights: Weights, prefix: str) -> OnnxCell:
    """Return the layer whose weights' names begin with `prefix`, as `make_recurrence` makes it."""
    if cell in ("lstm", "gru", "rnn"):
        kernel = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        stacked = [weights[f"{prefix}layer.{name}"] for name in kernel]
    else:
        own = ("from_input.weight", "from_hidden.weight", "from_input.bias")
        stacked = [weights[prefix + name] for name in own]
        stacked.append(np.zeros_like(stacked[-1]))
    match cell:
        case "rnn":
            return _cell("RNN", stacked)
        case "gru":
            return _gru([_reordered(each, (1, 0, 2)) for each in stacked])
        case "lstm":
            return _lstm(stacked)
        case "lstm-peephole":
            gates = [weights[f"{prefix}{gate}_peephole"] for gate in ("input", "output", "forget")]
            return replace(_lstm(stacked), peepholes=np.concatenate(gates))
        case "lstm-coupled":
            # With `input_forget` the operator makes the forget gate 1 - input gate, and does not
            # look at its weights.
            return _lstm([_with_gate(each, 1, 3, 0.0) for each in stacked], input_forget=1)
        case "lstm-no-forget":
            return _lstm(_with_open_gate(stacked, 1, 3))
        case _:
            # gru-simple: its update gate is 1 - that of the operator, which is the sigmoid of the
            # negated sum.
            pairs = [np.split(each, 2) for each in stacked]
            negated = [np.concatenate([-update, candidate]) for update, candidate in pairs]
            return _gru(_with_open_gate(negated, 1, 2))


def _cell(operator: str, stacked: Sequence[Array], **attributes: int) -> OnnxCell:
    """Make a cell of two matrices and two biases, the input's and then the hidden state's."""
    from_input, from_hidden, *biases = stacked
    bias = np.concatenate(biases)
    return OnnxCell(operator, attributes, from_input, from_hidden, bias)


def _lstm(stacked: Sequence[Array], **attributes: int) -> OnnxCell:
    """Take gates in torch's order: input, forget, candidate, output."""
    return _cell("LSTM", [_reordered(each, (0, 3, 1, 2)) for each in stacked], **attributes)


def _gru(stacked: Sequence[Array]) -> OnnxCell:
    """Take gates in ONNX's order: update, reset, candidate.

    torch resets what the hidden state's matrix gives, and bias.
    """
    return _cell("GRU", stacked, linear_before_reset=1)


def _reordered(stacked: Array, order: Sequence[int]) -> Array:
    gates = np.split(stacked, len(order))
    return np.concatenate([gates[index] for index in order])


def _with_gate(stacked: Array, position: int, n_gates: int, value: float) -> Array:
    """Insert a gate along the first axis, filled with a value."""
    gates = np.split(stacked, n_gates)
    return np.concatenate([*gates[:position], np.full_like(gates[0], value), *gates[position:]])


def _with_open_gate(stacked: Sequence[Array], position: int, n_gates: int) -> list[Array]:
    """Insert a gate that is wide open by the input's bias."""
    values = (0.0, 0.0, _OPEN, 0.0)
    return [
        _with_gate(each, position, n_gates, value)
        for each, value in zip(stacked, values, strict=True)
    ]


def word_vectors(
    graph: Graph, rows: str, starts: str, weights: Weights, config: NetworkConfig
) -> str:
    """Return the vectors of distinct words, sums of rows. Shape: int64 [F], [U] -> [U, E]."""
    # Which row is the first of each word, which the second, ...: as often as the word of most rows
    # has rows.
    zero, one = graph.integers(0), graph.integers(1)
    n_rows = graph.add("Shape", rows)
    later_starts = graph.add("Slice", starts, one, graph.integers(_FAR))
    ends = graph.add("Concat", later_starts, n_rows, axis=0)
    most = graph.add("ReduceMax", graph.add("Sub", ends, starts), zero, keepdims=0)
    turns = graph.add("Range", graph.constant(np.array(0)), most, graph.constant(np.array(1)))
    places = graph.add("Add", graph.add("Unsqueeze", turns, one), starts)
    has_one = graph.add("Unsqueeze", graph.add("Less", places, ends), graph.integers(2))
    chosen = graph.add("Gather", rows, graph.add("Min", places, graph.add("Sub", n_rows, one)))
    width = graph.integers(config.embedding_width)
    shape = graph.add("Concat", graph.add("Shape", starts), width, axis=0)
    nothing = graph.add("Expand", graph.constant(np.zeros((), dtype=np.float32)), shape)
    table = graph.constant(weights["embedding"], "embedding")
    (summed,) = graph.scan(_add_row(graph.body(), table, config), [nothing], [chosen, has_one])
    if not config.normalise:
        return summed
    scale = graph.constant(weights["normalisation.weight"], "normalisation.weight")
    shift = graph.constant(weights["normalisation.bias"], "normalisation.bias")
    return graph.add("LayerNormalization", summed, scale, shift, axis=-1, epsilon=1e-5)


def _add_row(body: Graph, table: str, config: NetworkConfig) -> GraphProto:
    """Add one more row to each word that has so many.

    A loop, and not ScatterND with `reduction="add"`, which does it in one go: ONNX Runtime 1.31
    lets its threads add to the same sum at the same time, and loses some (tried: the sums of 31
    batches in 300 came out wrong). ScatterElements adds in one thread, but 1,000 words of ten rows
    take it 23 ms; this, 2.6.
    """
    width, zero = config.embedding_width, body.constant(np.zeros((), dtype=np.float32))
    row = body.add("Where", "has_one", body.add("Gather", table, "chosen"), zero)
    summed = body.add("Add", "so_far", row)
    inputs = [floats("so_far", "U", width), wholes("chosen", "U"), truths("has_one", "U", 1)]
    return body.as_body("add_row", inputs, [floats(summed, "U", width)])


def emissions(
    graph: Graph, vectors: str, words: str, lengths: str, weights: Weights, config: NetworkConfig
) -> str:
    """Return the score of each tag. Shape: [U, E], int64 [B, T], int64 [B] -> [T, B, K]."""
    values = graph.add("Gather", vectors, graph.transpose(words, 1, 0), axis=0)
    lengths = graph.cast(lengths, TensorProto.INT32)
    for index in range(config.layers):
        values = _recurrent_layer(
            graph, values, lengths, weights, config, f"encoder.recurrent.{index}."
        )
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
    stacked = [
        graph.constant(np.stack([getattr(cell, name) for cell in cells]), prefix + name)
        for name in ("from_input", "from_hidden", "bias")
    ]
    inputs = [values, *stacked, lengths]
    if peepholes:
        inputs += ["", "", graph.constant(np.stack(peepholes), prefix + "peepholes")]
    attributes = {
        "hidden_size": first.hidden_width,
        "direction": "bidirectional" if config.bidirectional else "forward",
        **first.attributes,
    }
    read = graph.add(first.operator, *inputs, **attributes)
    if config.combine == "sum":
        return graph.add("ReduceSum", read, graph.integers(1), keepdims=0)
    # [T, directions, B, H]: side by side
    width = first.hidden_width * len(cells)
    return graph.add("Reshape", graph.transpose(read, 0, 2, 1, 3), graph.integers(0, 0, width))


def _linear(graph: Graph, values: str, weights: Weights, prefix: str) -> str:
    weight = graph.constant(weights[prefix + "weight"].T, prefix + "weight")
    product = graph.add("MatMul", values, weight)
    return graph.add("Add", product, graph.constant(weights[prefix + "bias"]))


def _gelu(graph: Graph, values: str) -> str:
    """Return x * (1 + erf(x / sqrt 2)) / 2: Hendrycks & Gimpel 2016, arXiv:1606.08415."""
    root, one, half = (
        graph.constant(np.array(value, dtype=np.float32)) for value in (sqrt(2.0), 1.0, 0.5)
    )
    erf = graph.add("Erf", graph.add("Div", values, root))
    return graph.add("Mul", graph.add("Mul", values, graph.add("Add", erf, one)), half)
