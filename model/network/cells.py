"""Recurrent layers of one direction: torch's own kernels, and relatives written as equations.

A layer reads a row from its first step to its last, from a state of zeros. So padding at the end of
a row needs neither mask nor packing, and on a CPU oneDNN's fused kernel, which does not take packed
rows, serves `nn.LSTM`. For the other direction the encoder flips each row by its own length. Time
comes first in every tensor, as in the kernels.

In the equations x is the input, h the hidden state, c the cell, ' marks the new value, s is the
logistic sigmoid and * the element-wise product. W and b act on the input, U on the hidden state.
"""

from collections.abc import Callable
from functools import cache
from typing import ClassVar

import torch
from torch import Tensor, nn

from teddy.model.config import CellName


class Recurrence(nn.Module):
    """One layer: `forward` maps [time, batch, input_width] to [time, batch, hidden_width]."""

    hidden_width: int

    def __init__(self, hidden_width: int) -> None:
        super().__init__()
        self.hidden_width = hidden_width


def make_recurrence(cell: CellName, input_width: int, hidden_width: int) -> Recurrence:
    """Make a freshly initialised layer of this cell."""
    layers: dict[CellName, Callable[[int, int], Recurrence]] = {
        "lstm": lambda *widths: Kernel(nn.LSTM(*widths), forget_gate=1),
        "gru": lambda *widths: Kernel(nn.GRU(*widths)),
        "rnn": lambda *widths: Kernel(nn.RNN(*widths)),
        "gru-simple": SimpleGRU,
        "lstm-peephole": PeepholeLSTM,
        "lstm-coupled": CoupledLSTM,
        "lstm-no-forget": NoForgetLSTM,
    }
    return layers[cell](input_width, hidden_width)


