"""A training run from its recipe to its model file, and everything it leaves in its output directory.

    recipe.toml          the resolved recipe
    metrics.jsonl        a row for each update and each evaluation
    timings.jsonl        what all that took, and on which machines
    curves.png           the rows, drawn
    misaligned.txt       gold spans that words cannot express
    last.checkpoint      the state to resume from
    previous.checkpoint  the one before, for when that is damaged
    best.checkpoint      the best on dev; `teddy export` reads it
    NAME.teddy           the model file, with which the run has finished
    report/              the evaluation of the model file's weights on dev
    sentences/           what a long text is read from, only until the run ends (see training/data/store.py)
    lock                 which process works here

The pictures need matplotlib, which is an extra: a run without it says so and goes on.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from teddy.model.system.files import write_atomically
from teddy.model.system.processes import Interruption
from teddy.training.data.corpora import Corpus
from teddy.training.evaluation.card import read_card
from teddy.training.export.publish import measure, write_model
from teddy.training.job.attendant import Attendant, Watcher
from teddy.training.job.job import Job
from teddy.training.job.run_directory import RunDirectory
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from teddy.training.learning.start import open_update
from teddy.training.learning.torch_setup import (
    check_number_format,
    choose_device,
    set_threads,
    set_up_memory,
)
from teddy.training.preparation import RunSetup, set_up_run
from teddy.training.recipe.recipe import Recipe
from teddy.training.report.background import run_background
from teddy.training.report.figures import optional_figure
from teddy.training.report.machine import CostMeter
from teddy.training.report.writing import write_report


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
    """Trains as the recipe says on files below `data`, and returns the path of the model file in `output`.

    With `resume` a run that was stopped goes on from its last checkpoint, to the same result as if
    it had not been stopped, and where there is none it begins. A run that has finished is left as
    it is. `job` is told how it goes, for those who watch from outside, and every row goes to the
    `watchers`, which may end the run by raising something.

    Raises DataError and RecipeError for what is wrong in the files, DivergedError when the loss is
    no number any more, JobInterrupted when `interruption` is wanted, TrainingError when another
    process works in `output`, or when it holds a run that has not finished and `resume` is not
    asked for, or one of another recipe.
    """
    set_up_memory()
    update = open_update(recipe, data)
    recipe = update.recipe if update else recipe
    directory, text = RunDirectory(output), recipe.dump_toml()
    model_file = output / f"{recipe.name}.teddy"
    job = job or Job(recipe.name)
    interruption = interruption or Interruption()
    meter = CostMeter()
    attendant = Attendant(directory, job, watchers=watchers, interruption=interruption, group=group)
    with directory.locked(group), attendant.telling_the_end():
        if directory.is_finished(model_file, text):
            attendant.note(f"{output} holds this run, and it has finished: nothing to do")
            attendant.recall()
            return model_file
        with interruption.at_once():
            earlier = directory.earlier(text, load_checkpoint, attendant.note, resume=resume)
            set_threads(recipe.training.threads, group.n_here)
            device = choose_device(recipe.training.device)
            check_number_format(recipe.training.mixed_precision, recipe.network.cell, device)
            setup = set_up_run(recipe, data, output, update, earlier, group)
            job.progressed()
            if group.is_first:
                directory.write_recipe(text)
                write_atomically(output / "misaligned.txt", str(setup.misaligned))
        _learn(recipe, setup, attendant)
        if group.is_first:
            with interruption.at_once():
                _finish(recipe, setup.corpora, directory, model_file, meter, attendant.note)
        shutil.rmtree(setup.stored, ignore_errors=True)
    return model_file


def _learn(recipe: Recipe, setup: RunSetup, attendant: Attendant) -> None:
    """Train to the end: each row is kept and shown, and each evaluation leaves a checkpoint."""
    trainer = setup.trainer
    position, steps = trainer.position, trainer.total_steps()
    attendant.take_up(position.step, position.evaluated, steps=steps, epochs=recipe.training.epochs)
    with attendant.showing(steps):
        _introduce(setup, attendant.note)
        attendant.follow(
            trainer.run(attendant.interruption),
            lambda: setup.checkpoint(recipe),
            is_time=lambda row: row["kind"] == "evaluation",
            every_seconds=recipe.training.checkpoint_seconds,
        )


def _introduce(setup: RunSetup, note: Callable[[str], None]) -> None:
    trainer = setup.trainer
    for corpus in setup.corpora:
        note(
            f"{corpus.name}: {len(corpus.train):,} sentences, {corpus.n_train_words:,} words to train on; "
            f"{len(corpus.dev):,} dev sentences"
        )
    n_parameters = sum(parameter.numel() for parameter in trainer.network.parameters())
    note(
        f"{n_parameters:,} parameters, {trainer.features.n_rows:,} feature rows, on {trainer.device}"
    )
    if setup.misaligned.n_spans:
        note(
            f"{setup.misaligned.n_spans:,} gold spans cannot be expressed in words, listed in misaligned.txt: "
            "not trained on, and missed when they are in dev"
        )
    if trainer.distillation is not None:
        note(trainer.distillation.summary)
    if trainer.position.step:
        note(f"resuming after step {trainer.position.step:,}")
    for each in setup.notes:
        note(each)


def _finish(
    recipe: Recipe,
    corpora: list[Corpus],
    directory: RunDirectory,
    model_file: Path,
    meter: CostMeter,
    note: Callable[[str], None],
) -> None:
    """Measure the best weights, keep them with what was measured, and export them."""
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
    f1 = read_card(checkpoint.card).scores["dev"]["micro"]["f1"]
    note(f"dev F1 {f1:.2%} (strict spans); model file {model_file}")
