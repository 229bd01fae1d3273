"""Laws of the whole tagger, for every cell and every shape."""

from dataclasses import replace
from itertools import product
from typing import Literal, get_args

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model.config import CellName, NetworkConfig
from teddy.model.features.batching import Batch
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import from_archive, script, to_archive
from teddy.model.tagger import TaggingNetwork
from teddy.model.tags.tag_set import TagSet

CELLS: tuple[CellName, ...] = get_args(CellName)
DECODERS: tuple[Literal["crf", "softmax"], ...] = ("crf", "softmax")
TAGS = TagSet(("PER", "LOC"))
VOCABULARY = 20

SHAPES = [
    NetworkConfig(
        embedding_width=6,
        cell=cell,
        layers=layers,
        hidden_width=5,
        bidirectional=bidirectional,
        dense_widths=dense_widths,
        decoder=decoder,
    )
    for cell, layers, bidirectional, dense_widths, decoder in product(
        CELLS, (1, 2), (True, False), ((), (7, 4)), DECODERS
    )
]
"""Every cell in every shape."""
ENOUGH_SHAPES = [
    shape
    for shape in SHAPES
    if (shape.cell == "lstm" and shape.decoder == "crf")
    or (
        shape.layers == 2
        and shape.bidirectional
        and shape.dense_widths
        and (shape.cell == "lstm" or shape.decoder == "crf")
    )
]
"""Every cell, every decoder and every stack, but not all of them together: for what takes a
compilation."""
NORMALISED = [
    NetworkConfig(embedding_width=6, normalise=True, cell=cell, layers=1, hidden_width=5)
    for cell in ("lstm", "gru")
]

Sentences = list[list[int]]


def name(shape: NetworkConfig) -> str:
    direction = "both" if shape.bidirectional else "forward"
    normalised = "-normalised" if shape.normalise else ""
    dense = f"{len(shape.dense_widths)}dense"
    return f"{shape.cell}-{shape.layers}-{direction}-{dense}-{shape.decoder}{normalised}"


every_shape = pytest.mark.parametrize("shape", [*SHAPES, *NORMALISED], ids=name)
enough_shapes = pytest.mark.parametrize("shape", [*ENOUGH_SHAPES, *NORMALISED], ids=name)


def make_network(shape: NetworkConfig) -> Network:
    """A network that has opinions: parameters larger than those it starts with."""
    torch.manual_seed(5)
    network = Network(shape, VOCABULARY, TAGS)
    for parameter in network.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, std=0.6)
    return network.eval()


