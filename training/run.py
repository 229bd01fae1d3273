"""A training run from its recipe to its model file, and the files in its output directory.

    recipe.toml          the resolved recipe
    metrics.jsonl        a row for each update and each evaluation
    timings.jsonl        what all that took, and on which machines
    curves.png           the rows, drawn
    misaligned.txt       gold spans that words cannot express
    last.checkpoint      the state to resume from, until the run has finished
    previous.checkpoint  the one before, for when that is damaged; as long
    best.checkpoint      the best on dev, without what resuming needs; `teddy export` reads it
    NAME.teddy           the model file; of a teacher on a transformer, best.checkpoint is all
    report/              the evaluation of the model file's weights on dev
    sentences/           a large corpus, until the run ends (see training/data/store.py)
    teachers/            what teachers say, until the run ends (see training/learning/readings.py)
    lock                 which process works here

The pictures need matplotlib, an extra: without it a run notes that, and goes on.
"""

import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from teddy.model.system.files import write_atomically
from teddy.model.system.processes import Interruption
from teddy.training.evaluation.measurements import read_measurements
from teddy.training.evaluation.scores import Counts
from teddy.training.export.publish import measure, recipe_of, write_model
from teddy.training.introduction import introduce
from teddy.training.job.job import Job
from teddy.training.job.run_directory import RunDirectory
from teddy.training.job.run_recorder import RunRecorder, Watcher
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.distributed.process_group import SINGLE_PROCESS, ProcessGroup
from teddy.training.learning.start import open_update
from teddy.training.learning.torch_setup import set_threads, set_up_memory
from teddy.training.recipe.fitting import fill_in
from teddy.training.recipe.recipe import Recipe
from teddy.training.report.background import run_background
from teddy.training.report.figures import optional_figure
from teddy.training.report.machine import CostMeter
from teddy.training.report.writing import write_report
from teddy.training.run_setup import TEACHERS, RunSetup, set_up_run

_USELESS = 0.05
"""The last line says of a model with so low an F1 that it is next to useless."""
_FEW_UPDATES = 100
"""From trained weights; twice as many from random ones. With fewer, a network can hardly learn."""


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
    when another process works in `output`, or it holds an unfinished run and `resume` is False, or
    a run of another recipe.
    """
    set_up_memory()
    update = open_update(recipe, recipe.update, data) if recipe.update else None
    recipe = update.recipe if update else recipe
    directory, is_mine = RunDirectory(output), partial(fill_in, recipe)
    model_file = directory.best if recipe.transformer else output / f"{recipe.name}.teddy"
    job, interruption, meter = job or Job(recipe.name), interruption or Interruption(), CostMeter()
    recorder = RunRecorder(
        directory, job, watchers=watchers, interruption=interruption, group=group
    )
    with directory.locked(group), recorder.log_outcome():
        # A run that was killed over its report still has a checkpoint to resume from.
        if directory.is_finished(model_file, is_mine) and not directory.last.exists():
            recorder.note(f"{output} holds this run, and it has finished: nothing to do")
            recorder.restore()
            return model_file
        if directory.best.exists() and directory.newest == directory.best:
            done = load_checkpoint(directory.best)
            if done.card:  # measured: else it was killed before its first `last.checkpoint`
                directory.permit(done, is_mine, resume=resume)
                recorder.note(f"the run in {output} has finished: its model file is written again")
                write_model(done, model_file)
                return model_file
        with interruption.at_once():
            earlier = directory.earlier(is_mine, load_checkpoint, recorder.note, resume=resume)
            if earlier is not None:
                recipe = recipe_of(earlier)
            set_threads(recipe.training.threads, group.n_here)
            setup = set_up_run(recipe, data, output, update, earlier, group, recorder.note)
            job.progressed()
            if group.is_first:
                directory.write_recipe(setup.recipe.dump_toml(), map(str, setup.fitted))
                write_atomically(output / "misaligned.txt", str(setup.misaligned))
        _learn(setup, recorder)
        if group.is_first:
            with interruption.at_once():
                _finish(setup, directory, model_file, meter, recorder.note)
        _remove(setup.stored, output / TEACHERS)
    return model_file


def _remove(*folders: Path) -> None:
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _learn(setup: RunSetup, recorder: RunRecorder) -> None:
    """Train to the end; keep and show each row, and write a checkpoint at each evaluation."""
    trainer, config = setup.trainer, setup.recipe.training
    position, steps = trainer.position, trainer.total_steps
    recorder.resume_at(position.step, position.evaluated, steps=steps, epochs=config.epochs)
    with recorder.showing(steps):
        for line in introduce(setup):
            recorder.note(line)
        recorder.follow(
            trainer.run(recorder.interruption),
            setup.checkpoint,
            is_time=lambda row: row["kind"] == "evaluation",
            every_seconds=config.checkpoint_seconds,
        )


def _finish(
    setup: RunSetup,
    directory: RunDirectory,
    model_file: Path,
    meter: CostMeter,
    note: Callable[[str], None],
) -> None:
    """Export the measured best weights; then write the report, and remove what only resumes."""
    recipe, corpora = setup.recipe, setup.corpora
    checkpoint, evaluation = measure(load_checkpoint(directory.best), corpora)
    checkpoint.save(directory.best, resumable=False)
    if recipe.transformer is None:
        write_model(checkpoint, model_file)
    background = run_background(recipe, checkpoint, corpora, directory.path, meter)
    with optional_figure(note, "complete report/"):
        write_report(
            evaluation,
            directory.path / "report",
            title=f"{recipe.name}, on dev",
            background=background,
        )
    directory.wind_up()
    f1 = read_measurements(checkpoint.card).scores["dev"]["micro"]["f1"]
    doubt = _doubt(setup, evaluation.scores.micro)
    note(f"dev F1 {f1:.2%} (strict spans); model file {model_file}{doubt and f'. {doubt}'}")


def _doubt(setup: RunSetup, scores: Counts) -> str:
    """Return why the model is next to useless, or may be far from what the data could give."""
    steps, is_bad = setup.trainer.position.step, scores.f1 < _USELESS
    bad = "Warning: that is next to nothing" if is_bad else "Warning"
    plural = " is" if steps == 1 else "s are"
    cure = "set more training.epochs, or a smaller training.batch_words"
    if steps < (_FEW_UPDATES if setup.is_started else 2 * _FEW_UPDATES):
        return f"{bad}: {steps:,} update{plural} too few to learn from; {cure}"
    if not is_bad:
        return ""
    n_train = sum(len(corpus.train) for corpus in setup.corpora)
    if setup.misaligned.n_spans > scores.gold:
        return f"{bad}: {setup.misaligned.n_spans:,} gold spans begin or end inside a word"
    if not scores.predicted:
        bad += ", for no entity was found"
    return (
        f"{bad}: {n_train:,} training sentences may be too few, or dev be marked in another way "
        "than train; `teddy check` compares them"
    )
