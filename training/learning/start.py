"""What a network starts from: an embedding and an encoder that have learnt already, or a model that learns on.

They come from pre-training (`NAME.encoder`, written by `teddy pretrain`), from a model file
(`NAME.teddy`, whose entities may be others) or from a checkpoint. Pieces and whole words come with
them, since an embedding's rows mean nothing without; emissions and CRF are begun anew, except where
a model is updated.

An update is a training run like any other, of a recipe that `open_update` completes: the labels are
those of the model and then the recipe's own; the shape is the model's; old corpora stand among the
others, each with the labels that it annotates; and the model as it was teaches what it becomes
(learning without forgetting, Li & Hoiem 2017; for entities, Monaikul et al. 2021), in the way of
`teddy.training.learning.distill`. What is completed is saved, so that the recipe in a run's
directory says all of it; completing it once more changes nothing. Old data are mixed into each
epoch (rehearsal, Robins 1995).
"""

import hashlib
import io
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.file.bundle import TrainingData, read_bundle
from teddy.model.network.torchscript import from_archive
from teddy.model.predictor import SHIPPED_MODEL
from teddy.model.system.files import write_atomically
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.measurements import joined_credits, read_measurements
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint, read_torch_file
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.reading import dotted, first_problem
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import DistillConfig, UpdateConfig

