"""A made-up task for memory: "The cat , which ... , was" but "The cats , which ... , were".

Between the noun and the verb stand `gap` words, other nouns of either number among them, so that a
network must remember the first noun and no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from teddy.model.config import CellName
from teddy.model.network.cells import Recurrence, make_recurrence

NOUNS = (("cat", "cats"), ("dog", "dogs"), ("bear", "bears"), ("child", "children"))
_FILLING = "saw near the old house by a river and then slept under"
FILLERS = tuple(_FILLING.split())
VERBS = ("was", "were")
WORDS = ("The", ",", "which", *(word for pair in NOUNS for word in pair), *FILLERS, *VERBS)
_COMMA, _WHICH = 1, 2
_FIRST_NOUN, _LAST_FILLER = 3, len(WORDS) - len(VERBS)
WIDTH = 32
"""Of word vectors and of hidden states."""
_BATCH = 32
_LEARNT = 0.05
"""Training ends early once the loss of ten updates in a row is below."""


def make_sentences(gap: int, n: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw sentences up to the word before the verb, and which verb is right.

    Shape: int64 [gap + 2, n], places in `WORDS`; int64 [n], places in `VERBS`.
    """
    number = torch.randint(2, (n,), generator=random)
    noun = torch.randint(len(NOUNS), (n,), generator=random)
    words = torch.randint(_FIRST_NOUN, _LAST_FILLER, (gap + 2, n), generator=random)
    words[0] = 0
    words[1] = _FIRST_NOUN + 2 * noun + number
    if gap >= 3:
        words[2], words[3], words[-1] = _COMMA, _WHICH, _COMMA
    return words, number


def verb_places(verbs: Tensor) -> Tensor:
    """Return the places in `WORDS` of verbs. Shape: int64 [n] -> [n]."""
    return verbs + _LAST_FILLER


class Reader(nn.Module):
    """Word vectors, one recurrent layer, and a choice between the verbs at the last word."""

    def __init__(self, cell: CellName, recurrence: Recurrence | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(WORDS), WIDTH)
        self.recurrence = recurrence or make_recurrence(cell, WIDTH, WIDTH)
        self.verb = nn.Linear(WIDTH, len(VERBS))

    def forward(self, words: Tensor) -> Tensor:
        """Shape: [time, n] -> [n, 2]."""
        scores: Tensor = self.verb(self.recurrence(self.embedding(words))[-1])
        return scores


@dataclass(frozen=True, slots=True)
class Learnt:
    """A trained reader, and how often it chooses the right verb in new sentences."""

    reader: Reader
    accuracy: float
    n_updates: int


def learn(
    cell: CellName, gaps: Sequence[int], seed: int, n_updates: int, n_test: int = 500
) -> list[Learnt]:
    """Train a reader on sentences of these gaps, and test it on each of them.

    All gaps of a reader come equally often; for one reader a gap, call this once a gap.
    """
    torch.manual_seed(seed)
    random = torch.Generator().manual_seed(seed)
    reader = Reader(cell)
    optimiser = torch.optim.Adam(reader.parameters(), lr=0.01)
    step = low = 0
    while step < n_updates and low < 10:
        gap = gaps[step % len(gaps)]
        words, verbs = make_sentences(gap, _BATCH, random)
        loss = functional.cross_entropy(reader(words), verbs)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
        optimiser.step()
        step += 1
        low = low + 1 if loss.item() < _LEARNT else 0
    return [Learnt(reader, accuracy(reader, gap, n_test, random), step) for gap in gaps]


@torch.no_grad()
def accuracy(reader: Reader, gap: int, n: int, random: torch.Generator) -> float:
    """Return how often a reader chooses the right verb in `n` new sentences."""
    words, verbs = make_sentences(gap, n, random)
    right: Tensor = reader(words).argmax(dim=1) == verbs
    return right.float().mean().item()
