"""From a checkpoint to a model file: last measurements, the canary, and a trial loading."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import (
    FORMAT_VERSION,
    CanaryEntity,
    CanaryText,
    Manifest,
    extra_files,
    read_bundle,
    seal,
)
from teddy.model.network.precision import onnx_extra
from teddy.model.network.tagger_network import Network
from teddy.model.network.torchscript import script, to_archive
from teddy.model.predictor import Predictor, load
from teddy.model.system.files import atomic_path
from teddy.model.system.toml import dotted
from teddy.model.tagger import TaggedWords, Tagger
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import Corpus, open_corpora
from teddy.training.evaluation.evaluate import Evaluation
from teddy.training.evaluation.measurements import (
    Measurements,
    evaluate_dev,
    joined_credits,
    measure_on_dev,
    read_measurements,
)
from teddy.training.export.model_card import render_card
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import CardConfig

_HALF_TOLERANCE = 0.0005
"""Weights are stored in 16 bits when that moves dev F1 by no more than this, far below the spread
of seeds."""

_TOLERANCE = 1e-5
"""Of a probability, between the two networks in 32 bits."""


def export(
    checkpoint_file: Path,
    model_file: Path,
    data: Path | None = None,
    card: CardConfig | None = None,
) -> None:
    """Write the model file of a checkpoint.

    A run that has ended has measured its best checkpoint. One that has not is measured now, which
    needs `data`, the directory that the recipe's files are relative to. `card` replaces the
    `[card]` table of the recipe: what is known of a model only when it is there, such as its limits
    and the scores of other seeds.

    Raises ModelFileError for a file that is no checkpoint, TrainingError for one without
    measurements when `data` is None, or for a card with labels that the model does not know.
    """
    checkpoint = load_checkpoint(checkpoint_file)
    if card is not None:
        checkpoint = _with_card(checkpoint, card)
    if not checkpoint.card:
        if data is None:
            raise TrainingError(
                f"{checkpoint_file} is of a run that has not ended: its scores and calibration "
                "must be measured first, give --data"
            )
        with TemporaryDirectory(prefix="teddy-") as folder:
            corpora, _ = open_corpora(recipe_of(checkpoint), data, Path(folder) / "sentences")
            checkpoint, _ = measure(checkpoint, corpora)
    write_model(checkpoint, model_file)


def _with_card(checkpoint: Checkpoint, card: CardConfig) -> Checkpoint:
    recipe = recipe_of(checkpoint)
    for location, reason in card.contradictions(recipe.labels):
        raise TrainingError(f"card.{dotted(location)}: {reason} of the checkpoint")
    return replace(checkpoint, recipe=recipe.model_copy(update={"card": card}).dump_toml())


def recipe_of(checkpoint: Checkpoint) -> Recipe:
    """Return the recipe that a checkpoint carries, resolved."""
    return Recipe.of_run(checkpoint.recipe)


def measure(checkpoint: Checkpoint, corpora: Sequence[Corpus]) -> tuple[Checkpoint, Evaluation]:
    """Return the checkpoint with its weights as stored, its temperature, and its dev scores."""
    network, features, tag_set = checkpoint.build()
    halved = _halve(network, features, tag_set, corpora)
    card, evaluation = measure_on_dev(
        network, features, tag_set, corpora, recipe_of(checkpoint).export
    )
    card = replace(
        card, halved=halved, training_data=joined_credits(checkpoint.inherited, card.training_data)
    )
    return replace(checkpoint, weights=network.state_dict(), card=card.as_json()), evaluation


def _halve(
    network: Network, features: WordFeatures, tag_set: TagSet, corpora: Sequence[Corpus]
) -> bool:
    """Round the weights to 16 bits, in place, if the dev score stays; return whether it did."""
    exact = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    before = evaluate_dev(Tagger(network, features, tag_set), corpora, worst=0).scores.micro.f1
    network.half().float()
    after = evaluate_dev(Tagger(network, features, tag_set), corpora, worst=0).scores.micro.f1
    if abs(after - before) <= _HALF_TOLERANCE:
        return True
    network.load_state_dict(exact)
    return False


def write_model(checkpoint: Checkpoint, model_file: Path) -> None:
    """Write the model file and load it, canary included, before it gets its name."""
    recipe, card = recipe_of(checkpoint), read_measurements(checkpoint.card)
    network, features, tag_set = checkpoint.build()
    manifest = _manifest(recipe, card, network)
    scripted = script(network)
    predictor = Predictor(manifest, "", "fp32", Tagger(scripted, features, tag_set))
    texts = recipe.export.canary
    canary = []
    for text, found in zip(texts, predictor.tag(texts), strict=True):
        entities = [CanaryEntity(start=e.start, end=e.end, label=e.label) for e in found]
        canary.append(CanaryText(text=text, entities=tuple(entities)))
    manifest = replace(manifest, canary=tuple(canary))
    if card.halved:
        scripted.half()
    extras = extra_files(
        manifest, checkpoint.pieces, checkpoint.words, render_card(manifest), checkpoint.lexicon
    )
    model_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(model_file) as temporary:
        temporary.write_bytes(seal(to_archive(scripted, extras)))
        load(temporary, precision="fp32")


def _manifest(recipe: Recipe, card: Measurements, network: Network) -> Manifest:
    return Manifest(
        format_version=FORMAT_VERSION,
        name=recipe.name,
        language=recipe.language,
        tokeniser_version=recipe.tokeniser_version,
        labels=recipe.labels,
        features=recipe.features,
        network=recipe.network,
        n_parameters=sum(parameter.numel() for parameter in network.parameters()),
        window_words=recipe.export.window_words,
        window_overlap=recipe.export.window_overlap,
        sentences=recipe.export.sentences,
        temperature=card.temperature,
        scores=card.scores,
        training_data=card.training_data,
        canary=(),
        reference=card.reference,
        recipe=recipe.dump_toml(),
        rules=card.rules,
    )


def export_onnx(
    source: Path, onnx_file: Path, data: Path | None = None, card: CardConfig | None = None
) -> None:
    """Write a model file, or the model of a checkpoint (see `export`), as an ONNX file.

    Raises what `export` does, MissingExtraError without `teddy[onnx]`, ModelFileError for a source
    that is ONNX already or whose ONNX network does not give the same on the canary texts; then
    nothing is written.
    """
    if source.suffix != ".checkpoint":
        write_onnx(source, onnx_file)
        return
    with TemporaryDirectory() as folder:
        model_file = Path(folder) / f"{onnx_file.stem}.teddy"
        export(source, model_file, data, card)
        write_onnx(model_file, onnx_file)


def write_onnx(model_file: Path, onnx_file: Path) -> None:
    """Write a model file as an ONNX file; raises as `export_onnx` does."""
    with onnx_extra():
        from teddy.training.export.onnx_tagger import to_onnx
    bundle = read_bundle(model_file)
    if bundle.format == "onnx":
        raise ModelFileError(model_file, "an ONNX file already")
    onnx_file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(onnx_file) as temporary:
        temporary.write_bytes(to_onnx(bundle))
        difference = first_difference(
            load(model_file, precision="fp32"), load(temporary, precision="fp32")
        )
        if difference is not None:
            raise ModelFileError(onnx_file, f"not written: {difference}")


def first_difference(torch_script: Predictor, onnx: Predictor) -> str | None:
    """Return where ONNX Runtime differs on the canary texts, together or alone; None if nowhere."""
    canary = torch_script.manifest.canary
    documents = [torch_script.prepare(each.text) for each in canary]
    together = [window for document in documents for window in document.windows]
    for windows in (together, *(document.windows for document in documents)):
        for expected, found in zip(
            torch_script.predict(windows), onnx.predict(windows), strict=True
        ):
            if list(expected.tags) != list(found.tags):
                return "ONNX Runtime gives a canary text other tags than TorchScript"
            gap = np.abs(_probabilities(expected) - _probabilities(found)).max(initial=0.0)
            if not gap <= _TOLERANCE:
                off = f"differ from TorchScript's by {gap:.1e}"
                return f"ONNX Runtime gives a canary text probabilities that {off}"
    return None


def _probabilities(words: TaggedWords) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    scores: Sequence[float] = [*words.tag_scores, *words.scores]
    return np.array(scores, dtype=np.float64)
