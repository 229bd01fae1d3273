import gzip
import json
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from backports import zstd

from benchmarks.load.processes import descendants
from teddy.model.errors import DataError, TeddyError
from teddy.model.predictor import Predictor
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Entity
from teddy.model.text.words import Text
from teddy.service.bulk import processes
from teddy.service.bulk.inputs import Assignment, Options, find_inputs
from teddy.service.bulk.job import BulkJob, Summary, identity_of, run_job
from teddy.service.bulk.processes import WorkerError, start_processes
from teddy.service.bulk.progress import Progress
from teddy.service.bulk.records import Selection
from teddy.service.bulk.sharding import cut
from teddy.service.bulk.state import JobState, ShardPlace
from teddy.service.bulk.workers import Alone, LoadedModel, ModelChoice, Workers

OPTIONS = Options(selection=Selection(), shard_bytes=1000)
MODEL = LoadedModel(name="capitals", version="1", labels=("PER",), precision="fp32")
SENTENCES = (
    "Anna Berg went to Oslo .",
    "Nobody was there .",
    "In Lund , Mira met Otto Lind .",
    "The bears of Ghent sleep .",
)


class CapitalsTagger:
    """Takes each capitalised word for a person, and remembers the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def tag(self, texts: Iterable[Text], **_: object) -> list[list[Entity]]:
        taken = [*map(str, texts)]
        self.texts += taken
        return [
            [
                Entity(found.start(), found.end(), "PER", 0.5, found[0])
                for found in re.finditer(r"\b[A-Z]\w*", text)
            ]
            for text in taken
        ]

    def tag_sentences(self, sentences: Sequence[Sequence[str]], **_: object) -> list[list[Span]]:
        return [
            [Span(i, i + 1, "PER") for i, word in enumerate(words) if word.istitle()]
            for words in sentences
        ]


def write_inputs(folder: Path) -> None:
    """The same texts in each format, some packed, some bad."""
    folder.mkdir()
    texts = [f"{SENTENCES[number % 4]} {number}" for number in range(60)]
    lines = "".join(f"{text}\n" for text in texts).encode() + b"\xff\n"
    objects = (
        "".join(f"{json.dumps({'id': text[-2:], 'text': text})}\n" for text in texts).encode()
        + b'{"id": 7}\n'
    )
    (folder / "a.txt").write_bytes(lines)
    (folder / "b.txt.gz").write_bytes(gzip.compress(lines))
    (folder / "c.jsonl.zst").write_bytes(zstd.compress(objects))
    (folder / "d.conll").write_text("".join("\n".join(text.split()) + "\n\n" for text in texts))
    (folder / "e.txt").touch()


def job_of(folder: Path, output: Path, options: Options = OPTIONS) -> BulkJob:
    return BulkJob(inputs=find_inputs([folder], output), options=options, with_errors=True)


def run(
    job: BulkJob,
    output: Path,
    workers: Workers,
    on_progress: Callable[[Progress, Progress], None] = lambda _total, _here: None,
    *,
    model: LoadedModel = MODEL,
    restart: bool = False,
) -> Summary:
    with JobState(output / ".teddy").held() as state:
        state.begin(identity_of(job, model), restart=restart)
        return run_job(job, state, workers, on_progress)


def contents(output: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in output.iterdir() if path.is_file()}


def worker_processes() -> list[int]:
    return [
        pid
        for pid in descendants(os.getpid())[1:]
        if b"teddy.service.bulk.processes" in command_of(pid)
    ]


def command_of(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bulk") / "in"
    write_inputs(folder)
    return folder


@pytest.fixture(scope="module")
def alone(
    inputs: Path, tiny_predictor: Predictor, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """What one process makes of the inputs."""
    output = tmp_path_factory.mktemp("alone")
    run(job_of(inputs, output), output, Alone(tiny_predictor))
    return contents(output)


@pytest.fixture(scope="module")
def pool(tiny_model: Path) -> Iterator[Workers]:
    with start_processes(2, ModelChoice(path=tiny_model, precision="fp32")) as (workers, _):
        yield workers


def test_every_file_has_its_answers_in_order_and_its_reasons_beside_them(
    inputs: Path, alone: dict[str, bytes]
) -> None:
    assert sorted(alone) == [
        "a.jsonl",
        "a.jsonl.errors.jsonl",
        "b.jsonl.gz",
        "b.jsonl.gz.errors.jsonl",
        "c.jsonl.zst",
        "c.jsonl.zst.errors.jsonl",
        "d.conll",
        "e.jsonl",
    ]
    answers = [json.loads(line) for line in alone["a.jsonl"].splitlines()]
    assert [answer["line"] for answer in answers] == list(range(1, 62))
    assert gzip.decompress(alone["b.jsonl.gz"]) == alone["a.jsonl"]
    assert [json.loads(line)["id"] for line in zstd.decompress(alone["c.jsonl.zst"]).splitlines()][
        -1
    ] == 7
    reasons = [json.loads(line) for line in alone["c.jsonl.zst.errors.jsonl"].splitlines()]
    error = 'no "text" that is a string or a list of words'
    assert reasons == [{"path": str(inputs / "c.jsonl.zst"), "id": 7, "line": 61, "error": error}]
    words = [line.split() for line in alone["d.conll"].decode().splitlines()]
    assert [line[0] for line in words if line] == (inputs / "d.conll").read_text().split()


def test_two_processes_write_what_one_writes(
    tmp_path: Path, inputs: Path, alone: dict[str, bytes], pool: Workers
) -> None:
    summary = run(job_of(inputs, tmp_path), tmp_path, pool)
    assert contents(tmp_path) == alone
    assert (summary.files, summary.total.errors, summary.n_joined) == (5, 3, 5)
    assert summary.total == summary.done_here or summary.total.first_error.startswith(
        str(inputs / "a.txt")
    )


def test_a_worker_that_is_killed_loses_nothing_and_repeats_nothing(
    tmp_path: Path, inputs: Path, alone: dict[str, bytes], pool: Workers
) -> None:
    victims = worker_processes()[:1]

    def kill(_total: Progress, here: Progress) -> None:
        if here.records and victims:
            os.kill(victims.pop(), signal.SIGKILL)

    summary = run(job_of(inputs, tmp_path), tmp_path, pool, kill)
    assert not victims
    assert contents(tmp_path) == alone
    assert summary.done_here.records == summary.total.records


def test_a_shard_at_which_workers_die_is_named(
    tmp_path: Path, inputs: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is killed as it is given something, so that it is the first shard each time."""
    monkeypatch.setattr(processes, "MOST_ATTEMPTS", 2)
    job = job_of(inputs, tmp_path)
    with (
        start_processes(1, ModelChoice(path=tiny_model, precision="fp32")) as (workers, model),
        JobState(tmp_path / ".teddy").held() as state,
    ):
        state.begin(identity_of(job, model), restart=False)

        def deadly(task: Assignment) -> ShardPlace:
            for pid in worker_processes():
                os.kill(pid, signal.SIGKILL)
            return state.place(task.position, task.shard.number)

        source = job.inputs[0]
        tasks = (
            Assignment(position=0, source=source, shard=shard)
            for shard in cut(source, shard_bytes=1000)
        )
        with pytest.raises(
            WorkerError, match=r"a\.txt, shard 1: 2 workers died at it; of the last, .* SIGKILL"
        ):
            list(workers.results(tasks, OPTIONS, deadly))


