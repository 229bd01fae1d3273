"""Teddy beside spaCy and a transformer, in one run of at most ten minutes: `make bench`.

    python -m benchmarks.bench [--quick] [--text FILE] [--model FILE] [--only NAMES]
                               [--sections NAMES]

Every contender is a process of its own, pinned to its cores. A parent that sleeps meanwhile gives
them their turns, so that rounds interleave and never overlap: what slows the machine down slows all
of them. Each round has new text. Words are counted by white space for all.
Turns are as long as each other, not the texts in them: who is slower reads less of the same text.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import entrants, machine
from benchmarks.arguments import add_inputs, check_files, read_names
from benchmarks.contenders.contender import Entrant
from benchmarks.growth import stages
from benchmarks.process import ContenderError, OutOfTimeError, Worker
from benchmarks.report import OURS, Results, print_report
from benchmarks.rounds import Clock
from benchmarks.serving import serve_once
from benchmarks.slices import Slice, write_slices
from benchmarks.speed import Plan, latency, network_shares, throughput
from benchmarks.texts import Source, mixed_texts
from teddy.model.system.files import write_atomically

SECTIONS = ("one-core", "serve", "two-cores", "growth")
"""In this order: what matters most comes before the time can run out, and the last has all that is
left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much is measured."""

    total_seconds: float
    rounds: int
    turn_seconds: float
    slice_words: int
    starts: int
    megabytes: tuple[int, ...]
    names: tuple[str, ...]
    names_on_two_cores: tuple[str, ...]
    kinds_on_two_cores: tuple[str, ...]
    sections: tuple[str, ...] = SECTIONS


FULL = Scale(
    total_seconds=570,
    rounds=5,
    turn_seconds=1.5,
    slice_words=250_000,
    starts=3,
    megabytes=(1, 10, 100),
    names=entrants.DEFAULT,
    kinds_on_two_cores=("short", "long"),
    names_on_two_cores=(OURS, "spacy", "transformer bf16"),
)
QUICK = Scale(
    total_seconds=56,
    rounds=2,
    turn_seconds=0.4,
    slice_words=60_000,
    starts=1,
    megabytes=(1,),
    names=(OURS, "spacy", "transformer bf16"),
    names_on_two_cores=(OURS, "spacy"),
    kinds_on_two_cores=("short",),
)
# Of the time that is left when the rounds of a section begin. The last one, the 100 MB, has all
# that the others leave.
SHARES_OF_REST = {
    "start": 0.2,
    "one core, short": 0.2,
    "one text": 0.12,
    "one core, long": 0.28,
    "network, short": 0.08,
    "network, long": 0.08,
    "serve": 0.1,
    "two cores, short": 0.25,
    "two cores, long": 0.33,
}


class Bench:
    """One run: sections that fill `results`."""

    def __init__(
        self, scale: Scale, source: Source, model_file: Path | None, folder: Path, results: Results
    ) -> None:
        self.results = results
        self._scale = scale
        self._source = source
        self._model_file = model_file
        self._folder = folder
        self._clock = Clock(scale.total_seconds)
        self._section = ""
        self._slices: dict[str, list[Slice]] = {}

    def run(self) -> None:
        """All sections, until the time is over."""
        try:
            self._sections()
        except OutOfTimeError:
            self._note(
                f"the time was over: {self._section} was not finished, nor what comes after it"
            )
        self.results.seconds = self._clock.elapsed()

    def _sections(self) -> None:
        self._begin("texts and models")
        paragraphs = self._source.paragraphs()
        n_slices, n_words = 1 + self._scale.rounds, self._scale.slice_words
        self._slices = write_slices(self._source, paragraphs, n_slices, n_words, self._folder)
        vocabulary = self._slices["short"][0].file
        chosen = entrants.prepare(
            self._scale.names, self._model_file, vocabulary, self._folder, self._clock, self._note
        )
        sections: dict[str, Callable[[], None]] = {
            "one-core": partial(self._one_core, chosen),
            "serve": self._serving,
            "two-cores": partial(self._two_cores, chosen),
            "growth": partial(self._growth, chosen, paragraphs),
        }
        for name, section in sections.items():
            if name in self._scale.sections:
                section()

    def _one_core(self, chosen: Sequence[Entrant]) -> None:
        with self._started(chosen, self._scale.starts) as workers:
            self._compare_on_one_core(workers)

    def _compare_on_one_core(self, workers: dict[str, Worker]) -> None:
        self._compare("one core", workers, ("short",))
        self._begin("one text at a time")
        found = latency(workers, self._slices["single"], self._plan("one text", 0.5), self._dropped)
        self.results.comparisons["one core, one text of 25 words"] = found
        self._compare("one core", workers, ("long",))
        for name, worker in workers.items():
            with self._noted(f"{name}: peak memory"):
                self.results.peak_bytes[name] = worker.ask("memory").get("peak")
        if OURS in workers:
            self._share(workers[OURS])

    def _share(self, ours: Worker) -> None:
        self._begin("share of the bare network")
        for kind in ("short", "long"):
            name = f"one core, {kind} texts"
            with self._noted(f"{name}: share of the bare network"):
                n_texts = self.results.comparisons[name].n_texts[OURS]
                shares = network_shares(
                    ours, self._slices[kind], n_texts, self._plan(f"network, {kind}")
                )
                self.results.network_shares[name] = shares

    def _two_cores(self, chosen: Sequence[Entrant]) -> None:
        if len(machine.cores()) < 2:
            self._note("two cores: left out: there is only one")
            return
        wanted = [
            replace(each, cores=2) for each in chosen if each.name in self._scale.names_on_two_cores
        ]
        with self._started(wanted, 0) as workers:
            self._compare("two cores", workers, self._scale.kinds_on_two_cores)

    def _compare(self, cores: str, workers: dict[str, Worker], kinds: Sequence[str]) -> None:
        for kind in kinds:
            name = f"{cores}, {kind} texts"
            self._begin(name)
            # spaCy starts its processes again in each turn, which should be little of it.
            plan = self._plan(f"{cores}, {kind}", 4.0 if cores == "two cores" else 1.0)
            found = throughput(
                workers, self._slices[kind], plan, self._dropped, long=kind == "long"
            )
            self.results.comparisons[name] = found

    def _serving(self) -> None:
        self._begin("teddy serve")
        for _ in self._clock.rounds(self._scale.starts, SHARES_OF_REST["serve"]):
            with self._noted("teddy serve"):
                self.results.serving.append(serve_once(self._model_file, self._folder, self._clock))

    def _growth(self, chosen: Sequence[Entrant], paragraphs: Iterator[str]) -> None:
        self._begin("1, 10 and 100 MB")
        file = self._folder / "growth.jsonl"
        with self._started([each for each in chosen if each.name == OURS], 0) as workers:
            for worker in workers.values():
                with self._noted("1, 10 and 100 MB"):
                    for stage in stages(
                        worker.ask,
                        mixed_texts(paragraphs),
                        self._scale.megabytes,
                        file,
                        self._clock,
                    ):
                        self.results.growth.append(stage)

    @contextmanager
    def _started(
        self, chosen: Sequence[Entrant], measured_starts: int
    ) -> Iterator[dict[str, Worker]]:
        """All of them, each waiting for work; stopped in the end.

        Starts are measured in turn, where they are.
        """
        workers: dict[str, Worker] = {}
        try:
            numbers = (
                self._clock.rounds(measured_starts, SHARES_OF_REST["start"])
                if measured_starts
                else iter([0])
            )
            for number in numbers:
                self._begin(f"start {number + 1} of {len(chosen)} processes")
                for entrant in chosen:
                    if number and entrant.name not in workers:
                        continue
                    if number:
                        workers.pop(entrant.name).stop()
                    self._start(entrant, workers, measured=bool(measured_starts))
            yield workers
        finally:
            for worker in workers.values():
                worker.stop()

    def _start(self, entrant: Entrant, workers: dict[str, Worker], *, measured: bool) -> None:
        try:
            worker = Worker(entrant, machine.cores()[-entrant.cores :], self._folder, self._clock)
        except ContenderError as error:
            self._dropped(entrant.name, error)
            return
        workers[entrant.name] = worker
        if measured:
            self.results.details[entrant.name] = worker.ready["details"]
            self.results.ready_seconds.setdefault(entrant.name, []).append(worker.ready["seconds"])
            self.results.load_seconds.setdefault(entrant.name, []).append(
                worker.ready["load_seconds"]
            )

    def _plan(self, section: str, longer: float = 1.0) -> Plan:
        return Plan(
            rounds=self._scale.rounds,
            turn_seconds=self._scale.turn_seconds * longer,
            clock=self._clock,
            share=SHARES_OF_REST[section],
        )

    @contextmanager
    def _noted(self, what: str) -> Iterator[None]:
        try:
            yield
        except ContenderError as error:
            self._note(f"{what}: left out: {error}")

    def _dropped(self, name: str, error: ContenderError) -> None:
        self._note(f"{name}: could not go on: {error}")

    def _note(self, note: str) -> None:
        self.results.notes.append(note)
        self._say(note)

    def _begin(self, section: str) -> None:
        """Says what comes now. Raises OutOfTimeError."""
        if self._clock.left() <= 0:
            raise OutOfTimeError
        self._section = section
        self._say(section)

    def _say(self, what: str) -> None:
        print(f"{self._clock.elapsed():5.0f} s  {what}", file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="less of everything, in under a minute"
    )
    add_inputs(parser)
    known = ", ".join((*entrants.DEFAULT, *entrants.ALSO))
    parser.add_argument(
        "--only", metavar="NAME,...", help=f"these contenders, of {known}; {OURS} is always there"
    )
    parser.add_argument(
        "--sections", metavar="NAME,...", help=f"these sections, of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--json",
        type=Path,
        metavar="FILE",
        default=Path("runs/bench.json"),
        help="[runs/bench.json]",
    )
    arguments = parser.parse_args()
    check_files(parser, (arguments.text, arguments.model))
    names = read_names(parser, "--only", arguments.only, (*entrants.DEFAULT, *entrants.ALSO))
    arguments.only = tuple(dict.fromkeys((OURS, *names))) if names else ()
    arguments.sections = read_names(parser, "--sections", arguments.sections, SECTIONS)
    return arguments


def main() -> None:
    """Measures, prints, writes."""
    arguments = read_arguments()
    scale = QUICK if arguments.quick else FULL
    if arguments.only:
        scale = replace(scale, names=arguments.only)
    if arguments.sections:
        scale = replace(scale, sections=arguments.sections)
    options: dict[str, Any] = {
        "quick": arguments.quick,
        "model": str(arguments.model or ""),
        "names": scale.names,
    }
    text = arguments.text.name if arguments.text else "made up here"
    results = Results(machine=machine.describe(), text=text, options=options)
    with tempfile.TemporaryDirectory(prefix="teddy-bench-") as folder:
        Bench(scale, Source(arguments.text), arguments.model, Path(folder), results).run()
    # Tables are wider than what a pipe is taken for.
    print_report(results, Console(width=None if sys.stdout.isatty() else 120))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.json, (json.dumps(results.fields(), indent=1) + "\n").encode())
    print(f"Written to {arguments.json}")


if __name__ == "__main__":
    main()
