"""AdamW: the same as torch's, to the last bit, without its compiler."""

import copy
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from teddy.training.learning.torch_setup import AdamW

BETAS = (0.9, 0.99)
SHAPES = ((7, 3), (5,), (1, 1), (2, 3, 4))


def groups_of(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": parameters[:2], "lr": 0.01, "weight_decay": 0.1, "rate_share": 0.5},
        {"params": parameters[2:], "lr": 0.02, "weight_decay": 0.0, "rate_share": 1.0},
    ]


def make_parameters(seed: int) -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=draw)) for shape in SHAPES]


def pair() -> tuple[list[nn.Parameter], AdamW, list[nn.Parameter], torch.optim.Optimizer]:
    ours, theirs = make_parameters(1), make_parameters(1)
    return (
        ours,
        AdamW(groups_of(ours), BETAS),
        theirs,
        torch.optim.AdamW(groups_of(theirs), betas=BETAS, fused=True),
    )


def update(parameters: list[nn.Parameter], optimiser: Any, step: int) -> None:
    """One step with gradients that depend on its number; now and then one has none."""
    draw = torch.Generator().manual_seed(100 + step)
    optimiser.zero_grad()
    for place, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=draw)
        if (step + place) % 5:
            parameter.grad = gradient
    for group in optimiser.param_groups:
        group["lr"] = 0.01 * group["rate_share"] / (1 + step)
    optimiser.step()


def assert_equal(ours: list[nn.Parameter], theirs: list[nn.Parameter]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert torch.equal(one, other)


def test_each_step_is_that_of_torch_to_the_last_bit() -> None:
    ours, optimiser, theirs, expected = pair()
    for step in range(20):
        update(ours, optimiser, step)
        update(theirs, expected, step)
        assert_equal(ours, theirs)


@pytest.mark.parametrize("is_of_torch", [True, False])
def test_a_state_goes_on_where_it_was_kept_that_of_torch_too(is_of_torch: bool) -> None:
    ours, optimiser, theirs, expected = pair()
    for step in range(6):
        update(ours, optimiser, step)
        update(theirs, expected, step)
    state = copy.deepcopy((expected if is_of_torch else optimiser).state_dict())
    weights = [nn.Parameter(each.detach().clone()) for each in ours]
    other = AdamW(groups_of(weights), BETAS)
    other.load_state_dict(state)
    for step in range(6, 12):
        update(weights, other, step)
        update(theirs, expected, step)
        assert_equal(weights, theirs)


def test_a_group_without_a_gradient_stays_as_it_is() -> None:
    parameters = make_parameters(2)
    before = [each.detach().clone() for each in parameters]
    optimiser = AdamW(groups_of(parameters), BETAS)
    optimiser.zero_grad()
    optimiser.step()
    assert optimiser.state_dict()["state"] == {}
    assert all(torch.equal(one, other) for one, other in zip(parameters, before, strict=True))


def test_the_compiler_of_torch_is_not_imported() -> None:
    code = """
import sys, torch
from torch import nn
from teddy.training.learning.torch_setup import make_optimiser
network = nn.Linear(2, 2)
optimiser = make_optimiser(network, 0.1, 0.1)
optimiser.zero_grad()
network(torch.ones(1, 2)).sum().backward()
optimiser.step()
optimiser.load_state_dict(optimiser.state_dict())
print("torch._dynamo" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"
