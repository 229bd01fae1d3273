"""What others cost a request: a short text beside long documents, a probe beside full load."""

import asyncio
from itertools import islice

from benchmarks.load.generator import Load, get, probe, together
from benchmarks.load.question import Question, single_questions
from benchmarks.load.tally import Tally
from benchmarks.service_context import Context, Figure, Section, milliseconds
from benchmarks.service_servers import teddy
from benchmarks.service_wrk import Wrk
from benchmarks.texts import long_texts

DOCUMENT_BYTES = 1_000_000
DOCUMENTS_AT_A_TIME = 2
SHORT_RATE, SHORT_CONNECTIONS = 50.0, 8
PROBE_RATE = 100.0
FULL_CONNECTIONS = 64
LONGER = 2.0
"""These turns are longer than others: a p99 needs hundreds of requests."""


async def documents(context: Context) -> list[Section]:
    """Measure the p99 of short requests while megabytes are tagged, beside their quiet p99."""
    seconds = context.scale.turn_seconds * LONGER
    quiet, busy, long = [], [], []
    texts = [document_of(context, DOCUMENT_BYTES) for _ in range(DOCUMENTS_AT_A_TIME)]
    document_questions = single_questions(texts, context.found(texts))
    shorts = context.short_questions()
    with teddy(context, 1, context.folder / "documents.log") as server:
        await server.ready()
        await Load.of(server.port, shorts).closed(8, 1)
        for number in context.clock.rounds(context.scale.rounds, 0.3):
            quiet.append(await _shorts(server.port, shorts, seconds, number))
            load = Load.of(server.port, document_questions, name="document")
            tagging = asyncio.create_task(load.closed(DOCUMENTS_AT_A_TIME, 10 * seconds))
            await asyncio.sleep(0.5)
            busy.append(await _shorts(server.port, shorts, seconds, number))
            load.stop()
            long.append(await tagging)
    tallies = {
        "quiet": together(quiet),
        "beside documents": together(busy),
        "the documents": together(long),
    }
    _look(context, tallies)
    p99s = {name: tally.percentile(99) for name, tally in tallies.items()}
    rows = [
        (name, str(tally.ok), milliseconds(tally.percentile(50)), milliseconds(p99s[name]))
        for name, tally in tallies.items()
    ]
    figure = Figure(
        name="p99 of a short request while 1 MB documents are tagged, against its quiet p99",
        value=p99s["beside documents"] / p99s["quiet"],
        must=10.0,
        aim=3.0,
        unit="x",
        at_most=True,
    )
    title = f"Short requests, {SHORT_RATE:.0f} a second, beside {DOCUMENTS_AT_A_TIME} x 1 MB"
    return [
        Section(title=title, columns=("", "answers", "p50", "p99"), rows=rows, figures=[figure])
    ]


async def health(context: Context) -> list[Section]:
    """The p99 of `/health/live` on its own connection while the server is as busy as it can be."""
    rows, figures = [], []
    wrk = Wrk(context.single_texts(20_000), context.folder)
    seconds = context.scale.turn_seconds * LONGER
    for workers in context.scale.worker_counts:
        with teddy(context, workers, context.folder / f"health-{workers}.log") as server:
            await server.all_ready(workers)
            loading = asyncio.create_task(wrk.turn(server.port, FULL_CONNECTIONS, seconds + 2))
            await asyncio.sleep(1)
            tally = await probe(server.port, get("/health/live"), PROBE_RATE, seconds)
            load = await loading
        p99 = tally.percentile(99)
        rows.append(
            (
                str(workers),
                f"{load.per_second:,.0f}",
                milliseconds(tally.percentile(50)),
                milliseconds(p99),
            )
        )
        name = f"/health/live p99 under full load, {workers} worker{'s' if workers > 1 else ''}"
        figures.append(
            Figure(name=name, value=1000 * p99, must=50, aim=10, unit="ms", at_most=True)
        )
    columns = ("workers", "load, requests/s", "p50", "p99")
    return [
        Section(title="/health/live under full load", columns=columns, rows=rows, figures=figures)
    ]


def document_of(context: Context, n_bytes: int) -> str:
    """Return a new document of about `n_bytes` bytes."""
    parts: list[str] = []
    size = 0
    while size < n_bytes:
        parts += islice(long_texts(context.paragraphs), 1)
        size += len(parts[-1].encode()) + 1
    return "\n".join(parts)


async def _shorts(port: int, questions: list[Question], seconds: float, number: int) -> Tally:
    load = Load.of(port, questions, start=1000 * number, name="short")
    return await load.open(SHORT_RATE, seconds, SHORT_CONNECTIONS)


def _look(context: Context, tallies: dict[str, Tally]) -> None:
    for name, tally in tallies.items():
        if tally.n_faults or tally.ok < tally.sent:
            context.note(f"{name}: not all was right: {tally}")
