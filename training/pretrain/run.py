"""A pre-training run from its recipe to its encoder file, with its checkpoints.

recipe.toml          the resolved recipe
corpus/              the text as numbers (see training/pretrain/encoded.py)
metrics.jsonl        a row for each update and each evaluation
timings.jsonl        what all that took, and on which machines
curves.png           the rows, drawn
last.checkpoint      the state to resume from; `teddy sample` reads it too
previous.checkpoint  the one before, for when that is damaged, until the run is done
NAME.encoder         the file for `[start] weights` of another recipe; with it the run is done
lock                 which process works here
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from teddy.model.errors import ModelFileError, TrainingError
from teddy.model.features.pieces import Pieces
from teddy.model.features.rows import WordFeatures
from teddy.model.file.bundle import TrainingData
from teddy.model.system.files import remove_abandoned_folder
from teddy.model.system.processes import Interruption
from teddy.training.data.readers.files import find_files
from teddy.training.data.vocabulary import vectors_of
from teddy.training.job.job import Job
from teddy.training.job.run_directory import RunDirectory
from teddy.training.job.run_recorder import RunRecorder, Watcher
from teddy.training.learning.checkpoint import read_torch_file, write_torch_file
from teddy.training.learning.start import PretrainedWeights, shared_weights
from teddy.training.learning.torch_setup import (
    check_number_format,
    choose_device,
    seed_torch,
    set_threads,
    set_up_memory,
)
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.objectives import PretrainingNetwork
from teddy.training.pretrain.prepare import preparation, prepare
from teddy.training.pretrain.pretrainer import Pretrainer
from teddy.training.recipe.recipe import Recipe
from teddy.training.recipe.sections import PretrainConfig

_FORMAT = "teddy-pretraining-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainCheckpoint:
    """A network in pre-training and the run that makes it."""

    recipe: str
    """Resolved, in TOML."""
    pieces: bytes
    words: tuple[str, ...]
    """Those that have a row of their own."""
    lexicon: bytes
    """A `teddy.model.features.lexicon.Lexicon`; empty without one."""
    frequent: tuple[str, ...]
    """The most frequent words, among which an evaluation and a sample choose."""
    counts: NDArray[np.int64]
    """How often each of these occurs."""
    total: int
    """The number of all words."""
    state: dict[str, Any]
    """See `Pretrainer.state`."""

    def save(self, path: Path, *, resumable: bool = True) -> None:
        """Write the checkpoint whole or not at all; a run writes none that is not `resumable`."""
        if not resumable:
            raise ValueError("of pre-training there is no checkpoint without its progress")
        content = {
            "format": _FORMAT,
            "recipe": self.recipe,
            "pieces": self.pieces,
            "words": "\n".join(self.words),
            "lexicon": self.lexicon,
            "frequent": "\n".join(self.frequent),
            "counts": torch.from_numpy(self.counts),
            "total": self.total,
            "state": self.state,
        }
        write_torch_file(path, content)


def load_pretrain_checkpoint(path: Path) -> PretrainCheckpoint:
    """Read a checkpoint.

    Raises ModelFileError when it is missing, damaged, or not of a pre-training run.
    """
    content = read_torch_file(path, "checkpoint")
    if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
        raise ModelFileError(path, "not a checkpoint of a pre-training run of this version")
    try:
        words = content["words"]
        return PretrainCheckpoint(
            recipe=content["recipe"],
            pieces=content["pieces"],
            words=tuple(words.split("\n")) if words else (),
            lexicon=content.get("lexicon", b""),
            frequent=tuple(content["frequent"].split("\n")),
            counts=content["counts"].numpy(),
            total=content["total"],
            state=content["state"],
        )
    except (KeyError, AttributeError) as error:
        raise ModelFileError(path, f"a checkpoint without all of its parts ({error})") from error


def pretrain(
    recipe: Recipe,
    data: Path,
    output: Path,
    *,
    resume: bool = False,
    job: Job | None = None,
    watchers: Sequence[Watcher] = (),
    interruption: Interruption | None = None,
) -> Path:
    """Pre-train as the recipe says on text below `data`; return the encoder file in `output`.

    With `resume` a stopped run goes on from its last checkpoint, to the same weights as if it had
    not been stopped, and does not prepare its text again. A run that has finished is left as it is.
    `job` and the `watchers` get every row.

    Raises DataError for mistakes in the text, DivergedError when the loss or a gradient is not
    finite, JobInterrupted when `interruption` is wanted, TrainingError for a recipe without
    `pretrain`, when another process works in `output`, when it holds an unfinished run and `resume`
    is False, or a run of another recipe.
    """
    set_up_memory()
    config = recipe.pretrain
    if config is None:
        raise TrainingError("the recipe has no [pretrain] table")
    directory, text = RunDirectory(output), recipe.dump_toml()
    encoder_file = output / f"{recipe.name}.encoder"
    job = job or Job(recipe.name)
    interruption = interruption or Interruption()
    recorder = RunRecorder(directory, job, watchers=watchers, interruption=interruption)
    with directory.locked(), recorder.log_outcome():
        if directory.is_finished(encoder_file, text.__eq__):
            recorder.note(f"{output} holds this run, and it has finished: nothing to do")
            recorder.restore()
            return encoder_file
        with interruption.at_once():
            earlier = directory.earlier(
                text.__eq__, load_pretrain_checkpoint, recorder.note, resume=resume
            )
            set_threads(config.threads)
            check_number_format(
                config.mixed_precision, recipe.network.cell, choose_device(config.device)
            )
            directory.write_recipe(text)
            corpus = _prepared(
                recipe, config, data, output / "corpus", recorder.note, job, resume=resume
            )
            pretrainer = _make_pretrainer(recipe, config, corpus, earlier, data, recorder.note)
        _learn(recipe, config, pretrainer, recorder)
        _start(recipe, config, pretrainer).save(encoder_file)
        directory.previous.unlink(missing_ok=True)
        recorder.note(f"encoder file {encoder_file}")
    return encoder_file


def _learn(
    recipe: Recipe, config: PretrainConfig, pretrainer: Pretrainer, recorder: RunRecorder
) -> None:
    """Train to the end; keep and show each row, and write a checkpoint from time to time."""
    position, corpus = pretrainer.position, pretrainer.corpus
    steps = pretrainer.text.total_steps(config.words)
    epochs = pretrainer.text.total_epochs(config.words)
    frequent = tuple(corpus.types(min(config.evaluation_words, corpus.n_types)))

    def checkpoint() -> PretrainCheckpoint:
        return PretrainCheckpoint(
            recipe=recipe.dump_toml(),
            pieces=corpus.pieces,
            words=corpus.words,
            lexicon=corpus.lexicon,
            frequent=frequent,
            counts=corpus.counts[: len(frequent)].copy(),
            total=corpus.n_learnt_words,
            state=pretrainer.state(),
        )

    recorder.resume_at(position.step, position.evaluated, steps=steps, epochs=epochs)
    with recorder.showing(steps):
        n_parameters = sum(each.numel() for each in pretrainer.network.parameters())
        recorder.note(
            f"{corpus.n_sentences:,} sentences, {corpus.n_words:,} words; {n_parameters:,} "
            f"parameters, {len(pretrainer.network.embedding):,} feature rows, "
            f"on {pretrainer.device}"
        )
        if position.step:
            recorder.note(f"resuming after step {position.step:,}")
        recorder.follow(
            pretrainer.run(recorder.interruption),
            checkpoint,
            is_time=lambda row: (
                row["step"] % config.checkpoint_steps == 0 or pretrainer.is_finished
            ),
            every_seconds=config.checkpoint_seconds,
        )


def _prepared(
    recipe: Recipe,
    config: PretrainConfig,
    data: Path,
    folder: Path,
    note: Callable[[str], None],
    job: Job,
    *,
    resume: bool,
) -> EncodedCorpus:
    """Return the encoded corpus, made now unless it is there and the run is resumed."""
    remove_abandoned_folder(folder)
    parts = recipe.pieces, recipe.features, recipe.tokeniser
    if resume and folder.exists():
        corpus = EncodedCorpus(folder)
        if corpus.description["settings"] != preparation(config, *parts, recipe.lexicon):
            raise TrainingError(
                f"{folder} was made with another recipe: start over in another --output"
            )
        return corpus
    shutil.rmtree(folder, ignore_errors=True)

    def progressed(message: str) -> None:
        note(message)
        job.progressed()

    prepare(config, *parts, data, folder, progressed, lexicon=recipe.lexicon)
    return EncodedCorpus(folder)


def _make_pretrainer(
    recipe: Recipe,
    config: PretrainConfig,
    corpus: EncodedCorpus,
    earlier: PretrainCheckpoint | None,
    data: Path,
    note: Callable[[str], None],
) -> Pretrainer:
    seed_torch(recipe.seed)
    pieces = Pieces(corpus.pieces)
    features = WordFeatures(pieces, recipe.features, corpus.words, corpus.lexicon)
    network = PretrainingNetwork(recipe.network, features.n_rows, config)
    pretrainer = Pretrainer(
        network, features, corpus, config, seed=recipe.seed, device=choose_device(config.device)
    )
    if earlier is not None:
        pretrainer.restore(earlier.state)
    elif recipe.embedding.vectors:
        vectors = vectors_of(find_files((recipe.embedding.vectors,), data)[0], features.words)
        vectors.put_into(network, features)
        note(f"{len(vectors.words):,} of {len(features.words):,} words start from vectors")
    return pretrainer


def _start(recipe: Recipe, config: PretrainConfig, pretrainer: Pretrainer) -> PretrainedWeights:
    corpus = pretrainer.corpus
    weights = shared_weights(pretrainer.network.state_dict())
    credit = TrainingData(
        name=config.name,
        licence=config.licence,
        source=config.source,
        n_sentences=corpus.n_learnt_sentences,
        n_words=corpus.n_learnt_words,
    )
    return PretrainedWeights(
        features=recipe.features,
        network=recipe.network,
        pieces=corpus.pieces,
        words=corpus.words,
        lexicon=corpus.lexicon,
        weights={name: tensor.cpu() for name, tensor in weights.items()},
        training_data=(credit, *recipe.credits),
    )