def test_a_model_that_is_refused_is_told_by_the_first_worker(tmp_path: Path) -> None:
    (tmp_path / "no.teddy").write_text("no model")
    with (
        pytest.raises(TeddyError, match=r"no\.teddy: .*not a Teddy model file"),
        start_processes(2, ModelChoice(path=tmp_path / "no.teddy", precision="fp32")),
    ):
        pass


class StoppedError(Exception):
    """Raised where a job is to be left."""


@pytest.mark.parametrize("n_records", [1, 75, 150])
def test_a_job_left_anywhere_goes_on_without_repeating_what_was_finished(
    tmp_path: Path, inputs: Path, n_records: int
) -> None:
    def stop(total: Progress, _here: Progress) -> None:
        if total.records >= n_records:
            raise StoppedError

    whole = CapitalsTagger()
    run(job_of(inputs, tmp_path / "whole"), tmp_path / "whole", Alone(whole))
    first, second = CapitalsTagger(), CapitalsTagger()
    output = tmp_path / "out"
    with pytest.raises(StoppedError):
        run(job_of(inputs, output), output, Alone(first), stop)
    n_finished = sum(1 for path in output.glob(".teddy/*/*-*.tally"))
    summary = run(job_of(inputs, output), output, Alone(second))
    assert contents(output) == contents(tmp_path / "whole")
    most_repeated = 1000 // 16  # what fits into the one shard that was not finished
    assert (
        len(whole.texts) <= len(first.texts) + len(second.texts) <= len(whole.texts) + most_repeated
    )
    assert summary.total.records == 61 + 61 + 61 + 60
    assert n_finished or n_records == 1 or summary.n_joined < 5
    left = [path.name for path in output.glob(".teddy/*/*")]
    assert sorted(left) == [f"{position}.tally" for position in range(5)]


