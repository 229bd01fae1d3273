"""A pre-training run from its recipe to its encoder file, and everything it leaves in its output directory.

recipe.toml       the resolved recipe
corpus/           the text as numbers (see training/pretrain/encoded.py); only needed until the run ends
metrics.jsonl     a row for each update and each evaluation
curves.png        the rows, drawn
last.checkpoint   the state to resume from, and what `teddy sample` reads
NAME.encoder      what `[start] weights` of another recipe takes
"""

import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from model.bundle import TrainingData
from model.errors import TrainingError
from model.features import WordFeatures
from model.files import write_atomically
from model.pieces import Pieces
from training.checkpoint import earlier_run
from training.config import Recipe
from training.device import choose_device, set_threads
from training.figures import optional_figure
from training.job import Job
from training.pretrain.checkpoint import PretrainCheckpoint, load_pretrain_checkpoint
from training.pretrain.config import PretrainConfig
from training.pretrain.encoded import EncodedCorpus
from training.pretrain.loop import Pretrainer
from training.pretrain.network import PretrainingNetwork
from training.pretrain.prepare import preparation, prepare
from training.progress import PlainProgress, open_progress
from training.record import Record
from training.seed import seed_torch
from training.start import Start, shared_weights


def pretrain(recipe: Recipe, data: Path, output: Path, *, resume: bool = False, job: Job | None = None) -> Path:
    """Pre-trains as the recipe says on text below `data`, and returns the path of the encoder file in `output`.

    With `resume` a run that was stopped goes on from its last checkpoint, to the same weights as if it had not been
    stopped; a finished preparation of the text is not done again. `job` is told how it goes, for those who watch from
    outside.

    Raises DataError for what is wrong in the text, DivergedError when the loss is no number any more, TrainingError for
    a recipe without `pretrain`, when `output` holds a run and `resume` is not asked for, or when it is asked for and
    the recipe is another.
    """
    job = job or Job(recipe.name)
    config = recipe.pretrain
    if config is None:
        raise TrainingError("the recipe has no [pretrain] table")
    output.mkdir(parents=True, exist_ok=True)
    last = output / "last.checkpoint"
    earlier = earlier_run(last, recipe.dump_toml(), load_pretrain_checkpoint, resume=resume)
    set_threads(config.threads)
    write_atomically(output / "recipe.toml", recipe.dump_toml())
    corpus = _prepared(recipe, config, data, output / "corpus", job, resume=resume)
    pretrainer = _make_pretrainer(recipe, config, corpus, earlier)
    record = Record(output)
    # The rows after the checkpoint are made again.
    record.truncate_after(pretrainer.position.step if earlier else 0)
    if earlier:
        job.resume(record.rows(), last)
    steps = pretrainer.total_steps()
    job.plan(steps=steps, epochs=pretrainer.total_epochs(), step=pretrainer.position.step)
    with open_progress(steps, first_step=pretrainer.position.step) as progress:
        _introduce(progress.note, pretrainer)
        checkpoint = _checkpoints(recipe, pretrainer)
        try:
            for row in pretrainer.run():
                record.append(row)
                progress.show(row)
                job.show(row)
                is_time = pretrainer.position.step % config.checkpoint_steps == 0 or pretrainer.is_finished
                if is_time and pretrainer.may_pause:
                    checkpoint().save(last)
                    job.saved(last)
        finally:
            with optional_figure(progress.note, "curves.png"):
                record.plot(output / "curves.png")
        encoder_file = output / f"{recipe.name}.encoder"
        _start(recipe, config, pretrainer).save(encoder_file)
        progress.note(f"encoder file {encoder_file}")
    return encoder_file


def _prepared(
    recipe: Recipe, config: PretrainConfig, data: Path, folder: Path, job: Job, *, resume: bool
) -> EncodedCorpus:
    """The encoded corpus, made now unless it is there and the run is resumed."""
    for abandoned in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(abandoned)  # what a killed preparation left
    if resume and folder.exists():
        corpus = EncodedCorpus(folder)
        if corpus.description["settings"] != preparation(config, recipe.pieces, recipe.features):
            raise TrainingError(f"{folder} was made with another recipe: begin anew in another --output")
        return corpus
    shutil.rmtree(folder, ignore_errors=True)
    progress = PlainProgress(0, stream=sys.stderr, clock=time.monotonic)

    def note(message: str) -> None:
        progress.note(message)
        job.progressed()

    prepare(config, recipe.pieces, recipe.features, data, folder, note)
    return EncodedCorpus(folder)


def _make_pretrainer(
    recipe: Recipe, config: PretrainConfig, corpus: EncodedCorpus, earlier: PretrainCheckpoint | None
) -> Pretrainer:
    seed_torch(recipe.seed)
    features = WordFeatures(Pieces(corpus.pieces), recipe.features, corpus.words)
    network = PretrainingNetwork(recipe.network, features.n_rows, config)
    pretrainer = Pretrainer(network, features, corpus, config, seed=recipe.seed, device=choose_device(config.device))
    if earlier is not None:
        pretrainer.restore(earlier.state)
    return pretrainer


def _introduce(note: Callable[[str], None], pretrainer: Pretrainer) -> None:
    corpus, network = pretrainer.corpus, pretrainer.network
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    note(
        f"{len(corpus.lengths):,} sentences, {len(corpus.text):,} words; {n_parameters:,} parameters, "
        f"{len(network.embedding):,} feature rows, on {pretrainer.device}"
    )
    if pretrainer.position.step:
        note(f"resuming after step {pretrainer.position.step:,}")


def _checkpoints(recipe: Recipe, pretrainer: Pretrainer) -> Callable[[], PretrainCheckpoint]:
    """What takes a checkpoint, whenever it is called."""
    corpus, config = pretrainer.corpus, pretrainer.config
    frequent = tuple(corpus.types()[: config.evaluation_words])

    def checkpoint() -> PretrainCheckpoint:
        return PretrainCheckpoint(
            recipe=recipe.dump_toml(),
            pieces=corpus.pieces,
            words=corpus.words,
            frequent=frequent,
            counts=corpus.counts[: len(frequent)].copy(),
            total=int(corpus.counts.sum()),
            state=pretrainer.state(),
        )

    return checkpoint


def _start(recipe: Recipe, config: PretrainConfig, pretrainer: Pretrainer) -> Start:
    corpus = pretrainer.corpus
    weights: dict[str, torch.Tensor] = shared_weights(pretrainer.network.state_dict())
    learnt_from = ~corpus.held_out
    credit = TrainingData(
        name=config.name,
        licence=config.licence,
        source=config.source,
        n_sentences=int(learnt_from.sum()),
        n_words=int(corpus.counts.sum()),
    )
    return Start(
        features=recipe.features,
        network=recipe.network,
        pieces=corpus.pieces,
        words=corpus.words,
        weights={name: tensor.cpu() for name, tensor in weights.items()},
        training_data=(credit,),
    )