def make_batch(sentences: Sentences) -> Batch:
    """Sentences of word numbers; word n has the feature rows n and n // 2."""
    distinct = sorted({word for sentence in sentences for word in sentence})
    width = max(len(sentence) for sentence in sentences)
    padded = [
        [distinct.index(word) for word in sentence] + [0] * (width - len(sentence))
        for sentence in sentences
    ]
    return Batch(
        rows=torch.tensor([row for word in distinct for row in (word, word // 2)]),
        starts=torch.arange(0, 2 * len(distinct), 2),
        words=torch.tensor(padded),
        lengths=torch.tensor([len(sentence) for sentence in sentences]),
    )


def random_sentences(lengths: list[int]) -> Sentences:
    generator = torch.Generator().manual_seed(sum(lengths))
    return [
        torch.randint(VOCABULARY, (length,), generator=generator).tolist() for length in lengths
    ]


def run(network: TaggingNetwork, sentences: Sentences) -> tuple[Tensor, list[Tensor]]:
    """Tags and probabilities, [B, T], of the words only: zero at padding."""
    batch = make_batch(sentences)
    with torch.inference_mode():
        tags, *scores = network(
            network.word_vectors(batch.rows, batch.starts), batch.words, batch.lengths
        )
    return tags, [score.exp().masked_fill(~batch.inside, 0.0) for score in scores]


def assert_same(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]]) -> None:
    assert torch.equal(found[0], expected[0])
    for ours, theirs in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


@every_shape
def test_the_result_of_a_text_does_not_depend_on_its_batch_mates(shape: NetworkConfig) -> None:
    network, sentences = make_network(shape), random_sentences([3, 9, 1, 6])
    tags, scores = run(network, sentences)
    for row, sentence in enumerate(sentences):
        mine = slice(row, row + 1), slice(0, len(sentence))
        assert_same((tags[mine], [score[mine] for score in scores]), run(network, [sentence]))


@every_shape
def test_every_parameter_gets_a_gradient(shape: NetworkConfig) -> None:
    torch.manual_seed(2)
    network = Network(shape, VOCABULARY, TAGS)
    batch = make_batch([list(range(VOCABULARY)), [3, 1], [7]])
    annotation = nn.functional.one_hot(batch.words % 2, len(TAGS.tags)).bool()
    annotation[:, :, 0] = True
    emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
    loss = network.crf.loss(emissions, batch.lengths, annotation).sum()
    learnt = {
        name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad
    }
    for parameter, gradient in zip(
        learnt, torch.autograd.grad(loss, list(learnt.values())), strict=True
    ):
        assert gradient.isfinite().all(), parameter
        assert gradient.abs().sum() > 0, parameter


@enough_shapes
def test_the_scripted_network_equals_the_eager_one_at_any_size_and_so_does_a_saved_one(
    shape: NetworkConfig,
) -> None:
    network = make_network(shape)
    scripted = script(network)
    loaded = from_archive(to_archive(scripted, {}))
    for lengths in ([4, 2], [4, 2], [1], [9, 3, 1, 5, 9], [1, 1], [30]):
        sentences = random_sentences(lengths)
        expected = run(network, sentences)
        assert_same(run(scripted, sentences), expected)
        assert_same(run(loaded, sentences), expected)


@pytest.mark.parametrize("cell", CELLS)
def test_weights_that_are_saved_and_loaded_give_the_same_result(cell: CellName) -> None:
    shape, sentences = (
        NetworkConfig(cell=cell, embedding_width=6, hidden_width=5),
        random_sentences([3, 8, 1]),
    )
    network, other = make_network(shape), Network(shape, VOCABULARY, TAGS).eval()
    other.load_state_dict(network.state_dict())
    found, expected = run(other, sentences), run(network, sentences)
    assert torch.equal(found[0], expected[0])
    assert all(
        torch.equal(ours, theirs) for ours, theirs in zip(found[1], expected[1], strict=True)
    )


@given(scale=st.floats(0.1, 50), n_rows=st.integers(1, 12))
def test_a_normalised_word_is_its_sum_less_its_mean_over_its_spread(
    scale: float, n_rows: int
) -> None:
    """Ba et al.

    2016, equation 4; so words of few features and of many, of small weights and of large, weigh
    alike.
    """
    network = make_network(NORMALISED[0])
    assert isinstance(network.normalisation, nn.LayerNorm)
    with torch.inference_mode():
        network.embedding.mul_(scale)
        network.normalisation.weight.fill_(1.0)
        network.normalisation.bias.zero_()
        found = network.word_vectors(torch.arange(n_rows), torch.tensor([0]))[0].double()
    total = network.embedding[:n_rows].double().sum(dim=0)
    centred = total - total.sum() / len(total)
    expected = centred / ((centred**2).sum() / len(total) + 1e-5).sqrt()
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_without_normalisation_a_word_is_the_sum_of_its_rows() -> None:
    network = make_network(SHAPES[0])
    rows, starts = torch.tensor([3, 4, 5, 3, 19]), torch.tensor([0, 2, 3])
    expected = torch.stack([network.embedding[each].sum(dim=0) for each in ([3, 4], [5], [3, 19])])
    torch.testing.assert_close(network.word_vectors(rows, starts), expected)
    assert not any(name.startswith("normalisation") for name in network.state_dict())


# It learns: word 5 begins a person when word 6 follows at once, and is nothing when word 7 does.

LESSON: Sentences = [
    [1, 5, 6, 2],
    [1, 5, 7, 2],
    [5, 6],
    [5, 7],
    [2, 3, 5, 6, 1],
    [2, 3, 5, 7, 1],
    [3],
    [4, 1, 2],
]


def taught_tags(sentence: list[int]) -> list[int]:
    tags = [TAGS.index("O")] * len(sentence)
    for word, (this, following) in enumerate(zip(sentence, [*sentence[1:], 0], strict=True)):
        if (this, following) == (5, 6):
            tags[word : word + 2] = [TAGS.index("B-PER"), TAGS.index("E-PER")]
    return tags


def teach(shape: NetworkConfig) -> tuple[Network, float]:
    """The network after its lessons, and its last loss for each sentence."""
    torch.manual_seed(1)
    network = Network(replace(shape, embedding_dropout=0.0, layer_dropout=0.0), VOCABULARY, TAGS)
    batch = make_batch(LESSON)
    path = torch.zeros_like(batch.words)
    for row, sentence in enumerate(LESSON):
        path[row, : len(sentence)] = torch.tensor(taught_tags(sentence))
    annotation = nn.functional.one_hot(path, len(TAGS.tags)).bool()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(60):
        emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        loss = network.crf.loss(emissions, batch.lengths, annotation).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return network.eval(), float(loss.detach())


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("decoder", DECODERS)
def test_it_learns_what_only_the_next_word_tells(
    cell: CellName, decoder: Literal["crf", "softmax"]
) -> None:
    shape = NetworkConfig(embedding_width=8, cell=cell, layers=1, hidden_width=8, decoder=decoder)
    network, loss = teach(shape)
    assert loss < 0.1
    tags, _ = run(network, LESSON)
    assert [row[: len(words)] for row, words in zip(tags.tolist(), LESSON, strict=True)] == list(
        map(taught_tags, LESSON)
    )


def test_one_direction_without_transitions_cannot_learn_it() -> None:
    shape = NetworkConfig(
        embedding_width=8, layers=1, hidden_width=8, bidirectional=False, decoder="softmax"
    )
    _, loss = teach(shape)
    # word 5, in six of the eight sentences, is a coin toss: 6 / 8 * log 2 is 0.52
    assert loss > 0.4
