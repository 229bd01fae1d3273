"""Logs a training run to MLflow, from a thread that the training never waits for.

    rows --(queue)--> thread --> a tracking server, or a local SQLite file

The thread sends every few seconds. Rows that MLflow cannot take are kept and sent later; the first
failure is logged. Only the end of a run waits for it, for a limited time. (MLflow's own
asynchronous logging, as of 3.17, drops a batch that fails, and waits at its end without a limit.)
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Annotated, Any

import typer

from teddy.model.errors import MissingExtraError
from teddy.training.job.catalogue import Address
from teddy.training.job.job import Job, State
from teddy.training.job.log import Log, without_password
from teddy.training.job.options import shown

if TYPE_CHECKING:
    from teddy.training.job.mlflow_run import MlflowRun

LOCAL = "local"
LOCAL_URI = "sqlite:///runs/mlflow.db"
"""What `local` stands for. What a run leaves lies beside the file, in `mlflow-artifacts`."""

EVERY_SECONDS = 5.0
"""Between two messages to MLflow, and between two tries when it does not answer."""
END_SECONDS = 120.0
"""The end of a run waits so long until everything is sent, the model file too."""
INTERRUPTED_SECONDS = 5.0
"""A run that is interrupted waits so long: who stopped it will not be patient."""

Row = Mapping[str, object]
Watcher = Callable[[Row], None]

MlflowOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        envvar="MLFLOW_TRACKING_URI",
        help=f"Track the run with MLflow: a server, a database, or {LOCAL}, which is {LOCAL_URI}.",
    ),
]


@contextmanager
def observed(
    name: str,
    output: Path,
    metrics_file: Path | None = None,
    metrics_port: Address | None = None,
    pushgateway: str | None = None,
    mlflow: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Show a job as the options say; yield the arguments of `train` and `pretrain` for it."""
    from teddy.model.system.processes import interruptions

    job = Job(name)
    with (
        interruptions() as interruption,
        shown(job, metrics_file, metrics_port, pushgateway),
        tracked(output, mlflow) as watchers,
    ):
        yield {"job": job, "watchers": watchers, "interruption": interruption}


@contextmanager
def tracked(output: Path, uri: str | None) -> Iterator[tuple[Watcher, ...]]:
    """Give what shows the rows of the training run in `output` to MLflow; nothing without `uri`.

    The run in MLflow begins with the first row and ends as the block does: FINISHED, KILLED when it
    is interrupted, FAILED when it raises anything else.

    Raises: MissingExtraError where MLflow is not installed, TrainingError for a URI that it can do
    nothing with.
    """
    if uri is None:
        yield ()
        return
    tracker = Tracker(_open(output, LOCAL_URI if uri == LOCAL else uri))
    try:
        yield (tracker.show,)
    except BaseException as error:
        if State.after(error) is State.INTERRUPTED:
            tracker.end("KILLED", INTERRUPTED_SECONDS)
        else:
            tracker.end("FAILED", END_SECONDS)
        raise
    tracker.end("FINISHED", END_SECONDS)


def _open(output: Path, uri: str) -> "MlflowRun":
    if find_spec("mlflow") is None:
        raise MissingExtraError("--mlflow needs MLflow: pip install 'teddy[mlflow]'")
    _quieten_mlflow()
    from teddy.training.job.mlflow_run import MlflowRun

    return MlflowRun(output, uri)


def _quieten_mlflow() -> None:
    """Set what MLflow reads at import, unless the environment does: no reports, few retries."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    # their warnings become one line of ours
    for name in ("mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.ERROR)


class Tracker:
    """The thread, and the queue in front of it."""

    def __init__(self, run: "MlflowRun") -> None:
        self._run = run
        self._queue: SimpleQueue[tuple[int, Row] | str] = SimpleQueue()
        self._waiting: list[tuple[int, Row]] = []
        self._has_complained = False
        self._is_sent = False
        name = f"tracking by {run.place}"
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def show(self, row: Row) -> None:
        """Take a row of the record; returns at once."""
        step = row["step"]
        if row["kind"] != "update" or (isinstance(step, int) and is_sent(step)):
            self._queue.put((time.time_ns() // 1_000_000, row))

    def end(self, status: str, seconds: float) -> None:
        """End the run with one of MLflow's states, and wait at most so long for MLflow to know."""
        self._queue.put(status)
        self._thread.join(seconds)
        if not self._is_sent:
            self._complain("no answer" if self._thread.is_alive() else "not all was taken")

    def _work(self) -> None:
        self._try(self._run.connect)
        status = None
        while status is None:
            status = self._gather()
            self._try(self._send)
        self._is_sent = self._try(lambda: self._finish(status))

    def _gather(self) -> str | None:
        """Take rows from the queue for a while; return how the run ended, if it has."""
        until = time.monotonic() + EVERY_SECONDS
        while (left := until - time.monotonic()) > 0:
            try:
                item = self._queue.get(timeout=left)
            except Empty:
                break
            if isinstance(item, str):
                return item
            self._waiting.append(item)
        return None

    def _send(self) -> None:
        if self._waiting:
            self._run.send(self._waiting)
            self._waiting.clear()

    def _finish(self, status: str) -> None:
        self._send()
        self._run.finish(status)

    def _try(self, action: Callable[[], object]) -> bool:
        try:
            action()
        except Exception as error:  # nothing that is wrong out there is worth a training run
            self._complain(str(error) or type(error).__name__)
            return False
        return True

    def _complain(self, reason: str) -> None:
        if not self._has_complained:
            self._has_complained = True
            line = without_password(" ".join(reason.split()))[:200]
            refused = f"{self._run.place} does not take what is tracked: {line}"
            Log().note(f"{refused}; the training goes on", "warning")


def is_sent(step: int) -> bool:
    """Whether an update is sent: if its number, trailing zeros aside, has at most three digits.

    So a run of ten thousand updates has two thousand points, one of a million four thousand;
    metrics.jsonl, which is sent too, has them all.
    """
    return not step % 10 ** max(len(str(step)) - 3, 0)
