"""A model, and rules beside it, replaced again and again under load: nothing fails or leaks."""

import asyncio
import sys
import time
from collections.abc import Callable
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
RULES_NAMES = 1000
FOUND_NAME = "Lund"
RULES = "[[dictionary]]\nfile = 'names.txt'\nlabel = 'NAME'\n"
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
    texts: list[str]
    questions: list[Question]


async def reloads(context: Context) -> list[Section]:
    """So many reloads of a model under load, and of rules beside it."""
    versions = make_versions(context)
    file, rules = context.folder / "served.teddy", context.folder / "rules.toml"
    write_atomically(file, versions.contents[0])

    def change_model(number: int) -> None:
        write_atomically(file, versions.contents[(number + 1) % 2])

    def change_rules(number: int) -> None:
        names = "".join(f"Number {number} {each}\n" for each in range(RULES_NAMES))
        write_atomically(context.folder / "names.txt", f"{names}{FOUND_NAME}\n".encode())

    model = await measure(context, f"{NAME}={file}", versions.questions, change_model)
    write_atomically(rules, RULES.encode())
    write_atomically(file, versions.contents[0])
    change_rules(-1)
    questions = ruled_questions(file, rules, versions.texts)
    ruled = await measure(context, f"{NAME}={file}", questions, change_rules, "--rules", str(rules))
    return [
        section("A tiny model reloaded under load", "model", *model),
        section(f"Rules with {RULES_NAMES:,} names reloaded under load", "rules", *ruled),
    ]


async def measure(
    context: Context,
    model: str,
    questions: list[Question],
    change: Callable[[int], None],
    *options: str,
) -> tuple[dict[str, str], int, float]:
    """Change what is served so many times; return a row, the failed requests and the growth."""
    settings = {"api_keys": f"admin:{KEY}", "precision": "fp32", "reload_poll_seconds": 0}
    log = context.folder / "reloads.log"
    with Server.teddy(log, "--model", model, *options, settings=settings) as server:
        await server.ready()
        load = Load.of(server.port, questions, name="reload")
        asking = asyncio.create_task(load.closed(CONNECTIONS, 10_000))
        seconds, before = [], 0
        for number in range(WARM_RELOADS + context.scale.reloads):
            if context.clock.left() < 10:
                context.note(f"reloads: the time was over after {number}")
                break
            if number == WARM_RELOADS:
                before = resident_bytes(server.pid)
            change(number)
            seconds.append(await reload(server.port))
        after = resident_bytes(server.pid)
        load.stop()
        tally = await asking
    failed = tally.sent - tally.ok + tally.n_faults + tally.unreachable
    if failed:
        context.note(f"reloads: {tally}")
    row = {
        "reloads": f"{len(seconds):,}",
        "requests": f"{tally.sent:,}",
        "failed": str(failed),
        "one reload, p50": milliseconds(sorted(seconds)[len(seconds) // 2]),
        "requests' p99": milliseconds(tally.percentile(99)),
        "resident before": f"{before / 1e6:.0f} MB",
        "after": f"{after / 1e6:.0f} MB",
    }
    return row, failed, after / before - 1 if before else float("nan")


def section(title: str, what: str, row: dict[str, str], failed: int, growth: float) -> Section:
    """Return what is said of the reloads of a model or of rules."""
    requests = f"requests that failed during {row['reloads']} reloads of the {what}"
    grown = f"memory grown in reloads of the {what}"
    figures = [
        Figure(name=requests, value=failed, must=0, at_most=True),
        Figure(name=grown, value=100 * growth, must=5, aim=1, unit="%", at_most=True),
    ]
    return Section(title=title, columns=tuple(row), rows=[tuple(row.values())], figures=figures)


async def reload(port: int) -> float:
    """Have what changed reloaded, and return the seconds that this took."""
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
    return Versions((files[0].read_bytes(), files[1].read_bytes()), texts, questions)


def ruled_questions(file: Path, rules: Path, texts: list[str]) -> list[Question]:
    """Return questions whose answers are the same with every state of the rules."""
    import teddy

    predictor = teddy.load(file, precision="fp32", rules=rules)
    texts = [f"{FOUND_NAME} {text}" for text in texts]
    found = {predictor.version: entities_of(predictor, texts)}
    return [each.with_headers(AUTHORIZATION) for each in single_questions(texts, found)]
