"""Who tags shards: what every kind of worker is given and gives back."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from teddy.model.bulk.progress import Progress
from teddy.model.bulk.shards import Assignment, Options
from teddy.model.bulk.state import ShardPlace


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
    """What the shards in progress have come to, together. Told now and then, for those who watch."""

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


Place = Callable[[Assignment], ShardPlace]
"""Where the results of a shard go."""


class Workers(Protocol):
    """Those who tag shards. `start_alone`, `start_processes` and `start_ray` give them, with what they have loaded."""

    def results(self, tasks: Iterable[Assignment], options: Options, place: Place) -> Iterator[Finished | Underway]:
        """Tag shards, in any order, and yield each once its results are in their place.

        Tasks are asked for when somebody is free to take one.
        """
        ...
