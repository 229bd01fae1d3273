"""A recurrent layer, one step after another, with what its gates do.

A layer of `teddy.model.network.cells` returns only its hidden states. Here the same steps are taken
one by one, so that each state has a gradient and each gate can be looked at. torch's own layers are
written as equations; that they are the same is tested.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from teddy.model.network.cells import (
    CoupledLSTM,
    EquationCell,
    Kernel,
    PeepholeLSTM,
    Recurrence,
    SimpleGRU,
)

Gates = dict[str, Tensor]
Step = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor, Gates]]
"""Maps x, h and c to h', c' and the gates; a layer without a cell has h' for c'."""


@dataclass(frozen=True, slots=True)
class Trace:
    """The states after each word, and the gates at it; each is [batch, hidden width]."""

    hidden: list[Tensor]
    cell: list[Tensor]
    gates: list[Gates]
    """`update` is the share of the new value that is taken in, `keep` that of the old one that
    stays, `output` that of the cell that is shown."""


def trace(layer: Recurrence, x: Tensor) -> Trace:
    """Read [time, batch, input width] step by step; all states keep their gradients."""
    step = step_of(layer)
    hidden = cell = x.new_zeros(x.shape[1], layer.hidden_width)
    found = Trace([], [], [])
    for word in x.unbind(dim=0):
        hidden, cell, gates = step(word, hidden, cell)
        for state in (hidden, cell):
            if state.requires_grad:
                state.retain_grad()
        found.hidden.append(hidden)
        found.cell.append(cell)
        found.gates.append(gates)
    return found


def step_of(layer: Recurrence) -> Step:
    """Return the function that takes one step of a layer."""
    if isinstance(layer, Kernel):
        kernel = layer.layer
        steps = {nn.LSTM: _lstm, nn.GRU: _gru, nn.RNN: _rnn}
        take = steps[type(kernel)]
        return lambda x, h, c: take(kernel.all_weights[0], x, h, c)
    if not isinstance(layer, EquationCell):
        raise TypeError(f"{type(layer).__name__} is not a layer that is known here")
    equation = layer

    def step(x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Gates]:
        stacked = equation.from_input(x) + equation.from_hidden(h)
        hidden, cell = equation.step(stacked, c)
        return hidden, cell, _gates(equation, stacked, c, cell)

    return step


def _gates(layer: EquationCell, stacked: Tensor, before: Tensor, after: Tensor) -> Gates:
    parts = stacked.chunk(layer.N_GATES, dim=1)
    if isinstance(layer, PeepholeLSTM):
        return {
            "update": (parts[0] + layer.input_peephole * before).sigmoid(),
            "keep": (parts[1] + layer.forget_peephole * before).sigmoid(),
            "output": (parts[3] + layer.output_peephole * after).sigmoid(),
        }
    update = parts[0].sigmoid()
    gates = {"update": update, "keep": torch.ones_like(update)}
    if isinstance(layer, SimpleGRU | CoupledLSTM):
        gates["keep"] = 1 - update
    return gates if isinstance(layer, SimpleGRU) else gates | {"output": parts[2].sigmoid()}


def _lstm(
    weights: Sequence[Tensor], x: Tensor, h: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Gates]:
    w, u, b, also_b = weights
    parts = (x @ w.T + h @ u.T + b + also_b).chunk(4, dim=1)
    update, keep, output = parts[0].sigmoid(), parts[1].sigmoid(), parts[3].sigmoid()
    cell = keep * c + update * parts[2].tanh()
    return output * cell.tanh(), cell, {"update": update, "keep": keep, "output": output}


def _gru(
    weights: Sequence[Tensor], x: Tensor, h: Tensor, _: Tensor
) -> tuple[Tensor, Tensor, Gates]:
    w, u, b, also_b = weights
    from_input, from_hidden = (x @ w.T + b).chunk(3, dim=1), (h @ u.T + also_b).chunk(3, dim=1)
    reset = (from_input[0] + from_hidden[0]).sigmoid()
    keep = (from_input[1] + from_hidden[1]).sigmoid()
    new = (from_input[2] + reset * from_hidden[2]).tanh()
    hidden = (1 - keep) * new + keep * h
    return hidden, hidden, {"update": 1 - keep, "keep": keep, "reset": reset}


def _rnn(
    weights: Sequence[Tensor], x: Tensor, h: Tensor, _: Tensor
) -> tuple[Tensor, Tensor, Gates]:
    w, u, b, also_b = weights
    hidden = (x @ w.T + h @ u.T + b + also_b).tanh()
    return hidden, hidden, {}
