"""Training jobs in Prometheus: a file, a port and a real Pushgateway, and how they end."""

import math
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
import torch

from teddy.model.errors import DivergedError, JobInterrupted
from teddy.training.job.catalogue import PREFIX, all_metrics
from teddy.training.job.job import Job
from teddy.training.job.metrics import exposed
from teddy.training.job.record import Record
from teddy.training.loop import Trainer
from tests.monitoring.binaries import binary
from tests.monitoring.exporters import NodeExporter, Pushgateway, Samples, samples, scrape, state_of
from tests.monitoring.prometheus import wait_until
from tests.training.pretraining import PRETRAINING

Shell = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
SHORT = ("--set", "training.epochs=2", "--set", "training.batch_words=150")
OF_ROWS = {
    "update": {key: key for key in ("step", "epoch", "loss", "gradient_norm", "learning_rate")},
    "evaluation": {
        "f1": "dev_f1",
        "precision": "dev_precision",
        "recall": "dev_recall",
        "loss": "dev_loss",
    },
    "held_out": {key: key for key in ("perplexity", "accuracy")},
}


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are quicker without."""
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)


def value(found: Samples, name: str) -> float | None:
    return found.get((PREFIX + name, ""))


def in_file(path: Path) -> Samples:
    return samples(path.read_text())


def expected(output: Path) -> dict[str, float]:
    """What the record of a run says that the metrics should be, after its last row."""
    found: dict[str, float] = {}
    for row in Record(output).rows():
        for key, name in OF_ROWS[str(row["kind"])].items():
            if isinstance(number := row[key], int | float):
                found[name] = float(number)
        if "dev_f1" in found:
            found["best_dev_f1"] = max(found["dev_f1"], found.get("best_dev_f1", 0.0))
    return found


def assert_lint_free(path: Path) -> None:
    checked = subprocess.run(
        [binary("promtool"), "check", "metrics"],
        input=path.read_bytes(),
        capture_output=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


# A job that goes well, seen from everywhere.


@contextmanager
def at_each_evaluation(look: Callable[[dict[str, Any]], None]) -> Iterator[None]:
    """Let jobs, while the block lasts, stop at each evaluation until it has been looked at."""
    show = Job.show

    def show_and_look(self: Job, row: Any) -> None:
        show(self, row)
        if row["kind"] == "evaluation":
            look(row)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Job, "show", show_and_look)
        yield


def test_a_job_is_in_its_file_on_its_port_and_in_the_pushgateway_as_in_its_record(
    shell: Shell, tiny_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, output = tmp_path / "tiny.prom", tmp_path / "run"
    steps: list[int] = []
    urls: list[str] = []

    def assert_there(read: Callable[[], Samples]) -> None:
        wait_until(
            lambda: value(read(), "step") == expected(output)["step"],
            lambda: f"never came: {read()}",
        )
        wait_until(
            lambda: value(read(), "dev_f1") == expected(output)["dev_f1"],
            lambda: f"never came: {read()}",
        )
        found = read()
        assert state_of(found) == "running"
        assert {name: value(found, name) for name in expected(output)} == expected(output)

    def look(row: dict[str, Any]) -> None:
        urls.extend(re.findall(r"http://127\.0\.0\.1:\d+/metrics", capfd.readouterr().err))
        assert_there(lambda: in_file(file))
        assert_there(lambda: samples(scrape(urls[0])))
        assert_there(gateway.samples)
        steps.append(row["step"])

    with Pushgateway(tmp_path) as gateway, at_each_evaluation(look):
        options = (
            "--metrics-file",
            file,
            "--metrics-port",
            0,
            "--pushgateway",
            f"http://{gateway.address}",
        )
        code, printed, told = shell(
            "train",
            tiny_data / "tiny.toml",
            "--data",
            tiny_data,
            "--output",
            output,
            *SHORT,
            *map(str, options),
        )
        assert (code, printed) == (0, f"{output / 'tiny.teddy'}\n"), told
        assert gateway.samples() == {}
    assert len(steps) == 2
    with pytest.raises(URLError):
        scrape(urls[0])

    found = in_file(file)
    assert state_of(found) == "finished"
    assert {name: value(found, name) for name in expected(output)} == expected(output)
    assert value(found, "steps") == value(found, "step") == steps[-1]
    assert value(found, "epochs") == 2
    # The last checkpoint is gone by now, and the best one was measured after it.
    measured = (output / "best.checkpoint").stat().st_mtime
    saved = value(found, "checkpoint_timestamp_seconds")
    assert saved is not None
    assert (output / "recipe.toml").stat().st_mtime < saved < measured
    assert_lint_free(file)
    with NodeExporter(tmp_path) as node:
        assert node.samples() == found


def test_the_metrics_of_both_kinds_of_jobs_are_those_of_the_table(
    shell: Shell, tmp_path: Path
) -> None:
    """Of `teddy pretrain` for real; what `teddy train` has besides is told to a job by hand."""
    (tmp_path / "text.txt").write_text("The bear sleeps near the river all day long.\n" * 60)
    (tmp_path / "encoder.toml").write_text(PRETRAINING)
    file, output = tmp_path / "encoder.prom", tmp_path / "run"
    options = ("--data", tmp_path, "--output", output, "--metrics-file", file)
    code, _, told = shell("pretrain", tmp_path / "encoder.toml", *options)
    assert code == 0, told
    found = in_file(file)
    assert state_of(found) == "finished"
    assert {name: value(found, name) for name in expected(output)} == expected(output)
    assert value(found, "step") == value(found, "steps")
    assert value(found, "epoch") == value(found, "epochs")
    assert (
        value(found, "checkpoint_timestamp_seconds") == (output / "last.checkpoint").stat().st_mtime
    )
    assert_lint_free(file)

    job = Job("by-hand")
    with exposed(job, tmp_path / "by-hand.prom", None, None):
        job.show({"kind": "evaluation", "f1": 0.5, "precision": 0.5, "recall": 0.5, "loss": 0.5})
    names = {name for name, _ in found | in_file(tmp_path / "by-hand.prom")}
    assert names == {metric.name for metric in all_metrics()}


def test_help_and_labels_are_those_of_the_table(tmp_path: Path) -> None:
    job, file = Job("mine"), tmp_path / "mine.prom"
    with exposed(job, file, None, None):
        job.plan(steps=9, epochs=3, step=0)
    text = file.read_text()
    for metric in all_metrics():
        if f"\n{metric.name}{{" in text:
            assert f"# HELP {metric.name} {metric.meaning}\n# TYPE {metric.name} gauge\n" in text
            labels = '="[a-z]+",'.join(metric.labels)
            assert re.search(rf'^{metric.name}{{{labels}="[a-z]+"}} \d', text, re.MULTILINE)


# How jobs end.


def test_a_job_that_is_stopped_is_interrupted_and_one_that_is_resumed_goes_on_where_it_was(
    shell: Shell, tiny_data: Path, tmp_path: Path
) -> None:
    file, output = tmp_path / "tiny.prom", tmp_path / "run"
    command = ("train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", output, *SHORT)

    def stop(_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    with at_each_evaluation(stop):
        assert shell(*command, "--metrics-file", file)[0] == 75
    stopped = in_file(file)
    assert state_of(stopped) == "interrupted"
    assert {name: value(stopped, name) for name in expected(output)} == expected(output)

    def stop_by_hand(_: object) -> None:
        raise KeyboardInterrupt

    with at_each_evaluation(stop_by_hand):
        assert shell(*command, "--metrics-file", file, "--resume")[0] == 130
    assert state_of(in_file(file)) == "interrupted"
    assert shell(*command, "--metrics-file", file)[0] == 2
    assert state_of(in_file(file)) == "failed"
    assert shell(*command, "--metrics-file", file, "--resume")[0] == 0
    resumed = in_file(file)
    assert state_of(resumed) == "finished"
    assert {name: value(resumed, name) for name in expected(output)} == expected(output)


def test_a_finished_job_begun_again_shows_what_it_has_come_to(
    shell: Shell, tiny_data: Path, tmp_path: Path
) -> None:
    file, output = tmp_path / "tiny.prom", tmp_path / "run"
    command = ("train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", output, *SHORT)
    assert shell(*command)[0] == 0
    assert shell(*command, "--metrics-file", file)[0] == 0
    found = in_file(file)
    assert state_of(found) == "finished"
    of_evaluations = {name: number for name, number in expected(output).items() if "dev" in name}
    assert {name: value(found, name) for name in of_evaluations} == of_evaluations
    assert value(found, "loss") is None


def test_a_job_whose_loss_is_no_number_has_diverged(
    shell: Shell, tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses = (torch.full((), math.nan, dtype=torch.float64, requires_grad=True), torch.zeros(()))
    monkeypatch.setattr(Trainer, "_losses", lambda *_: losses)
    run = (
        "--data",
        tiny_data,
        "--output",
        tmp_path / "run",
        "--metrics-file",
        tmp_path / "tiny.prom",
    )
    assert shell("train", tiny_data / "tiny.toml", *run)[0] == 3
    found = in_file(tmp_path / "tiny.prom")
    assert state_of(found) == "diverged"
    assert value(found, "loss") is None


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DivergedError("step 3"), "diverged"),
        (RuntimeError("the machine is on fire"), "failed"),
        (MemoryError(), "failed"),
        (KeyboardInterrupt(), "interrupted"),
        (JobInterrupted("by SIGTERM"), "interrupted"),
    ],
)
def test_the_state_says_what_ended_a_job(error: BaseException, state: str, tmp_path: Path) -> None:
    with pytest.raises(type(error)), exposed(Job("mine"), tmp_path / "mine.prom", None, None):
        raise error
    assert state_of(in_file(tmp_path / "mine.prom")) == state
    assert [each.name for each in tmp_path.iterdir()] == ["mine.prom"]


PROCESS = """
import sys, time
from pathlib import Path
from teddy.model.system.processes import interruptions
from teddy.training.job.job import Job
from teddy.training.job.metrics import exposed

job = Job("mine")
file = Path(sys.argv[1])
with interruptions() as found, exposed(job, file, None, None), found.at_once():
    print("ready", flush=True)
    time.sleep(120)
"""


@pytest.mark.parametrize(
    ("number", "state", "code"),
    [
        (signal.SIGTERM, "interrupted", 1),  # `teddy` makes 75 of the exception
        (signal.SIGINT, "interrupted", 1),
        (signal.SIGKILL, "running", -signal.SIGKILL),
    ],
)
def test_a_process_that_is_asked_to_end_says_so_and_one_that_is_killed_cannot(
    number: signal.Signals, state: str, code: int, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", PROCESS, str(tmp_path / "mine.prom")]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            process.send_signal(number)
            assert process.wait(60) == code
        finally:
            process.kill()
    assert state_of(in_file(tmp_path / "mine.prom")) == state
