"""What a run is made of before its first update: its corpora, and a trainer that stands where it shall begin."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import MisalignedReport
from teddy.training.data.corpora import Corpus, open_corpora
from teddy.training.data.source import StoredCorpora
from teddy.training.data.vocabulary import (
    WordCounts,
    WordVectors,
    choose_vectors,
    frequent_words,
    train_pieces,
)
from teddy.training.evaluation.card import joined_credits
from teddy.training.learning.checkpoint import Checkpoint
from teddy.training.learning.distill import Distillation, open_distillation
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from teddy.training.learning.start import (
    PretrainedWeights,
    Update,
    find_weights,
    load_weights,
    rehearsed,
)
from teddy.training.learning.torch_setup import choose_device, seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """Attributes: `inherited` is what the weights had been learnt from, `misaligned` what words cannot express."""

    corpora: list[Corpus]
    misaligned: MisalignedReport
    trainer: Trainer
    inherited: tuple[TrainingData, ...]
    notes: tuple[str, ...]
    """What is worth telling whoever watches the run."""
    stored: Path
    """Where the training sentences are if memory does not hold them; of no use when the run has
    finished."""

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """The state of the run as it stands now; of several processes, all ask for it at once."""
        trainer = self.trainer
        progress = trainer.state()  # first: it completes the averaged weights
        return Checkpoint(
            labels=trainer.tag_set.labels,
            features=recipe.features,
            network=recipe.network,
            pieces=trainer.features.pieces.serialised,
            words=trainer.features.words,
            weights={name: tensor.cpu() for name, tensor in trainer.averaged.state_dict().items()},
            recipe=recipe.dump_toml(),
            progress=progress,
            card="",
            inherited=self.inherited,
        )


def set_up_run(
    recipe: Recipe,
    data: Path,
    output: Path,
    update: Update | None,
    earlier: Checkpoint | None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> RunSetup:
    """Read what the recipe names below `data`, and make the trainer of the run that `output` is the directory of.

    It stands where it stood at the checkpoint `earlier`, or at the beginning.

    Raises DataError and RecipeError for what is wrong in the files, TrainingError for what cannot
    be trained on.
    """
    # Processes need not share a disk: each has its own.
    stored = output / ("sentences" if group.is_first else f"sentences-{group.rank}")
    corpora, misaligned = open_corpora(recipe, data, stored)
    if recipe.update is not None:
        corpora = rehearsed(corpora, recipe.update.rehearse, recipe.update.share)
    _refuse_nothing(corpora)
    start = _start(recipe, data, update) if earlier is None else None
    vectors = _vectors(recipe, corpora, data) if earlier is None else None
    distillation = open_distillation(recipe, data, choose_device(recipe.training.device))
    trainer = _make_trainer(recipe, corpora, earlier, start, vectors, distillation, group)
    inherited = start.training_data if start else earlier.inherited if earlier else ()
    inherited = joined_credits(inherited, _credit_of_vectors(recipe))
    return RunSetup(
        corpora=corpora,
        misaligned=misaligned,
        trainer=trainer,
        inherited=joined_credits(inherited, distillation.training_data if distillation else ()),
        notes=(
            *_notes(corpora, stored),
            *([str(vectors)] if vectors else []),
            *(update.notes if update else ()),
        ),
        stored=stored,
    )


def _notes(corpora: Sequence[Corpus], stored: Path) -> Iterator[str]:
    """What is not usual about the sentences."""
    if stored.exists():
        yield f"too many sentences for memory, shuffled by the windowful: {stored}"
    for corpus in corpora:
        if corpus.n_dropped:
            yield (
                f"{corpus.name}: {corpus.n_dropped:,} held-out sentences are more than memory should hold, and neither "
                "learnt from nor measured on: a smaller holdout would do"
            )


def _refuse_nothing(corpora: list[Corpus]) -> None:
    """Files may be there and leave one side empty, as a small holdout of few sentences does."""
    if not any(corpus.train for corpus in corpora):
        raise TrainingError("the corpora have no sentences to train on")
    if not any(corpus.dev for corpus in corpora):
        raise TrainingError(
            "the corpora have no dev sentences to choose the best weights by: is a holdout too small?"
        )


def _make_trainer(
    recipe: Recipe,
    corpora: list[Corpus],
    earlier: Checkpoint | None,
    start: PretrainedWeights | None,
    vectors: WordVectors | None,
    distillation: Distillation | None,
    group: ProcessGroup,
) -> Trainer:
    seed_torch(recipe.seed)
    pieces, words = _lexicon(recipe, corpora, start or earlier, vectors)
    features = WordFeatures(Pieces(pieces), recipe.features, words)
    tag_set = TagSet(recipe.labels)
    network = Network(recipe.network, features.n_rows, tag_set)
    if start is not None:
        start.put_into(network, tag_set if recipe.update else None)
    if vectors is not None:
        vectors.put_into(network, features)
    trainer = Trainer(
        network,
        features,
        tag_set,
        corpora,
        recipe.training,
        seed=recipe.seed,
        device=choose_device(recipe.training.device),
        started_share=recipe.start.learning_rate_share
        if recipe.start.weights or recipe.update
        else 1.0,
        distillation=distillation,
        augmentation=recipe.augment,
        source=StoredCorpora(
            corpora, recipe.training.shuffle_window_words, recipe.training.batch_words, recipe.seed
        ),
        group=group,
    )
    if earlier is not None:
        trainer.restore(earlier.weights, earlier.progress)
    return trainer


def _start(recipe: Recipe, data: Path, update: Update | None) -> PretrainedWeights | None:
    if update is not None:
        return update.start
    if not recipe.start.weights:
        return None
    path = find_weights(recipe.start.weights, data)
    start = load_weights(path)
    start.check(recipe.features, recipe.network, path)
    return start


def _vectors(recipe: Recipe, corpora: list[Corpus], data: Path) -> WordVectors | None:
    if not recipe.embedding.vectors:
        return None
    return choose_vectors(
        data / recipe.embedding.vectors, _word_counts(corpora), recipe.features.word_rows
    )


def _credit_of_vectors(recipe: Recipe) -> tuple[TrainingData, ...]:
    table = recipe.embedding
    return (
        (TrainingData(name=table.name, licence=table.licence, source=table.source),)
        if table.vectors
        else ()
    )


def _lexicon(
    recipe: Recipe,
    corpora: list[Corpus],
    inherited: PretrainedWeights | Checkpoint | None,
    vectors: WordVectors | None,
) -> tuple[bytes, tuple[str, ...]]:
    """The pieces, and the words with a row of their own: inherited, those with vectors, or the frequent ones."""
    if inherited is not None:
        return inherited.pieces, inherited.words
    counts = _word_counts(corpora)
    words = vectors.words if vectors else frequent_words(counts, recipe.features.word_rows)
    return train_pieces(counts, recipe.pieces), words


def _word_counts(corpora: list[Corpus]) -> Counter[str]:
    counts = WordCounts()
    for corpus in corpora:
        for sentence in corpus.train:
            counts.add(sentence.words)
    return counts.counts