class Kernel(Recurrence):
    """One of torch's own layers, `nn.LSTM`, `nn.GRU` or `nn.RNN`, of which only h is returned.

    An LSTM on a CPU lays its weights out again at every call, half the time of a call for one short
    sentence (hidden 128, 25 words: 180 us; with `packed`, 103 in bf16, 142 instead of 227 in fp32).
    `packed` keeps them laid out (see `precision.pack`): for inference on the CPU, never saved.
    """

    packed: list[Tensor]

    def __init__(self, layer: nn.RNNBase, forget_gate: int | None = None) -> None:
        super().__init__(layer.hidden_size)
        self.layer = layer
        self.packed = []
        self.can_be_packed = isinstance(layer, nn.LSTM)
        input_weight, hidden_weight, bias, second_bias = layer.all_weights[0]
        initialise_gates(input_weight, hidden_weight, bias)
        # torch adds two biases where one would do: the second starts at zero.
        nn.init.zeros_(second_bias)
        if forget_gate is not None:
            nn.init.ones_(gate(bias, forget_gate, layer.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """[time, batch, input_width] -> [time, batch, hidden_width]."""
        if len(self.packed) == 0:
            output: Tensor = self.layer(x)[0]
            return output
        return packed_lstm(x, self.packed, self.hidden_width)


def can_pack() -> bool:
    """Tell whether this torch was built with oneDNN's recurrent kernels."""
    return hasattr(torch.ops.mkldnn, "_reorder_mkldnn_rnn_layer_weight")


@cache
def kernel_has_bf16() -> bool:
    """Tell whether oneDNN's LSTM runs in bf16 on this processor; it needs AVX-512.

    Without it an `nn.LSTM` of bf16 weights avoids oneDNN, but under autocast calls it and fails.
    """
    try:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


def pack_lstm(layer: nn.Module) -> list[Tensor]:
    """Return an `nn.LSTM`'s W and U in oneDNN's layout, and its biases; empty without a kernel."""
    parameters = [
        getattr(layer, f"{name}_l0").detach()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    ]
    if not can_pack() or (parameters[0].dtype == torch.bfloat16 and not kernel_has_bf16()):
        return []
    reverse, has_biases, batch_first = False, True, False
    weights = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(
        parameters[0], parameters[1], parameters[1].shape[1], reverse, has_biases, batch_first
    )
    return [*weights, *parameters[2:]]


def packed_lstm(x: Tensor, packed: list[Tensor], hidden_width: int) -> Tensor:
    """Compute what `nn.LSTM` does from the four tensors of `pack_lstm`.

    Shape: [time, batch, input_width] -> [time, batch, hidden_width].
    """
    state = torch.zeros((1, x.shape[1], hidden_width), dtype=x.dtype)
    is_lstm, layers = 2, 1
    output: Tensor = torch.mkldnn_rnn_layer(
        x.contiguous(),  # which `nn.LSTM` sees to and this does not
        packed[0],
        packed[1],
        packed[2],
        packed[3],
        state,
        state,
        False,  # reverse
        [],  # batch sizes of packed rows
        is_lstm,
        hidden_width,
        layers,
        True,  # has biases
        False,  # bidirectional
        False,  # batch first
        False,  # train
    )[0]
    return output


class EquationCell(Recurrence):
    """A layer whose subclass writes out one step.

    W x + b of every gate, the candidate among them, is one matrix product over all steps before the
    loop; the loop adds U h.
    """

    N_GATES: ClassVar[int]

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__(hidden_width)
        self.from_input = nn.Linear(input_width, self.N_GATES * hidden_width)
        self.from_hidden = nn.Linear(hidden_width, self.N_GATES * hidden_width, bias=False)
        initialise_gates(self.from_input.weight, self.from_hidden.weight, self.from_input.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[time, batch, input_width] -> [time, batch, hidden_width]."""
        from_input = self.from_input(x)
        hidden = from_input.new_zeros(x.size(1), self.hidden_width)
        cell = hidden
        outputs: list[Tensor] = []
        for step_input in from_input.unbind(dim=0):
            hidden, cell = self.step(step_input + self.from_hidden(hidden), cell)
            outputs.append(hidden)
        return torch.stack(outputs, dim=0)

    def step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Return h' and c' from c and W x + U h + b of all gates side by side.

        Shape: [batch, n_gates * width], [batch, hidden_width] -> [batch, hidden_width] twice.
        """
        raise NotImplementedError


class SimpleGRU(EquationCell):
    """A GRU with an update gate only, no reset gate.

        z  = s(Wz x + Uz h + bz)
        g  = tanh(Wg x + Ug h + bg)
        h' = (1 - z) * h + z * g

    The GRU of Cho et al. 2014 (arXiv:1406.1078) in the notation of Chung et al. 2014
    (arXiv:1412.3555), with r = 1, as Ravanelli et al. 2017 (arXiv:1710.00641) suggest, who also put
    ReLU for tanh. The hidden state is its own cell.
    """

    N_GATES = 2

    def step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step. Gates: update, candidate."""
        update, candidate = gates.chunk(2, dim=1)
        update = update.sigmoid()
        cell = (1 - update) * cell + update * candidate.tanh()
        return cell, cell


class PeepholeLSTM(EquationCell):
    """An LSTM whose gates see the cell, each unit its own: diagonal peepholes p.

        i  = s(Wi x + Ui h + pi * c + bi)
        f  = s(Wf x + Uf h + pf * c + bf)
        g  = tanh(Wg x + Ug h + bg)
        c' = f * c + i * g
        o  = s(Wo x + Uo h + po * c' + bo)
        h' = o * tanh(c')

    Gers & Schmidhuber 2000, "Recurrent nets that time and count"; Gers, Schraudolph & Schmidhuber
    2002, "Learning precise timing with LSTM recurrent networks". The output gate sees the new cell.
    The peepholes start at zero, where this is the ordinary LSTM.
    """

    N_GATES = 4

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__(input_width, hidden_width)
        self.input_peephole = nn.Parameter(torch.zeros(hidden_width))
        self.forget_peephole = nn.Parameter(torch.zeros(hidden_width))
        self.output_peephole = nn.Parameter(torch.zeros(hidden_width))
        nn.init.ones_(gate(self.from_input.bias, 1, hidden_width))

    def step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step. Gates: input, forget, candidate, output."""
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, dim=1)
        update = (input_gate + self.input_peephole * cell).sigmoid()
        forget = (forget_gate + self.forget_peephole * cell).sigmoid()
        cell = forget * cell + update * candidate.tanh()
        output = (output_gate + self.output_peephole * cell).sigmoid()
        return output * cell.tanh(), cell


class CoupledLSTM(EquationCell):
    """An LSTM that forgets as much as it updates.

        i  = s(Wi x + Ui h + bi)
        g  = tanh(Wg x + Ug h + bg)
        o  = s(Wo x + Uo h + bo)
        c' = (1 - i) * c + i * g
        h' = o * tanh(c')

    The variant CIFG, coupled input and forget gate, of Greff et al. 2017 (arXiv:1503.04069),
    without its peepholes.
    """

    N_GATES = 3

    def __init__(self, input_width: int, hidden_width: int) -> None:
        super().__init__(input_width, hidden_width)
        # A forget gate of s(1) is an input gate of s(-1).
        nn.init.constant_(gate(self.from_input.bias, 0, hidden_width), -1.0)

    def step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step. Gates: input, candidate, output."""
        update, candidate, output = gates.chunk(3, dim=1)
        update = update.sigmoid()
        cell = (1 - update) * cell + update * candidate.tanh()
        return output.sigmoid() * cell.tanh(), cell


class NoForgetLSTM(EquationCell):
    """The first LSTM, which has no forget gate: its cell only ever adds.

        i  = s(Wi x + Ui h + bi)
        g  = tanh(Wg x + Ug h + bg)
        o  = s(Wo x + Uo h + bo)
        c' = c + i * g
        h' = o * tanh(c')

    Hochreiter & Schmidhuber 1997 (Neural Computation 9:1735-1780), with tanh for its two squashing
    functions and with gradients through every step, where the paper truncates them.
    """

    N_GATES = 3

    def step(self, gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """Take one step. Gates: input, candidate, output."""
        update, candidate, output = gates.chunk(3, dim=1)
        cell = cell + update.sigmoid() * candidate.tanh()
        return output.sigmoid() * cell.tanh(), cell


def gate(stacked: Tensor, index: int, hidden_width: int) -> Tensor:
    """Return a view of one gate's rows in a weight or bias that stacks the gates."""
    return stacked[index * hidden_width : (index + 1) * hidden_width]


@torch.no_grad()
def initialise_gates(input_weight: Tensor, hidden_weight: Tensor, bias: Tensor) -> None:
    """Initialise in place, gate by gate: Xavier for W, orthogonal for U, zero for b.

    A forget gate's bias is then set to 1, so that the cell remembers before it has learned what to
    forget (Jozefowicz et al. 2015, "An empirical exploration of recurrent network architectures").

    Shape: [n_gates * hidden_width, input_width], [n_gates * hidden_width, hidden_width],
    [n_gates * hidden_width].
    """
    hidden_width = hidden_weight.size(1)
    for index in range(hidden_weight.size(0) // hidden_width):
        nn.init.xavier_uniform_(gate(input_weight, index, hidden_width))
        nn.init.orthogonal_(gate(hidden_weight, index, hidden_width))
    nn.init.zeros_(bias)
