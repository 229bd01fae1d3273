"""One seed fixes everything: weights, order of the sentences, dropout."""

import numpy as np
import torch


def seed_torch(seed: int) -> None:
    """Seeds torch's generators, on all devices; they are the only hidden random state here."""
    torch.manual_seed(seed)


def generator(*key: int) -> np.random.Generator:
    """A random generator that depends on the key alone, so that a resumed run draws what an uninterrupted one draws."""
    return np.random.default_rng(np.random.SeedSequence(key))
