"""`teddy tag` on files: as a shell and a scheduler see it."""

import gzip
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.load.processes import descendants

ROOT = Path(__file__).parents[3]
PATIENCE_SECONDS = 60.0
Shell = Callable[..., tuple[int, str, str]]

KILLED = """
    import os, signal, sys
    from teddy import cli
    from teddy.model import predictor

    place, name = int(sys.argv[1]), sys.argv[2]

    class Manifest:
        name, labels = "fake", ("PER",)

    class Killed:
        '''Finds nothing, and sends itself a signal before the batch of that number.'''
        manifest, version, precision, sentences = Manifest(), "1", "fp32", "document"
        labels, rules = Manifest.labels, None
        n_batches = 0
        def tag(self, texts, **_):
            if self.n_batches == place:
                os.kill(os.getpid(), getattr(signal, name))
            self.n_batches += 1
            return [[] for text in texts]

    predictor.load = lambda path, precision, sentences, rules: Killed()
    sys.argv[1:] = sys.argv[3:]
    cli.main()
"""


def run_and_kill(
    before_batch: int, signal_name: str, *arguments: str | Path
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        textwrap.dedent(KILLED),
        str(before_batch),
        signal_name,
        *map(str, arguments),
    ]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS
    )


def write_texts(folder: Path, n_files: int, n_lines: int = 3) -> None:
    folder.mkdir()
    for number in range(n_files):
        (folder / f"{number}.txt").write_text(f"Anna Berg went to Oslo {number} .\n" * n_lines)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 75), ("SIGINT", 75), ("SIGKILL", -9)])
def test_a_job_that_is_ended_keeps_what_is_finished_and_goes_on(
    tmp_path: Path, name: str, code: int
) -> None:
    write_texts(tmp_path / "in", 4)
    command = (
        "tag",
        "--input",
        tmp_path / "in",
        "--output",
        tmp_path / "out",
        "--processes",
        "1",
        "--json",
    )
    ended = run_and_kill(2, name, *command)
    assert ended.returncode == code, ended.stderr
    assert len(contents(tmp_path / "out")) in ({2, 3} if code == 75 else {2})
    assert code != 75 or ended.stderr == f"teddy: interrupted by {name}\n"
    finished = run_and_kill(-1, name, *command)
    assert (finished.returncode, json.loads(finished.stdout)["rows"]) == (0, 12)
    assert sorted(contents(tmp_path / "out")) == [f"{number}.jsonl" for number in range(4)]
    again = run_and_kill(0, "SIGKILL", *command)  # which would kill itself, had it anything to do
    assert again.returncode == 0
    assert again.stderr.startswith("teddy: nothing to do: this job was finished before\n")


def test_one_file_that_is_stopped_goes_on_as_well(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("Anna\n" * 4000)
    command = ("tag", "--input", tmp_path / "in.txt", "--output", tmp_path / "out.jsonl")
    assert run_and_kill(2, "SIGTERM", *command).returncode == 75
    assert not (tmp_path / "out.jsonl").exists()
    assert run_and_kill(-1, "SIGTERM", *command).returncode == 0
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4000


def test_workers_end_when_the_job_is_killed_and_the_next_run_goes_on(
    tmp_path: Path, shell: Shell, tiny_model: Path
) -> None:
    write_texts(tmp_path / "in", 12, 60)
    options = ("tag", "--input", tmp_path / "in", "--model", tiny_model, "--precision", "fp32")
    arguments = [*map(str, options), "--output", str(tmp_path / "out"), "--processes", "2"]
    job = subprocess.Popen(
        [sys.executable, "-m", "teddy", *arguments], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: any((tmp_path / "out").glob("*.jsonl")))
        workers = descendants(job.pid)[1:]
    finally:
        job.kill()
        job.wait()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
    assert len(workers) == 2
    n_before = len(contents(tmp_path / "out"))
    assert shell(*arguments[:-1], "1")[0] == 0
    assert shell(*options, "--output", tmp_path / "whole", "--processes", "1")[0] == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert 0 < n_before <= 12


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    while not condition():
        assert monotonic() < deadline
        sleep(0.02)


def test_a_packed_file_and_rows_are_tagged_like_lines(
    tmp_path: Path, shell: Shell, tiny_model: Path
) -> None:
    texts = ["Otto Lind went to Oslo .", "Nobody was there ."]
    (tmp_path / "in.txt").write_text("".join(f"{text}\n" for text in texts))
    (tmp_path / "in.txt.gz").write_bytes(gzip.compress((tmp_path / "in.txt").read_bytes()))
    pq.write_table(pa.table({"body": texts}), tmp_path / "in.parquet")
    options = ("tag", "--model", tiny_model, "--precision", "fp32", "--input")
    assert shell(*options, tmp_path / "in.txt", "--output", tmp_path / "out.jsonl")[0] == 0
    wanted = (tmp_path / "out.jsonl").read_bytes()
    assert shell(*options, tmp_path / "in.txt.gz", "--output", tmp_path / "again.jsonl")[0] == 0
    assert (tmp_path / "again.jsonl").read_bytes() == wanted
    assert shell(*options, tmp_path / "in.txt.gz")[1].encode() == wanted
    assert shell(*options, tmp_path / "in.txt", "--output", tmp_path / "out.jsonl.gz")[0] == 0
    assert gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()) == wanted
    rows = (tmp_path / "in.parquet", "--text-field", "body", "--output", tmp_path / "out.parquet")
    assert shell(*options, *rows)[0] == 0
    found = pq.read_table(tmp_path / "out.parquet").column("entities").to_pylist()
    assert found == [json.loads(line)["entities"] for line in wanted.splitlines()]
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "-", "--input", "a.txt"], "--input: standard input goes with no other input"),
        (["--input", "a.txt", "--input", "b.txt"], "--output: give a folder for the answers"),
        (["--input", "-", "--processes", "2"], "--processes: is for files"),
        (["--input", "-", "--ray", "local"], "--ray: is for files"),
        (["--input", "a.parquet"], "--output: rows are not streamed"),
        (
            ["--input", "a.conll", "--output", "out/", "--min-score", "0.5"],
            "columns have no scores",
        ),
        (["--input", "no*.txt", "--output", "out/"], "no*.txt: there is no file to tag"),
        (["--input", "a.conll", "--to", "xml"], "--to: takes texts, .txt and .jsonl"),
        (["--input", "a.txt", "--to", "xml", "--json"], "--to: takes the place of --json"),
        (["--input", "a.txt", "--to", "xml", "--output", "a.txt"], "is the input as well"),
        (["--input", "a.txt", "--output", "a.parquet"], "a.parquet: rows become rows"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_model_is_loaded(
    tmp_path: Path,
    shell: Shell,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.txt", "b.txt", "a.conll", "a.parquet"):
        (tmp_path / name).touch()
    if arguments[1] == "a.txt" and "a.parquet" in arguments:
        (tmp_path / "a.parquet").unlink()
    code, output, told = shell("tag", "--model", "nowhere.teddy", *arguments)
    assert (code, output, told.count("\n")) == (2, "", 1)
    assert message in told


def test_a_second_job_is_kept_out_and_told_who_is_there(
    tmp_path: Path, shell: Shell, tiny_model: Path
) -> None:
    from teddy.service.bulk.state import JobState

    write_texts(tmp_path / "in", 1)
    with JobState(tmp_path / "out" / ".teddy").held():
        code, _, told = shell(
            "tag", "--input", tmp_path / "in", "--output", tmp_path / "out", "--model", tiny_model
        )
    assert code == 2
    assert f"another job is writing here: process {os.getpid()}" in told
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
