"""Each layer against its equation, written once more as a plain loop over steps and units."""

from math import exp, tanh
from typing import get_args

import pytest
import torch
from torch import Tensor, nn

from teddy.model.config import CellName
from teddy.model.network.cells import (
    EquationCell,
    Kernel,
    Recurrence,
    can_pack,
    kernel_has_bf16,
    make_recurrence,
    pack_lstm,
)
from teddy.model.network.torchscript import script

CELLS: tuple[CellName, ...] = get_args(CellName)
TEACHING_CELLS: tuple[CellName, ...] = (
    "gru-simple",
    "lstm-peephole",
    "lstm-coupled",
    "lstm-no-forget",
)
INPUT_WIDTH, HIDDEN_WIDTH = 3, 4

Vector = list[float]


def make_random(cell: CellName) -> Recurrence:
    """A layer in float64 all of whose parameters, those that start at zero too, are random."""
    torch.manual_seed(len(cell))
    layer = make_recurrence(cell, INPUT_WIDTH, HIDDEN_WIDTH).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.7)
    return layer


def random_rows(n_rows: int, n_steps: int) -> Tensor:
    generator = torch.Generator().manual_seed(100 * n_rows + n_steps)
    return torch.randn(n_rows, n_steps, INPUT_WIDTH, dtype=torch.float64, generator=generator)


# The oracle: one row, one step, one unit at a time.


def sigmoid(value: float) -> float:
    return 1.0 / (1.0 + exp(-value))


def affine(weight: Tensor, values: Vector, bias: Tensor | None = None) -> Vector:
    products = [
        sum(w * value for w, value in zip(row, values, strict=True)) for row in weight.tolist()
    ]
    return (
        products if bias is None else [p + b for p, b in zip(products, bias.tolist(), strict=True)]
    )


def gates(layer: Recurrence, x: Vector, h: Vector) -> list[Vector]:
    """W x + U h + b of each gate, in the order in which the layer stacks them."""
    assert isinstance(layer, EquationCell)
    from_input = affine(layer.from_input.weight, x, layer.from_input.bias)
    from_hidden = affine(layer.from_hidden.weight, h)
    summed = [a + b for a, b in zip(from_input, from_hidden, strict=True)]
    return [summed[start : start + HIDDEN_WIDTH] for start in range(0, len(summed), HIDDEN_WIDTH)]


def step_unit(
    cell: CellName, gate: Vector, h: float, c: float, peepholes: Vector
) -> tuple[float, float]:
    """The new h and c of one unit."""
    if cell == "gru-simple":
        z, g = sigmoid(gate[0]), tanh(gate[1])
        return (1 - z) * h + z * g, 0.0
    if cell == "lstm-peephole":
        p_i, p_f, p_o = peepholes
        i, f, g = sigmoid(gate[0] + p_i * c), sigmoid(gate[1] + p_f * c), tanh(gate[2])
        new_cell = f * c + i * g
        return sigmoid(gate[3] + p_o * new_cell) * tanh(new_cell), new_cell
    i, g, o = sigmoid(gate[0]), tanh(gate[1]), sigmoid(gate[2])
    new_cell = (1 - i) * c + i * g if cell == "lstm-coupled" else c + i * g
    return o * tanh(new_cell), new_cell


def read_row(cell: CellName, layer: Recurrence, row: list[Vector]) -> list[Vector]:
    peepholes = [
        parameter.tolist() for name, parameter in layer.named_parameters() if "peephole" in name
    ]
    hidden, cells = [0.0] * HIDDEN_WIDTH, [0.0] * HIDDEN_WIDTH
    outputs = []
    for x in row:
        by_gate = gates(layer, x, hidden)
        states = [
            step_unit(
                cell,
                [each[unit] for each in by_gate],
                hidden[unit],
                cells[unit],
                [p[unit] for p in peepholes],
            )
            for unit in range(HIDDEN_WIDTH)
        ]
        hidden, cells = [h for h, _ in states], [c for _, c in states]
        outputs.append(hidden)
    return outputs


