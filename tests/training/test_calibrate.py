"""Temperatures are found where they are known, and where a slow search finds them."""

import math
from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.network.tagger_network import Network
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from teddy.model.text.words import Tokeniser
from teddy.training.data.align import Sentence
from teddy.training.evaluation.calibrate import fit_temperature, minimise, smoothed_log_loss
from teddy.training.learning.checkpoint import load_checkpoint

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
        tokeniser=Tokeniser(),
    )


@pytest.fixture(scope="module")
def features(tiny_run: Path) -> WordFeatures:
    return WordFeatures(
        Pieces(load_checkpoint(tiny_run / "best.checkpoint").pieces), FeatureConfig(affix_rows=128)
    )


def make_network(features: WordFeatures, scale: float) -> Network:
    """A network with random scores of emissions and transitions, in proportion to `scale`."""
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
    follows, first, last = (
        TAG_SET.allowed_transitions(),
        TAG_SET.allowed_first(),
        TAG_SET.allowed_last(),
    )
    return [
        path
        for path in product(range(len(TAG_SET.tags)), repeat=N_WORDS)
        if first[path[0]] and last[path[-1]] and all(follows[a][b] for a, b in pairwise(path))
    ]


def draw_sentences(
    network: Network, features: WordFeatures, temperature: float
) -> list[tuple[Sentence, set[str]]]:
    """Sentences with tags drawn from the network's distribution of paths at a temperature."""
    draw = np.random.default_rng(3)
    words = [
        tuple("".join(draw.choice(list("abcdeABC"), 3)) for _ in range(N_WORDS))
        for _ in range(1500)
    ]
    batch = make_batch(words, features)
    paths = torch.tensor(legal_paths())
    with torch.inference_mode():
        emissions = network.emissions(batch.rows, batch.starts, batch.words, batch.lengths).double()
        transition, first, last = network.crf.potentials()
        scores = (
            first[paths[:, 0]]
            + last[paths[:, -1]]
            + sum(transition[a, b] for a, b in pairwise(paths.T))
        )
        # [sentences, paths]
        scores = scores + sum(emissions[:, t, paths[:, t]] for t in range(N_WORDS))
    chances = torch.softmax(scores / temperature, dim=1).numpy()
    chosen = [int(draw.choice(len(paths), p=row / row.sum())) for row in chances]
    return [
        (make_sentence(each, tuple(paths[path].tolist())), {"PER"})
        for each, path in zip(words, chosen, strict=True)
    ]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_recovered(features: WordFeatures, temperature: float) -> None:
    network = make_network(features, 1.0)
    dev = draw_sentences(network, features, temperature)
    assert fit_temperature(network, features, TAG_SET, dev) == pytest.approx(temperature, rel=0.1)


def slow_log_scores(
    network: Network, features: WordFeatures, sentence: Sentence, temperature: float
) -> list[tuple[Span, float]]:
    """The spans of the best path and their log-probabilities, summed over all paths with them."""
    batch = make_batch([sentence.words], features)
    with torch.inference_mode():
        emissions = (
            network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)[0]
            .double()
            .numpy()
        )
        transition, first, last = (each.double().numpy() for each in network.crf.potentials())
    paths = legal_paths()
    scores = [
        first[path[0]]
        + last[path[-1]]
        + sum(transition[a, b] for a, b in pairwise(path))
        + sum(emissions[t, path[t]] for t in range(N_WORDS))
        for path in paths
    ]
    best = TAG_SET.decode(paths[int(np.argmax(scores))])
    chances = np.exp((np.array(scores) - max(scores)) / temperature)
    return [
        (
            span,
            float(
                np.log(
                    sum(
                        chance
                        for path, chance in zip(paths, chances, strict=True)
                        if span in TAG_SET.decode(path)
                    )
                    / chances.sum()
                )
            ),
        )
        for span in best
    ]


