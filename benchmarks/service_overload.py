"""Ten times the load that a server can bear: what it serves, how long the accepted wait."""

import asyncio
import random
from collections.abc import Iterator

from benchmarks.load.generator import Load
from benchmarks.load.processes import set_affinity
from benchmarks.load.question import Question, single_questions
from benchmarks.load.tally import Tally
from benchmarks.machine import cores
from benchmarks.rounds import paired_ratio
from benchmarks.service_context import Context, Figure, Section, milliseconds
from benchmarks.service_servers import teddy
from benchmarks.texts import count_words

LEAST_WORDS, MOST_WORDS, N_TEXTS = 200, 1000, 400
"""Long enough that one core can offer ten times what another one can do."""
TIMES_CAPACITY = 10
CAPACITY_CONNECTIONS = 32
MOST_CONNECTIONS = 768
"""Below what a worker takes; a request waits for one, and this counts."""
DEADLINE_SECONDS = 2.0
LONGER = 2.0
HELD_SHARE = 0.95


async def overload(context: Context) -> list[Section]:
    """Measure goodput at ten times the load against the peak, in turns, one worker on one core."""
    texts = [text for _, text in zip(range(N_TEXTS), middling_texts(context), strict=False)]
    questions = single_questions(texts, context.found(texts))
    seconds = context.scale.turn_seconds * LONGER
    peaks: list[Tally] = []
    overs: list[Tally] = []
    settings = {"request_timeout_seconds": DEADLINE_SECONDS}
    with teddy(context, 1, context.folder / "overload.log", **settings) as server:
        await server.ready()
        set_affinity(server.pid, cores()[-1:])
        await Load.of(server.port, questions).closed(CAPACITY_CONNECTIONS, seconds / 2)
        for number in context.clock.rounds(context.scale.rounds, 0.4):
            peak = await Load.of(server.port, questions, 97 * number).closed(
                CAPACITY_CONNECTIONS, seconds
            )
            peaks.append(peak)
            overs.append(
                await _overload(
                    context, server.port, questions, TIMES_CAPACITY * peak.ok_per_second, seconds
                )
            )
            await asyncio.sleep(0.2)
    for tally in (*peaks, *overs):
        if tally.n_faults or tally.broken or tally.unreachable:
            context.note(f"overload: not all was right: {tally}")
    rows = [
        row
        for pair in zip(peaks, overs, strict=True)
        for row in map(_row, ("capacity", "overload"), pair)
    ]
    mean = sum(map(count_words, texts)) / len(texts)
    words = f"{LEAST_WORDS} to {MOST_WORDS} words, {mean:.0f} on average"
    title = f"Overload: texts of {words}; one worker on one core"
    columns = (
        "",
        "offered/s",
        "answered 200/s",
        "words/s",
        "refused/s",
        "others",
        "p50 of 200",
        "p99 of 200",
    )
    return [Section(title=title, columns=columns, rows=rows, figures=_figures(peaks, overs))]


async def _overload(
    context: Context, port: int, questions: list[Question], rate: float, seconds: float
) -> Tally:
    load = Load.of(port, questions, start=31)
    tally = await load.open(rate, seconds, MOST_CONNECTIONS)
    if (offered := tally.sent / tally.seconds) < HELD_SHARE * rate:
        context.note(
            f"overload: only {offered:,.0f} of {rate:,.0f} requests a second could be offered here"
        )
    return tally


def _figures(peaks: list[Tally], overs: list[Tally]) -> list[Figure]:
    goodput = paired_ratio(
        [each.words / each.seconds for each in overs], [each.words / each.seconds for each in peaks]
    )
    p99 = max(each.percentile(99) for each in overs)
    return [
        Figure(
            name="goodput at ten times the load, against the peak",
            value=goodput,
            must=0.85,
            aim=0.95,
            unit="x",
        ),
        Figure(
            name=f"p99 of accepted requests then, against their deadline of {DEADLINE_SECONDS:g} s",
            value=p99,
            must=DEADLINE_SECONDS,
            unit="s",
            at_most=True,
        ),
    ]


def _row(name: str, tally: Tally) -> tuple[str, ...]:
    refused = sum(n for status, n in tally.statuses.items() if status in (429, 503))
    others = {
        str(status): n for status, n in tally.statuses.items() if status not in (200, 429, 503)
    }
    return (
        name,
        f"{tally.sent / tally.seconds:,.0f}",
        f"{tally.ok_per_second:,.0f}",
        f"{tally.words / tally.seconds:,.0f}",
        f"{refused / tally.seconds:,.0f}",
        ", ".join(f"{n} x {status}" for status, n in others.items()),
        milliseconds(tally.percentile(50)),
        milliseconds(tally.percentile(99)),
    )


def middling_texts(context: Context) -> Iterator[str]:
    """Texts of paragraphs, of a length drawn again for each."""
    draw = random.Random(5)  # noqa: S311
    while True:
        wanted = draw.randint(LEAST_WORDS, MOST_WORDS)
        parts: list[str] = []
        while wanted > 0:
            parts.append(" ".join(next(context.paragraphs).split()[:wanted]))
            wanted -= count_words(parts[-1])
        yield "\n".join(parts)
