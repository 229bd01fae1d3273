"""The conditional random field against the enumeration of every path of tags."""

from dataclasses import dataclass, replace
from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model.network.crf import (
    ConditionalRandomField,
    _words_between_rescalings,
    best_onward,
    reversed_positions,
)
from teddy.model.tags.tag_set import TagSet


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A random field, emissions [B, T, K] of ragged rows, and a set of tags for each word."""

    crf: ConditionalRandomField
    emissions: Tensor
    lengths: Tensor
    allowed: Tensor


def make_case(seed: int, *, n_tags: int, lengths: list[int], spread: float = 2.0) -> Case:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths), n_tags)
    transitions = torch.rand(n_tags, n_tags, generator=generator) < 0.6
    ends = torch.rand(2, n_tags, generator=generator) < 0.6
    # Tag 0 behaves as `O`: it may stand anywhere, so that every row has a legal path.
    transitions[0, 0] = ends[0, 0] = ends[1, 0] = True
    crf = ConditionalRandomField(transitions.tolist(), ends[0].tolist(), ends[1].tolist()).double()
    for parameter in crf.parameters():
        nn.init.normal_(parameter, generator=generator)
    emissions = spread * torch.randn(shape, dtype=torch.float64, generator=generator)
    allowed = torch.rand(shape, generator=generator) < 0.5
    allowed[:, :, 0] = True
    return Case(crf=crf, emissions=emissions, lengths=torch.tensor(lengths), allowed=allowed)


@st.composite
def cases(draw: st.DrawFn, spread: float = 2.0) -> Case:
    return make_case(
        draw(st.integers(0, 10_000)),
        n_tags=draw(st.integers(1, 4)),
        lengths=draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)),
        spread=spread,
    )


# The oracle: all paths of a row, and the score of each.


def all_paths(crf: ConditionalRandomField, emissions: Tensor) -> tuple[Tensor, Tensor]:
    """Return all paths [K ** L, L] of emissions [L, K] and their scores, -inf if forbidden."""
    n_words, n_tags = emissions.shape
    paths = torch.tensor(list(product(range(n_tags), repeat=n_words)))
    scores = crf.first[paths[:, 0]] + crf.last[paths[:, -1]]
    forbidden = crf.first_forbidden[paths[:, 0]] | crf.last_forbidden[paths[:, -1]]
    for word in range(n_words):
        scores = scores + emissions[word, paths[:, word]]
    for before, after in zip(paths.t()[:-1], paths.t()[1:], strict=True):
        scores = scores + crf.transition[before, after]
        forbidden = forbidden | crf.transition_forbidden[before, after]
    return paths, scores.masked_fill(forbidden, float("-inf"))


def loss_by_enumeration(
    crf: ConditionalRandomField, emissions: Tensor, lengths: Tensor, allowed: Tensor
) -> Tensor:
    losses = []
    for row, n_words in enumerate(lengths.tolist()):
        paths, scores = all_paths(crf, emissions[row, :n_words])
        inside = torch.stack([allowed[row, word, paths[:, word]] for word in range(n_words)]).all(
            dim=0
        )
        losses.append(scores.logsumexp(dim=0) - scores[inside].logsumexp(dim=0))
    return torch.stack(losses)


def probabilities(case: Case, row: int, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    paths, scores = all_paths(case.crf, case.emissions[row, : case.lengths[row]])
    return paths, (scores / temperature).softmax(dim=0)


# The loss.


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_the_loss_is_that_of_all_paths_through_the_allowed_tags(case: Case) -> None:
    loss = case.crf.loss(case.emissions, case.lengths, case.allowed)
    assert_equal(loss, loss_by_enumeration(case.crf, case.emissions, case.lengths, case.allowed))


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_the_loss_of_one_tag_for_each_word_is_minus_the_log_probability_of_that_path(
    case: Case,
) -> None:
    best = case.crf.best_path(case.emissions, case.lengths)
    loss = case.crf.loss(
        case.emissions, case.lengths, nn.functional.one_hot(best, case.emissions.shape[2]).bool()
    )
    highest = [
        float(probabilities(case, row)[1].detach().max()) for row in range(len(case.lengths))
    ]
    assert_equal((-loss).exp(), torch.tensor(highest, dtype=torch.float64))


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_the_loss_is_zero_when_every_tag_is_allowed(case: Case) -> None:
    loss = case.crf.loss(case.emissions, case.lengths, torch.ones_like(case.allowed))
    assert_equal(loss, torch.zeros_like(loss))


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_the_gradient_of_the_loss_is_that_of_the_enumeration(case: Case) -> None:
    inputs = [case.emissions.requires_grad_(), *case.crf.parameters()]
    weights = torch.linspace(0.5, 2.0, len(case.lengths), dtype=torch.float64)
    loss = case.crf.loss(case.emissions, case.lengths, case.allowed)
    expected = loss_by_enumeration(case.crf, case.emissions, case.lengths, case.allowed)
    found = torch.autograd.grad(loss @ weights, inputs)
    # Where all rows have one word, the enumeration does not touch the transitions.
    for ours, theirs in zip(
        found, torch.autograd.grad(expected @ weights, inputs, materialize_grads=True), strict=True
    ):
        assert_equal(ours, theirs)


@pytest.mark.parametrize("lengths", [[1], [4, 1, 3]])
def test_the_gradient_of_the_loss_is_that_of_its_finite_differences(lengths: list[int]) -> None:
    case = make_case(3, n_tags=3, lengths=lengths)
    names = [name for name, _ in case.crf.named_parameters()]

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.crf = case.crf

        def forward(self, emissions: Tensor) -> Tensor:
            return self.crf.loss(emissions, case.lengths, case.allowed)

    def run(emissions: Tensor, *values: Tensor) -> Tensor:
        parameters = {f"crf.{name}": value for name, value in zip(names, values, strict=True)}
        loss: Tensor = torch.func.functional_call(Loss(), parameters, (emissions,))
        return loss

    assert torch.autograd.gradcheck(run, (case.emissions.requires_grad_(), *case.crf.parameters()))


def test_sets_without_a_legal_path_have_infinite_loss_and_spoil_no_other_row() -> None:
    tags = TagSet(("PER",))
    crf = ConditionalRandomField(
        tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    )
    path = torch.tensor(
        [[tags.index("O"), tags.index("E-PER")], [tags.index("B-PER"), tags.index("E-PER")]]
    )
    emissions = torch.zeros(2, 2, len(tags.tags), requires_grad=True)
    loss = crf.loss(
        emissions, torch.tensor([2, 2]), nn.functional.one_hot(path, len(tags.tags)).bool()
    )
    assert loss[0] == float("inf")
    assert loss[1].isfinite()
    (gradient,) = torch.autograd.grad(loss[1], emissions)
    assert gradient.isfinite().all()
    assert gradient[1].abs().sum() > 0


# The best path.


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_the_best_path_has_the_highest_score_of_all_paths(case: Case) -> None:
    best = case.crf.best_path(case.emissions, case.lengths)
    for row, n_words in enumerate(case.lengths.tolist()):
        paths, scores = all_paths(case.crf, case.emissions[row, :n_words])
        assert best[row, :n_words].tolist() == paths[scores.argmax()].tolist()
        assert not best[row, n_words:].any()


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_the_lowest_tag_wins_a_tie(case: Case) -> None:
    for parameter in case.crf.parameters():
        nn.init.zeros_(parameter)
    assert not case.crf.best_path(torch.zeros_like(case.emissions), case.lengths).any()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_the_best_path_is_legal_however_strongly_the_emissions_ask_for_another(
    seed: int, lengths: list[int]
) -> None:
    tags = TagSet(("PER", "LOC"))
    crf = ConditionalRandomField(
        tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    )
    generator = torch.Generator().manual_seed(seed)
    emissions = 200 * torch.randn(len(lengths), max(lengths), len(tags.tags), generator=generator)
    allowed, first, last = tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    for row, n_words in zip(
        crf.best_path(emissions, torch.tensor(lengths)).tolist(), lengths, strict=True
    ):
        path = row[:n_words]
        assert first[path[0]]
        assert last[path[-1]]
        assert all(allowed[before][after] for before, after in pairwise(path))


# Probabilities.


@settings(max_examples=30, deadline=None)
@given(case=cases(), temperature=st.sampled_from([1.0, 0.5, 3.0]), data=st.data())
def test_the_probability_of_tags_is_that_of_all_paths_that_have_them(
    case: Case, temperature: float, data: st.DataObject
) -> None:
    """For any legal tags, single words and stretches alike, at any temperature."""
    case.crf.temperature.fill_(temperature)
    n_rows, width, _ = case.emissions.shape
    readings = [probabilities(case, row, temperature) for row in range(n_rows)]
    tags = torch.zeros(n_rows, width, dtype=torch.int64)
    for row, (paths, probability) in enumerate(readings):
        tags[row, : paths.shape[1]] = paths[
            data.draw(st.sampled_from(probability.nonzero().flatten().tolist()))
        ]
    marginal, opening, closing = case.crf.posterior(case.emissions, case.lengths, tags)
    for row, (paths, probability) in enumerate(readings):
        n_words = paths.shape[1]
        agrees = paths == tags[row, :n_words]
        for start in range(n_words):
            assert_equal(marginal[row, start], probability[agrees[:, start]].sum())
            for stop in range(start + 1, n_words + 1):
                expected = probability[agrees[:, start:stop].all(dim=1)].sum()
                found = (opening[row, start] + closing[row, stop - 1]).exp()
                assert_equal(found, expected)


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_marginals_of_all_tags_add_up_to_one(case: Case) -> None:
    total = torch.zeros(case.emissions.shape[:2], dtype=torch.float64)
    for tag in range(case.emissions.shape[2]):
        total += case.crf.posterior(case.emissions, case.lengths, torch.full(total.shape, tag))[
            0
        ].detach()
    inside = torch.arange(total.shape[1]) < case.lengths.unsqueeze(1)
    assert_equal(total[inside], torch.ones_like(total[inside]))


# Padding, batch mates, precision.


@settings(max_examples=20, deadline=None)
@given(case=cases(), padding=st.sampled_from([0.0, 1e4, -1e4]))
def test_a_row_depends_neither_on_its_batch_mates_nor_on_its_padding(
    case: Case, padding: float
) -> None:
    inside = torch.arange(case.emissions.shape[1]) < case.lengths.unsqueeze(1)
    padded = nn.functional.pad(
        case.emissions.masked_fill(~inside.unsqueeze(2), padding), (0, 0, 0, 3), value=padding
    )
    allowed = nn.functional.pad(case.allowed, (0, 0, 0, 3), value=padding > 0)
    loss = case.crf.loss(padded, case.lengths, allowed)
    best = case.crf.best_path(padded, case.lengths)
    posterior = case.crf.posterior(padded, case.lengths, best)
    for row, n_words in enumerate(case.lengths.tolist()):
        alone, length = case.emissions[row : row + 1, :n_words], case.lengths[row : row + 1]
        alone_best = case.crf.best_path(alone, length)
        assert_equal(
            loss[row : row + 1], case.crf.loss(alone, length, case.allowed[row : row + 1, :n_words])
        )
        assert best[row, :n_words].tolist() == alone_best[0].tolist()
        for together, expected in zip(
            posterior, case.crf.posterior(alone, length, alone_best), strict=True
        ):
            assert_equal(together[row : row + 1, :n_words], expected)


@pytest.mark.parametrize("spread", [50.0, 100.0])
@pytest.mark.parametrize("seed", range(10))
def test_large_scores_stay_exact(seed: int, spread: float) -> None:
    tags = TagSet(("PER",))
    crf = ConditionalRandomField(
        tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    )
    case = replace(
        make_case(seed, n_tags=len(tags.tags), lengths=[4, 1, 3, 4], spread=spread),
        crf=crf.double(),
    )
    inputs = [case.emissions.requires_grad_(), *case.crf.parameters()]
    loss = case.crf.loss(case.emissions, case.lengths, case.allowed)
    assert_equal(loss, loss_by_enumeration(case.crf, case.emissions, case.lengths, case.allowed))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss.sum(), inputs))
    best = case.crf.best_path(case.emissions, case.lengths)
    _, opening, closing = case.crf.posterior(case.emissions, case.lengths, best)
    for row, n_words in enumerate(case.lengths.tolist()):
        paths, probability = probabilities(case, row)
        highest = probability[(paths == best[row, :n_words]).all(dim=1)].squeeze()
        assert_equal((opening[row, 0] + closing[row, n_words - 1]).exp(), highest)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_emissions_of_low_precision_are_read_as_the_numbers_that_they_are(
    dtype: torch.dtype,
) -> None:
    case = make_case(7, n_tags=4, lengths=[5, 2, 1])
    rough = case.emissions.to(dtype)
    exact = rough.double()
    loss = case.crf.loss(rough, case.lengths, case.allowed)
    assert loss.dtype == torch.float64
    assert_equal(loss, case.crf.loss(exact, case.lengths, case.allowed))
    best = case.crf.best_path(rough, case.lengths)
    assert best.tolist() == case.crf.best_path(exact, case.lengths).tolist()
    for found, expected in zip(
        case.crf.posterior(rough, case.lengths, best),
        case.crf.posterior(exact, case.lengths, best),
        strict=True,
    ):
        assert_equal(found, expected)


# The other decoder, and the order of words.


@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_without_learning_it_is_a_soft_max_for_each_word(case: Case) -> None:
    n_tags = case.emissions.shape[2]
    nothing = [False] * n_tags
    crf = ConditionalRandomField([nothing] * n_tags, nothing, nothing, learnt=False)
    inside = torch.arange(case.emissions.shape[1]) < case.lengths.unsqueeze(1)
    log_probability = case.emissions.log_softmax(dim=2)
    best = case.emissions.argmax(dim=2).masked_fill(~inside, 0)
    assert not any(parameter.requires_grad for parameter in crf.parameters())
    assert crf.best_path(case.emissions, case.lengths).tolist() == best.tolist()
    chosen = log_probability.gather(2, best.unsqueeze(2)).squeeze(2).masked_fill(~inside, 0.0)
    loss = crf.loss(case.emissions, case.lengths, nn.functional.one_hot(best, n_tags).bool())
    assert_equal(loss, -chosen.sum(dim=1))
    marginal = crf.posterior(case.emissions, case.lengths, best)[0]
    assert_equal(marginal[inside], chosen.exp()[inside])


@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 20.0, 60.0, 100.0])
def test_the_recursions_are_as_exact_however_seldom_they_are_rescaled(
    spread: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    tags = TagSet(("PER", "LOC", "ORG"))
    crf = ConditionalRandomField(
        tags.allowed_transitions(), tags.allowed_first(), tags.allowed_last()
    )
    nn.init.normal_(crf.transition, std=spread / 5)
    emissions, lengths = (
        spread * torch.randn(3, 90, len(tags.tags), dtype=torch.float64),
        torch.tensor([90, 61, 17]),
    )
    best = crf.best_path(emissions, lengths)
    found = (
        *crf.posterior(emissions, lengths, best),
        crf.loss(emissions, lengths, nn.functional.one_hot(best, 13) > 0),
    )
    monkeypatch.setattr("teddy.model.network.crf._words_between_rescalings", lambda *_: 1)
    expected = (
        *crf.posterior(emissions, lengths, best),
        crf.loss(emissions, lengths, nn.functional.one_hot(best, 13) > 0),
    )
    inside = torch.arange(90) < lengths.unsqueeze(1)
    for one, other in zip(found, expected, strict=True):
        assert_equal(
            one[inside] if one.dim() == 2 else one, other[inside] if other.dim() == 2 else other
        )


def test_how_seldom_the_recursions_are_rescaled_follows_the_spread_of_scores() -> None:
    ones = torch.ones(3, 3, dtype=torch.float64)
    weights = torch.tensor([[[1.0, 1.0, 1e-200]]], dtype=torch.float64)
    assert _words_between_rescalings(torch.ones_like(weights), ones, ones[0], ones[0]) == 16
    assert _words_between_rescalings(weights, ones, ones[0], ones[0]) == 1
    assert _words_between_rescalings(weights.sqrt().sqrt().sqrt(), ones, ones[0], ones[0]) == 5


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_reversed_positions_turn_the_words_of_a_row_round_and_leave_its_padding(
    lengths: list[int],
) -> None:
    width = max(lengths) + 2
    positions = reversed_positions(torch.tensor(lengths), width)
    assert positions.tolist() == [
        [*reversed(range(length)), *range(length, width)] for length in lengths
    ]


@pytest.mark.parametrize("most_scores", [0, 1, 30, 45, 10_000])
def test_the_best_scores_behind_each_tag_are_the_same_however_many_are_added_at_once(
    most_scores: int,
) -> None:
    random = torch.Generator().manual_seed(1)
    best = torch.randn(5, 3, generator=random, dtype=torch.float64)
    transition = torch.randn(5, 5, generator=random, dtype=torch.float64)
    found = best_onward(best, transition.t().unsqueeze(2), most_scores)
    expected = [
        [max(best[after, row] + transition[tag, after] for after in range(5)) for row in range(3)]
        for tag in range(5)
    ]
    assert found.tolist() == [[float(each) for each in row] for row in expected]