def read_row_with_lstm(layer: nn.LSTM, row: list[Vector]) -> list[Vector]:
    """The LSTM of today, as torch documents it: gates i, f, g, o; two biases."""
    input_weight, hidden_weight, input_bias, hidden_bias = layer.all_weights[0]
    hidden, cells = [0.0] * HIDDEN_WIDTH, [0.0] * HIDDEN_WIDTH
    outputs = []
    for x in row:
        from_input, from_hidden = (
            affine(input_weight, x, input_bias),
            affine(hidden_weight, hidden, hidden_bias),
        )
        new_hidden, new_cells = [], []
        for unit in range(HIDDEN_WIDTH):
            i, f, g, o = (
                from_input[k] + from_hidden[k] for k in range(unit, 4 * HIDDEN_WIDTH, HIDDEN_WIDTH)
            )
            new_cells.append(sigmoid(f) * cells[unit] + sigmoid(i) * tanh(g))
            new_hidden.append(sigmoid(o) * tanh(new_cells[unit]))
        hidden, cells = new_hidden, new_cells
        outputs.append(hidden)
    return outputs


def read(layer: nn.Module, rows: Tensor) -> Tensor:
    """[batch, time, input] -> [batch, time, hidden], where the layer has time first."""
    output: Tensor = layer(rows.transpose(0, 1)).transpose(0, 1)
    return output


