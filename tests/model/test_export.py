"""The archive: the network that is saved is the network that trained, and comes back as such."""

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import Bundle, read_bundle
from teddy.model.network.precision import load_network
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import from_archive, script, to_archive
from teddy.model.tagger import TaggingNetwork
from teddy.model.tags.tag_set import TagSet

WORDS = [
    "Anna",
    "Berg",
    "went",
    "to",
    "Oslo",
    ",",
    "and",
    "Mira",
    "met",
    "Otto",
    "Lind",
    "in",
    "New",
    "Haven",
    ".",
]
UNSEEN = [[1], [15], [3, 1, 2], [1, 1, 1, 1], [40, 2], [9, 9], [120]]
"""Lengths of the sentences of batches."""


@pytest.fixture(scope="module")
def bundle(tiny_model: Path) -> Bundle:
    return read_bundle(tiny_model)


@pytest.fixture(scope="module")
def features(bundle: Bundle) -> WordFeatures:
    return WordFeatures(Pieces(bundle.pieces), bundle.manifest.features, bundle.words)


@pytest.fixture(scope="module")
def eager(bundle: Bundle, features: WordFeatures) -> Network:
    """The tiny model's network with its very weights, never scripted."""
    network = Network(bundle.manifest.network, features.n_rows, TagSet(bundle.manifest.labels))
    network.load_state_dict(from_archive(bundle.archive).float().state_dict())
    return network.eval()


def run(network: TaggingNetwork, features: WordFeatures, lengths: list[int]) -> list[Tensor]:
    """Tags, marginals and the two halves of span scores, at words only."""
    sentences = [
        [WORDS[(row + i) % len(WORDS)] for i in range(length)] for row, length in enumerate(lengths)
    ]
    batch = make_batch(sentences, features)
    with torch.inference_mode():
        return [
            each[batch.inside]
            for each in network(
                network.word_vectors(batch.rows, batch.starts), batch.words, batch.lengths
            )
        ]


@pytest.mark.parametrize("lengths", UNSEEN, ids=str)
def test_the_loaded_network_equals_the_eager_one_at_sizes_it_never_saw(
    bundle: Bundle, features: WordFeatures, eager: Network, lengths: list[int]
) -> None:
    loaded = load_network(bundle, "fp32")
    for _ in range(3):  # the first runs of a scripted module are profiled, the later ones optimised
        tags, *scores = run(loaded, features, lengths)
        expected_tags, *expected_scores = run(eager, features, lengths)
        assert torch.equal(tags, expected_tags)
        torch.testing.assert_close(scores, expected_scores, rtol=1e-5, atol=1e-5)


def test_an_archive_of_an_archive_gives_the_same_results_to_the_last_bit(
    bundle: Bundle, features: WordFeatures
) -> None:
    once = from_archive(bundle.archive).float()
    twice = from_archive(to_archive(once, {}))
    for lengths in UNSEEN:
        for found, expected in zip(
            run(twice, features, lengths), run(once, features, lengths), strict=True
        ):
            assert torch.equal(found, expected)


def test_weights_stored_in_half_come_back_as_those_weights_rounded(
    bundle: Bundle, eager: Network
) -> None:
    torch.manual_seed(7)
    network = Network(
        bundle.manifest.network, len(eager.embedding), TagSet(bundle.manifest.labels)
    ).eval()
    exact = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    halved = to_archive(script(network).half(), {})
    assert len(halved) < len(to_archive(script(network.float()), {}))
    stored = from_archive(halved).state_dict()
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16, torch.bool}
    loaded = load_network(replace(bundle, digest="", archive=halved), "fp32")
    assert isinstance(loaded, nn.Module)
    for name, tensor in loaded.state_dict().items():
        expected = exact[name].half().float() if exact[name].is_floating_point() else exact[name]
        assert tensor.dtype == expected.dtype, name
        assert torch.equal(tensor, expected), name


def test_a_loaded_network_has_no_dropout_and_asks_for_no_gradients(
    bundle: Bundle, features: WordFeatures
) -> None:
    network = load_network(bundle, "fp32")
    assert isinstance(network, nn.Module)
    assert not any(module.training for module in network.modules())
    first, second = run(network, features, [9, 4]), run(network, features, [9, 4])
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_extra_files_lie_under_extra_byte_for_byte() -> None:
    extra_files = {
        "letter.txt": "Dear Mira 😀".encode(),
        "all-bytes": bytes(range(256)),
        "empty": b"",
    }
    archive = to_archive(script(nn.Linear(1, 1)), extra_files)
    with zipfile.ZipFile(io.BytesIO(archive)) as opened:
        found = {
            name.rpartition("/extra/")[2]: opened.read(name)
            for name in opened.namelist()
            if "/extra/" in name
        }
    assert found == extra_files


def test_several_threads_may_script_save_and_load_at_once() -> None:
    linear = nn.Linear(3, 2)

    def round_trip(_: int) -> Tensor:
        loaded: Tensor = from_archive(to_archive(script(linear), {})).weight
        return loaded

    with ThreadPoolExecutor(4) as threads:
        assert all(
            torch.equal(weight, linear.weight) for weight in threads.map(round_trip, range(12))
        )
