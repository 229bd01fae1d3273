"""A trained tagger that teaches another: it says what it expects of the tags of sentences."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from teddy.model.batching import make_batch
from teddy.model.bundle import TrainingData, read_bundle
from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.export import from_archive
from teddy.model.features import WordFeatures
from teddy.model.labels import TagSet
from teddy.model.network import Network
from teddy.model.pieces import Pieces
from teddy.training.checkpoint import load_checkpoint
from teddy.training.device import autocast
from teddy.training.distribution import Expectations, expectations
from teddy.training.start import credits_of, find_start


class Teacher:
    """A network that is not trained any more, with its own features of words; see the head of this file."""

    def __init__(
        self,
        network: Network,
        features: WordFeatures,
        tag_set: TagSet,
        training_data: tuple[TrainingData, ...] = (),
    ) -> None:
        """`training_data` is what it was made from, which whoever learns from it owes its credit to."""
        self.network = network.eval().requires_grad_(False)
        self.features = features
        self.tag_set = tag_set
        self.training_data = training_data

    def places_in(self, tag_set: TagSet, *, forbids: bool, name: str) -> list[int]:
        """Where each of the teacher's tags stands among those of a student, which may know more of them.

        `forbids` says whether the student forbids transitions. Raises TrainingError, with the teacher's name, when the
        student lacks a label or when the teacher holds for possible what the student forbids.
        """
        if not set(self.tag_set.labels) <= set(tag_set.labels):
            theirs, ours = ", ".join(self.tag_set.labels), ", ".join(tag_set.labels)
            raise TrainingError(f"{name}: this teacher's labels are {theirs}; a student of {ours} cannot learn from it")
        if forbids and not bool(self.network.crf.transition_forbidden.any()):
            raise TrainingError(f"{name}: a teacher with network.decoder softmax cannot teach a student with a crf")
        return [tag_set.index(tag) for tag in self.tag_set.tags]

    def expectations(
        self,
        sentences: Sequence[Sequence[str]],
        temperature: float,
        *,
        device: torch.device,
        mixed_precision: str,
    ) -> Expectations:
        """What it expects of the tags of sentences of words, none empty, in the order of its own tags."""
        batch = make_batch(sentences, self.features).to(device)
        with torch.inference_mode(), autocast(mixed_precision, device):
            emissions = self.network.emissions(batch.rows, batch.starts, batch.words, batch.lengths)
        # Outside that mode, for a loss cannot be made of tensors that were made inside.
        with torch.no_grad():
            return expectations(self.network.crf, emissions, batch.lengths, temperature)


def placed(expected: Expectations, places: Sequence[int], n_tags: int) -> Expectations:
    """The same among `n_tags` tags, the first of its own at `places[0]` and so on; the others are not expected."""
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
    """The teacher that `distill.teachers` names: a model file or a checkpoint below `data`, or the model that ships.

    Raises ModelFileError for any other.
    """
    path = find_start(name, data)
    if path.suffix == ".checkpoint":
        checkpoint = load_checkpoint(path)
        network, features, tag_set = checkpoint.build()
        return Teacher(network, features, tag_set, credits_of(checkpoint))
    bundle = read_bundle(path)
    manifest = bundle.manifest
    tag_set = TagSet(manifest.labels)
    features = WordFeatures(Pieces(bundle.pieces), manifest.features, bundle.words)
    network = Network(manifest.network, features.n_rows, tag_set)
    # The scripted network serves; its weights in an eager one can run in half precision on any device.
    try:
        network.load_state_dict(from_archive(bundle.archive).state_dict())
    except RuntimeError as error:
        raise ModelFileError(
            path, f"its weights are of another version ({str(error).splitlines()[-1].strip()})"
        ) from error
    return Teacher(network, features, tag_set, manifest.training_data)