@pytest.mark.parametrize("cell", TEACHING_CELLS)
@pytest.mark.parametrize(("n_rows", "n_steps"), [(1, 1), (2, 6)])
def test_a_cell_equals_its_equation(cell: CellName, n_rows: int, n_steps: int) -> None:
    layer, rows = make_random(cell), random_rows(n_rows, n_steps)
    expected = torch.tensor(
        [read_row(cell, layer, row) for row in rows.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(read(layer, rows), expected, rtol=0, atol=1e-12)


def test_the_kernel_of_the_lstm_equals_its_equation() -> None:
    layer, rows = make_random("lstm"), random_rows(2, 6)
    assert isinstance(layer, Kernel)
    assert isinstance(layer.layer, nn.LSTM)
    expected = torch.tensor(
        [read_row_with_lstm(layer.layer, row) for row in rows.tolist()], dtype=torch.float64
    )
    torch.testing.assert_close(read(layer, rows), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("n_rows", "n_steps"), [(1, 1), (1, 9), (5, 3)])
def test_weights_laid_out_beforehand_change_nothing(
    dtype: torch.dtype, n_rows: int, n_steps: int
) -> None:
    if not can_pack():
        pytest.skip("this torch has no kernel that lays weights out")
    layer, rows = make_random("lstm").to(dtype), random_rows(n_rows, n_steps).to(dtype)
    assert isinstance(layer, Kernel)
    with torch.inference_mode():
        scripted = script(layer)
        expected = read(layer, rows)
        layer.packed = pack_lstm(layer.layer)
        scripted.packed = pack_lstm(scripted.layer)
        assert torch.equal(read(layer, rows), expected)
        assert torch.equal(read(scripted, rows), expected)


def test_a_peephole_lstm_without_peepholes_is_the_kernel_of_the_lstm() -> None:
    ours = make_recurrence("lstm-peephole", INPUT_WIDTH, HIDDEN_WIDTH)
    theirs = make_recurrence("lstm", INPUT_WIDTH, HIDDEN_WIDTH)
    assert isinstance(ours, EquationCell)
    assert isinstance(theirs, Kernel)
    input_weight, hidden_weight, bias, _ = theirs.layer.all_weights[0]
    with torch.no_grad():
        ours.from_input.weight.copy_(input_weight)
        ours.from_hidden.weight.copy_(hidden_weight)
        ours.from_input.bias.copy_(bias)
    rows = random_rows(2, 5).float()
    torch.testing.assert_close(read(ours, rows), read(theirs, rows))


@pytest.mark.parametrize("cell", TEACHING_CELLS)
def test_the_gradient_of_a_cell_is_that_of_its_finite_differences(cell: CellName) -> None:
    layer = make_random(cell)
    names = [name for name, _ in layer.named_parameters()]

    def run(rows: Tensor, *values: Tensor) -> Tensor:
        output: Tensor = torch.func.functional_call(
            layer, dict(zip(names, values, strict=True)), (rows.transpose(0, 1),)
        )
        return output

    assert torch.autograd.gradcheck(
        run, (random_rows(2, 3).requires_grad_(), *layer.parameters()), fast_mode=True
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_scripted_cell_equals_the_eager_one_at_any_size(cell: CellName) -> None:
    layer = make_random(cell)
    scripted = script(layer)
    for n_rows, n_steps in [(2, 3), (1, 1), (5, 11), (3, 1), (1, 40)]:
        rows = random_rows(n_rows, n_steps)
        torch.testing.assert_close(read(scripted, rows), read(layer, rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_reads_and_learns_in_mixed_precision(cell: CellName) -> None:
    if cell == "lstm" and not kernel_has_bf16():
        pytest.skip("this processor runs no LSTM in bf16")
    layer, rows = make_random(cell).float(), random_rows(2, 5).float()
    expected = read(layer, rows)
    for module in (layer, script(layer)):
        with torch.autocast("cpu", torch.bfloat16):
            output = read(module, rows).float()
        torch.testing.assert_close(output, expected, rtol=0, atol=0.05)
        assert all(
            gradient.isfinite().all()
            for gradient in torch.autograd.grad(output.sum(), list(module.parameters()))
        )


@pytest.mark.parametrize("cell", CELLS)
def test_what_follows_in_a_row_does_not_reach_the_steps_before(cell: CellName) -> None:
    layer, rows = make_random(cell), random_rows(3, 9)
    changed = torch.cat((rows[:, :5], 100 * torch.ones_like(rows[:, 5:])), dim=1)
    torch.testing.assert_close(
        read(layer, changed)[:, :5], read(layer, rows)[:, :5], rtol=0, atol=1e-12
    )
    torch.testing.assert_close(
        read(layer, rows[:, :5]), read(layer, rows)[:, :5], rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_does_not_depend_on_its_batch_mates(cell: CellName) -> None:
    layer, rows = make_random(cell), random_rows(4, 6)
    alone = torch.cat([read(layer, row.unsqueeze(0)) for row in rows])
    torch.testing.assert_close(read(layer, rows), alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_every_parameter_of_a_new_cell_gets_a_gradient(cell: CellName) -> None:
    torch.manual_seed(0)
    layer = make_recurrence(cell, INPUT_WIDTH, HIDDEN_WIDTH)
    read(layer, random_rows(2, 4).float()).pow(2).sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.count_nonzero() == parameter.numel(), name


@pytest.mark.parametrize("cell", CELLS)
def test_a_cell_says_how_wide_its_output_is(cell: CellName) -> None:
    layer = make_recurrence(cell, INPUT_WIDTH, 7)
    assert read(layer, torch.zeros(2, 5, INPUT_WIDTH)).shape == (2, 5, layer.hidden_width)
    assert layer.hidden_width == 7


@pytest.mark.parametrize("cell", CELLS)
def test_each_gate_starts_with_an_orthogonal_matrix_for_the_hidden_state(cell: CellName) -> None:
    layer = make_recurrence(cell, INPUT_WIDTH, HIDDEN_WIDTH)
    matrix = (
        layer.layer.all_weights[0][1]
        if isinstance(layer, Kernel)
        else layer.get_parameter("from_hidden.weight")
    )
    for block in torch.split(matrix, HIDDEN_WIDTH):
        torch.testing.assert_close(block @ block.t(), torch.eye(HIDDEN_WIDTH))


def test_a_new_lstm_remembers() -> None:
    kernel = make_recurrence("lstm", INPUT_WIDTH, 2)
    peephole = make_recurrence("lstm-peephole", INPUT_WIDTH, 2)
    coupled = make_recurrence("lstm-coupled", INPUT_WIDTH, 2)
    assert isinstance(kernel, Kernel)
    _, _, bias, second_bias = kernel.layer.all_weights[0]
    assert (bias + second_bias).tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert peephole.get_parameter("from_input.bias").tolist() == [0, 0, 1, 1, 0, 0, 0, 0]
    assert coupled.get_parameter("from_input.bias").tolist() == [-1, -1, 0, 0, 0, 0]
