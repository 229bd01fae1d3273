"""Distributions of words over the classes of a token classifier, as one over our tags.

A token classifier gives each word, by itself, a distribution over its own classes, such as `B-PER`
or `I-PER`. A sequence of classes drawn from these is read as conlleval reads tags: an entity begins
where the label changes, at `B` and `S`, and behind `E` and `S`. Whatever the scheme, each sequence,
well-formed or not, so has one reading in our tags, and the classifier's distribution is that of the
readings. Nothing is renormalised: the probability that a word has a label is the sum of the
classifier's. With p_t the distribution of word t, and cont(c, d) = 1 where an entity of class c
goes on in the class d of the next word,

    opens_t(c)  = 1 - sum_b p_t-1(b) cont(b, c)        closes_t(c) = 1 - sum_d cont(c, d) p_t+1(d)
    P(B at t)   = sum_c p_t(c) opens_t(c) (1 - closes_t(c)), over the classes c of the label,

and alike for I, E, S and for pairs of tags, since the classes of words are independent.

Letters: B sentences of at most T words, C classes, K tags.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from teddy.model.errors import ModelFileError
from teddy.model.tags.tag_set import TagSet
from teddy.training.learning.teacher import Expectations

_OUTSIDE = "O"
_POSITIONS = str.maketrans("MLUW", "IESS")
"""What other schemes than BIOES call the positions in an entity."""


@dataclass(frozen=True, slots=True)
class ClassReading:
    """What the classes of a model mean: for each its label (None: outside) and its position.

    The position is B, I, E or S, or a space where the model's labels have none.
    """

    labels: tuple[str | None, ...]
    positions: tuple[str, ...]

    def goes_on(self, before: int, after: int) -> bool:
        """Tell whether an entity of the first class goes on in the second."""
        label = self.labels[before]
        return (
            label is not None
            and label == self.labels[after]
            and self.positions[before] not in "ES"
            and self.positions[after] not in "BS"
        )


def read_classes(names: Sequence[str], label_map: Mapping[str, str]) -> ClassReading:
    """Return what class names such as `B-PER` or `PER` mean; `label_map` is without prefixes.

    Prefixes are read where all names but that of the outside have one.
    """
    outside = {name for name in names if label_map.get(name, name) == _OUTSIDE}
    split = [re.fullmatch(r"([BIESMLUW])[-_](.+)", name) for name in names]
    is_prefixed = all(each or name in outside for each, name in zip(split, names, strict=True))
    labels: list[str | None] = []
    positions = []
    for name, each in zip(names, split, strict=True):
        prefix, label = (each[1], each[2]) if is_prefixed and each else (" ", name)
        label = _OUTSIDE if name in outside else label_map.get(label, label)
        labels.append(None if label == _OUTSIDE else label)
        positions.append(prefix.translate(_POSITIONS))
    return ClassReading(tuple(labels), tuple(positions))


def check_labels(reading: ClassReading, labels: Sequence[str], file: Path) -> None:
    """Raise ModelFileError for labels that are not of a recipe, or if none is known."""
    unknown = dict.fromkeys(label for label in reading.labels if label and label not in labels)
    if unknown:
        raise ModelFileError(
            file,
            f"its labels {', '.join(unknown)} are not in the recipe: map each by distill.map, or "
            "--map FROM=TO, to a label or to O",
        )
    if not any(reading.labels):
        raise ModelFileError(file, "it knows none of the labels of the recipe")


def expectations_of_classes(
    classes: Tensor, lengths: Tensor, reading: ClassReading, tag_set: TagSet
) -> Expectations:
    """Return what the readings of independent classes expect.

    Shape: `classes` [B, T, C] are distributions, `lengths` int64 [B] at least 1.
    """
    n_classes, n_tags = len(reading.labels), len(tag_set.tags)
    at_words = torch.arange(classes.shape[1], device=classes.device) < lengths.unsqueeze(1)
    p = classes.double().masked_fill(~at_words.unsqueeze(2), 0.0)
    cont = torch.tensor(
        [[reading.goes_on(i, j) for j in range(n_classes)] for i in range(n_classes)],
        dtype=torch.float64,
        device=p.device,
    )
    # Which tag a class is read as, by whether an entity opens and closes there: [C, K] each.
    read = {
        status: torch.zeros(n_classes, n_tags, dtype=torch.float64, device=p.device)
        for status in "BIES"
    }
    for number, label in enumerate(reading.labels):
        for status, table in read.items():
            table[number, 0 if label is None else tag_set.index(f"{status}-{label}")] = 1.0
    zeros = p.new_zeros(p.shape[0], 1, n_classes)
    opens = 1.0 - torch.cat((zeros, p[:, :-1] @ cont), dim=1)
    closes = 1.0 - torch.cat((p[:, 1:] @ cont.T, zeros), dim=1)
    unary = (
        (p * opens * (1.0 - closes)) @ read["B"]
        + (p * (1.0 - opens) * (1.0 - closes)) @ read["I"]
        + (p * (1.0 - opens) * closes) @ read["E"]
        + (p * opens * closes) @ read["S"]
    )
    before, after = p[:, :-1], p[:, 1:]
    opens, closes = opens[:, :-1], closes[:, 1:]
    # Between two words an entity goes on, or none does: then the first closes, the second opens.
    pairs = p.new_zeros(p.shape[0], n_tags, n_tags)
    for link, first, second in (
        (cont, ("B", "I"), ("I", "E")),
        (1.0 - cont, ("S", "E"), ("B", "S")),
    ):
        # How often class i, read so, stands before class j, read so: [B, C, C].
        for left, left_weight in zip(first, (opens, 1.0 - opens), strict=True):
            for right, right_weight in zip(second, (1.0 - closes, closes), strict=True):
                counts = (before * left_weight).transpose(1, 2) @ (after * right_weight)
                pairs += read[left].T @ (counts * link) @ read[right]
    return Expectations(unary=unary, pairs=pairs)
