"""Groups of real processes that train together over gloo.

They are forked from one process that has imported all they need, which takes seconds only once.
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from teddy.model.errors import TrainingError
from teddy.model.network.tagger_network import Network
from teddy.model.tags.tag_set import TagSet
from teddy.training.data.corpora import load_corpora
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.distill import open_distillation
from teddy.training.learning.distributed.process_group import (
    SINGLE_PROCESS,
    ProcessGroup,
    current_group,
)
from teddy.training.learning.torch_setup import seed_torch
from teddy.training.loop import Trainer
from teddy.training.recipe.recipe import load_recipe

PATIENCE_SECONDS = 120
CPU = torch.device("cpu")
NO_DROPOUT = (
    "network.embedding_dropout=0",
    "network.layer_dropout=0",
    "training.word_dropout=0",
    "training.feature_dropout=0",
)
NOISY = (
    "training.word_dropout=0.2",
    "augment.lower=0.2",
    "augment.typos=0.2",
    "augment.unpunctuated=0.2",
    "augment.joined=0.5",
)
TAUGHT = (
    'distill.teachers=["teacher.checkpoint"]',
    'distill.text=["raw.txt"]',
    'distill.name="a library"',
    'distill.licence="CC0"',
    "distill.words=60",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A run of the tiny recipe with changes, up to so many rows; `data` has the recipe's files."""

    data: Path
    changes: tuple[str, ...]
    n_rows: int = 6

    def trainer(self, group: ProcessGroup = SINGLE_PROCESS, *changes: str) -> Trainer:
        """A trainer, fresh from its seed, on a few sentences."""
        torch.set_num_threads(1)
        recipe = load_recipe(self.data / "tiny.toml", [*self.changes, *changes])
        (corpus,) = load_corpora(recipe, self.data)
        features = load_checkpoint(self.data / "teacher.checkpoint").build()[1]
        seed_torch(1)
        tag_set = TagSet(recipe.labels)
        return Trainer(
            Network(recipe.network, features.n_rows, tag_set),
            features,
            tag_set,
            [replace(corpus, train=corpus.train[:31], dev=corpus.dev[:7])],
            recipe.training,
            seed=1,
            device=CPU,
            distillation=None
            if recipe.distill is None
            else open_distillation(
                recipe, recipe.distill, self.data, CPU, folder=self.data / "teachers"
            ),
            augmentation=recipe.augment,
            group=group,
        )

    def run(self, group: ProcessGroup = SINGLE_PROCESS, *changes: str) -> dict[str, Any]:
        """What the run leaves: its rows, the gradients of its last update, and its state."""
        trainer = self.trainer(group, *changes)
        return left_by(trainer, islice(trainer.run(), self.n_rows))


def left_by(trainer: Trainer, rows: Iterator[Any]) -> dict[str, Any]:
    """What a trainer leaves after some rows, as plain values and tensors."""
    kept = [
        {name: value for name, value in row.items() if name != "words_per_second"} for row in rows
    ]
    state = trainer.state()
    gradients = {
        name: each.grad.clone()
        for name, each in trainer.network.named_parameters()
        if each.grad is not None
    }
    own = trainer.parallel.embedding.grad
    assert own is not None
    gradients["embedding"] = trainer.parallel.whole(own).clone()
    return {
        "rows": kept,
        "gradients": gradients,
        "state": state,
        "averaged": trainer.averaged.state_dict(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Lives:
    """What the processes of a group do, one thing after another; results go to `folder`."""

    folder: Path
    courses: Sequence[Course]

    def live(self, rank: int, size: int) -> None:
        """The life of one process."""
        dist.init_process_group(
            "gloo", init_method=f"file://{self.folder}/meeting", rank=rank, world_size=size
        )
        group = current_group()
        found: dict[str, Any] = {
            "group": (group.rank, group.size, group.is_first),
            "shares": [list(group.share(n)) for n in range(8)],
            "any": [group.any(False), group.any(rank == 1), group.any(True)],
            "refused": refused(group),
            "courses": [course.run(group) for course in self.courses],
            "diverged": self._diverged(group),
        }
        torch.save(found, self.folder / f"{rank}.pt")
        self._die_or_notice(group)

    def _diverged(self, group: ProcessGroup) -> str:
        """One process has a weight that is no number, of which the others only see the effect."""
        trainer = self.courses[0].trainer(group)
        running = trainer.run()
        next(running)
        if group.rank == 1:
            with torch.no_grad():
                trainer.network.emission.bias[1] = torch.nan
        before = trainer.network.crf.transition.clone()
        message = refusal(running)
        assert torch.equal(trainer.network.crf.transition, before)
        return message

    def _die_or_notice(self, group: ProcessGroup) -> None:
        running = self.courses[0].trainer(group).run()
        next(running)
        if group.rank == group.size - 1:
            os.kill(os.getpid(), signal.SIGKILL)
        (self.folder / f"{group.rank}.txt").write_text(refusal(running))


def refusal(running: Iterator[Any]) -> str:
    """What ends a run."""
    try:
        for _ in running:
            pass
    except TrainingError as error:
        return str(error)
    return ""


def refused(group: ProcessGroup) -> str:
    """What a group says of processes that differ."""
    try:
        group.require_same(5, "five")
        group.require_same(group.rank, "their numbers")
    except TrainingError as error:
        return str(error)
    return ""


def live_together(lives: Lives, size: int) -> list[dict[str, Any]]:
    """Start so many processes, wait for them, and return their results, `noticed` of the last."""
    lives.folder.mkdir()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    processes = [context.Process(target=lives.live, args=(rank, size)) for rank in range(size)]
    for process in processes:
        process.start()
    try:
        for process in processes:
            process.join(PATIENCE_SECONDS)
        assert [process.exitcode for process in processes] == [0] * (size - 1) + [-signal.SIGKILL]
    finally:
        for process in processes:
            process.kill()
    found = [torch.load(lives.folder / f"{rank}.pt", weights_only=True) for rank in range(size)]
    noticed = [path.read_text() for path in sorted(lives.folder.glob("*.txt"))]
    return [each | {"noticed": noticed} for each in found]


def tensors(values: Any, name: str = "") -> dict[str, Tensor]:
    """All tensors, and numbers as such, of nested lists and dicts, by where they stand."""
    if isinstance(values, Tensor):
        return {name: values}
    if isinstance(values, (bool, int, float)):
        return {name: torch.tensor(values, dtype=torch.float64)}
    pairs = (
        values.items()
        if isinstance(values, dict)
        else enumerate(values)
        if isinstance(values, list)
        else ()
    )
    return {
        place: each
        for key, value in pairs
        for place, each in tensors(value, f"{name}.{key}").items()
    }
