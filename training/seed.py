"""One seed fixes everything: weights, order of the sentences, dropout."""

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seeds torch, the only library here with a hidden random state; everything else asks `generator`."""
    torch.manual_seed(seed)


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the key alone, so that a resumed run draws what an uninterrupted one draws."""
    return np.random.default_rng(np.random.SeedSequence(key))
