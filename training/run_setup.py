"""What a run has before its first update: corpora, pieces, words, weights and the trainer.

What a recipe leaves to its data and to the weights that it starts from is decided here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.align import MisalignedReport
from teddy.training.data.corpora import Corpus, open_corpora
from teddy.training.data.lexicon import read_lexicon
from teddy.training.data.readers.files import find_files
from teddy.training.data.readers.guess import guesses
from teddy.training.data.source import StoredCorpora
from teddy.training.data.vocabulary import (
    WordCounts,
    WordVectors,
    choose_vectors,
    frequent_words,
    train_pieces,
)
from teddy.training.evaluation.measurements import joined_credits
from teddy.training.learning.checkpoint import Checkpoint, build_network
from teddy.training.learning.distill import Distillation, teachers_of
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from teddy.training.learning.start import (
    PretrainedWeights,
    Update,
    open_start,
    open_update,
    rehearsed,
)
from teddy.training.learning.torch_setup import (
    check_number_format,
    choose_device,
    seed_torch,
    set_threads,
)
from teddy.training.loop import Trainer
from teddy.training.recipe.fitting import FittedKey, fit_to_data
from teddy.training.recipe.recipe import Recipe

TEACHERS = "teachers"
"""The folder of a run in which what its teachers say is kept until it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """The parts of a run before its first update."""

    recipe: Recipe
    """Resolved: with the shape of the weights that it starts from, and defaults for its data."""
    fitted: tuple[FittedKey, ...]
    """The defaults that were fitted to the data; none where the run is resumed."""
    unseen_labels: tuple[str, ...]
    """Labels of the recipe without an example to learn from."""
    corpora: list[Corpus]
    misaligned: MisalignedReport
    """Gold spans that words cannot express."""
    trainer: Trainer
    inherited: tuple[TrainingData, ...]
    """The data that the initial weights, word vectors and teachers were learnt from."""
    notes: tuple[str, ...]
    """Lines about the run, to show."""
    stored: Path
    """The folder of the training sentences that memory does not hold; removed at the end."""

    @property
    def is_started(self) -> bool:
        """Whether the network starts from trained weights."""
        return bool(self.recipe.start.weights or self.recipe.update)

    def checkpoint(self) -> Checkpoint:
        """Return the state of the run as it stands now. Collective."""
        recipe, trainer = self.recipe, self.trainer
        progress = trainer.state()  # first: it completes the averaged weights
        return Checkpoint(
            labels=trainer.tag_set.labels,
            features=recipe.features,
            network=recipe.network,
            pieces=trainer.features.pieces.serialised,
            words=trainer.features.words,
            lexicon=trainer.features.lexicon.serialised,
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
    note: Callable[[str], None] = lambda _: None,
) -> RunSetup:
    """Read what the recipe names below `data`, and make the trainer of the run in `output`.

    The trainer stands where it stood at the checkpoint `earlier`, whose recipe is then `recipe`, or
    at the beginning.

    Raises DataError and RecipeError for mistakes in the files, TrainingError for what cannot be
    trained on.
    """
    start = vectors = None
    if earlier is None and update:
        start = update.start
    elif earlier is None and recipe.start.weights:
        recipe, start = open_start(recipe, data)
    config = recipe.training
    check_number_format(config.mixed_precision, recipe.network.cell, choose_device(config.device))
    # Processes need not share a disk: each has its own.
    stored = output / ("sentences" if group.is_first else f"sentences-{group.rank}")
    corpora, misaligned = _read_corpora(recipe, data, stored)
    fitted: tuple[FittedKey, ...] = ()
    if earlier is None:
        recipe, fitted = fit_to_data(recipe, _words_an_epoch(recipe, corpora))
    lexicon = read_lexicon(recipe.lexicon, data) if earlier is None else earlier.lexicon
    if start is not None:
        start = start.with_lexicon(lexicon)
    # The pieces and the words with a row of their own: inherited, or those of the training data.
    if inherited := start or earlier:
        pieces, words, lexicon = inherited.pieces, inherited.words, inherited.lexicon
    else:
        pieces, words, vectors = _vocabulary(recipe, corpora, data)
    distillation = teachers_of(recipe, corpora, data, output / TEACHERS, note)
    trainer = _make_trainer(
        recipe, corpora, pieces, words, lexicon, start, vectors, distillation, group
    )
    if earlier is not None:
        trainer.restore(earlier.weights, earlier.progress)
    before = start.training_data if start else earlier.inherited if earlier else ()
    credit = joined_credits(before, recipe.credits)
    return RunSetup(
        recipe=recipe,
        fitted=fitted,
        unseen_labels=_unseen_labels(recipe, corpora, update),
        corpora=corpora,
        misaligned=misaligned,
        trainer=trainer,
        inherited=joined_credits(credit, distillation.training_data if distillation else ()),
        notes=tuple(_notes(recipe, data, vectors, update, trainer.features)),
        stored=stored,
    )


