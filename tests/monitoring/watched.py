"""A small world to be watched: Teddy under load, three training jobs, and a Prometheus.

What takes minutes in `prometheus.yml`, between two scrapes and between two evaluations, takes a
second here."""

import asyncio
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from threading import Thread
from urllib.request import Request, urlopen

from benchmarks.load.generator import Load
from benchmarks.load.question import Question, as_json, batch_questions, single_questions
from benchmarks.load.server import COMMAND_LINE, ROOT, Server
from benchmarks.texts import made_up_paragraphs
from deploy.monitoring.configuration import PROMETHEUS, Addresses, write_configuration
from tests.monitoring.exporters import NodeExporter
from tests.monitoring.prometheus import Prometheus
from tests.training.pretraining import PRETRAINING

CONNECTIONS = 4
REQUESTS_PER_SECOND = 50.0
"""Few enough that everything else gets on."""
N_TEXTS = 400
N_CORRECTIONS = 40
"""Enough for a label's precision and recall to be told."""
LONGEST_SECONDS = 300.0
NAMES = ("Anna Berg", "Otto Lind", "Jonas Falk", "Ida Holm")
PLACES = ("Oslo", "Paris", "Berlin", "New York")


@contextmanager
def watched(directory: Path, corpus: Path) -> Iterator[Prometheus]:
    """Everything runs while the block lasts. `corpus` has the tiny recipe and its data."""
    metrics = directory / "metrics"
    metrics.mkdir()
    settings = {"feedback_dir": directory / "feedback", "drift_texts_per_second": 200}
    with ExitStack() as running:
        running.enter_context(training_jobs(directory, corpus, metrics))
        node = running.enter_context(NodeExporter(metrics))
        teddy = running.enter_context(Server.teddy(directory / "teddy.log", settings=settings))
        asyncio.run(teddy.ready())
        write_quick_configuration(
            directory, Addresses(teddy=[f"127.0.0.1:{teddy.port}"], node_exporter=[node.address])
        )
        prometheus = running.enter_context(Prometheus(directory))
        correct_some(teddy)
        running.enter_context(load(teddy))
        yield prometheus


def write_quick_configuration(directory: Path, addresses: Addresses) -> None:
    """The repository's, with a second for every interval that Prometheus keeps to."""
    write_configuration(directory, addresses)
    path = directory / PROMETHEUS
    quick, n_intervals = re.subn(r"(_interval): \d+s", r"\1: 1s", path.read_text(encoding="utf-8"))
    assert n_intervals == 2
    path.write_text(quick, encoding="utf-8")


@contextmanager
def load(teddy: Server) -> Iterator[None]:
    """Requests of all kinds, good and bad, from a thread."""
    questions = [
        *single_questions(sentences(), None),
        *batch_questions(sentences(), None, [20] * (N_TEXTS // 20)),
    ]
    bad = [
        Question("/v1/entities", as_json({"text": 7}), None),
        Question("/v1/nothing", as_json({}), None),
    ]
    asked = Load.of(teddy.port, [*questions, *bad])
    thread = Thread(
        target=lambda: asyncio.run(asked.open(REQUESTS_PER_SECOND, LONGEST_SECONDS, CONNECTIONS))
    )
    thread.start()
    try:
        yield
    finally:
        asked.stop()
        thread.join()


def sentences() -> list[str]:
    """Short texts with names, each of them another one."""
    draw = random.Random(6)  # noqa: S311
    paragraphs = islice(made_up_paragraphs(), N_TEXTS)
    return [f"{draw.choice(NAMES)} went to {draw.choice(PLACES)}. {each}" for each in paragraphs]


def correct_some(teddy: Server) -> None:
    """Correct a few sentences, in which some of what is found is right, wrong, and missed."""
    for number in range(N_CORRECTIONS):
        name, place, other = NAMES[number % 4], PLACES[number % 4], NAMES[(number + 1) % 4]
        text = f"{name} met {other} in {place}."
        wanted = [(0, len(name), "PER")]
        if number % 3:
            wanted.append((text.index(place), text.index(place) + len(place), "LOC"))
        if number % 4 == 0:
            wanted.append((text.index("met"), text.index("met") + 3, "LOC"))
        entities = [{"start": start, "end": end, "label": label} for start, end, label in wanted]
        post(f"{teddy.address}/v1/feedback", {"text": text, "entities": entities})


def post(url: str, content: object) -> None:
    """Send JSON. Raises HTTPError for an answer that is none."""
    request = Request(url, json.dumps(content).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60):
        pass


@contextmanager
def training_jobs(directory: Path, corpus: Path, metrics: Path) -> Iterator[None]:
    """A job that runs on and on, one of pre-training that ends, and one that cannot even begin."""
    (directory / "text.txt").write_text("The bear sleeps near the river all day long.\n" * 60)
    (directory / "encoder.toml").write_text(PRETRAINING)
    recipe = str(corpus / "tiny.toml")
    endless = ("--set", "training.epochs=2000", "--set", "training.patience=2000")
    commands = (
        ("train", recipe, "--data", str(corpus), *endless),
        ("pretrain", str(directory / "encoder.toml"), "--data", str(directory)),
        ("train", recipe, "--data", str(directory / "nowhere"), "--set", "name=broken"),
    )
    processes = [
        start(
            directory,
            *command,
            "--output",
            f"run-{number}",
            "--metrics-file",
            str(metrics / f"{number}.prom"),
        )
        for number, command in enumerate(commands)
    ]
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGTERM)
        for process in processes:
            process.wait(60)


def start(directory: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    """Run a command of Teddy in a directory."""
    with (directory / f"{arguments[0]}.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", COMMAND_LINE, *arguments],
            cwd=directory,
            env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
