"""A field's expectations, and the cross-entropy of two, by enumeration of all paths of tags."""

from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from teddy.model.network.crf import ConditionalRandomField
from teddy.training.learning.teacher import (
    Expectations,
    cross_entropy,
    expectations,
    mean_expectations,
)


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A random field with random emissions [B, T, K] of ragged rows."""

    crf: ConditionalRandomField
    emissions: Tensor
    lengths: Tensor


def make_fields(
    seed: int, n_fields: int, n_tags: int, lengths: list[int], spread: float = 2.0
) -> list[Field]:
    """Fields that forbid the same transitions and score the rest each in its own way."""
    generator = torch.Generator().manual_seed(seed)
    transitions = torch.rand(n_tags, n_tags, generator=generator) < 0.6
    ends = torch.rand(2, n_tags, generator=generator) < 0.6
    # Tag 0 behaves as `O`: it may stand anywhere, so that every row has a legal path.
    transitions[0, 0] = ends[0, 0] = ends[1, 0] = True
    fields = []
    for _ in range(n_fields):
        crf = ConditionalRandomField(
            transitions.tolist(), ends[0].tolist(), ends[1].tolist()
        ).double()
        for parameter in crf.parameters():
            nn.init.normal_(parameter, generator=generator)
        shape = (len(lengths), max(lengths), n_tags)
        emissions = spread * torch.randn(shape, dtype=torch.float64, generator=generator)
        fields.append(Field(crf=crf, emissions=emissions, lengths=torch.tensor(lengths)))
    return fields


FIELDS = st.builds(
    make_fields,
    st.integers(0, 10_000),
    st.just(2),
    st.integers(1, 4),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
)
TEMPERATURES = st.sampled_from([1.0, 0.5, 3.0])


# The oracle: all paths of a row, and the log-probability of each.


def log_probabilities(field: Field, row: int, temperature: float) -> tuple[Tensor, Tensor]:
    """Paths int64 [K ** L, L] and their log-probabilities [K ** L], -inf if forbidden."""
    n_words, n_tags = int(field.lengths[row]), field.emissions.shape[2]
    paths = torch.tensor(list(product(range(n_tags), repeat=n_words)))
    transition, first, last = field.crf.potentials()
    scores = first[paths[:, 0]] + last[paths[:, -1]]
    for word in range(n_words):
        scores = scores + field.emissions[row, word, paths[:, word]]
    for word in range(1, n_words):
        scores = scores + transition[paths[:, word - 1], paths[:, word]]
    return paths, (scores / temperature).log_softmax(dim=0)


def expectations_by_enumeration(field: Field, temperature: float) -> Expectations:
    n_rows, width, n_tags = field.emissions.shape
    unary = torch.zeros(n_rows, width, n_tags, dtype=torch.float64)
    pairs = torch.zeros(n_rows, n_tags, n_tags, dtype=torch.float64)
    for row in range(n_rows):
        paths, log_probability = log_probabilities(field, row, temperature)
        for path, probability in zip(paths.tolist(), log_probability.exp().tolist(), strict=True):
            for word, tag in enumerate(path):
                unary[row, word, tag] += probability
                if word:
                    pairs[row, path[word - 1], tag] += probability
    return Expectations(unary=unary, pairs=pairs)


def cross_entropy_by_enumeration(teacher: Field, student: Field, temperature: float) -> Tensor:
    rows = []
    for row in range(len(teacher.lengths)):
        q = log_probabilities(teacher, row, temperature)[1].exp()
        log_p = log_probabilities(student, row, temperature)[1]
        possible = q > 0
        rows.append(-(q[possible] * log_p[possible]).sum() * temperature**2)
    return torch.stack(rows)


def distance(teacher: Field, student: Field, temperature: float = 1.0) -> Tensor:
    with torch.no_grad():
        expected = expectations(teacher.crf, teacher.emissions, teacher.lengths, temperature)
    return cross_entropy(student.crf, student.emissions, student.lengths, expected, temperature)


def gradients(student: Field, loss: Tensor) -> list[Tensor]:
    inputs = [student.emissions, *student.crf.parameters()]
    # Where all rows have one word, the enumeration does not touch the transitions.
    return list(torch.autograd.grad(loss.sum(), inputs, materialize_grads=True))


def with_gradient(field: Field) -> Field:
    return replace(field, emissions=field.emissions.clone().requires_grad_())


# What a field expects.


@settings(max_examples=40, deadline=None)
@given(fields=FIELDS, temperature=TEMPERATURES, calibration=TEMPERATURES)
def test_what_a_field_expects_is_what_all_paths_have_on_the_mean(
    fields: list[Field], temperature: float, calibration: float
) -> None:
    field = fields[0]
    field.crf.temperature.fill_(calibration)
    found = expectations(field.crf, field.emissions, field.lengths, temperature)
    expected = expectations_by_enumeration(field, temperature * calibration)
    assert_equal(found.unary, expected.unary)
    assert_equal(found.pairs, expected.pairs)


@settings(max_examples=20, deadline=None)
@given(fields=FIELDS)
def test_each_word_has_one_tag_and_a_row_one_transition_fewer_than_words(
    fields: list[Field],
) -> None:
    field = fields[0]
    found = expectations(field.crf, field.emissions, field.lengths)
    inside = torch.arange(field.emissions.shape[1]) < field.lengths.unsqueeze(1)
    assert_equal(found.unary.sum(dim=2), inside.double())
    assert_equal(found.pairs.sum(dim=(1, 2)), (field.lengths - 1).double())
    assert not found.pairs[:, field.crf.transition_forbidden].any()


def test_without_transitions_it_is_the_soft_max_of_each_word() -> None:
    nothing = [False] * 3
    crf = ConditionalRandomField([nothing] * 3, nothing, nothing, learnt=False)
    emissions = torch.randn(2, 4, 3, dtype=torch.float64)
    found = expectations(crf, emissions, torch.tensor([4, 4]))
    assert_equal(found.unary, emissions.softmax(dim=2))
    assert_equal(found.pairs[0], found.unary[0, :-1].t() @ found.unary[0, 1:])


# The cross-entropy.


@settings(max_examples=40, deadline=None)
@given(fields=FIELDS, temperature=TEMPERATURES)
def test_the_cross_entropy_and_its_gradient_are_those_of_all_paths(
    fields: list[Field], temperature: float
) -> None:
    teacher, student = fields[0], with_gradient(fields[1])
    found = distance(teacher, student, temperature)
    expected = cross_entropy_by_enumeration(teacher, student, temperature)
    assert_equal(found, expected)
    for ours, theirs in zip(gradients(student, found), gradients(student, expected), strict=True):
        assert_equal(ours, theirs)


@settings(max_examples=20, deadline=None)
@given(fields=FIELDS, temperature=TEMPERATURES)
def test_a_student_that_is_its_teacher_has_nothing_to_learn_and_no_other_is_nearer(
    fields: list[Field], temperature: float
) -> None:
    teacher, other = fields
    same = with_gradient(teacher)
    loss = distance(teacher, same, temperature)
    for gradient in gradients(same, loss):
        assert_equal(gradient, torch.zeros_like(gradient))
    assert (loss <= distance(teacher, other, temperature) + 1e-9).all()


@settings(max_examples=20, deadline=None)
@given(fields=FIELDS)
def test_a_teacher_that_is_sure_teaches_what_an_annotation_would(fields: list[Field]) -> None:
    """With all of its probability on one path, the cross-entropy is the supervised loss."""
    teacher, student = fields
    path = teacher.crf.best_path(teacher.emissions, teacher.lengths)
    certain = nn.functional.one_hot(path, teacher.emissions.shape[2])
    sure = replace(teacher, emissions=teacher.emissions + 200.0 * certain)
    loss = student.crf.loss(student.emissions, student.lengths, certain.bool())
    assert_equal(distance(sure, student), loss)


# Padding, batch mates, ensembles.


@settings(max_examples=20, deadline=None)
@given(fields=FIELDS, padding=st.sampled_from([0.0, 1e4, -1e4]))
def test_a_row_depends_neither_on_its_batch_mates_nor_on_its_padding(
    fields: list[Field], padding: float
) -> None:
    lengths = fields[0].lengths
    inside = torch.arange(int(lengths.max())) < lengths.unsqueeze(1)
    teacher, student = (
        replace(
            field,
            emissions=nn.functional.pad(
                field.emissions.masked_fill(~inside.unsqueeze(2), padding),
                (0, 0, 0, 3),
                value=padding,
            ).requires_grad_(),
        )
        for field in fields
    )
    together = distance(teacher, student)
    for row, n_words in enumerate(lengths.tolist()):
        teacher_alone, student_alone = (
            replace(
                field,
                emissions=field.emissions[row : row + 1, :n_words],
                lengths=lengths[row : row + 1],
            )
            for field in fields
        )
        assert_equal(together[row : row + 1], distance(teacher_alone, student_alone))
    at_padding = torch.autograd.grad(together.sum(), student.emissions)[0].detach().clone()
    at_padding[:, : inside.shape[1]][inside] = 0.0
    assert not at_padding.any()


@settings(max_examples=20, deadline=None)
@given(fields=FIELDS)
def test_an_ensemble_expects_what_the_mixture_of_its_distributions_does(
    fields: list[Field],
) -> None:
    each = [expectations(field.crf, field.emissions, field.lengths) for field in fields]
    alone = mean_expectations(each[:1])
    assert torch.equal(alone.unary, each[0].unary)
    assert torch.equal(alone.pairs, each[0].pairs)
    student = fields[1]
    mixed = cross_entropy(student.crf, student.emissions, student.lengths, mean_expectations(each))
    apart = [cross_entropy_by_enumeration(field, student, 1.0) for field in fields]
    assert_equal(mixed, torch.stack(apart).mean(dim=0))


@pytest.mark.parametrize("spread", [50.0, 100.0])
def test_large_scores_stay_exact(spread: float) -> None:
    for seed in range(5):
        teacher, student = make_fields(seed, 2, 4, [5, 1, 3], spread)
        assert_equal(
            distance(teacher, student), cross_entropy_by_enumeration(teacher, student, 1.0)
        )
