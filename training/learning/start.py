"""What a network starts from: a trained embedding and encoder, or a model that learns on.

They come from pre-training (`NAME.encoder`, written by `teddy pretrain`), from a model file
(`NAME.teddy`, whose entities may be others) or from a checkpoint. Pieces and whole words come with
them, since an embedding's rows mean nothing without; emissions and CRF start from scratch, unless a
model is updated.

An update is a training run like any other, of a recipe that `open_update` completes: the labels are
those of the model and then the recipe's own; the shape is the model's; old corpora stand among the
others, each with the labels that it annotates; and the model as it was teaches what it becomes
(learning without forgetting, Li & Hoiem 2017; for entities, Monaikul et al. 2021), as
`teddy.training.learning.distill` does it. The completed recipe is saved in the run's directory;
completing it once more changes nothing. Old data are mixed into each epoch (rehearsal, Robins
1995).
"""

import hashlib
import tomllib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from teddy.model.config import FeatureConfig, NetworkConfig
from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.features.lexicon import Lexicon
from teddy.model.file.bundle import Bundle, Manifest, TrainingData, read_bundle
from teddy.model.file.shipped import shipped_models
from teddy.model.network.torchscript import from_archive
from teddy.model.system.toml import dotted, first_problem
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.measurements import joined_credits, read_measurements
from teddy.training.learning.checkpoint import (
    Checkpoint,
    load_checkpoint,
    read_torch_file,
    write_torch_file,
)
from teddy.training.recipe.corpus_config import CorpusConfig
from teddy.training.recipe.fitting import SHAPE, with_shape
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import DistillConfig, UpdateConfig

_FORMAT = "teddy-encoder-1"
_SHARED = ("embedding", "normalisation.", "encoder.")
_HEAD = ("emission.weight", "emission.bias", "crf.transition", "crf.first", "crf.last")
"""The weights with a row, or a row and a column, for each tag."""


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
    """The data that they were learnt from, which a model that starts here must credit."""
    labels: tuple[str, ...] = ()
    """The labels of `head`; none in an encoder file."""
    head: dict[str, Tensor] = field(default_factory=dict)
    """The weights of emissions and CRF, by the names in `_HEAD`; float32."""
    lexicon: bytes = b""
    """A `teddy.model.features.lexicon.Lexicon`; empty without one."""

    def with_words(self, most: int) -> Self:
        """Return the weights with rows for no more than `most` words, the first ones."""
        n_dropped = max(0, len(self.words) - most)
        embedding = self.weights["embedding"]
        end = len(embedding) - Lexicon(self.lexicon).n_classes
        rows = torch.cat([embedding[: end - n_dropped], embedding[end:]])
        return replace(
            self,
            features=replace(self.features, word_rows=most),
            words=self.words[:most],
            weights={**self.weights, "embedding": rows},
        )

    def with_lexicon(self, lexicon: bytes) -> Self:
        """Return the weights with rows of zeros for a lexicon; TrainingError if they have one."""
        if lexicon in (b"", self.lexicon):
            return self
        if self.lexicon:
            reason = "the weights to start from have another lexicon than [[lexicon]]: leave it out"
            raise TrainingError(reason)
        embedding = self.weights["embedding"]
        rows = embedding.new_zeros(Lexicon(lexicon).n_classes, embedding.shape[1])
        weights = {**self.weights, "embedding": torch.cat([embedding, rows])}
        return replace(self, lexicon=lexicon, weights=weights)

    def put_into(self, network: nn.Module, tag_set: TagSet | None = None) -> None:
        """Copy the weights over the network's own; emissions and CRF stay as they are.

        With the network's `tag_set`, which must have all of `labels`, they get the rows of these
        labels too; those of others stay.

        Raises TrainingError for weights of other names or sizes, as in a file whose parts do not
        belong together.
        """
        state = network.state_dict()
        rest = {name: each for name, each in state.items() if not name.startswith(_SHARED)}
        try:
            if tag_set is not None:
                places = torch.tensor([tag_set.index(tag) for tag in TagSet(self.labels).tags])
                for name, rows in self.head.items():
                    at = (places.unsqueeze(1), places) if name == "crf.transition" else (places,)
                    rest[name] = rest[name].index_put(at, rows)
            network.load_state_dict({**rest, **self.weights})
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise TrainingError(
                f"the weights to start from do not fit the shape that they state: {reason}"
            ) from error

    def save(self, path: Path) -> None:
        """Write an encoder file, weights in 16 bits, whole or not at all."""
        content = {
            "format": _FORMAT,
            "features": asdict(self.features),
            "network": asdict(self.network),
            "pieces": self.pieces,
            "words": "\n".join(self.words),
            "lexicon": self.lexicon,
            "weights": {name: tensor.half() for name, tensor in self.weights.items()},
            "training_data": [asdict(each) for each in self.training_data],
        }
        write_torch_file(path, content)


