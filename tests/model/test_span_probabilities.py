"""The probabilities of spans that are asked about, against the enumeration of all paths of tags."""

from itertools import combinations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from teddy.model.network.alternatives import Lattice, probabilities_of
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.tags.tag_set import TagSet
from tests.model.test_crf import Case, make_case, probabilities

TAG_SET = TagSet(("PER", "LOC"))


def tagged_case(seed: int, lengths: list[int], spread: float, temperature: float) -> Case:
    case = make_case(seed, n_tags=len(TAG_SET.tags), lengths=lengths, spread=spread)
    field = ConditionalRandomField(
        TAG_SET.allowed_transitions(), TAG_SET.allowed_first(), TAG_SET.allowed_last()
    ).double()
    for name, parameter in field.named_parameters():
        parameter.data = case.crf.get_parameter(name).data
    field.temperature.fill_(temperature)
    return Case(crf=field, emissions=case.emissions, lengths=case.lengths, allowed=case.allowed)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    spread=st.sampled_from([0.0, 1.0, 5.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_the_probability_of_any_span_is_that_of_all_paths_with_it(
    seed: int, lengths: list[int], spread: float, temperature: float
) -> None:
    case = tagged_case(seed, lengths, spread, temperature)
    asked = [
        (row, start, end, label)
        for row, n_words in enumerate(lengths)
        for start, end in combinations(range(n_words + 1), 2)
        for label in range(len(TAG_SET.labels))
    ]
    found = probabilities_of(Lattice.of(case.crf, case.emissions, case.lengths), *np.array(asked).T)
    wanted = []
    with torch.no_grad():
        of_rows = [probabilities(case, row, temperature) for row in range(len(lengths))]
    for row, *span in asked:
        tags, of_paths = of_rows[row]
        possible = of_paths > 0
        paths, *spans = TAG_SET.decode_rows(tags[possible].numpy())
        is_it = np.stack(spans, axis=1) == np.array(span)
        has = paths[is_it.all(axis=1)]
        wanted.append(float(of_paths[possible][torch.from_numpy(has)].sum()))
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)
