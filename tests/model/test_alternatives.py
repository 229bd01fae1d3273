"""What lies off the best path, against the enumeration of every path and of every choice."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model.network.alternatives import Lattice, Sums, best_paths, probable_spans
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.predictor import Predictor
from teddy.model.tags.search import Search
from teddy.model.tags.spans import Span, disjoint
from teddy.model.tags.tag_set import TagSet

Paths = dict[tuple[int, ...], float]
LENGTHS = st.lists(st.integers(1, 4), min_size=1, max_size=3)


def make_lattice(
    seed: int, labels: tuple[str, ...], lengths: list[int], temperature: float
) -> tuple[TagSet, ConditionalRandomField, Tensor, Lattice]:
    generator = torch.Generator().manual_seed(seed)
    tags = TagSet(labels)
    field = ConditionalRandomField(
        tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    )
    for parameter in field.parameters():
        nn.init.normal_(parameter, generator=generator)
    field.temperature.fill_(temperature)
    shape = len(lengths), max(lengths), len(tags.tags)
    emissions = 2 * torch.randn(shape, generator=generator)
    return tags, field, emissions, Lattice.of(field, emissions, torch.tensor(lengths))


def enumerate_paths(tags: TagSet, field: ConditionalRandomField, emissions: Tensor) -> Paths:
    """Return the probability of every allowed path over emissions [L, K]."""
    transition, first, last = (each.tolist() for each in field.potentials())
    scores = emissions.double().tolist()
    cooling = 1 / field.temperature.item()
    weights: Paths = {}
    for path in product(range(len(tags.tags)), repeat=len(scores)):
        total = first[path[0]] + last[path[-1]]
        total += sum(row[tag] for row, tag in zip(scores, path, strict=True))
        total += sum(transition[a][b] for a, b in pairwise(path))
        if total > float("-inf"):
            weights[path] = float(np.exp(total * cooling))
    mass = sum(weights.values())
    return {path: weight / mass for path, weight in weights.items()}


@settings(max_examples=30)
@given(
    seed=st.integers(0, 9999),
    labels=st.sampled_from([("PER",), ("PER", "LOC")]),
    lengths=st.lists(st.integers(1, 3), min_size=1, max_size=3),
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    threshold=st.sampled_from([0.001, 0.02, 0.1, 0.4, 0.9]),
)
def test_the_probable_spans_are_those_of_the_sum_over_all_paths(
    seed: int, labels: tuple[str, ...], lengths: list[int], temperature: float, threshold: float
) -> None:
    tags, field, emissions, lattice = make_lattice(seed, labels, lengths, temperature)
    thresholds = np.array([threshold, threshold / 2][: len(labels)])
    found = probable_spans(Sums.of(lattice), thresholds)
    expected: dict[tuple[int, Span], float] = {}
    for row, length in enumerate(lengths):
        for path, probability in enumerate_paths(tags, field, emissions[row, :length]).items():
            for span in tags.decode(path):
                expected[row, span] = expected.get((row, span), 0.0) + probability
    least = dict(zip(labels, thresholds, strict=True))
    wanted = {
        key: probability
        for key, probability in expected.items()
        if probability >= least[key[1].label]
    }
    keys = [
        (row, Span(start, end, labels[label]))
        for row, start, end, label in zip(
            *(each.tolist() for each in (found.rows, found.starts, found.ends, found.labels)),
            strict=True,
        )
    ]
    assert keys == sorted(
        keys, key=lambda key: (key[0], key[1].start, key[1].end, labels.index(key[1].label))
    )
    assert dict(zip(keys, found.probabilities.tolist(), strict=True)) == pytest.approx(wanted)


@settings(max_examples=30)
@given(
    seed=st.integers(0, 9999),
    lengths=LENGTHS,
    temperature=st.sampled_from([0.5, 1.0, 1.7]),
    n=st.integers(1, 12),
)
def test_the_best_paths_are_the_first_of_all_paths_by_probability(
    seed: int, lengths: list[int], temperature: float, n: int
) -> None:
    tags, field, emissions, lattice = make_lattice(seed, ("PER",), lengths, temperature)
    paths, probabilities = best_paths(lattice, n)
    for row, length in enumerate(lengths):
        every = enumerate_paths(tags, field, emissions[row, :length])
        ranked = sorted(every.items(), key=lambda each: -each[1])[:n]
        missing = n - len(ranked)
        assert probabilities[row].tolist() == pytest.approx([p for _, p in ranked] + [0] * missing)
        found = [tuple(path[:length]) for path in paths[row].tolist()][: len(ranked)]
        assert [every[path] for path in found] == pytest.approx([p for _, p in ranked])
        assert len(set(found)) == len(found)
        assert not paths[row, :, length:].any()
    best = field.best_path(emissions, lattice.lengths).numpy()
    assert (paths[:, 0] == best).all()


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(1, 4), st.floats(0.01, 1.0)), max_size=8))
def test_the_chosen_spans_have_the_largest_sum_of_all_that_do_not_overlap(
    drawn: list[tuple[int, int, float]],
) -> None:
    spans = [Span(start, start + length, "X") for start, length, _ in drawn]
    weights = [weight for _, _, weight in drawn]

    def apart(chosen: tuple[int, ...]) -> bool:
        pairs = combinations((spans[place] for place in chosen), 2)
        return all(a.end <= b.start or b.end <= a.start for a, b in pairs)

    places = range(len(spans))
    sets = (c for n in range(len(spans) + 1) for c in combinations(places, n) if apart(c))
    chosen = disjoint(spans, weights)
    assert apart(tuple(chosen))
    assert [spans[place].start for place in chosen] == sorted(spans[p].start for p in chosen)
    best = max(sum(weights[place] for place in each) for each in sets)
    assert sum(weights[place] for place in chosen) == pytest.approx(best)


TEXTS = [
    "Anna Berg went to Oslo.",
    "Mira and Teddy Marsh like New Haven.",
    "",
    "Who?",
    "Lund " * 60,
]


def test_a_lower_threshold_finds_more_and_one_of_half_finds_what_is_likelier_than_not(
    tiny_predictor: Predictor,
) -> None:
    plain = tiny_predictor.tag(TEXTS)
    half = tiny_predictor.tag(TEXTS, threshold=0.5)
    for found, best in zip(half, plain, strict=True):
        sure = [each for each in best if each.score >= 0.5]
        assert [(e.start, e.end, e.label) for e in found] == [
            (e.start, e.end, e.label) for e in sure
        ]
        assert [e.score for e in found] == pytest.approx([e.score for e in sure])
    low = tiny_predictor.tag(TEXTS, threshold=0.001)
    assert sum(map(len, low)) > sum(map(len, plain))
    for text, entities in zip(TEXTS, low, strict=True):
        assert all(a.end <= b.start for a, b in pairwise(entities))
        assert all(each.text == text[each.start : each.end] for each in entities)
        assert all(each.score >= 0.001 for each in entities)


def test_what_is_found_does_not_depend_on_the_other_texts(tiny_predictor: Predictor) -> None:
    together = tiny_predictor.tag(TEXTS, threshold={"PER": 0.01})
    for text, found in zip(TEXTS, together, strict=True):
        alone = tiny_predictor.tag([text], threshold={"PER": 0.01})[0]
        assert [(e.start, e.end, e.label) for e in found] == [
            (e.start, e.end, e.label) for e in alone
        ]
        assert [e.score for e in found] == pytest.approx([e.score for e in alone], rel=1e-4)


def test_a_threshold_by_label_leaves_the_others_at_a_half(tiny_predictor: Predictor) -> None:
    found = tiny_predictor.tag(TEXTS, threshold={"PER": 0.01})
    places = [each for entities in found for each in entities if each.label == "LOC"]
    assert all(each.score >= 0.5 for each in places)


def test_the_first_reading_is_what_tag_finds_and_all_are_different(
    tiny_predictor: Predictor,
) -> None:
    tagged = tiny_predictor.tag(TEXTS[:2])
    for entities, sentences in zip(tagged, tiny_predictor.readings(TEXTS[:2], 4), strict=True):
        (sentence,) = sentences
        assert [each.probability for each in sentence.readings] == sorted(
            (each.probability for each in sentence.readings), reverse=True
        )
        assert sum(each.probability for each in sentence.readings) <= 1 + 1e-9
        spans = [tuple((e.start, e.end, e.label) for e in r.entities) for r in sentence.readings]
        assert len(set(spans)) == len(spans) == 4
        first = sentence.readings[0].entities
        assert [(e.start, e.end, e.label) for e in first] == [
            (e.start, e.end, e.label) for e in entities
        ]
        assert [e.score for e in first] == pytest.approx([e.score for e in entities])


@pytest.mark.parametrize(
    ("threshold", "n_best", "reason"),
    [
        (0.0, 0, "a threshold must be 0.0001 to 1, not 0.0"),
        (1.5, 0, "a threshold must be 0.0001 to 1, not 1.5"),
        (float("nan"), 0, "not nan"),
        ({"CAT": 0.5}, 0, "the model has PER, LOC, not CAT"),
        (None, 33, "n_best must be at most 32, not 33"),
        (None, -1, "n_best must be at most 32, not -1"),
    ],
)
def test_what_cannot_be_asked_is_refused(
    threshold: float | dict[str, float] | None, n_best: int, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        Search.of(("PER", "LOC"), threshold, n_best)


def test_nothing_is_searched_if_nothing_is_asked() -> None:
    assert Search.of(("PER",)) is None
    assert Search.of(("PER", "LOC"), {"PER": 0.1}) == Search(thresholds=(0.1, 0.5))