def find_weights(name: str, data: Path) -> Path:
    """Return the file that `start.weights` and `distill.teachers` name.

    It is below the data directory, as all files of a recipe; or below the working directory, where
    another run may have just made it (`runs/encoder-en/encoder-en.encoder`); or a model that ships,
    by its name.
    """
    below = data / name
    if below.exists():
        return below
    if Path(name).is_file():
        return Path(name)
    return shipped_models().get(name, below)


def open_start(recipe: Recipe, data: Path) -> tuple[Recipe, PretrainedWeights]:
    """Return the weights that `start.weights` names, and the recipe with their shape.

    Raises ModelFileError for a file of another kind, and TrainingError when the recipe describes
    another shape than theirs: a key of it that is neither the default nor what the file has.
    """
    path = find_weights(recipe.start.weights, data)
    start = load_weights(path)
    if recipe.features.word_rows in range(1, start.features.word_rows):
        start = start.with_words(recipe.features.word_rows)
    completed = with_shape(recipe, start.features, start.network)
    if misfit := next(_differences(completed, start, SHAPE), None):
        key, asked, found = misfit
        raise TrainingError(
            f"{path}: its {key} is {found}, the recipe says {asked}: weights to start from have a "
            "shape of their own; leave the key out"
        )
    return completed, start


def _differences(
    recipe: Recipe, other: Recipe | PretrainedWeights, shape: Sequence[str]
) -> Iterator[tuple[str, object, object]]:
    """Yield the keys of features and network that differ, and both values."""
    keys = {"features": [each.name for each in fields(FeatureConfig)], "network": shape}
    for table, names in keys.items():
        for name in names:
            one, another = (getattr(getattr(each, table), name) for each in (recipe, other))
            if one != another:
                yield f"{table}.{name}", one, another


