"""Single short texts: Teddy's requests/s beside HTTP alone and what people use today."""

import statistics
from collections.abc import Mapping, Sequence

from benchmarks.load.generator import Load
from benchmarks.rounds import paired_ratio
from benchmarks.service_context import Context, Figure, Section, counted, milliseconds
from benchmarks.service_servers import (
    ECHO,
    LITSERVE,
    SPACY_ASYNC,
    SPACY_DEF,
    TEDDY,
    Contender,
    ready,
    started,
)
from benchmarks.service_wrk import Measured, Wrk

N_TEXTS = 40_000
FULL_CONNECTIONS = 64
WARM_SECONDS = 1.0
PROMISES = ((ECHO, 0.45, 0.65), ("spacy, the better", 5.0, 8.0), (LITSERVE, 3.0, 5.0))

Turns = dict[tuple[str, int], list[Measured]]
"""By contender and connections."""


async def single(context: Context) -> list[Section]:
    """One table for each number of workers."""
    wrk = Wrk(context.single_texts(N_TEXTS), context.folder)
    if not wrk.is_there:
        context.note(
            "without wrk, Python sends and takes the servers' cores: all rates are too low"
        )
    return [await _compare(context, wrk, workers) for workers in context.scale.worker_counts]


async def _compare(context: Context, wrk: Wrk, workers: int) -> Section:
    with started(context, context.scale.contenders, workers) as contenders:
        for contender in contenders:
            await ready(contender)
        await _check(context, contenders)
        for contender in contenders:
            contender.wake()
            await wrk.turn(contender.server.port, FULL_CONNECTIONS, WARM_SECONDS)
            contender.sleep()
        turns: Turns = {}
        for _ in context.clock.rounds(
            context.scale.rounds, 0.5 / (len(context.scale.worker_counts) - workers / 4)
        ):
            for connections in context.scale.connections:
                for contender in contenders:
                    measured = await _turn(context, wrk, contender, connections)
                    turns.setdefault((contender.name, connections), []).append(measured)
    return make_section(turns, workers)


async def _check(context: Context, contenders: Sequence[Contender]) -> None:
    """A load on Teddy of which each answer is looked at: wrk does not look."""
    for contender in contenders:
        if contender.name == TEDDY:
            load = Load.of(contender.server.port, context.short_questions())
            tally = await load.closed(FULL_CONNECTIONS, WARM_SECONDS)
            if tally.n_faults or tally.ok < tally.sent:
                context.note(f"teddy with {contender.workers} workers: not all was right: {tally}")


async def _turn(context: Context, wrk: Wrk, contender: Contender, connections: int) -> Measured:
    contender.wake()
    seconds = (
        context.scale.turn_seconds
        if connections == FULL_CONNECTIONS
        else context.scale.turn_seconds / 2
    )
    measured = await wrk.turn(contender.server.port, connections, seconds)
    contender.sleep()
    if measured.errors:
        context.note(
            f"{contender.name}, {connections} connections: {measured.errors} requests failed"
        )
    return measured


def make_section(turns: Mapping[tuple[str, int], Sequence[Measured]], workers: int) -> Section:
    """The table, and the ratios at full load, each the median of those within the rounds."""
    title = f"Single texts of 25 words, {workers} worker{'s' if workers > 1 else ''}"
    ours = {
        connections: measured for (name, connections), measured in turns.items() if name == TEDDY
    }
    rows = []
    for (name, connections), measured in turns.items():
        ratio = (
            ""
            if name == TEDDY or connections not in ours
            else f"{_ratio(ours[connections], measured):.2f}"
        )
        rows.append(
            (
                name,
                str(connections),
                f"{statistics.median(each.per_second for each in measured):,.0f}",
                milliseconds(statistics.median(each.p50 for each in measured)),
                milliseconds(statistics.median(each.p99 for each in measured)),
                ratio,
            )
        )
    columns = ("", "connections", "requests/s", "p50", "p99", "teddy is x times as fast")
    return Section(title=title, columns=columns, rows=rows, figures=_figures(turns, workers))


def _figures(turns: Mapping[tuple[str, int], Sequence[Measured]], workers: int) -> list[Figure]:
    full = {
        name: measured
        for (name, connections), measured in turns.items()
        if connections == FULL_CONNECTIONS
    }
    if TEDDY not in full:
        return []
    spacys = [full[name] for name in (SPACY_DEF, SPACY_ASYNC) if name in full]
    theirs = dict(full)
    if spacys:
        theirs["spacy, the better"] = max(
            spacys, key=lambda each: statistics.median(one.per_second for one in each)
        )
    return [
        Figure(
            name=f"requests/s, single short texts, against {name}, {counted(workers)}",
            value=_ratio(full[TEDDY], theirs[name]),
            must=must,
            aim=aim,
            unit="x",
        )
        for name, must, aim in PROMISES
        if name in theirs
    ]


def _ratio(ours: Sequence[Measured], theirs: Sequence[Measured]) -> float:
    return paired_ratio([each.per_second for each in ours], [each.per_second for each in theirs])
