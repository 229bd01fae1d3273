"""The cells of `model/cells.py` as the three that ONNX has, LSTM, GRU and RNN.

ONNX keeps the gates of an LSTM in the order input, output, forget, candidate, and of a GRU in the order update, reset,
candidate; torch keeps input, forget, candidate, output, and reset, update, candidate. A cell that lacks a gate is one
that has it wide open: a bias of 100, of which the logistic sigmoid is 1 in 32 bits, and no weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from teddy.model.config import CellName
from teddy.model.onnx.graph import Array

Weights = Mapping[str, Array]
"""A network's weights by their names in its state dict."""

_OPEN = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxCell:
    """One direction of a layer: an operator, its attributes, and its weights in the operator's order of gates.

    Shape: `from_input` [G * H, input width], `from_hidden` [G * H, H], `bias` [2 * G * H], the input's and then the
    hidden state's; `peepholes` [3 * H], or none.
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
    """The layer whose weights' names begin with `prefix`, as `teddy.model.cells.make_recurrence` makes it."""
    if cell in ("lstm", "gru", "rnn"):
        return _kernel(cell, weights, f"{prefix}layer.")
    from_input, from_hidden = weights[f"{prefix}from_input.weight"], weights[f"{prefix}from_hidden.weight"]
    bias = weights[f"{prefix}from_input.bias"]
    stacked = (from_input, from_hidden, bias, np.zeros_like(bias))
    match cell:
        case "lstm-peephole":
            peepholes = [weights[f"{prefix}{gate}_peephole"] for gate in ("input", "output", "forget")]
            return replace(_lstm(*stacked), peepholes=np.concatenate(peepholes))
        case "lstm-coupled":
            # With `input_forget` the operator makes the forget gate 1 - input gate, and does not look at its weights.
            with_forget = _lstm(*(_with_gate(each, 1, 3, 0.0) for each in stacked))
            return replace(with_forget, attributes={"input_forget": 1})
        case "lstm-no-forget":
            forgets = (0.0, 0.0, _OPEN, 0.0)
            return _lstm(*(_with_gate(each, 1, 3, value) for each, value in zip(stacked, forgets, strict=True)))
        case _:  # gru-simple: its update gate is 1 - that of the operator, which is the sigmoid of the negated sum
            negated = [_negate_first(each, 2) for each in stacked]
            resets = (0.0, 0.0, _OPEN, 0.0)
            return _gru(*(_with_gate(each, 1, 2, value) for each, value in zip(negated, resets, strict=True)))


def _kernel(cell: CellName, weights: Weights, prefix: str) -> OnnxCell:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    from_input, from_hidden, bias, second_bias = (weights[prefix + name] for name in names)
    if cell == "lstm":
        return _lstm(from_input, from_hidden, bias, second_bias)
    if cell == "gru":
        return _gru(*(_reordered(each, (1, 0, 2)) for each in (from_input, from_hidden, bias, second_bias)))
    return OnnxCell(
        operator="RNN",
        attributes={},
        from_input=from_input,
        from_hidden=from_hidden,
        bias=np.concatenate((bias, second_bias)),
    )


def _lstm(from_input: Array, from_hidden: Array, bias: Array, second_bias: Array) -> OnnxCell:
    """Gates in torch's order: input, forget, candidate, output."""
    order = (0, 3, 1, 2)
    return OnnxCell(
        operator="LSTM",
        attributes={},
        from_input=_reordered(from_input, order),
        from_hidden=_reordered(from_hidden, order),
        bias=np.concatenate((_reordered(bias, order), _reordered(second_bias, order))),
    )


def _gru(from_input: Array, from_hidden: Array, bias: Array, second_bias: Array) -> OnnxCell:
    """Gates in ONNX's order: update, reset, candidate. torch resets what the hidden state's matrix gives, and bias."""
    return OnnxCell(
        operator="GRU",
        attributes={"linear_before_reset": 1},
        from_input=from_input,
        from_hidden=from_hidden,
        bias=np.concatenate((bias, second_bias)),
    )


def _reordered(stacked: Array, order: Sequence[int]) -> Array:
    """The gates along the first axis in another order."""
    gates = np.split(stacked, len(order))
    return np.concatenate([gates[index] for index in order])


def _with_gate(stacked: Array, position: int, n_gates: int, value: float) -> Array:
    """One gate more along the first axis, filled with a value."""
    gates = np.split(stacked, n_gates)
    return np.concatenate([*gates[:position], np.full_like(gates[0], value), *gates[position:]])


def _negate_first(stacked: Array, n_gates: int) -> Array:
    gates = np.split(stacked, n_gates)
    return np.concatenate([-gates[0], *gates[1:]])
