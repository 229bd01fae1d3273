"""The ONNX network against the torch network whose weights it has."""

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model.config import CellName, NetworkConfig
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet

if TYPE_CHECKING:
    from teddy.model.network.onnx_network import OnnxNetwork

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

CELLS: tuple[CellName, ...] = (
    "lstm",
    "gru",
    "rnn",
    "gru-simple",
    "lstm-peephole",
    "lstm-coupled",
    "lstm-no-forget",
)
N_ROWS = 40
TAGS = TagSet(("A", "B"))


def make_network(config: NetworkConfig, seed: int) -> Network:
    """A network far from its beginning, at a temperature that is not one."""
    torch.manual_seed(seed)
    network = Network(config, N_ROWS, TAGS).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
        network.crf.temperature.fill_(1.3)
    return network


def onnx_bytes(network: Network, config: NetworkConfig) -> bytes:
    from teddy.training.export.onnx_tagger import build_model

    weights = {name: each.numpy() for name, each in network.state_dict().items()}
    content: bytes = build_model(config, weights).SerializeToString()
    return content


def onnx_twin(network: Network, config: NetworkConfig, precision: str = "fp32") -> "OnnxNetwork":
    from teddy.model.network.onnx_network import OnnxNetwork

    return OnnxNetwork(onnx_bytes(network, config), precision, len(TAGS.tags))