@pytest.mark.parametrize(("seed", "truth"), [(0, 0.7), (1, 3.0)])
def test_no_temperature_of_a_slow_search_has_a_lower_log_loss_of_the_entities_found(
    features: WordFeatures, seed: int, truth: float
) -> None:
    network = make_network(features, 1.0)
    dev = draw_sentences(network, features, truth)[40 * seed : 40 * seed + 40]

    def slow_loss(temperature: float) -> float:
        found = [
            (score, span in sentence.spans)
            for sentence, _ in dev
            for span, score in slow_log_scores(network, features, sentence, temperature)
        ]
        n_right = sum(right for _, right in found)
        total = 0.0
        for score, right in found:
            # Platt's targets: what a count with one more of each would say.
            target = (n_right + 1) / (n_right + 2) if right else 1 / (len(found) - n_right + 2)
            total -= target * score + (1 - target) * math.log(1 - math.exp(score))
        return total

    fitted = fit_temperature(network, features, TAG_SET, dev)
    slow = [0.26 * 1.12**step for step in range(30)]
    assert slow_loss(fitted) <= min(map(slow_loss, slow)) + 1e-6


@given(st.lists(st.tuples(st.floats(1e-6, 1 - 1e-6), st.booleans()), max_size=20))
def test_the_log_loss_is_what_a_slow_sum_gives(pairs: list[tuple[float, bool]]) -> None:
    n_right = sum(right for _, right in pairs)
    expected = 0.0
    for score, right in pairs:
        target = (n_right + 1) / (n_right + 2) if right else 1 / (len(pairs) - n_right + 2)
        expected -= target * math.log(score) + (1 - target) * math.log(1 - score)
    log_scores = torch.tensor([score for score, _ in pairs], dtype=torch.float64).log()
    assert smoothed_log_loss(
        log_scores, torch.tensor([right for _, right in pairs], dtype=torch.bool)
    ) == (pytest.approx(expected, rel=1e-6))


@pytest.mark.parametrize(("n_right", "n_wrong"), [(5, 0), (0, 5), (30, 10), (1, 1)])
def test_one_score_for_all_is_best_near_the_share_that_is_right_and_never_zero_or_one(
    n_right: int, n_wrong: int
) -> None:
    right = torch.tensor([True] * n_right + [False] * n_wrong)
    scores = np.linspace(0.001, 0.999, 999)
    losses = [
        smoothed_log_loss(torch.full((len(right),), math.log(score), dtype=torch.float64), right)
        for score in scores
    ]
    best = scores[int(np.argmin(losses))]
    targets = n_right * (n_right + 1) / (n_right + 2) + n_wrong / (n_wrong + 2)
    assert best == pytest.approx(targets / len(right), abs=0.002)


def test_a_score_of_one_that_is_wrong_costs_much_and_is_still_a_number() -> None:
    loss = smoothed_log_loss(torch.zeros(1, dtype=torch.float64), torch.tensor([False]))
    assert 10 < loss < 100


def test_entities_that_the_corpus_cannot_judge_do_not_count(features: WordFeatures) -> None:
    network = make_network(features, 1.0)
    dev = draw_sentences(network, features, 2.0)[:200]
    strange = [
        (replace(sentence, spans=()), set[str]())
        for sentence, _ in draw_sentences(network, features, 0.5)[:99]
    ]
    alone, mixed = (
        fit_temperature(network, features, TAG_SET, each) for each in (dev, dev + strange)
    )
    assert mixed == pytest.approx(alone, rel=2e-3)
    assert fit_temperature(network, features, TAG_SET, strange) == 1.0


def test_scores_twice_as_large_have_twice_the_temperature(features: WordFeatures) -> None:
    dev = draw_sentences(make_network(features, 1.0), features, 1.2)
    once, twice = (
        fit_temperature(make_network(features, scale), features, TAG_SET, dev)
        for scale in (1.0, 2.0)
    )
    assert twice == pytest.approx(2 * once, rel=2e-3)


def test_fitting_leaves_the_network_as_it_was(features: WordFeatures) -> None:
    network = make_network(features, 1.0)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    fit_temperature(network, features, TAG_SET, draw_sentences(network, features, 2.0)[:50])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_without_dev_data_nothing_is_changed(features: WordFeatures) -> None:
    assert fit_temperature(make_network(features, 1.0), features, TAG_SET, []) == 1.0
