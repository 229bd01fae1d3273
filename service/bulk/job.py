"""A job: the shards of its files are handed out to workers, and joined file by file.

    find_inputs -> cut -> workers -> state -> join -> outputs

A job that is begun again hands out only the shards that are not finished.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from teddy.model.errors import DataError
from teddy.model.system.processes import Interruption
from teddy.service.bulk import stream
from teddy.service.bulk.inputs import Assignment, Input, Options
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.sharding import cut, join_shards
from teddy.service.bulk.state import Identity, JobState, ShardPlace
from teddy.service.bulk.workers import Finished, LoadedModel, Workers

LAYOUT = 2
"""The version of the state's folder, and of how answers depend on the input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkJob:
    """Inputs and options. Two runs of equal jobs on equal inputs write equal files."""

    inputs: Sequence[Input]
    options: Options
    with_errors: bool
    """Whether the reasons of records that could not be tagged go to a file beside each output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The results of a job, `total` with those of earlier runs."""

    files: int
    total: Progress
    seconds: float
    """The duration of this run."""
    done_here: Progress
    """The share of this run."""
    n_joined: int
    """Files that this run has finished; 0 when all had been."""
    refused: tuple[str, ...] = ()
    """Files that could not be read to their end, which have no output, each with the reason."""


OnProgress = Callable[[Progress, Progress], None]
"""Takes the progress of the job, and the share of this run."""


def identity_of(job: BulkJob, model: LoadedModel) -> Identity:
    """Return all that decides the output, as JSON. A touched input counts as another."""
    labels = job.options.selection.labels
    ruled: Identity = {} if model.rules is None else {"rules": model.rules}
    return {
        "layout": LAYOUT,
        "inputs": [_input_identity(each) for each in job.inputs],
        "model": f"{model.name} {model.version}",
        "precision": model.precision,
        "sentences": model.sentences,
        "labels": None if labels is None else sorted(labels),
        "min_score": job.options.selection.min_score,
        "threshold": job.options.selection.threshold,
        "text_field": job.options.text_field,
        "batch": [stream.BATCH_RECORDS, stream.BATCH_BYTES, job.options.shard_bytes],
        **ruled,
    }


def run_job(
    job: BulkJob,
    state: JobState,
    workers: Workers,
    on_progress: OnProgress = lambda _total, _here: None,
    interruption: Interruption | None = None,
) -> Summary:
    """Tag what is left of a job whose state has begun.

    A file that cannot be read to its end is left out, and the rest goes on.

    Raises WorkerError when workers die again and again, JobInterrupted when it is asked to stop;
    what is finished by then stays so.
    """
    began_at = time.monotonic()
    ledger = _Ledger(job, state)
    here = Progress()
    for result in workers.results(ledger.assignments(), job.options, ledger.place):
        if isinstance(result, Finished):
            ledger.finish(result)
            here += result.tally
            in_work = Progress()
        else:
            in_work = result
        on_progress(ledger.total + in_work, here + in_work)
        if interruption is not None:
            interruption.check()
    return Summary(
        files=len(job.inputs),
        total=ledger.in_order(),
        seconds=time.monotonic() - began_at,
        done_here=here,
        n_joined=ledger.n_joined,
        refused=tuple(ledger.refused),
    )


@dataclass(slots=True, kw_only=True)
class _File:
    """An input whose shards are being handed out."""

    tallies: dict[int, Progress] = field(default_factory=dict)
    n_open: int = 0
    is_cut: bool = False


class _Ledger:
    """The open shards, the tallies of the finished ones, and the files that can be joined."""

    def __init__(self, job: BulkJob, state: JobState) -> None:
        self._job = job
        self._state = state
        self._files: dict[int, _File] = {}
        self.total = Progress()
        self.n_joined = 0
        self.refused: list[str] = []

    def assignments(self) -> Iterator[Assignment]:
        """Yield the shards that are left to tag, and join the files that have none."""
        for position, source in enumerate(self._job.inputs):
            tally = self._state.finished_file(position)
            if tally is not None and source.target.exists():
                self.total += tally
                continue
            try:
                yield from self._shards_of(position, source)
            except DataError as error:
                self.refused.append(str(error))

    def place(self, task: Assignment) -> ShardPlace:
        """Return the place for the results of a shard."""
        return self._state.place(task.position, task.shard.number)

    def finish(self, finished: Finished) -> None:
        """Note that a shard is in its place."""
        file = self._files[finished.task.position]
        file.n_open -= 1
        file.tallies[finished.task.shard.number] = finished.tally
        self.total += finished.tally
        self._join_if_done(finished.task.position)

    def in_order(self) -> Progress:
        """Return the sum of the files' tallies, in their order."""
        tallies = (self._state.finished_file(position) for position in range(len(self._job.inputs)))
        return sum((tally for tally in tallies if tally is not None), Progress())

    def _shards_of(self, position: int, source: Input) -> Iterator[Assignment]:
        file = self._files[position] = _File()
        for shard in cut(source, self._job.options.text_field, self._job.options.shard_bytes):
            task = Assignment(position=position, source=source, shard=shard)
            earlier = self.place(task).tally
            if earlier is None:
                file.n_open += 1
                yield task
            else:
                file.tallies[shard.number] = earlier
                self.total += earlier
        file.is_cut = True
        self._join_if_done(position)

    def _join_if_done(self, position: int) -> None:
        file = self._files[position]
        if not file.is_cut or file.n_open:
            return
        n_shards = len(file.tallies)
        places = [self._state.place(position, number) for number in range(n_shards)]
        join_shards(self._job.inputs[position], places, with_errors=self._job.with_errors)
        tally = sum((file.tallies[number] for number in range(n_shards)), Progress())
        if tally.first_error and len(self._job.inputs) > 1:
            path = self._job.inputs[position].path
            tally = replace(tally, first_error=f"{path}: {tally.first_error}")
        self._state.finish_file(position, n_shards, tally)
        self.n_joined += 1
        del self._files[position]


def _input_identity(source: Input) -> list[object]:
    status = source.path.stat()
    paths = [str(path.resolve()) for path in (source.path, source.target)]
    return [*paths, source.form.value, status.st_size, status.st_mtime_ns]
