"""Best paths and the probabilities of spans against the enumeration of every path of tags."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from teddy.model.network import paths
from teddy.model.network.crf import ConditionalRandomField
from teddy.model.network.paths import Chain, Potentials
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet
from tests.model.test_crf import Case, all_paths, assert_equal, cases, make_case


def chain_of(case: Case, temperature: float = 1.0) -> Chain:
    transition, first, last = (each.detach() for each in case.crf.potentials())
    potentials = Potentials(transition=transition, first=first, last=last, temperature=temperature)
    return Chain(case.emissions, case.lengths, potentials)


def in_order(case: Case, row: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the possible paths of a row, the most probable first, and their log-probabilities."""
    found, scores = all_paths(case.crf, case.emissions[row, : case.lengths[row]])
    order = scores.detach().argsort(descending=True, stable=True)
    logs = (scores.detach() / temperature).log_softmax(dim=0)[order]
    return found[order][logs > -torch.inf], logs[logs > -torch.inf]


@settings(max_examples=30, deadline=None)
@given(case=cases(), n_paths=st.integers(1, 6), temperature=st.sampled_from([0.5, 1.0, 3.0]))
def test_the_best_paths_are_the_first_of_all_paths_in_order(
    case: Case, n_paths: int, temperature: float
) -> None:
    tags, logs = chain_of(case, temperature).best_paths(n_paths)
    for row, n_words in enumerate(case.lengths.tolist()):
        wanted, wanted_logs = in_order(case, row, temperature)
        n_found = min(n_paths, len(wanted))
        assert_equal(logs[row, :n_found], wanted_logs[:n_found])
        assert tags[row, :n_found, :n_words].tolist() == wanted[:n_found].tolist()
        assert bool((logs[row, n_found:] == -torch.inf).all())
        assert not tags[row, :, n_words:].any()


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_the_first_of_them_is_the_best_path_and_the_batch_does_not_matter(case: Case) -> None:
    tags, logs = chain_of(case).best_paths(3)
    assert tags[:, 0].equal(case.crf.best_path(case.emissions, case.lengths))
    for row, n_words in enumerate(case.lengths.tolist()):
        lengths = case.lengths[row : row + 1]
        alone = Case(
            crf=case.crf,
            emissions=case.emissions[row : row + 1, :n_words],
            lengths=lengths,
            allowed=case.allowed,
        )
        its_tags, its_logs = chain_of(alone).best_paths(3)
        possible = its_logs[0] > -torch.inf
        assert its_tags[0][possible].equal(tags[row, :, :n_words][possible])
        assert_equal(its_logs[0], logs[row])


def test_of_equally_probable_paths_the_first_by_tag_numbers_comes_first() -> None:
    case = make_case(1, n_tags=3, lengths=[3])
    for parameter in case.crf.parameters():
        torch.nn.init.zeros_(parameter)
    for forbidden in (case.crf.transition_forbidden, case.crf.first_forbidden):
        forbidden.zero_()
    case.crf.last_forbidden.zero_()
    case.emissions.zero_()
    tags, _ = chain_of(case).best_paths(4)
    assert tags[0].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 1, 0]]


def test_many_tags_are_worked_on_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case(5, n_tags=4, lengths=[5, 3, 1])
    tags, logs = chain_of(case).best_paths(3)
    monkeypatch.setattr(paths, "_MOST_SCORES", 1)
    again, same_logs = chain_of(case).best_paths(3)
    assert again.equal(tags)
    assert same_logs.equal(logs)


# Spans.

TAG_SET = TagSet(("PER", "LOC"))


def tagged_case(seed: int, lengths: list[int], spread: float) -> Case:
    case = make_case(seed, n_tags=len(TAG_SET.tags), lengths=lengths, spread=spread)
    field = ConditionalRandomField(
        TAG_SET.allowed_transitions(), TAG_SET.allowed_first(), TAG_SET.allowed_last()
    ).double()
    for name, parameter in field.named_parameters():
        parameter.data = case.crf.get_parameter(name).data
    return Case(crf=field, emissions=case.emissions, lengths=case.lengths, allowed=case.allowed)


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=3),
    spread=st.sampled_from([0.0, 1.0, 5.0]),
    temperature=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_the_probability_of_a_span_is_that_of_all_paths_with_it(
    seed: int, lengths: list[int], spread: float, temperature: float
) -> None:
    case = tagged_case(seed, lengths, spread)
    asked = [
        (row, Span(start, end, label))
        for row, n_words in enumerate(lengths)
        for start, end in combinations(range(n_words + 1), 2)
        for label in TAG_SET.labels
    ]
    spelt = [[TAG_SET.index(f"{each}-{span.label}") for each in "BIES"] for _, span in asked]
    found = chain_of(case, temperature).log_span(
        torch.tensor([row for row, _ in asked]),
        torch.tensor([span.start for _, span in asked]),
        torch.tensor([span.end for _, span in asked]),
        torch.tensor(spelt),
    )
    wanted = []
    in_orders = [in_order(case, row, temperature) for row in range(len(lengths))]
    for row, span in asked:
        tags, logs = in_orders[row]
        paths, starts, ends, labels = TAG_SET.decode_rows(tags.numpy())
        label = TAG_SET.labels.index(span.label)
        has = paths[(starts == span.start) & (ends == span.end) & (labels == label)]
        wanted.append(float(logs[has].exp().sum()))
    np.testing.assert_allclose(found.exp().numpy(), wanted, rtol=1e-9, atol=1e-12)
