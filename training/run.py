"""A training run from its recipe to its model file, and the files in its output directory.

    recipe.toml          the resolved recipe
    metrics.jsonl        a row for each update and each evaluation
    timings.jsonl        what all that took, and on which machines
    curves.png           the rows, drawn
    misaligned.txt       gold spans that words cannot express
    last.checkpoint      the state to resume from
    previous.checkpoint  the one before, for when that is damaged
    best.checkpoint      the best on dev; `teddy export` reads it
    NAME.teddy           the model file; with it the run has finished
    report/              the evaluation of the model file's weights on dev
    sentences/           a large corpus, until the run ends (see training/data/store.py)
    lock                 which process works here

The pictures need matplotlib, an extra: without it a run notes that, and goes on.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from teddy.model.errors import TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.network.tagger_network import Network
from teddy.model.system.files import write_atomically
from teddy.model.system.processes import Interruption
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
from teddy.training.evaluation.measurements import joined_credits, read_measurements
from teddy.training.export.publish import measure, write_model
from teddy.training.job.job import Job
from teddy.training.job.run_directory import RunDirectory
from teddy.training.job.run_recorder import RunRecorder, Watcher
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint
from teddy.training.learning.distill import Distillation, open_distillation
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
    set_up_memory,
)
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import Recipe
from teddy.training.report.background import run_background
from teddy.training.report.figures import optional_figure
from teddy.training.report.machine import CostMeter
from teddy.training.report.writing import write_report


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSetup:
    """The parts of a run before its first update."""

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

    def checkpoint(self, recipe: Recipe) -> Checkpoint:
        """Return the state of the run as it stands now. Collective."""
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


def train(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    job: Job | None = None,
    watchers: Sequence[Watcher] = (),
    interruption: Interruption | None = None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Path:
    """Train as the recipe says on files below `data`; return the model file in `output`.

    With `resume` a stopped run goes on from its last checkpoint, to the same result as if it had
    not been stopped; where there is none, it begins. A run that has finished is left as it is.
    `job` and the `watchers` get every row; what a watcher raises ends the run.

    Raises DataError and RecipeError for mistakes in the files, DivergedError when the loss or a
    gradient is not finite or explodes, JobInterrupted when `interruption` is wanted, TrainingError
    when another process works in `output`, when it holds an unfinished run and `resume` is False,
    or a run of another recipe.
    """
    set_up_memory()
    update = open_update(recipe, recipe.update, data) if recipe.update else None
    recipe = update.recipe if update else recipe
    directory, text = RunDirectory(output), recipe.dump_toml()
    model_file = output / f"{recipe.name}.teddy"
    job, interruption = job or Job(recipe.name), interruption or Interruption()
    meter = CostMeter()
    recorder = RunRecorder(
        directory, job, watchers=watchers, interruption=interruption, group=group
    )
    with directory.locked(group), recorder.log_outcome():
        if directory.is_finished(model_file, text):
            recorder.note(f"{output} holds this run, and it has finished: nothing to do")
            recorder.restore()
            return model_file
        with interruption.at_once():
            earlier = directory.earlier(text, load_checkpoint, recorder.note, resume=resume)
            set_threads(recipe.training.threads, group.n_here)
            device = choose_device(recipe.training.device)
            check_number_format(recipe.training.mixed_precision, recipe.network.cell, device)
            setup = set_up_run(recipe, data, output, update, earlier, group)
            job.progressed()
            if group.is_first:
                directory.write_recipe(text)
                write_atomically(output / "misaligned.txt", str(setup.misaligned))
        _learn(recipe, setup, recorder)
        if group.is_first:
            with interruption.at_once():
                _finish(recipe, setup.corpora, directory, model_file, meter, recorder.note)
        shutil.rmtree(setup.stored, ignore_errors=True)
    return model_file


def _learn(recipe: Recipe, setup: RunSetup, recorder: RunRecorder) -> None:
    """Train to the end; keep and show each row, and write a checkpoint at each evaluation."""
    trainer = setup.trainer
    position, steps = trainer.position, trainer.total_steps()
    recorder.resume_at(
        position.step, position.evaluated, steps=steps, epochs=recipe.training.epochs
    )
    with recorder.showing(steps):
        for line in _introduction(setup):
            recorder.note(line)
        recorder.follow(
            trainer.run(recorder.interruption),
            lambda: setup.checkpoint(recipe),
            is_time=lambda row: row["kind"] == "evaluation",
            every_seconds=recipe.training.checkpoint_seconds,
        )


def _finish(
    recipe: Recipe,
    corpora: list[Corpus],
    directory: RunDirectory,
    model_file: Path,
    meter: CostMeter,
    note: Callable[[str], None],
) -> None:
    """Measure the best weights, write the report and export the model file."""
    checkpoint, evaluation = measure(load_checkpoint(directory.best), corpora)
    checkpoint.save(directory.best)
    background = run_background(recipe, checkpoint, corpora, directory.path, meter)
    with optional_figure(note, "complete report/"):
        write_report(
            evaluation,
            directory.path / "report",
            title=f"{recipe.name}, on dev",
            background=background,
        )
    write_model(checkpoint, model_file)
    f1 = read_measurements(checkpoint.card).scores["dev"]["micro"]["f1"]
    note(f"dev F1 {f1:.2%} (strict spans); model file {model_file}")


def set_up_run(
    recipe: Recipe,
    data: Path,
    output: Path,
    update: Update | None,
    earlier: Checkpoint | None,
    group: ProcessGroup = SINGLE_PROCESS,
) -> RunSetup:
    """Read what the recipe names below `data`, and make the trainer of the run in `output`.

    The trainer stands where it stood at the checkpoint `earlier`, or at the beginning. Raises
    DataError and RecipeError for mistakes in the files, TrainingError for what gives no lesson.
    """
    # Processes need not share a disk: each has its own.
    stored = output / ("sentences" if group.is_first else f"sentences-{group.rank}")
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
    start = vectors = distillation = None
    if earlier is None and update:
        start = update.start
    elif earlier is None and recipe.start.weights:
        start = open_start(recipe, data)
    table = recipe.embedding
    # The pieces and the words with a row of their own: inherited, or those of the training data.
    if inherited := start or earlier:
        pieces, words = inherited.pieces, inherited.words
    else:
        counts = _word_counts(corpora)
        if table.vectors:
            most = recipe.features.word_rows
            vectors = choose_vectors(data / table.vectors, counts, most, recipe.tokeniser)
        words = vectors.words if vectors else frequent_words(counts, recipe.features.word_rows)
        pieces = train_pieces(counts, recipe.pieces)
    if recipe.distill is not None:
        device = choose_device(recipe.training.device)
        distillation = open_distillation(recipe, recipe.distill, data, device)
    features = WordFeatures(Pieces(pieces), recipe.features, words)
    trainer = _make_trainer(recipe, corpora, features, start, vectors, distillation, group)
    if earlier is not None:
        trainer.restore(earlier.weights, earlier.progress)
    own = TrainingData(name=table.name, licence=table.licence, source=table.source)
    before = start.training_data if start else earlier.inherited if earlier else ()
    credit = joined_credits(before, (own,) if table.vectors else ())
    return RunSetup(
        corpora=corpora,
        misaligned=misaligned,
        trainer=trainer,
        inherited=joined_credits(credit, distillation.training_data if distillation else ()),
        notes=(*([str(vectors)] if vectors else []), *(update.notes if update else ())),
        stored=stored,
    )


def _word_counts(corpora: list[Corpus]) -> Counter[str]:
    counts = WordCounts()
    for corpus in corpora:
        for sentence in corpus.train:
            counts.add(sentence.words)
    return counts.counts


def _make_trainer(
    recipe: Recipe,
    corpora: list[Corpus],
    features: WordFeatures,
    start: PretrainedWeights | None,
    vectors: WordVectors | None,
    distillation: Distillation | None,
    group: ProcessGroup,
) -> Trainer:
    seed_torch(recipe.seed)
    tag_set = TagSet(recipe.labels)
    network = Network(recipe.network, features.n_rows, tag_set)
    if start is not None:
        start.put_into(network, tag_set if recipe.update else None)
    if vectors is not None:
        vectors.put_into(network, features)
    config = recipe.training
    is_started = bool(recipe.start.weights or recipe.update)
    return Trainer(
        network,
        features,
        tag_set,
        corpora,
        config,
        seed=recipe.seed,
        device=choose_device(config.device),
        source=StoredCorpora(corpora, config.shuffle_window_words, config.batch_words, recipe.seed),
        started_share=recipe.start.learning_rate_share if is_started else 1.0,
        distillation=distillation,
        augmentation=recipe.augment,
        group=group,
    )


def _rules_applied(corpus: Corpus) -> str:
    """Return a line on the rules of a corpus; each by itself is in `teddy check` and the card."""
    n_train, n_dev = (
        sum(getattr(rule, part) for rule in corpus.rules) for part in ("n_train", "n_dev")
    )
    return f"{corpus.name}: rules changed {n_train:,} spans in train and {n_dev:,} in dev"


def _introduction(setup: RunSetup) -> Iterator[str]:
    """Yield lines on a run, to show before its first update."""
    trainer, misaligned = setup.trainer, setup.misaligned
    for corpus in setup.corpora:
        yield (
            f"{corpus.name}: {len(corpus.train):,} sentences, {corpus.n_train_words:,} words to "
            f"train on; {len(corpus.dev):,} dev sentences"
        )
    n_parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    yield (
        f"{n_parameters:,} parameters, {trainer.features.n_rows:,} feature rows, "
        f"on {trainer.device}"
    )
    yield from map(_rules_applied, (corpus for corpus in setup.corpora if corpus.rules))
    if misaligned.n_spans:
        yield (
            f"{misaligned.n_spans:,} gold spans cannot be expressed in words, listed in "
            "misaligned.txt: not trained on, and missed when they are in dev"
        )
    if trainer.distillation is not None:
        yield trainer.distillation.summary
    if trainer.position.step:
        yield f"resuming after step {trainer.position.step:,}"
    if setup.stored.exists():
        yield f"too many sentences for memory, shuffled by the windowful: {setup.stored}"
    for corpus in setup.corpora:
        if corpus.n_dropped:
            yield (
                f"{corpus.name}: {corpus.n_dropped:,} held-out sentences are more than memory "
                "should hold, and neither learnt from nor measured on: a smaller holdout would do"
            )
    yield from setup.notes
