"""A training run from its recipe to its model file, and everything it leaves in its output directory.

    recipe.toml       the resolved recipe
    metrics.jsonl     a row for each update and each evaluation
    curves.png        the rows, drawn
    misaligned.txt    gold spans that words cannot express
    last.checkpoint   the state at the last evaluation, to resume from
    best.checkpoint   the best on dev; `teddy export` reads it
    NAME.teddy        the model file
    report/           the evaluation of the model file's weights on dev

The two pictures need matplotlib, which is an extra: a run without it says so and goes on.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from model.bundle import TrainingData
from model.errors import TrainingError
from model.features import WordFeatures
from model.files import write_atomically
from model.labels import TagSet
from model.network import Network
from model.pieces import Pieces
from training.align import Misaligned
from training.card import joined_credits, read_card
from training.checkpoint import Checkpoint, earlier_run, load_checkpoint
from training.config import Recipe
from training.corpora import Corpus, load_corpora
from training.device import choose_device, set_threads
from training.distill import Distillation, open_distillation
from training.figures import optional_figure
from training.job import Job
from training.loop import Trainer
from training.pieces import frequent_words, train_pieces
from training.progress import Progress, open_progress
from training.publish import measure, write_model
from training.record import Record
from training.report import write_report
from training.seed import seed_torch
from training.start import Start, find_start, load_start
from training.vectors import WordVectors, choose_vectors

LAST = "last.checkpoint"


def train(recipe: Recipe, data: Path, output: Path, *, resume: bool = False, job: Job | None = None) -> Path:
    """Trains as the recipe says on files below `data`, and returns the path of the model file in `output`.

    With `resume` a run that was stopped goes on from its last evaluation, to the same result as if it had not been
    stopped. `job` is told how it goes, for those who watch from outside.

    Raises DataError and RecipeError for what is wrong in the files, DivergedError when the loss is no number any more,
    TrainingError when `output` holds a run and `resume` is not asked for, or when it is asked for and the recipe is
    another.
    """
    job = job or Job(recipe.name)
    output.mkdir(parents=True, exist_ok=True)
    last = output / LAST
    earlier = earlier_run(last, recipe.dump_toml(), load_checkpoint, resume=resume)
    set_threads(recipe.training.threads)
    write_atomically(output / "recipe.toml", recipe.dump_toml())
    misaligned: list[Misaligned] = []
    corpora = load_corpora(recipe, data, on_misaligned=misaligned.append)
    _refuse_nothing(corpora)
    job.progressed()
    write_atomically(output / "misaligned.txt", "".join(f"{each}\n" for each in misaligned))
    start = _start(recipe, data) if earlier is None else None
    vectors = _vectors(recipe, corpora, data) if earlier is None else None
    distillation = open_distillation(recipe, data, choose_device(recipe.training.device))
    trainer = _make_trainer(recipe, corpora, earlier, start, vectors, distillation)
    inherited = start.training_data if start else earlier.inherited if earlier else ()
    inherited = joined_credits(inherited, _credit_of_vectors(recipe))
    inherited = joined_credits(inherited, distillation.training_data if distillation else ())
    record = Record(output)
    if earlier is None:
        # The rows of a run that was killed before its first checkpoint are of no use.
        record.truncate_after(0)
    else:
        record.truncate_after(trainer.position.step)
        job.resume(record.rows(), last)
    steps = trainer.total_steps()
    job.plan(steps=steps, epochs=recipe.training.epochs, step=trainer.position.step)
    with open_progress(steps, first_step=trainer.position.step) as progress:
        _introduce(progress, corpora, trainer, misaligned, output)
        if vectors is not None:
            progress.note(str(vectors))
        try:
            _learn(recipe, trainer, inherited, output, record, progress, job)
        finally:
            with optional_figure(progress.note, "curves.png"):
                record.plot(output / "curves.png")
        return _finish(recipe, corpora, output, progress.note)


def _learn(
    recipe: Recipe,
    trainer: Trainer,
    inherited: tuple[TrainingData, ...],
    output: Path,
    record: Record,
    progress: Progress,
    job: Job,
) -> None:
    """Trains to the end: each row is kept and shown, and each evaluation leaves a checkpoint."""
    for row in trainer.run():
        record.append(row)
        progress.show(row)
        job.show(row)
        if row["kind"] == "evaluation":
            checkpoint = _checkpoint(recipe, trainer, inherited)
            if row["best"]:
                checkpoint.save(output / "best.checkpoint")
            checkpoint.save(output / LAST)
            job.saved(output / LAST)


def _refuse_nothing(corpora: list[Corpus]) -> None:
    """Files may be there and leave one side empty, as a small holdout of few sentences does."""
    if not any(corpus.train for corpus in corpora):
        raise TrainingError("the corpora have no sentences to train on")
    if not any(corpus.dev for corpus in corpora):
        raise TrainingError("the corpora have no dev sentences to choose the best weights by: is a holdout too small?")


def _make_trainer(
    recipe: Recipe,
    corpora: list[Corpus],
    earlier: Checkpoint | None,
    start: Start | None,
    vectors: WordVectors | None,
    distillation: Distillation | None,
) -> Trainer:
    seed_torch(recipe.seed)
    pieces, words = _lexicon(recipe, corpora, start or earlier, vectors)
    features = WordFeatures(Pieces(pieces), recipe.features, words)
    tag_set = TagSet(recipe.labels)
    network = Network(recipe.network, features.n_rows, tag_set)
    if start is not None:
        start.put_into(network)
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
        started_share=recipe.start.learning_rate_share if recipe.start.weights else 1.0,
        distillation=distillation,
        augmentation=recipe.augment,
    )
    if earlier is not None:
        trainer.restore(earlier.weights, earlier.progress)
    return trainer


def _start(recipe: Recipe, data: Path) -> Start | None:
    if not recipe.start.weights:
        return None
    path = find_start(recipe.start.weights, data)
    start = load_start(path)
    start.check(recipe.features, recipe.network, path)
    return start


def _vectors(recipe: Recipe, corpora: list[Corpus], data: Path) -> WordVectors | None:
    if not recipe.embedding.vectors:
        return None
    return choose_vectors(data / recipe.embedding.vectors, _word_counts(corpora), recipe.features.word_rows)


def _credit_of_vectors(recipe: Recipe) -> tuple[TrainingData, ...]:
    table = recipe.embedding
    return (TrainingData(name=table.name, licence=table.licence, source=table.source),) if table.vectors else ()


def _lexicon(
    recipe: Recipe, corpora: list[Corpus], inherited: Start | Checkpoint | None, vectors: WordVectors | None
) -> tuple[bytes, tuple[str, ...]]:
    """The pieces, and the words with a row of their own: inherited, those with vectors, or the frequent ones."""
    if inherited is not None:
        return inherited.pieces, inherited.words
    counts = _word_counts(corpora)
    words = vectors.words if vectors else frequent_words(counts, recipe.features.word_rows)
    return train_pieces(counts, recipe.pieces), words


def _word_counts(corpora: list[Corpus]) -> Counter[str]:
    return Counter(word for corpus in corpora for sentence in corpus.train for word in sentence.words)


def _introduce(
    progress: Progress, corpora: list[Corpus], trainer: Trainer, misaligned: list[Misaligned], output: Path
) -> None:
    for corpus in corpora:
        n_words = sum(len(sentence.words) for sentence in corpus.train)
        progress.note(
            f"{corpus.name}: {len(corpus.train):,} sentences, {n_words:,} words to train on; "
            f"{len(corpus.dev):,} dev sentences"
        )
    n_parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    progress.note(f"{n_parameters:,} parameters, {trainer.features.n_rows:,} feature rows, on {trainer.device}")
    if misaligned:
        progress.note(
            f"{len(misaligned):,} gold spans cannot be expressed in words, listed in {output / 'misaligned.txt'}: "
            "not trained on, and missed when they are in dev"
        )
    if trainer.distillation is not None:
        progress.note(trainer.distillation.summary)
    if trainer.position.step:
        progress.note(f"resuming after step {trainer.position.step:,}")


def _checkpoint(recipe: Recipe, trainer: Trainer, inherited: tuple[TrainingData, ...]) -> Checkpoint:
    return Checkpoint(
        labels=trainer.tag_set.labels,
        features=recipe.features,
        network=recipe.network,
        pieces=trainer.features.pieces.serialised,
        words=trainer.features.words,
        weights={name: tensor.cpu() for name, tensor in trainer.averaged.state_dict().items()},
        recipe=recipe.dump_toml(),
        progress=trainer.state(),
        card="",
        inherited=inherited,
    )


def _finish(recipe: Recipe, corpora: list[Corpus], output: Path, note: Callable[[str], None]) -> Path:
    """Measures the best weights, keeps them with what was measured, and exports them."""
    best = output / "best.checkpoint"
    checkpoint, evaluation = measure(load_checkpoint(best), corpora)
    checkpoint.save(best)
    with optional_figure(note, "report/*.png"):
        write_report(evaluation, output / "report", title=f"{recipe.name}, on dev")
    model_file = output / f"{recipe.name}.teddy"
    write_model(checkpoint, model_file)
    f1 = read_card(checkpoint.card).scores["dev"]["micro"]["f1"]
    note(f"dev F1 {f1:.2%} (strict spans); model file {model_file}")
    return model_file
