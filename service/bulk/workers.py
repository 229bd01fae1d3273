"""Who tags shards: what every kind of worker is given and gives back, and the one that is this process."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import TextTagger
from teddy.service.bulk.sharding import ShardTagger
from teddy.service.bulk.shards import Assignment, Options
from teddy.service.bulk.state import ShardPlace

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

Place = Callable[[Assignment], ShardPlace]
"""Where the results of a shard go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """What a worker is to load: a model file, or the one that ships, and the precision to compute in."""

    path: Path | None
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The model that workers have loaded."""

    name: str
    version: str
    labels: tuple[str, ...]
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A shard whose results are in their place."""

    task: Assignment
    tally: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Underway:
    """What the shards in progress have come to, together.

    Told now and then, for those who watch.
    """

    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker is to do next."""

    task: Assignment
    options: Options
    place: ShardPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why neither this worker nor another could do what it should, for people."""

    reason: str


class Workers(Protocol):
    """Those who tag shards.

    `start_alone`, `start_processes` and `start_ray` give them, with what they have loaded.
    """

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Underway]:
        """Tag shards, in any order, and yield each once its results are in their place.

        Tasks are asked for when somebody is free to take one.
        """
        ...


def load_model(choice: ModelChoice) -> "Predictor":
    """Load a model for a process that does nothing but tag, on one thread.

    Raises TeddyError when it is refused.
    """
    # A sentence is too little work to share among threads, and the processes share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from teddy.model.predictor import load
    from teddy.model.system.memory import freeze_gc

    predictor = load(choice.path, precision=choice.precision)
    freeze_gc()
    return predictor


def describe(predictor: "Predictor") -> LoadedModel:
    """Return what is to be known of a loaded model."""
    manifest = predictor.manifest
    return LoadedModel(
        name=manifest.name,
        version=predictor.version,
        labels=tuple(manifest.labels),
        precision=predictor.precision,
    )


@contextmanager
def start_alone(choice: ModelChoice) -> Iterator[tuple[Workers, LoadedModel]]:
    """Load the model into this process. Raises TeddyError when it is refused."""
    predictor = load_model(choice)
    yield Alone(predictor), describe(predictor)


class Alone:
    """Only the process that asks, one shard after another."""

    def __init__(self, tagger: TextTagger) -> None:
        self._tagger = tagger

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Underway]:
        """See `Workers`."""
        with closing(ShardTagger(self._tagger, options)) as shards:
            for task in tasks:
                done = Progress()
                for done in shards.tag_into(task, place(task)):
                    yield Underway(progress=done)
                yield Finished(task=task, tally=done)