def have_teachers_read(
    recipe: Recipe, data: Path, stored: Path, note: Callable[[str], None] = lambda _: None
) -> None:
    """Have the teachers of a recipe read all that a run of it needs, and keep it for that run.

    `stored` is a folder for sentences that memory does not hold. Raises as `set_up_run` does, and
    TrainingError for a recipe that does not say where to keep it.
    """
    update = open_update(recipe, recipe.update, data) if recipe.update else None
    recipe = update.recipe if update else recipe
    if recipe.distill is None or not recipe.distill.keep:
        raise TrainingError(
            "nothing would be left of what teachers say: the recipe needs a table [distill] with "
            'keep = "runs/teachers" or another folder'
        )
    set_threads(recipe.training.threads)
    corpora, _ = _read_corpora(recipe, data, stored)
    recipe, _ = fit_to_data(recipe, _words_an_epoch(recipe, corpora))
    distillation = teachers_of(recipe, corpora, data, None, note)
    if distillation is not None:
        distillation.fill(recipe.training.epochs)


def _read_corpora(
    recipe: Recipe, data: Path, stored: Path
) -> tuple[list[Corpus], MisalignedReport]:
    """Return the corpora and their misaligned spans; raise TrainingError where a part is empty."""
    corpora, misaligned = open_corpora(recipe, data, stored)
    if recipe.update is not None:
        corpora = rehearsed(corpora, recipe.update.rehearse, recipe.update.share)
    # Files may be there and leave one side empty, as a small holdout of few sentences does.
    if not any(corpus.train for corpus in corpora):
        raise TrainingError("the corpora have no sentences to train on")
    if not any(corpus.dev for corpus in corpora):
        raise TrainingError(
            "the corpora have no dev sentences to choose the best weights by: too small a holdout?"
        )
    return corpora, misaligned


def _notes(
    recipe: Recipe,
    data: Path,
    vectors: WordVectors | None,
    update: Update | None,
    features: WordFeatures,
) -> Iterator[str]:
    """Yield how files are read where the recipe leaves that open, and what else is decided."""
    for corpus in recipe.corpus:
        for how in guesses(find_files([*corpus.train, *corpus.dev], data), corpus):
            yield f"{corpus.name}: read as {how}"
    if vectors is not None:
        yield str(vectors)
    if features.lexicon.n_classes:
        yield f"lexicon: {features.lexicon}"
    yield from update.notes if update else ()


def _words_an_epoch(recipe: Recipe, corpora: list[Corpus]) -> float:
    """Return how many words the updates of an epoch read, those of raw text included."""
    raw = recipe.distill.words if recipe.distill and recipe.distill.text else 0
    return raw + sum(corpus.weight * corpus.n_train_words for corpus in corpora)


def _vocabulary(
    recipe: Recipe, corpora: list[Corpus], data: Path
) -> tuple[bytes, tuple[str, ...], WordVectors | None]:
    """Return the pieces of the training data, the words with a row, and the vectors of these."""
    counted = WordCounts()
    for corpus in corpora:
        for sentence in corpus.train:
            counted.add(sentence.words)
    counts, most, vectors = counted.counts, recipe.features.word_rows, None
    if file := recipe.embedding.vectors:
        vectors = choose_vectors(data / file, counts, most, recipe.tokeniser)
    words = vectors.words if vectors else frequent_words(counts, most)
    return train_pieces(counts, recipe.pieces), words, vectors


def _make_trainer(
    recipe: Recipe,
    corpora: list[Corpus],
    pieces: bytes,
    words: Sequence[str],
    lexicon: bytes,
    start: PretrainedWeights | None,
    vectors: WordVectors | None,
    distillation: Distillation | None,
    group: ProcessGroup,
) -> Trainer:
    seed_torch(recipe.seed)
    tag_set = TagSet(recipe.labels)
    network, features = build_network(
        recipe.network,
        recipe.features,
        Pieces(pieces),
        words,
        tag_set,
        lexicon=lexicon,
        transformer=recipe.transformer.model_dump() if recipe.transformer else None,
    )
    if start is not None:
        start.put_into(network, tag_set if recipe.update else None)
    if vectors is not None:
        vectors.put_into(network, features)
    config = recipe.training
    is_started = bool(recipe.start.weights or recipe.update)
    started_share = recipe.start.learning_rate_share if is_started else 1.0
    if recipe.transformer:
        started_share = recipe.transformer.learning_rate_share
    return Trainer(
        network,
        features,
        tag_set,
        corpora,
        config,
        seed=recipe.seed,
        device=choose_device(config.device),
        source=StoredCorpora(corpora, config.shuffle_window_words, config.batch_words, recipe.seed),
        started_share=started_share,
        distillation=distillation,
        augmentation=recipe.augment,
        group=group,
    )


def _unseen_labels(recipe: Recipe, corpora: list[Corpus], update: Update | None) -> tuple[str, ...]:
    """Return the labels that no training sentence has, nor a model that the run learns from."""
    if recipe.distill is not None:  # teachers may know any of the labels
        return ()
    unseen = set(recipe.labels).difference(update.start.labels if update else ())
    for corpus in corpora:
        for sentence in corpus.train:
            if not unseen:
                return ()
            unseen.difference_update(span.label for span in sentence.spans)
    return tuple(label for label in recipe.labels if label in unseen)