def test_a_finished_job_does_nothing_when_it_is_begun_again(tmp_path: Path, inputs: Path) -> None:
    run(job_of(inputs, tmp_path), tmp_path, Alone(CapitalsTagger()))
    again = CapitalsTagger()
    summary = run(job_of(inputs, tmp_path), tmp_path, Alone(again))
    assert (again.texts, summary.n_joined, summary.total.records) == ([], 0, 243)
    (tmp_path / "a.jsonl").unlink()  # what is missing is made again
    assert run(job_of(inputs, tmp_path), tmp_path, Alone(again)).n_joined == 1
    assert len(again.texts) == 60


def test_another_job_is_refused_in_its_folder_unless_it_begins_anew(
    tmp_path: Path, inputs: Path
) -> None:
    run(job_of(inputs, tmp_path), tmp_path, Alone(CapitalsTagger()))
    other = LoadedModel(name="capitals", version="2", labels=("PER",), precision="fp32")
    with pytest.raises(DataError, match="the job that was begun here differs in model; --restart"):
        run(job_of(inputs, tmp_path), tmp_path, Alone(CapitalsTagger()), model=other)
    again = CapitalsTagger()
    run(job_of(inputs, tmp_path), tmp_path, Alone(again), model=other, restart=True)
    assert len(again.texts) == 180


def test_a_touched_input_makes_another_job(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    write_inputs(folder)
    run(job_of(folder, output), output, Alone(CapitalsTagger()))
    os.utime(folder / "a.txt", ns=(1, 1))
    with pytest.raises(DataError, match="differs in inputs"):
        run(job_of(folder, output), output, Alone(CapitalsTagger()))


def test_two_jobs_are_never_in_one_folder(tmp_path: Path) -> None:
    with (
        JobState(tmp_path / ".teddy").held(),
        pytest.raises(DataError, match=f"another job is writing here: process {os.getpid()}"),
        JobState(tmp_path / ".teddy").held(),
    ):
        pass


def test_a_file_that_is_broken_is_left_out_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder, output = tmp_path / "in", tmp_path / "out"
    write_inputs(folder)
    whole = (folder / "b.txt.gz").read_bytes()
    (folder / "b.txt.gz").write_bytes(whole[:-9])
    summary = run(job_of(folder, output), output, Alone(CapitalsTagger()))
    assert [reason.partition(": ")[2] for reason in summary.refused] == [
        "cannot be unpacked: Compressed file ended before the end-of-stream marker was reached"
    ]
    assert sorted(contents(output)) == [
        "a.jsonl",
        "a.jsonl.errors.jsonl",
        "c.jsonl.zst",
        "c.jsonl.zst.errors.jsonl",
        "d.conll",
        "e.jsonl",
    ]
