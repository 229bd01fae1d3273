"""Workers that are actors of a Ray cluster, by Ray Data (extra `ray`).

    this process -- shards --> Ray Data -- one at a time --> actors, each with a model
                 <---- packed answers, reasons, tallies ----

Actors read the inputs, which have to be under the same path on every node, and write nothing: what
they have tagged comes back, and is put into its place here. So a shard that Ray gives to a second
actor, because the first has died, is in the output once. The tally of a shard is the last thing
written, as it is without Ray.
"""

import logging
import os
import secrets
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

from teddy.model.errors import MissingExtraError, TeddyError
from teddy.model.system.files import write_atomically
from teddy.service.bulk.inputs import Assignment, Options
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.sharding import ShardTagger
from teddy.service.bulk.workers import (
    Finished,
    LoadedModel,
    ModelChoice,
    Place,
    Workers,
    describe,
    load_model,
)

LOCAL = "local"
"""Stands for a cluster of this machine alone that ends with the job."""


@contextmanager
def start_ray(
    address: str, count: int, choice: ModelChoice
) -> Iterator[tuple[Workers, LoadedModel]]:
    """Connect to a cluster, or start one, and let `count` actors tag.

    Raises MissingExtraError where Ray is not installed, TeddyError when the model is refused or
    the cluster is not there.
    """
    model = describe(load_model(choice))
    ray = _import_ray(address)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**_where(address, count))
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise TeddyError(f"--ray {address}: {' '.join(str(error).split())}") from None
    signal.signal(signal.SIGTERM, handler)  # Ray has put its own in its place
    try:
        yield _RayWorkers(count, replace(choice, precision=model.precision)), model
    finally:
        ray.shutdown()


class _Actor:
    """A worker on some node, which tags the shard of each row."""

    def __init__(self, choice: ModelChoice, options: Options, folder: Path) -> None:
        os.chdir(folder)  # paths are as they were given there
        self._shards = ShardTagger(load_model(choice), options)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[object]]:
        rows = [self._tag(task) for task in batch["task"]]
        return {name: [row[name] for row in rows] for name in rows[0]}

    def _tag(self, task: Assignment) -> dict[str, object]:
        data, errors, tally = BytesIO(), BytesIO(), Progress()
        for progress in self._shards.tag(task, data, errors):
            tally = progress
        return {"task": task, "data": data.getvalue(), "errors": errors.getvalue(), "tally": tally}


class _RayWorkers:
    """Workers on a cluster; see `start_ray`."""

    def __init__(self, count: int, choice: ModelChoice) -> None:
        self._count = count
        self._choice = choice

    def results(
        self, tasks: Iterable[Assignment], options: Options, place: Place
    ) -> Iterator[Finished | Progress]:
        """Tag shards; see `Workers`. All are found before the first is tagged."""
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.WARNING)
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is ours
        rows = [{"task": task} for task in tasks]
        if not rows:
            return
        tagged = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            _Actor,
            batch_size=1,
            fn_constructor_args=(self._choice, options, Path.cwd()),
            concurrency=min(self._count, len(rows)),
            num_cpus=1,
        )
        for row in tagged.iter_rows():
            where = place(row["task"])
            write_atomically(where.data, row["data"])
            where.finish(row["errors"], row["tally"])
            yield Finished(task=row["task"], tally=row["tally"])


def _import_ray(address: str) -> Any:
    # Read by Ray while it is imported. It reports no use; and a cluster of our own is for us alone,
    # on loopback and with a token, since all who can reach it can run code here.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address == LOCAL:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
        if "RAY_AUTH_MODE" not in os.environ:
            os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex()}
    try:
        import ray
        import ray.data
    except ImportError:
        raise MissingExtraError("--ray needs the extra `ray`: pip install 'teddy[ray]'") from None
    return ray


def _where(address: str, count: int) -> dict[str, Any]:
    """Return the arguments of `ray.init`."""
    quiet = {"log_to_driver": False, "configure_logging": False}
    if address != LOCAL:
        return {"address": address, **quiet}
    return {"address": LOCAL, "num_cpus": count, "include_dashboard": False, **quiet}
