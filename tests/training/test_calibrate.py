"""Temperatures are found where they are known, and the calibration error is what a slow count says."""

import math
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.batching import make_batch
from model.config import FeatureConfig, NetworkConfig
from model.features import WordFeatures
from model.labels import TagSet
from model.network import Network
from model.pieces import Pieces
from training.align import Sentence
from training.calibrate import expected_calibration_error, fit_temperature, minimise
from training.checkpoint import load_checkpoint

TAG_SET = TagSet(("PER",))
N_WORDS = 3
VALLEYS = st.floats(-5, 5)


@given(VALLEYS, st.sampled_from([lambda x: x * x, abs, lambda x: math.cosh(x), lambda x: x**4]))
def test_the_lowest_point_of_a_valley_is_found(valley: float, shape: object) -> None:
    assert callable(shape)
    found = minimise(lambda x: float(shape(x - valley)), -5, 5, steps=30)
    # Near its lowest point a flat valley is level to the last digit, and any of that is right.
    assert shape(found - valley) <= shape(10 * 0.618**30) + 1e-12


@pytest.mark.parametrize(("slope", "end"), [(1.0, -2.0), (-1.0, 3.0)])
def test_a_slope_is_followed_to_its_end(slope: float, end: float) -> None:
    assert minimise(lambda x: slope * x, -2, 3) == pytest.approx(end, abs=5 * 0.618**20)


def test_the_promised_precision_is_kept_and_no_point_is_asked_for_outside() -> None:
    for steps in (5, 10, 20):
        asked: list[float] = []

        def parabola(x: float, asked: list[float] = asked) -> float:
            asked.append(x)
            return (x - 0.3) ** 2

        found = minimise(parabola, -1, 1, steps=steps)
        assert abs(found - 0.3) <= 2 * 0.6181**steps
        assert all(-1 <= x <= 1 for x in asked)
        assert len(asked) == steps + 2


# The temperature.


def make_sentence(words: tuple[str, ...], tags: tuple[int, ...]) -> Sentence:
    return Sentence(
        words=words,
        offsets=tuple((4 * i, 4 * i + 3) for i in range(len(words))),
        spans=tuple(TAG_SET.decode(tags)),
        unknown=(),
        misaligned=(),
        corpus="made-up",
        text=" ".join(words),
        path="made-up.conll",
        line=1,
    )


@pytest.fixture(scope="module")
def features(tiny_run: Path) -> WordFeatures:
    return WordFeatures(Pieces(load_checkpoint(tiny_run / "best.checkpoint").pieces), FeatureConfig(affix_rows=128))


def make_network(features: WordFeatures, scale: float) -> Network:
    """A network with random scores, of emissions and transitions alike, in proportion to `scale`."""
    torch.manual_seed(5)
    config = NetworkConfig(embedding_width=6, hidden_width=6, layers=1)
    network = Network(config, features.n_rows, TAG_SET).eval()
    with torch.no_grad():
        network.emission.weight.normal_(std=3.0)
        for parameter in network.crf.parameters():
            parameter.normal_()
        for parameter in (*network.emission.parameters(), *network.crf.parameters()):
            parameter.mul_(scale)
    return network


def legal_paths() -> list[tuple[int, ...]]:
    follows, first, last = TAG_SET.allowed_transitions(), TAG_SET.allowed_first(), TAG_SET.allowed_last()
    return [
        path
        for path in product(range(len(TAG_SET.tags)), repeat=N_WORDS)
        if first[path[0]] and last[path[-1]] and all(follows[a][b] for a, b in pairwise(path))
    ]


def draw_sentences(network: Network, features: WordFeatures, temperature: float) -> list[tuple[Sentence, set[str]]]:
    """Sentences whose tags are drawn from the network's own distribution at a temperature, by listing every path."""
    draw = np.random.default_rng(3)
    words = [tuple("".join(draw.choice(list("abcdeABC"), 3)) for _ in range(N_WORDS)) for _ in range(1500)]
    batch = make_batch(words, features)
    paths = torch.tensor(legal_paths())
    with torch.inference_mode():
        emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths).double()
        transition, first, last = network.crf.potentials()
        scores = first[paths[:, 0]] + last[paths[:, -1]] + sum(transition[a, b] for a, b in pairwise(paths.T))
        scores = scores + sum(emissions[:, t, paths[:, t]] for t in range(N_WORDS))  # [sentences, paths]
    chances = torch.softmax(scores / temperature, dim=1).numpy()
    chosen = [int(draw.choice(len(paths), p=row / row.sum())) for row in chances]
    return [
        (make_sentence(each, tuple(paths[path].tolist())), {"PER"}) for each, path in zip(words, chosen, strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(features: WordFeatures, temperature: float) -> None:
    network = make_network(features, 1.0)
    dev = draw_sentences(network, features, temperature)
    assert fit_temperature(network, features, TAG_SET, dev) == pytest.approx(temperature, rel=0.1)


def test_scores_twice_as_large_have_twice_the_temperature(features: WordFeatures) -> None:
    dev = draw_sentences(make_network(features, 1.0), features, 1.2)
    once, twice = (fit_temperature(make_network(features, scale), features, TAG_SET, dev) for scale in (1.0, 2.0))
    assert twice == pytest.approx(2 * once, rel=2e-3)


def test_fitting_leaves_the_network_as_it_was(features: WordFeatures) -> None:
    network = make_network(features, 1.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_temperature(network, features, TAG_SET, draw_sentences(network, features, 2.0)[:50])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_without_dev_data_nothing_is_changed(features: WordFeatures) -> None:
    assert fit_temperature(make_network(features, 1.0), features, TAG_SET, []) == 1.0


# The calibration error.

# Scores off the borders of bins, where rounding decides, and the two ends.
SCORES = st.one_of(st.integers(0, 99).map(lambda i: (i + 0.5) / 100), st.sampled_from([0.0, 1.0]))


@given(st.lists(st.tuples(SCORES, st.booleans()), max_size=60), st.sampled_from([1, 2, 5, 10]))
def test_the_calibration_error_is_what_a_slow_count_gives(pairs: list[tuple[float, bool]], n_bins: int) -> None:
    expected = 0.0
    for each in range(n_bins):
        low, high = each / n_bins, (each + 1) / n_bins
        members = [pair for pair in pairs if low <= pair[0] < high or (pair[0] == high == 1.0)]
        if members:
            mean_score = sum(score for score, _ in members) / len(members)
            share_right = sum(right for _, right in members) / len(members)
            expected += len(members) / len(pairs) * abs(mean_score - share_right)
    scores, correct = [score for score, _ in pairs], [right for _, right in pairs]
    assert expected_calibration_error(scores, correct, n_bins=n_bins) == pytest.approx(expected, abs=1e-12)


def test_scores_that_come_true_as_often_as_they_say_have_no_error() -> None:
    scores = [0.25] * 4 + [0.75] * 4
    correct = [True, False, False, False, True, True, True, False]
    assert expected_calibration_error(scores, correct) == 0.0


def test_scores_and_outcomes_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="zip"):
        expected_calibration_error([0.5], [])
