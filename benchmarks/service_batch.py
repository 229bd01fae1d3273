"""The batch endpoint beside the engine without a server, on the same cores, both on new texts."""

import statistics
from itertools import cycle
from pathlib import Path

from benchmarks.contenders.contender import Entrant
from benchmarks.load.generator import Load
from benchmarks.load.processes import set_affinity
from benchmarks.load.question import batch_questions
from benchmarks.load.server import Server
from benchmarks.machine import cores
from benchmarks.process import Worker
from benchmarks.rounds import paired_ratio, texts_for
from benchmarks.service_context import Context, Figure, Section, counted
from benchmarks.service_servers import teddy
from benchmarks.slices import write_texts
from benchmarks.texts import count_words, short_texts, take_words

SIZES = (32, 64, 128, 256)
CONNECTIONS_PER_WORKER = 8
WORDS_PER_SECOND = 100_000
"""About what one worker does: slices are made to last for a turn."""


async def batch(context: Context) -> list[Section]:
    """Words a second, for each number of workers."""
    rows: list[tuple[str, ...]] = []
    figures = []
    for workers in context.scale.worker_counts:
        if workers > len(cores()):
            context.note(
                f"batch endpoint with {workers} workers: left out: there are not so many cores"
            )
            continue
        served, engine = await _compare(context, workers)
        ratio = paired_ratio(served, engine)
        rows.append((str(workers), _words(served), _words(engine), f"{ratio:.2f}"))
        name = f"batch endpoint, words/s, against the engine alone, {counted(workers)}"
        figures.append(Figure(name=name, value=ratio, must=0.8, aim=0.9, unit="x"))
    columns = ("workers", "words/s, served", "words/s, in process", "ratio")
    title = f"Batch endpoint, {'..'.join(map(str, (SIZES[0], SIZES[-1])))} short texts each"
    return [Section(title=title, columns=columns, rows=rows, figures=figures)]


async def _compare(context: Context, workers: int) -> tuple[list[float], list[float]]:
    used = cores()[-workers:]
    entrant = Entrant(
        name="engine",
        kind="teddy",
        path=str(context.model_file),
        precision=context.predictor.precision,
        cores=workers,
    )
    served, engine = [], []
    with teddy(context, workers, context.folder / f"batch-{workers}.log") as server:
        await server.all_ready(workers)
        set_affinity(server.pid, used)
        worker = Worker(entrant, used, context.folder, context.clock)
        try:
            await _serve(context, server, workers)  # a turn that does not count: both warm up
            for _ in context.clock.rounds(context.scale.rounds, 0.3):
                texts, rate = await _serve(context, server, workers)
                served.append(rate)
                engine.append(_tag(context, worker, texts))
        finally:
            worker.stop()
    return served, engine


async def _serve(context: Context, server: Server, workers: int) -> tuple[list[str], float]:
    """Tag new texts, and return the words per second that the server answered."""
    n_words = round(WORDS_PER_SECOND * workers * context.scale.turn_seconds)
    texts = take_words(short_texts(context.paragraphs), n_words)
    questions = batch_questions(texts, context.found(texts), cycle(SIZES))
    load = Load.of(server.port, questions)
    tally = await load.closed(CONNECTIONS_PER_WORKER * workers, context.scale.turn_seconds)
    if tally.n_faults or tally.ok < tally.sent:
        context.note(f"batch endpoint with {workers} workers: not all was right: {tally}")
    return texts, tally.words / tally.seconds


def _tag(context: Context, worker: Worker, texts: list[str]) -> float:
    """Words a second of the engine on the same texts: about a turn's worth of them."""
    rate = WORDS_PER_SECOND * worker.entrant.cores
    n_words = sum(map(count_words, texts))
    n_texts = texts_for(
        context.scale.turn_seconds, len(texts), n_words / rate, least=1, most=len(texts)
    )
    file = write_texts(texts, Path(context.folder) / "batch.jsonl")
    answer = worker.ask("tag", file=str(file.file), n_texts=n_texts)
    return float(answer["words"] / answer["seconds"])


def _words(rates: list[float]) -> str:
    return f"{statistics.median(rates):,.0f}"