def make_inputs(
    lengths: list[int], seed: int, most_rows: int = 6
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, starts, words and lengths of a batch of these lengths; some words come twice."""
    draw = np.random.default_rng(seed)
    counts = draw.integers(1, most_rows + 1, size=1 + sum(lengths) // 2)
    words = draw.integers(0, len(counts), size=(len(lengths), max(lengths)))
    rows = draw.integers(0, N_ROWS, size=counts.sum())
    starts = np.concatenate(([0], counts.cumsum()[:-1]))
    return (
        torch.from_numpy(rows),
        torch.from_numpy(starts),
        torch.from_numpy(words),
        torch.tensor(lengths),
    )


def assert_same(
    found: tuple[Tensor, ...],
    expected: tuple[Tensor, ...],
    lengths: Tensor,
    tolerance: float = 1e-5,
) -> None:
    """Equal tags everywhere; equal numbers at words: they mean nothing at padding."""
    inside = torch.arange(expected[0].shape[1]) < lengths.unsqueeze(1)
    assert torch.equal(found[0], expected[0])
    for one, other in zip(found[1:], expected[1:], strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(
            one[inside], other[inside], rtol=tolerance, atol=tolerance, equal_nan=True
        )


configs = st.builds(
    NetworkConfig,
    embedding_width=st.integers(1, 9),
    normalise=st.booleans(),
    cell=st.sampled_from(CELLS),
    layers=st.integers(1, 3),
    hidden_width=st.integers(1, 9),
    bidirectional=st.booleans(),
    combine=st.sampled_from(["concat", "sum"]),
    dense_widths=st.lists(st.integers(1, 8), max_size=2).map(tuple),
    decoder=st.sampled_from(["crf", "softmax"]),
)
some_lengths = st.lists(st.integers(1, 12), min_size=1, max_size=5)
seeds = st.integers(0, 10_000)


@given(configs, some_lengths, seeds)
@settings(max_examples=60)
def test_it_gives_what_the_torch_network_gives(
    config: NetworkConfig, lengths: list[int], seed: int
) -> None:
    network = make_network(config, seed)
    twin = onnx_twin(network, config)
    rows, starts, words, length = make_inputs(lengths, seed)
    with torch.inference_mode():
        vectors = network.word_vectors(rows, starts)
        torch.testing.assert_close(twin.word_vectors(rows, starts), vectors, rtol=1e-5, atol=1e-5)
        assert_same(twin(vectors, words, length), network(vectors, words, length), length)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("lengths", [[1], [1, 1, 1], [150, 2]], ids=str)
def test_every_cell_reads_the_shortest_and_the_long(cell: CellName, lengths: list[int]) -> None:
    config = NetworkConfig(embedding_width=8, cell=cell, hidden_width=7)
    network = make_network(config, 1)
    rows, starts, words, length = make_inputs(lengths, 2)
    with torch.inference_mode():
        vectors = network.word_vectors(rows, starts)
        assert_same(
            onnx_twin(network, config)(vectors, words, length),
            network(vectors, words, length),
            length,
        )


@given(some_lengths, seeds)
@settings(max_examples=20)
def test_a_row_of_a_batch_gives_what_it_gives_alone(lengths: list[int], seed: int) -> None:
    config = NetworkConfig(embedding_width=8, hidden_width=7)
    twin = onnx_twin(make_network(config, 3), config)
    rows, starts, words, length = make_inputs(lengths, seed)
    vectors = twin.word_vectors(rows, starts)
    together = twin(vectors, words, length)
    for row, own in enumerate(lengths):
        alone = twin(vectors, words[row : row + 1, :own], length[row : row + 1])
        assert_same(
            tuple(each[row : row + 1, :own] for each in together), alone, length[row : row + 1]
        )


def test_where_all_paths_score_alike_it_takes_the_one_that_torch_takes() -> None:
    config = NetworkConfig(embedding_width=4, hidden_width=3)
    network = Network(config, N_ROWS, TAGS).eval()
    nn.init.zeros_(network.emission.weight)
    nn.init.zeros_(network.emission.bias)
    rows, starts, words, length = make_inputs([7, 1, 4], 5)
    with torch.inference_mode():
        vectors = network.word_vectors(rows, starts)
        assert_same(
            onnx_twin(network, config)(vectors, words, length),
            network(vectors, words, length),
            length,
        )


def test_weights_of_16_bits_are_stored_as_such_and_mean_what_they_are() -> None:
    config = NetworkConfig(embedding_width=8, hidden_width=7, normalise=True, dense_widths=(5,))
    halved = make_network(config, 6).half()
    content = onnx_bytes(halved, config)
    network = halved.float()
    assert len(content) < len(onnx_bytes(network, config))
    from teddy.model.network.onnx_network import OnnxNetwork

    twin = OnnxNetwork(content, "fp32", len(TAGS.tags))
    rows, starts, words, length = make_inputs([5, 9], 7)
    with torch.inference_mode():
        vectors = network.word_vectors(rows, starts)
        torch.testing.assert_close(twin.word_vectors(rows, starts), vectors, rtol=1e-5, atol=1e-5)
        assert_same(twin(vectors, words, length), network(vectors, words, length), length)


@pytest.mark.parametrize("threads", [1, 4])
def test_the_file_alone_gives_tags_and_emissions_from_feature_rows(threads: int) -> None:
    import onnxruntime

    config = NetworkConfig(embedding_width=64, hidden_width=7)
    network = make_network(config, 8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        onnx_bytes(network, config), options, providers=["CPUExecutionProvider"]
    )
    for seed in range(10):
        # Words of up to 300 rows: where threads add to one sum at the same time, some are lost.
        inputs = make_inputs([5, 1, 9], seed, most_rows=300)
        named = dict(
            zip(
                ("rows", "starts", "words", "lengths"),
                (each.numpy() for each in inputs),
                strict=True,
            )
        )
        *found, scores = (torch.from_numpy(each) for each in session.run(None, named))
        with torch.inference_mode():
            vectors = network.word_vectors(*inputs[:2])
            assert_same(tuple(found), network(vectors, *inputs[2:]), inputs[3], tolerance=1e-4)
            inside = torch.arange(9) < inputs[3].unsqueeze(1)
            torch.testing.assert_close(
                scores[inside], network.emissions(*inputs)[inside], rtol=1e-4, atol=1e-4
            )


def test_no_words_at_all_have_no_vectors() -> None:
    config = NetworkConfig(embedding_width=8, hidden_width=7)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert onnx_twin(make_network(config, 9), config).word_vectors(nothing, nothing).shape == (0, 8)


@pytest.mark.parametrize("cell", ["lstm", "lstm-peephole", "lstm-no-forget"])
def test_in_8_bits_the_emissions_are_almost_the_same(cell: CellName) -> None:
    import onnx
    import onnxruntime

    from teddy.model.network.onnx_network import quantise

    config = NetworkConfig(embedding_width=16, hidden_width=24, cell=cell)
    torch.manual_seed(12)
    network = Network(config, N_ROWS, TAGS).eval()
    options = onnxruntime.SessionOptions()
    # quantised weights leave the old ones unused, which the runtime removes
    options.log_severity_level = 3
    content = quantise(onnx.load_model_from_string(onnx_bytes(network, config))).SerializeToString()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = make_inputs([12, 7, 1], 10)
    named = dict(
        zip(("rows", "starts", "words", "lengths"), (each.numpy() for each in inputs), strict=True)
    )
    found = torch.from_numpy(session.run(["emissions"], named)[0])
    with torch.inference_mode():
        expected = network.emissions(*inputs)
    inside = torch.arange(12) < inputs[3].unsqueeze(1)
    difference = (found - expected)[inside].abs().max()
    print(cell, difference, expected[inside].std())
    assert 0 < difference < 0.1 * expected[inside].std()


def test_a_network_without_lstm_layers_has_no_8_bits() -> None:
    config = NetworkConfig(embedding_width=8, hidden_width=7, cell="gru")
    with pytest.raises(ValueError, match="int8 is for LSTM layers"):
        onnx_twin(make_network(config, 13), config, "int8")


def test_a_graph_of_other_tags_or_of_another_maker_is_refused() -> None:
    from onnx import helper

    from teddy.model.network.onnx_network import OnnxNetwork

    config = NetworkConfig(embedding_width=8, hidden_width=7)
    with pytest.raises(ValueError, match="the network has 9 tags, the manifest's labels make 5"):
        OnnxNetwork(onnx_bytes(make_network(config, 11), config), "fp32", 5)
    foreign = helper.make_model(helper.make_graph([], "empty", [], []))
    with pytest.raises(ValueError, match="the graph has no embedding"):
        OnnxNetwork(foreign.SerializeToString(), "fp32", 5)
