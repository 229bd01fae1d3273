"""Hints against enumeration: every path of a short sentence, each with the weights it earns."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.network.alternatives import probable_spans
from teddy.model.network.conditional import Floats, HintedChain, Potentials
from teddy.model.tags.spans import Hint
from teddy.model.tags.tag_set import TagSet

TAGS = TagSet(("A", "B"))
K = len(TAGS.tags)


def make_potentials(draw: np.random.Generator) -> Potentials:
    allowed = (TAGS.allowed_transitions(), TAGS.allowed_first(), TAGS.allowed_last())
    made = [np.where(np.array(each), draw.normal(size=np.shape(each)), -np.inf) for each in allowed]
    return Potentials(*made)


def score(path: tuple[int, ...], emissions: Floats, field: Potentials) -> float:
    between = sum(field.transition[a, b] for a, b in pairwise(path))
    own = sum(emissions[t, tag] for t, tag in enumerate(path))
    return float(field.first[path[0]] + own + between + field.last[path[-1]])


def enumerate_paths(
    emissions: Floats, field: Potentials, hints: list[Hint]
) -> dict[tuple[int, ...], float]:
    """Return {path: probability} of all paths that BIOES allows."""
    weights = {}
    for path in product(range(K), repeat=len(emissions)):
        plain = score(path, emissions, field)
        if plain == -np.inf:
            continue
        spans = {(s.start, s.end, s.label) for s in TAGS.decode(path)}
        gained = sum(h.weight for h in hints if (h.start, h.end, h.label) in spans)
        weights[path] = np.exp(plain + gained)
    total = sum(weights.values())
    return {path: weight / total for path, weight in weights.items()}


WEIGHTS = st.one_of(st.floats(-6, 6), st.just(-np.inf))


@st.composite
def rows_of_hints(draw: st.DrawFn) -> list[tuple[int, list[Hint]]]:
    rows = []
    for length in draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)):
        spans = [(s, e) for s in range(length) for e in range(s + 1, length + 1)]
        hint = st.builds(
            lambda span, label, weight: Hint(span[0], span[1], label, weight),
            st.sampled_from(spans),
            st.sampled_from(TAGS.labels),
            WEIGHTS,
        )
        rows.append((length, draw(st.lists(hint, max_size=5))))
    return rows


@settings(max_examples=25)
@given(rows_of_hints(), st.integers(0, 2**31))
def test_hints_give_what_weighing_every_path_gives_on_the_best_path_and_off_it(
    rows: list[tuple[int, list[Hint]]], seed: int
) -> None:
    draw = np.random.default_rng(seed)
    lengths = np.array([length for length, _ in rows])
    field = make_potentials(draw)
    emissions = draw.normal(size=(len(rows), lengths.max(), K)) * 2
    chain = HintedChain(emissions, lengths, field, [hints for _, hints in rows], TAGS.labels)
    tags = chain.best_path()
    marginal, opening, closing, sums = chain.posterior(tags)
    probable = probable_spans(sums, np.array([0.001, 0.05]))
    for b, (length, hints) in enumerate(rows):
        paths = enumerate_paths(emissions[b, :length], field, hints)
        path = tuple(tags[b, :length].tolist())
        assert paths[path] == pytest.approx(max(paths.values()), rel=1e-9)
        for t in range(length):
            wanted = sum(p for each, p in paths.items() if each[t] == path[t])
            assert marginal[b, t] == pytest.approx(wanted, rel=1e-8)
        for span in TAGS.decode(path):
            wanted = sum(p for each, p in paths.items() if span in TAGS.decode(each))
            found = np.exp(opening[b, span.start] + closing[b, span.end - 1])
            assert found == pytest.approx(wanted, rel=1e-8)
        every: dict[tuple[int, int, int], float] = {}
        for each, p in paths.items():
            for span in TAGS.decode(each):
                key = span.start, span.end, TAGS.labels.index(span.label)
                every[key] = every.get(key, 0.0) + p
        of_row = probable.rows == b
        places = (probable.starts, probable.ends, probable.labels, probable.probabilities)
        assert {
            (start, end, label): p
            for start, end, label, p in zip(*(x[of_row].tolist() for x in places), strict=True)
        } == pytest.approx({key: p for key, p in every.items() if p >= (0.001, 0.05)[key[2]]})


def test_one_hint_moves_the_log_odds_of_its_span_by_its_weight() -> None:
    draw = np.random.default_rng(5)
    field, emissions = make_potentials(draw), draw.normal(size=(1, 3, K))
    hint = Hint(0, 2, "B", 1.7)

    def odds(hints: list[Hint]) -> float:
        paths = enumerate_paths(emissions[0], field, hints)
        p = sum(
            p
            for y, p in paths.items()
            if (0, 2) in [(s.start, s.end) for s in TAGS.decode(y) if s.label == "B"]
        )
        return float(np.log(p / (1 - p)))

    assert odds([hint]) - odds([]) == pytest.approx(1.7)
