"""Words per second, and time for one text: contenders in turn, each round on new text."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from benchmarks.process import ContenderError, OutOfTimeError, Worker
from benchmarks.rounds import Clock, paired_ratio, percentile, texts_for
from benchmarks.slices import Slice

LEAST_LONG_TEXTS = 4
"""In a turn, also for who reads batches of 32: so many documents would take a transformer half a
minute."""
WARM_TEXTS = 15
"""One by one, before any is timed."""
TURN_WARM_TEXTS = 3
"""The same at each turn, which begins with the data of others in the processor's caches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One contender in one round: words per second, or seconds for one text (the median)."""

    value: float
    tail: float = 0.0
    """Of the seconds for one text, the 95th percentile."""
    read_share: float = 1.0
    """The part of the words that it read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What all contenders did, in the same rounds."""

    lower_is_better: bool
    n_texts: dict[str, int] = field(default_factory=dict)
    """In one turn."""
    turns: dict[str, list[Turn]] = field(default_factory=dict)

    def medians(self) -> dict[str, float]:
        """Of the values."""
        return {
            name: statistics.median(turn.value for turn in turns)
            for name, turns in self.turns.items()
        }

    def tails(self) -> dict[str, float]:
        """Medians of the 95th percentiles."""
        return {
            name: statistics.median(turn.tail for turn in turns)
            for name, turns in self.turns.items()
        }

    def ratios(self, ours: str) -> dict[str, float]:
        """How many times as fast as each contender `ours` is; nothing without it."""
        values = {name: [turn.value for turn in turns] for name, turns in self.turns.items()}
        if ours not in values:
            return {}
        if self.lower_is_better:
            return {name: paired_ratio(theirs, values[ours]) for name, theirs in values.items()}
        return {name: paired_ratio(values[ours], theirs) for name, theirs in values.items()}

    def fields(self, ours: str) -> dict[str, Any]:
        """For JSON."""
        medians, ratios, tails = self.medians(), self.ratios(ours), self.tails()
        unit, scale = (
            ("milliseconds_p50", 1000.0) if self.lower_is_better else ("words_per_second", 1.0)
        )
        rows: dict[str, Any] = {}
        for name, turns in self.turns.items():
            rows[name] = {
                unit: scale * medians[name],
                "rounds": [scale * turn.value for turn in turns],
                "texts_in_a_turn": self.n_texts[name],
                "teddy_is_times_as_fast": ratios.get(name),
            }
            extra = (
                {"milliseconds_p95": scale * tails[name]}
                if self.lower_is_better
                else {"read_share": turns[0].read_share}
            )
            rows[name] |= extra
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How many rounds at most, how long a turn is, and how much time there is."""

    rounds: int
    turn_seconds: float
    clock: Clock
    share: float
    """The rounds end before this share of the time that is left when they begin."""

    def numbers(self) -> Iterable[int]:
        """The rounds for which there is time."""
        return self.clock.rounds(self.rounds, self.share)


AnyWorker = TypeVar("AnyWorker")
Dropped = Callable[[str, ContenderError], None]
"""Told of a contender that could not go on."""


def in_turn(
    workers: dict[str, AnyWorker],
    rounds: Iterable[int],
    turn: Callable[[AnyWorker, int], Turn],
    dropped: Dropped,
) -> dict[str, list[Turn]]:
    """Lets each worker have its turn in each round.

    Those that fail are taken out; so is a round cut short.
    """
    turns: dict[str, list[Turn]] = {name: [] for name in workers}
    complete = 0
    try:
        for number in rounds:
            for name, worker in list(workers.items()):
                try:
                    turns[name].append(turn(worker, number))
                except ContenderError as error:
                    del workers[name], turns[name]
                    dropped(name, error)
            complete += 1
    except OutOfTimeError:
        pass
    return {name: each[:complete] for name, each in turns.items()} if complete else {}


def throughput(
    workers: dict[str, Worker], slices: Sequence[Slice], plan: Plan, dropped: Dropped, *, long: bool
) -> Comparison:
    """Words per second, of the words that a contender reads.

    The first slice is for warming up, and for finding out how many texts each contender manages in
    a turn."""
    comparison = Comparison(lower_is_better=False)
    most = min(each.n_texts for each in slices)

    def warm(worker: Worker, _: int) -> Turn:
        least = LEAST_LONG_TEXTS if long else worker.entrant.least_texts
        n_texts, seconds = min(least, most), 0.0
        while True:
            seconds = worker.ask("tag", file=str(slices[0].file), n_texts=n_texts)["seconds"]
            # Much less would tell more of what each call costs (spaCy starts its processes) than of
            # the texts.
            if seconds >= plan.turn_seconds / 2 or n_texts == most:
                break
            n_texts = min(4 * n_texts, most)
        fitting = texts_for(plan.turn_seconds, n_texts, seconds, least=least, most=most)
        comparison.n_texts[worker.entrant.name] = fitting
        return Turn(value=seconds)

    def turn(worker: Worker, number: int) -> Turn:
        n_texts = comparison.n_texts[worker.entrant.name]
        answer = worker.ask("tag", file=str(slices[1 + number].file), n_texts=n_texts)
        return Turn(
            value=answer["words"] / answer["seconds"],
            read_share=answer["words"] / answer["words_there"],
        )

    if in_turn(workers, [0], warm, dropped):
        comparison.turns.update(in_turn(workers, plan.numbers(), turn, dropped))
    return comparison


def latency(
    workers: dict[str, Worker], slices: Sequence[Slice], plan: Plan, dropped: Dropped
) -> Comparison:
    """Seconds for one text: the median and the 95th percentile of each round."""
    comparison = Comparison(lower_is_better=True)
    most = min(each.n_texts for each in slices) - WARM_TEXTS

    def warm(worker: Worker, _: int) -> Turn:
        seconds = worker.ask("tag_singly", file=str(slices[0].file), n_texts=5, skip=WARM_TEXTS)[
            "seconds"
        ]
        fitting = texts_for(plan.turn_seconds, 5, seconds, least=10, most=most)
        comparison.n_texts[worker.entrant.name] = fitting
        return Turn(value=seconds)

    def turn(worker: Worker, number: int) -> Turn:
        n_texts = comparison.n_texts[worker.entrant.name]
        file = str(slices[1 + number].file)
        each = worker.ask("tag_singly", file=file, n_texts=n_texts, skip=TURN_WARM_TEXTS)["each"]
        return Turn(value=percentile(each, 50), tail=percentile(each, 95))

    if in_turn(workers, [0], warm, dropped):
        comparison.turns.update(in_turn(workers, plan.numbers(), turn, dropped))
    return comparison


def network_shares(
    worker: Worker, slices: Sequence[Slice], n_texts: int, plan: Plan
) -> list[float]:
    """Return the network's share of the pipeline's time, on the very same batches, by round."""
    shares = []
    for number in plan.numbers():
        answer = worker.ask("share", file=str(slices[1 + number].file), n_texts=n_texts)
        shares.append(answer["network"] / answer["whole"])
    return shares
