"""A model replaced again and again under load: nothing fails, mixes or leaks."""

import asyncio
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.load.connection import Connection
from benchmarks.load.generator import Load
from benchmarks.load.processes import resident_bytes
from benchmarks.load.question import Question, entities_of, single_questions
from benchmarks.load.server import Server
from benchmarks.process import run_to_end
from benchmarks.service_context import Context, Figure, Section, milliseconds
from teddy.model.system.files import write_atomically

CONNECTIONS = 4
WARM_RELOADS = 10
"""Before memory is looked at: the first ones fill pools that stay."""
KEY = "benchmark-benchmark"
AUTHORIZATION = f"Authorization: Bearer {KEY}"
NAME = "tiny"
TRAIN = """
import sys
from pathlib import Path
from tests.conftest import RECIPE, write_corpus
from teddy.training.recipe.recipe import load_recipe
from teddy.training.run import train
folder = Path(sys.argv[1])
write_corpus(folder / "train.conll", 200, seed=1)
write_corpus(folder / "dev.conll", 40, seed=2)
for seed in ("3", "4"):
    recipe = folder / f"recipe-{seed}.toml"
    recipe.write_text(RECIPE.replace("seed = 3", f"seed = {seed}"))
    train(load_recipe(recipe), folder, folder / seed)
"""
"""The tests' tiny model, twice: one that loads in a moment, so that a thousand reloads are a matter
of minutes."""


@dataclass(frozen=True, slots=True)
class Versions:
    """Two models that know the same labels and answer differently now and then."""

    contents: tuple[bytes, bytes]
    questions: list[Question]


async def reloads(context: Context) -> list[Section]:
    """So many reloads under load."""
    versions = make_versions(context)
    file = context.folder / "served.teddy"
    write_atomically(file, versions.contents[0])
    settings = {"api_keys": f"admin:{KEY}", "precision": "fp32", "reload_poll_seconds": 0}
    log = context.folder / "reloads.log"
    with Server.teddy(log, "--model", f"{NAME}={file}", settings=settings) as server:
        await server.ready()
        load = Load.of(server.port, versions.questions, name="reload")
        asking = asyncio.create_task(load.closed(CONNECTIONS, 10_000))
        seconds, before = [], 0
        for number in range(WARM_RELOADS + context.scale.reloads):
            if context.clock.left() < 10:
                context.note(f"reloads: the time was over after {number}")
                break
            if number == WARM_RELOADS:
                before = resident_bytes(server.pid)
            seconds.append(await reload(server.port, file, versions.contents[(number + 1) % 2]))
        after = resident_bytes(server.pid)
        load.stop()
        tally = await asking
    failed = tally.sent - tally.ok + tally.n_faults + tally.unreachable
    if failed:
        context.note(f"reloads: {tally}")
    growth = after / before - 1 if before else float("nan")
    row = {
        "reloads": f"{len(seconds):,}",
        "requests": f"{tally.sent:,}",
        "failed": str(failed),
        "one reload, p50": milliseconds(sorted(seconds)[len(seconds) // 2]),
        "requests' p99": milliseconds(tally.percentile(99)),
        "resident before": f"{before / 1e6:.0f} MB",
        "after": f"{after / 1e6:.0f} MB",
    }
    requests = f"requests that failed during {len(seconds):,} reloads"
    figures = [
        Figure(name=requests, value=failed, must=0, at_most=True),
        Figure(
            name="memory grown meanwhile", value=100 * growth, must=5, aim=1, unit="%", at_most=True
        ),
    ]
    title = "A tiny model reloaded under load"
    return [Section(title=title, columns=tuple(row), rows=[tuple(row.values())], figures=figures)]


async def reload(port: int, file: Path, content: bytes) -> float:
    """Replace the served file, have it reloaded, and return the seconds that this took."""
    write_atomically(file, content)
    started = time.monotonic()
    connection = await Connection.open("127.0.0.1", port)
    fields = f"Host: bench\r\n{AUTHORIZATION}\r\nContent-Length: 0"
    head = f"POST /v1/models/{NAME}/reload HTTP/1.1\r\n{fields}\r\n\r\n"
    answer = await connection.ask(head.encode())
    await connection.end()
    if answer.status != 200:
        raise RuntimeError(f"the reload was refused with {answer.status}: {answer.body.decode()}")
    return time.monotonic() - started


def make_versions(context: Context) -> Versions:
    """Trains both. Raises ContenderError."""
    import teddy

    folder = context.folder / "tiny"
    folder.mkdir()
    run_to_end(
        (sys.executable, "-c", TRAIN, str(folder)), context.folder / "tiny.stderr", context.clock
    )
    files = [folder / seed / "tiny.teddy" for seed in ("3", "4")]
    texts = [
        " ".join(paragraph.split()[:40])
        for _, paragraph in zip(range(300), context.paragraphs, strict=False)
    ]
    predictors = [teddy.load(file, precision="fp32") for file in files]
    found = {predictor.version: entities_of(predictor, texts) for predictor in predictors}
    questions = [each.with_headers(AUTHORIZATION) for each in single_questions(texts, found)]
    return Versions((files[0].read_bytes(), files[1].read_bytes()), questions)