_FORMAT = "teddy-encoder-1"
_SHARED = ("embedding", "normalisation.", "encoder.")
_HEAD = ("emission.weight", "emission.bias", "crf.transition", "crf.first", "crf.last")
"""What has a row, or a row and a column, for each tag."""
SHAPE = (
    "embedding_width",
    "normalise",
    "cell",
    "layers",
    "hidden_width",
    "bidirectional",
    "combine",
    "dense_widths",
)
"""What of a network's configuration decides the shapes of its weights and what they mean; the rest
is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedWeights:
    """An embedding, an encoder and what gives their numbers a meaning."""

    features: FeatureConfig
    network: NetworkConfig
    pieces: bytes
    words: tuple[str, ...]
    weights: dict[str, Tensor]
    """By their names in `teddy.model.network.tagger_network.Network`; float32."""
    training_data: tuple[TrainingData, ...]
    """What they were learnt from, which a model that starts here owes its credit to."""
    labels: tuple[str, ...] = ()
    """What `head` tells apart; none in an encoder file."""
    head: dict[str, Tensor] = field(default_factory=dict)
    """The weights of emissions and CRF, by the names of their rows in `_HEAD`; float32."""

    def put_into(self, network: nn.Module, tag_set: TagSet | None = None) -> None:
        """Copies the weights over the network's own; emissions and CRF stay as they are.

        With the network's `tag_set`, which must have all of `labels`, they get the rows of these
        labels too; those of others stay.

        Raises TrainingError for weights of other names or sizes, as in a file whose parts do not
        belong together.
        """
        rest = {
            name: tensor
            for name, tensor in network.state_dict().items()
            if not name.startswith(_SHARED)
        }
        try:
            head = self._head_among(tag_set, rest) if tag_set is not None else {}
            network.load_state_dict({**rest, **head, **self.weights})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise TrainingError(
                f"the weights to start from do not fit the shape that they state: {reason}"
            ) from error

    def check(self, features: FeatureConfig, network: NetworkConfig, path: Path) -> None:
        """Raises TrainingError when a recipe's tables describe another shape than the weights have."""
        for table, wanted, found, names in (
            (
                "features",
                features,
                self.features,
                tuple(each.name for each in fields(FeatureConfig)),
            ),
            ("network", network, self.network, SHAPE),
        ):
            for name in names:
                asked, there = getattr(wanted, name), getattr(found, name)
                if asked != there:
                    raise TrainingError(
                        f"{path}: its {table}.{name} is {there}, the recipe says {asked}: weights to start from need "
                        "the shape that they have"
                    )

    def _head_among(self, tag_set: TagSet, fresh: dict[str, Tensor]) -> dict[str, Tensor]:
        """The head for other tags: each row where its tag stands now, and fresh ones for those that it lacks."""
        places = torch.tensor([tag_set.index(tag) for tag in TagSet(self.labels).tags])
        grown = {name: fresh[name].clone() for name in self.head}
        for name, rows in self.head.items():
            if name == "crf.transition":
                grown[name][places.unsqueeze(1), places] = rows
            else:
                grown[name][places] = rows
        return grown

    def save(self, path: Path) -> None:
        """Writes an encoder file, weights in 16 bits, whole or not at all."""
        content = {
            "format": _FORMAT,
            "features": asdict(self.features),
            "network": asdict(self.network),
            "pieces": self.pieces,
            "words": "\n".join(self.words),
            "weights": {name: tensor.half() for name, tensor in self.weights.items()},
            "training_data": [asdict(each) for each in self.training_data],
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        write_atomically(path, stream.getvalue())


def find_weights(name: str, data: Path) -> Path:
    """The file that `start.weights` and `distill.teachers` name.

    Below the data directory, as all files of a recipe; or below the working directory, where
    another run may have just made it (`runs/encoder-en/encoder-en.encoder`); or the model that
    ships under this name.
    """
    below = data / name
    if below.exists():
        return below
    if Path(name).is_file():
        return Path(name)
    return SHIPPED_MODEL if name == SHIPPED_MODEL.stem else below


def open_start(recipe: Recipe, data: Path) -> PretrainedWeights | None:
    """Return the weights that the recipe starts from; None where it starts from random ones."""
    if not recipe.start.weights:
        return None
    path = find_weights(recipe.start.weights, data)
    start = load_weights(path)
    start.check(recipe.features, recipe.network, path)
    return start


def load_weights(path: Path) -> PretrainedWeights:
    """Reads an encoder file, a model file or a checkpoint. Raises ModelFileError for any other."""
    if path.suffix == ".teddy":
        return _from_model(path)
    if path.suffix == ".checkpoint":
        return _from_checkpoint(path)
    content = read_torch_file(path, "encoder file")
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(
            path, "neither a model file, nor a checkpoint, nor an encoder file of this version"
        )
    try:
        words = content["words"]
        if not isinstance(content["pieces"], bytes):
            raise TypeError("pieces are no bytes")
        return PretrainedWeights(
            features=FeatureConfig(**content["features"]),
            network=NetworkConfig(**content["network"]),
            pieces=content["pieces"],
            words=tuple(words.split("\n")) if words else (),
            weights={name: tensor.float() for name, tensor in content["weights"].items()},
            training_data=tuple(TrainingData(**each) for each in content["training_data"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(path, f"an encoder file without all of its parts ({error})") from error


def _from_model(path: Path) -> PretrainedWeights:
    bundle = read_bundle(path)
    weights = from_archive(bundle.archive).state_dict()
    return PretrainedWeights(
        features=bundle.manifest.features,
        network=bundle.manifest.network,
        pieces=bundle.pieces,
        words=bundle.words,
        weights=shared_weights(weights),
        training_data=bundle.manifest.training_data,
        labels=bundle.manifest.labels,
        head=_head(weights),
    )


def _from_checkpoint(path: Path) -> PretrainedWeights:
    checkpoint = load_checkpoint(path)
    return PretrainedWeights(
        features=checkpoint.features,
        network=checkpoint.network,
        pieces=checkpoint.pieces,
        words=checkpoint.words,
        weights=shared_weights(checkpoint.weights),
        training_data=credits_of(checkpoint),
        labels=checkpoint.labels,
        head=_head(checkpoint.weights),
    )


def credits_of(checkpoint: Checkpoint) -> tuple[TrainingData, ...]:
    """All that the weights of a checkpoint were learnt from, in its own run and before."""
    return joined_credits(checkpoint.inherited, _own_credits(checkpoint))


def _own_credits(checkpoint: Checkpoint) -> tuple[TrainingData, ...]:
    """The corpora of a checkpoint's recipe; they have been counted only when its run has ended."""
    if checkpoint.card:
        return read_measurements(checkpoint.card).training_data
    corpora = tomllib.loads(checkpoint.recipe)["corpus"]
    return tuple(
        TrainingData(name=each["name"], licence=each["licence"], source=each.get("source", ""))
        for each in corpora
        if each.get("train")
    )


def shared_weights(weights: dict[str, Any]) -> dict[str, Tensor]:
    """Of a network's state, what another may start from: the `tagger_network.Backbone`, as float32."""
    return {name: tensor.float() for name, tensor in weights.items() if name.startswith(_SHARED)}


def _head(weights: dict[str, Any]) -> dict[str, Tensor]:
    return {name: weights[name].float() for name in _HEAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What `open_update` found: the recipe, completed, and the network to start from."""

    recipe: Recipe
    start: PretrainedWeights
    notes: tuple[str, ...]
    """What of the recipe the model has put aside, and what is missing, for whoever watches the
    run."""


def open_update(recipe: Recipe, data: Path) -> Update | None:
    """What the recipe's `[update]` table describes, with its files below `data`; None without such a table.

    Raises ModelFileError for a file that is neither a model nor a checkpoint, or not the one that
    the recipe was completed with, and TrainingError where the completed recipe contradicts itself.
    """
    config = recipe.update
    if config is None:
        return None
    path = find_weights(config.model, data)
    start = load_weights(path)
    if not start.labels:
        raise ModelFileError(
            path, "an encoder knows no labels: start.weights takes it, there is no model to update"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if config.sha256 not in ("", digest):
        raise ModelFileError(
            path, f"not the model that this update began with (SHA-256 {config.sha256[:12]}...)"
        )
    completed = _completed(recipe, config.model_copy(update={"sha256": digest}), start)
    return Update(recipe=completed, start=start, notes=tuple(_notes(recipe, completed, path)))


def _completed(recipe: Recipe, config: UpdateConfig, start: PretrainedWeights) -> Recipe:
    own = [_annotating(corpus, recipe.labels) for corpus in recipe.corpus]
    old = [_annotating(corpus, start.labels) for corpus in config.rehearsal]
    rehearse = (*config.rehearse, *(corpus.name for corpus in old))
    values: dict[str, Any] = {
        **{
            name: getattr(recipe, name)
            for name in Recipe.model_fields
            if name in recipe.model_fields_set
        },
        "labels": (*start.labels, *(label for label in recipe.labels if label not in start.labels)),
        "corpus": (*own, *old),
        "update": config.model_copy(update={"rehearse": rehearse, "rehearsal": ()}),
        "features": start.features,
        "network": _shaped(recipe, start),
        "start": recipe.start.model_copy(update={"weights": ""}),
        "distill": _teaching(recipe, config),
    }
    values.pop("embedding", None)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        location, reason = first_problem(error, Recipe)
        raise TrainingError(f"{dotted(location)}: {reason}") from error


def _annotating(corpus: CorpusConfig, labels: tuple[str, ...]) -> CorpusConfig:
    """The corpus, saying what its silence meant: it annotates all labels that there were when it was written down."""
    return (
        corpus if corpus.annotates is not None else corpus.model_copy(update={"annotates": labels})
    )


def _shaped(recipe: Recipe, start: PretrainedWeights) -> Any:
    """The network of the recipe, its dropout for example, in the shape of the model's."""
    shape = {name: getattr(start.network, name) for name in (*SHAPE, "decoder")}
    return type(recipe.network)(**{**asdict(recipe.network), **shape})


def _teaching(recipe: Recipe, config: UpdateConfig) -> DistillConfig | None:
    if recipe.distill is None:
        return DistillConfig(teachers=(config.model,)) if config.predictions else None
    return (
        recipe.distill
        if recipe.distill.teachers
        else recipe.distill.model_copy(update={"teachers": (config.model,)})
    )


def _notes(recipe: Recipe, completed: Recipe, path: Path) -> Iterator[str]:
    """What the recipe states and the model has otherwise, and what it lacks."""
    for table, names in (
        ("features", [each.name for each in fields(FeatureConfig)]),
        ("network", [*SHAPE, "decoder"]),
    ):
        asked, taken = getattr(recipe, table), getattr(completed, table)
        for name in names:
            if getattr(asked, name) != getattr(taken, name):
                yield f"{table}.{name} is {getattr(taken, name)}, as in {path}; not {getattr(asked, name)}"
    if recipe.start.weights:
        yield f"start.weights is {path}; not {recipe.start.weights}"
    if (
        completed.update
        and not completed.update.rehearse
        and not (completed.distill and completed.distill.text)
    ):
        yield "neither old corpora nor text: what was learnt before will be forgotten where the new texts are unlike it"
    if recipe.embedding.vectors:
        yield f"embedding.vectors is left out: {path} has an embedding"


def rehearsed(corpora: Sequence[Corpus], old: Collection[str], share: float) -> list[Corpus]:
    """The corpora, with the old ones (by name) weighed so that they have this share of the words of an epoch.

    They are never weighed more than they were: an old corpus that is small would be learnt by
    heart.
    """
    old_words = sum(_words(corpus) for corpus in corpora if corpus.name in old)
    new_words = sum(_words(corpus) for corpus in corpora if corpus.name not in old)
    if not old_words or not new_words:
        return list(corpora)
    factor = min(1.0, share / (1.0 - share) * new_words / old_words)
    return [
        replace(each, weight=each.weight * factor) if each.name in old else each for each in corpora
    ]


def _words(corpus: Corpus) -> float:
    return corpus.weight * corpus.n_train_words
