"""The stack against torch's own bidirectional layers on packed rows, and its dropout."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from teddy.model.config import CellName, NetworkConfig
from teddy.model.network.cells import Kernel
from teddy.model.network.encoder import Encoder, LockedDropout, RecurrentLayer, words_read
from teddy.model.network.torchscript import script

KERNELS: dict[CellName, Callable[..., nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}
INPUT_WIDTH, HIDDEN_WIDTH = 3, 4
LENGTHS = torch.tensor([2, 7, 1, 5])


def packed_twin(
    encoder: Encoder, kind: Callable[..., nn.RNNBase], *, bidirectional: bool
) -> nn.RNNBase:
    """Torch's own stack, with the encoder's weights."""
    twin = kind(
        INPUT_WIDTH,
        HIDDEN_WIDTH,
        num_layers=len(encoder.recurrent),
        bidirectional=bidirectional,
        batch_first=True,
        dtype=torch.float64,
    )
    directions: list[nn.Module] = []
    for layer in encoder.recurrent:
        assert isinstance(layer, RecurrentLayer)
        directions += [layer.forwards, layer.backwards] if bidirectional else [layer.forwards]
    with torch.no_grad():
        for theirs, ours in zip(twin.all_weights, directions, strict=True):
            assert isinstance(ours, Kernel)
            for to_weight, from_weight in zip(theirs, ours.layer.all_weights[0], strict=True):
                to_weight.copy_(from_weight)
    return twin


@pytest.mark.parametrize("cell", KERNELS)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_stack_equals_the_packed_one_of_torch(
    cell: CellName, layers: int, bidirectional: bool
) -> None:
    torch.manual_seed(layers)
    config = NetworkConfig(
        embedding_width=INPUT_WIDTH,
        cell=cell,
        layers=layers,
        hidden_width=HIDDEN_WIDTH,
        bidirectional=bidirectional,
    )
    encoder = Encoder(config).double().eval()
    values = torch.randn(len(LENGTHS), int(LENGTHS.max()), INPUT_WIDTH, dtype=torch.float64)
    found: Tensor = encoder(values, LENGTHS)
    packed = pack_padded_sequence(values, LENGTHS, batch_first=True, enforce_sorted=False)
    twin = packed_twin(encoder, KERNELS[cell], bidirectional=bidirectional)
    expected, _ = pad_packed_sequence(twin(packed)[0], batch_first=True)
    inside = torch.arange(values.shape[1]) < LENGTHS.unsqueeze(1)
    torch.testing.assert_close(found[inside], expected[inside], rtol=0, atol=1e-12)
    assert found.shape[2] == encoder.output_width


def test_directions_that_are_summed_are_those_that_stand_side_by_side() -> None:
    torch.manual_seed(3)
    config = NetworkConfig(embedding_width=INPUT_WIDTH, layers=1, hidden_width=HIDDEN_WIDTH)
    beside = Encoder(config).double().eval()
    summed = Encoder(replace(config, combine="sum")).double().eval()
    summed.load_state_dict(beside.state_dict())
    values = torch.randn(len(LENGTHS), int(LENGTHS.max()), INPUT_WIDTH, dtype=torch.float64)
    onwards, backwards = beside(values, LENGTHS).chunk(2, dim=2)
    torch.testing.assert_close(summed(values, LENGTHS), onwards + backwards, rtol=0, atol=1e-12)
    assert summed.output_width == HIDDEN_WIDTH == beside.output_width / 2


def test_dropout_leaves_out_the_same_units_at_all_words_of_a_sentence() -> None:
    torch.manual_seed(0)
    dropped = LockedDropout(0.25)(torch.ones(50, 6, 40))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert set(dropped.unique().tolist()) == {0.0, float(torch.tensor(1.0) / 0.75)}
    assert not torch.equal(dropped[0], dropped[1])
    assert 0.7 < dropped.count_nonzero() / dropped.numel() < 0.8


@pytest.mark.parametrize("dropout", [LockedDropout(0.0), LockedDropout(0.5).eval()])
def test_dropout_of_nothing_and_dropout_outside_training_change_nothing(
    dropout: LockedDropout,
) -> None:
    values = torch.randn(2, 3, 4)
    assert torch.equal(dropout(values), values)


@pytest.mark.parametrize("scripted", [False, True])
@pytest.mark.parametrize(("n_rows", "in_order"), [(17, True), (40, True), (40, False), (64, True)])
def test_a_ragged_batch_read_in_blocks_is_what_it_is_read_at_once(
    n_rows: int, in_order: bool, scripted: bool
) -> None:
    torch.manual_seed(n_rows)
    config = NetworkConfig(
        embedding_width=INPUT_WIDTH, layers=2, hidden_width=HIDDEN_WIDTH, dense_widths=(3,)
    )
    encoder = Encoder(config).double().eval()
    lengths = torch.randint(1, 30, (n_rows,))
    lengths[0] = 30
    if in_order:
        lengths = lengths.sort(descending=True).values
    values = torch.randn(n_rows, 30, INPUT_WIDTH, dtype=torch.float64, requires_grad=True)
    in_blocks = (script(encoder) if scripted else encoder)(values, lengths)
    encoder.most_words = 0.0
    at_once = encoder(values, lengths)
    inside = torch.arange(30) < lengths.unsqueeze(1)
    torch.testing.assert_close(in_blocks[inside], at_once[inside], rtol=0, atol=1e-12)
    gradients = [
        torch.autograd.grad(read[inside].square().sum(), values)[0] for read in (in_blocks, at_once)
    ]
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-12)


@settings(deadline=None)
@given(st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=60))
def test_the_words_read_are_those_that_the_kernels_are_given(lengths: list[int]) -> None:
    ordered = torch.tensor(sorted(lengths, reverse=True))
    width = int(ordered.max())
    encoder = Encoder(NetworkConfig(embedding_width=2, hidden_width=2, layers=1)).eval()
    given: list[int] = []
    (layer,) = encoder.recurrent
    layer.register_forward_pre_hook(
        lambda _, inputs: given.append(inputs[0].shape[0] * inputs[0].shape[1])
    )
    with torch.no_grad():
        encoder(torch.zeros(len(lengths), width, 2), ordered)
    assert words_read(ordered.numpy(), width) == sum(given)