def load_weights(path: Path) -> PretrainedWeights:
    """Read an encoder file, a model file or a checkpoint. Raises ModelFileError for any other."""
    if path.suffix == ".teddy":
        bundle = read_bundle(path)
        weights, credit = from_archive(bundle.archive).state_dict(), bundle.manifest.training_data
        return _of_tagger(bundle.manifest, bundle, weights, credit)
    if path.suffix == ".checkpoint":
        found = load_checkpoint(path)
        return _of_tagger(found, found, found.weights, credits_of(found))
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
            lexicon=content.get("lexicon", b""),
            weights={name: tensor.float() for name, tensor in content["weights"].items()},
            training_data=tuple(TrainingData(**each) for each in content["training_data"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(path, f"an encoder file without all of its parts ({error})") from error


def _of_tagger(
    shape: Manifest | Checkpoint,
    parts: Bundle | Checkpoint,
    weights: dict[str, Tensor],
    training_data: tuple[TrainingData, ...],
) -> PretrainedWeights:
    return PretrainedWeights(
        features=shape.features,
        network=shape.network,
        pieces=parts.pieces,
        words=parts.words,
        lexicon=parts.lexicon,
        weights=shared_weights(weights),
        training_data=training_data,
        labels=shape.labels,
        head={name: weights[name].float() for name in _HEAD},
    )


def credits_of(checkpoint: Checkpoint) -> tuple[TrainingData, ...]:
    """Return all that the weights of a checkpoint were learnt from, in its own run and before.

    The corpora of its own run are counted only when that has ended.
    """
    if checkpoint.card:
        own = read_measurements(checkpoint.card).training_data
    else:
        own = tuple(
            TrainingData(name=each["name"], licence=each["licence"], source=each.get("source", ""))
            for each in tomllib.loads(checkpoint.recipe)["corpus"]
            if each.get("train")
        )
    return joined_credits(checkpoint.inherited, own)


def shared_weights(weights: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights of the `Backbone` among those of a network, as float32."""
    return {name: tensor.float() for name, tensor in weights.items() if name.startswith(_SHARED)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The completed recipe of an update, and the weights to start from."""

    recipe: Recipe
    start: PretrainedWeights
    notes: tuple[str, ...]
    """Lines to show: what the model overrides in the recipe, and what is missing."""


def open_update(recipe: Recipe, config: UpdateConfig, data: Path) -> Update:
    """Return what the recipe's `[update]` table, `config`, describes, with its files below `data`.

    Raises ModelFileError for a file that is neither a model nor a checkpoint, or not the one that
    the recipe was completed with, and TrainingError where the completed recipe contradicts itself.
    """
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
    distill = recipe.distill or (DistillConfig() if config.predictions else None)
    if distill is not None and not distill.teachers:
        distill = distill.model_copy(update={"teachers": (config.model,)})
    shape = {name: getattr(start.network, name) for name in (*SHAPE, "decoder")}
    stated = recipe.model_fields_set - {"embedding"}
    values: dict[str, Any] = {
        **{name: getattr(recipe, name) for name in Recipe.model_fields if name in stated},
        "labels": (*start.labels, *(label for label in recipe.labels if label not in start.labels)),
        "corpus": (*own, *old),
        "update": config.model_copy(update={"rehearse": rehearse, "rehearsal": ()}),
        "features": start.features,
        "network": replace(recipe.network, **shape),
        "start": recipe.start.model_copy(update={"weights": ""}),
        "distill": distill,
    }
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        location, reason = first_problem(error, Recipe)
        raise TrainingError(f"{dotted(location)}: {reason}") from error


def _annotating(corpus: CorpusConfig, labels: tuple[str, ...]) -> CorpusConfig:
    """Return the corpus; if it does not state what it annotates, with `labels`: all there were."""
    stated = corpus.annotates is not None
    return corpus if stated else corpus.model_copy(update={"annotates": labels})


def _notes(recipe: Recipe, completed: Recipe, path: Path) -> Iterator[str]:
    """Yield what the recipe states and the model has otherwise, and what it lacks."""
    for key, asked, taken in _differences(recipe, completed, (*SHAPE, "decoder")):
        yield f"{key} is {taken}, as in {path}; not {asked}"
    if recipe.start.weights:
        yield f"start.weights is {path}; not {recipe.start.weights}"
    rehearses = completed.update and completed.update.rehearse
    if not rehearses and not (completed.distill and completed.distill.text):
        yield (
            "neither old corpora nor text: what was learnt before will be forgotten where the new "
            "texts are unlike it"
        )
    if recipe.embedding.vectors:
        yield f"embedding.vectors is left out: {path} has an embedding"


def rehearsed(corpora: Sequence[Corpus], old: Collection[str], share: float) -> list[Corpus]:
    """Return the corpora, with the old ones, by name, weighed to a share of the words of an epoch.

    They are never weighed more than they were: an old corpus that is small would be learnt by
    heart.
    """
    words = {corpus.name: corpus.weight * corpus.n_train_words for corpus in corpora}
    old_words = sum(words[corpus.name] for corpus in corpora if corpus.name in old)
    new_words = sum(words[corpus.name] for corpus in corpora if corpus.name not in old)
    if not old_words or not new_words:
        return list(corpora)
    factor = min(1.0, share / (1.0 - share) * new_words / old_words)
    return [
        replace(each, weight=each.weight * factor) if each.name in old else each for each in corpora
    ]
