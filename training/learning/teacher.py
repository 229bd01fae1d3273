"""A trained tagger that teaches another: its distribution over the tags of sentences.

The cross-entropy of a student p against a teacher q, both linear chains over the same tags, summed
over all paths y, is

    H(q, p) = - sum_y q(y) log p(y)
            = log Z_p - sum_t sum_k q(y_t = k) emission[t, k] - sum_jk n_jk transition[j, k]
              - sum_k q(y_0 = k) first[k] - sum_k q(y_L-1 = k) last[k]

where n_jk is how often q expects tag k right after tag j. The student's transition scores do not
depend on the place, so that the teacher's marginals and its expected number of each transition are
all that the student can learn from it (knowledge distillation, Hinton et al. 2015; of structures,
Wang et al. 2020). The sum is exact.

Where the student knows labels that the teacher does not, p is taken on the condition that no word
has one of them: Z_p then sums over the paths of the tags that both know, and nothing else changes.
The student learns to choose among the old tags as the teacher does, and learns nothing about how
probable the new ones are: an O of the teacher may well be one of them (see Monaikul et al. 2021,
where such words are left to the new annotation).

Letters: B rows (sentences) of a batch, T words of the longest row, K tags.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.features.batching import make_batch
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData, read_bundle
from teddy.model.network.crf import ConditionalRandomField, LogPartition, forward_backward
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import from_archive
from teddy.model.tags.tag_set import TagSet
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.start import credits_of, find_weights
from teddy.training.learning.torch_setup import autocast


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """The expectations of a distribution over the paths of each row.

    Shape, float64: `unary` [B, T, K] is the probability of each tag at each word, zero at padding;
    `pairs` [B, K, K] the expected number of times that tag k stands right after tag j, `j` first.
    """

    unary: Tensor
    pairs: Tensor

    def to(self, device: torch.device) -> "Expectations":
        """Return the same on a device."""
        return Expectations(unary=self.unary.to(device), pairs=self.pairs.to(device))


def expectations(
    crf: ConditionalRandomField, emissions: Tensor, lengths: Tensor, temperature: float = 1.0
) -> Expectations:
    """Return what the field expects, its scores divided by `temperature` and by its own.

    Shape: emissions [B, T, K] of any floating type, lengths int64 [B] of at least 1.
    """
    cooling = 1.0 / (crf.temperature.double() * temperature)
    transition, first, last = (scores * cooling for scores in crf.potentials())
    scaled = emissions.double() * cooling
    weights = (scaled - scaled.amax(dim=2, keepdim=True)).exp()
    inner = transition.exp()
    alpha, beta, inside, _, _ = forward_backward(weights, lengths, inner, first.exp(), last.exp())
    at_words = torch.arange(emissions.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    posterior = alpha * beta
    unary = posterior / posterior.sum(dim=2, keepdim=True).clamp_min(1e-300)
    before, after = alpha[:, :-1], inside[:, 1:]
    mass = ((before @ inner) * after).sum(dim=2, keepdim=True).clamp_min(1e-300)
    # Padding is filled, not multiplied by zero: what stands there may be anything, infinite too.
    before = (before / mass).masked_fill(~at_words[:, 1:].unsqueeze(2), 0.0)
    after = after.masked_fill(~at_words[:, 1:].unsqueeze(2), 0.0)
    return Expectations(
        unary=unary.masked_fill(~at_words.unsqueeze(2), 0.0),
        pairs=(before.transpose(1, 2) @ after) * inner,
    )


def mean_expectations(several: Sequence[Expectations]) -> Expectations:
    """Return what the mixture of several distributions of equal weight expects: an ensemble."""
    return Expectations(
        unary=torch.stack([each.unary for each in several]).mean(dim=0),
        pairs=torch.stack([each.pairs for each in several]).mean(dim=0),
    )


def cross_entropy(
    crf: ConditionalRandomField,
    emissions: Tensor,
    lengths: Tensor,
    expected: Expectations,
    temperature: float = 1.0,
    known: Tensor | None = None,
) -> Tensor:
    """Return H(q, p) of each row; p has the field's scores divided by `temperature`.

    `known`, bool [K], are the tags that q knows, by default all. p is then without the others,
    which q must not expect. The result is multiplied by the square of the temperature, which keeps
    the size of the gradient (Hinton et al. 2015). The field's own calibration plays no part: it is
    fitted when training has ended.

    Shape: emissions [B, T, K] of any floating type, lengths int64 [B] of at least 1 -> float64 [B];
    never below the entropy of q.
    """
    cooling = 1.0 / temperature
    scaled = emissions.double() * cooling
    transition, first, last = (scores * cooling for scores in crf.potentials())
    allowed = (
        torch.ones_like(scaled, dtype=torch.bool) if known is None else known.expand_as(scaled)
    )
    log_partition: Tensor = LogPartition.apply(  # type: ignore[no-untyped-call]
        scaled, allowed, lengths, transition, first, last
    )
    at_words = torch.arange(emissions.shape[1], device=lengths.device) < lengths.unsqueeze(1)
    expected_emission = (expected.unary * scaled.masked_fill(~at_words.unsqueeze(2), 0.0)).sum(
        dim=(1, 2)
    )
    # The learnt scores, not the potentials: -inf times the zero expected of a forbidden transition
    # is no number.
    at_last = (lengths - 1).view(-1, 1, 1).expand(-1, 1, emissions.shape[2])
    ending = expected.unary.gather(1, at_last).squeeze(1)
    expected_rest = (
        (expected.pairs * crf.transition.double()).sum(dim=(1, 2))
        + (expected.unary[:, 0] * crf.first.double()).sum(dim=1)
        + (ending * crf.last.double()).sum(dim=1)
    )
    return (log_partition - expected_emission - expected_rest * cooling) * temperature**2


class AnyTeacher(Protocol):
    """What can teach, whatever it is made of."""

    @property
    def tag_set(self) -> TagSet:
        """Its tags."""
        ...

    @property
    def training_data(self) -> tuple[TrainingData, ...]:
        """The data that it was made from, which a student must credit."""
        ...

    @property
    def digest(self) -> bytes:
        """A digest of all that its expectations depend on."""
        ...

    def to(self, device: torch.device) -> None:
        """Move it to a device."""
        ...

    def places_in(self, tag_set: TagSet, *, forbids: bool, name: str) -> list[int]:
        """See `Teacher.places_in`."""
        ...

    def expectations(
        self,
        sentences: Sequence[tuple[str, ...]],
        temperature: float,
        *,
        device: torch.device,
        mixed_precision: str,
    ) -> Expectations:
        """Return what it expects of sentences of words, none empty, in the order of its tags."""
        ...


@dataclass(frozen=True, slots=True)
class Teacher:
    """A trained network with its own features and tags."""

    network: Network
    features: WordFeatures
    tag_set: TagSet
    training_data: tuple[TrainingData, ...] = ()
    """The data that it was made from, which a student must credit."""
    configuration: str = ""
    """Of the network, in words: two of the same weights may differ in it."""

    def __post_init__(self) -> None:
        self.network.eval().requires_grad_(False)

    @property
    def digest(self) -> bytes:
        """Return a digest of all that its expectations depend on."""
        found = hashlib.sha256(self.features.pieces.serialised)
        parts = (self.features.config, self.features.words, self.tag_set.labels)
        found.update(repr((parts, self.configuration)).encode())
        for name, weights in sorted(self.network.state_dict().items()):
            found.update(f"{name} {weights.dtype} {tuple(weights.shape)}".encode())
            found.update(weights.cpu().reshape(-1).view(torch.uint8).numpy())
        return found.digest()

    def to(self, device: torch.device) -> None:
        """Move the network to a device."""
        self.network.to(device)

    def places_in(self, tag_set: TagSet, *, forbids: bool, name: str) -> list[int]:
        """Return the place of each of the teacher's tags among those of a student.

        The student may have more tags; `forbids` says whether it forbids transitions. Raises
        TrainingError, with the teacher's name, when the student lacks a label, or forbids
        transitions that the teacher holds for possible.
        """
        if not set(self.tag_set.labels) <= set(tag_set.labels):
            theirs, ours = ", ".join(self.tag_set.labels), ", ".join(tag_set.labels)
            raise TrainingError(
                f"{name}: this teacher's labels are {theirs}; a student of {ours} cannot learn "
                "from it"
            )
        if forbids and not bool(self.network.crf.transition_forbidden.any()):
            raise TrainingError(
                f"{name}: a teacher with network.decoder softmax cannot teach a student with a crf"
            )
        return [tag_set.index(tag) for tag in self.tag_set.tags]

    def expectations(
        self,
        sentences: Sequence[Sequence[str]],
        temperature: float,
        *,
        device: torch.device,
        mixed_precision: str,
    ) -> Expectations:
        """Return what it expects of sentences of words, none empty, in the order of its tags."""
        batch = make_batch(sentences, self.features).to(device)
        with torch.inference_mode(), autocast(mixed_precision, device):
            emissions = self.network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        # Outside that mode: a loss cannot be made of tensors that were made in it.
        with torch.no_grad():
            return expectations(self.network.crf, emissions, batch.lengths, temperature)


def placed(expected: Expectations, places: Sequence[int], n_tags: int) -> Expectations:
    """Return the same among `n_tags` tags, its own at `places`; the others are not expected."""
    if list(places) == list(range(n_tags)):
        return expected
    n_rows, width, _ = expected.unary.shape
    at = torch.tensor(places, device=expected.unary.device)
    unary = expected.unary.new_zeros(n_rows, width, n_tags)
    pairs = expected.pairs.new_zeros(n_rows, n_tags, n_tags)
    unary[:, :, at] = expected.unary
    pairs[:, at.unsqueeze(1), at] = expected.pairs
    return replace(expected, unary=unary, pairs=pairs)


def load_teacher(name: str, data: Path) -> Teacher:
    """Return a teacher that `distill.teachers` names: a model file or a checkpoint.

    Raises ModelFileError for any other file.
    """
    path = find_weights(name, data)
    if path.suffix == ".checkpoint":
        checkpoint = load_checkpoint(path)
        built = checkpoint.build()
        return Teacher(*built, credits_of(checkpoint), repr(checkpoint.network))
    bundle = read_bundle(path)
    manifest = bundle.manifest
    tag_set = TagSet(manifest.labels)
    pieces = Pieces(bundle.pieces)
    features = WordFeatures(pieces, manifest.features, bundle.words, bundle.lexicon)
    network = Network(manifest.network, features.n_rows, tag_set)
    # An eager network can run in half precision on any device, a scripted one cannot.
    try:
        network.load_state_dict(from_archive(bundle.archive).state_dict())
    except RuntimeError as error:
        raise ModelFileError(
            path, f"its weights are of another version ({str(error).splitlines()[-1].strip()})"
        ) from error
    return Teacher(network, features, tag_set, manifest.training_data, repr(manifest.network))
