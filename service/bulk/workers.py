"""The workers that tag shards: what they have in common, and the one that is this process."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from teddy.model.text.sentences import SentenceMode
from teddy.service.bulk.inputs import Assignment, Options
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import TextTagger
from teddy.service.bulk.sharding import ShardTagger
from teddy.service.bulk.state import ShardPlace

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

Place = Callable[[Assignment], ShardPlace]
"""Return the place for the results of a shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """The model that a worker loads: a file (None: the model that ships) and a precision.

    `sentences` is how it cuts texts; None: as the model file says. `rules` is a file of rules.
    """

    path: Path | None
    precision: str
    sentences: SentenceMode | None = None
    rules: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """The model that workers have loaded."""

    name: str
    version: str
    labels: tuple[str, ...]
    precision: str
    sentences: SentenceMode = "document"
    rules: str | None = None
    """The version of the rules in force."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """A shard whose results are in their place."""

    task: Assignment
    tally: Progress


class Workers(Protocol):
    """One or more workers, as `start_alone`, `start_processes` and `start_ray` give them."""

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Progress]:
        """Tag shards in any order, and yield each once its results are in their place.

        A Progress now and then is that of all shards in work. A task is asked for only when a
        worker is free.
        """
        ...


def load_model(choice: ModelChoice) -> "Predictor":
    """Load a model for a process that only tags, on one thread.

    Raises TeddyError when the model is refused.
    """
    # A sentence is too little work to share among threads, and the processes share the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    from teddy.model.predictor import load
    from teddy.model.system.memory import freeze_gc

    predictor = load(
        choice.path,
        precision=choice.precision,
        sentences=choice.sentences,
        rules=choice.rules,
    )
    freeze_gc()
    return predictor


def describe(predictor: "Predictor") -> LoadedModel:
    """Return what workers say of a loaded model."""
    manifest = predictor.manifest
    return LoadedModel(
        name=manifest.name,
        version=predictor.version,
        labels=predictor.labels,
        precision=predictor.precision,
        sentences=predictor.sentences,
        rules=predictor.rules.version if predictor.rules else None,
    )


@contextmanager
def start_alone(choice: ModelChoice) -> Iterator[tuple[Workers, LoadedModel]]:
    """Load the model into this process. Raises TeddyError when it is refused."""
    predictor = load_model(choice)
    yield Alone(predictor), describe(predictor)


class Alone:
    """Workers that are this process, which tags one shard after another."""

    def __init__(self, tagger: TextTagger) -> None:
        self._tagger = tagger

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Progress]:
        """Tag shards; see `Workers`."""
        with closing(ShardTagger(self._tagger, options)) as shards:
            for task in tasks:
                done = Progress()
                for done in shards.tag_into(task, place(task)):
                    yield done
                yield Finished(task=task, tally=done)
