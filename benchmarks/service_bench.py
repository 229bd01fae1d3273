"""The service beside a bare endpoint, spaCy and LitServe, and under attack: `make bench-service`.

    python -m benchmarks.service_bench [--quick] [--text FILE] [--only NAMES]
                                       [--workers N,N] [--reloads N]

Servers are processes of their own; those that are compared are up together and take turns, so that
what slows the machine down slows all of them. On a machine of two cores the load generator takes a
part of them: wrk a small one. Every answer of Teddy that Python asked for is checked against what
the model finds in this process."""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import machine
from benchmarks.arguments import add_inputs, check_files, read_names
from benchmarks.entrants import SHIPPED_MODEL
from benchmarks.load.server import ServerError
from benchmarks.process import ContenderError, OutOfTimeError
from benchmarks.rounds import Clock
from benchmarks.service_batch import batch
from benchmarks.service_context import Context, Scale, Section
from benchmarks.service_failures import kill, terminate
from benchmarks.service_hostile import hostile
from benchmarks.service_metrics import metrics
from benchmarks.service_neighbours import documents, health
from benchmarks.service_overload import overload
from benchmarks.service_reloads import reloads
from benchmarks.service_report import Results, print_report
from benchmarks.service_servers import CONTENDERS
from benchmarks.service_single import single
from benchmarks.service_wrk import LoadError
from benchmarks.texts import Source
from teddy.model.system.files import write_atomically

SECTIONS: dict[str, Callable[[Context], Awaitable[list[Section]]]] = {
    "single": single,
    "batch": batch,
    "documents": documents,
    "health": health,
    "overload": overload,
    "hostile": hostile,
    "metrics": metrics,
    "kill": kill,
    "sigterm": terminate,
    "reloads": reloads,
}
"""In this order: what can be cut short comes last."""

FULL = Scale(
    total_seconds=580,
    rounds=3,
    turn_seconds=3.0,
    worker_counts=(1, 2),
    connections=(1, 8, 64),
    contenders=CONTENDERS,
    # which want their own ten minutes, the first for 2 %
    sections=tuple(name for name in SECTIONS if name not in ("metrics", "hostile")),
    reloads=1000,
)
QUICK = Scale(
    total_seconds=58,
    rounds=1,
    turn_seconds=1.0,
    worker_counts=(1,),
    connections=(64,),
    contenders=CONTENDERS,
    sections=("single", "batch", "documents", "health", "overload", "reloads"),
    reloads=10,
)


class Bench:
    """One run: sections that fill `results`."""

    def __init__(self, context: Context, results: Results) -> None:
        self._context = context
        self._results = results
        context.note = self._note

    async def run(self) -> None:
        """Run the chosen sections until the time is over; note one that fails and go on."""
        for name in self._context.scale.sections:
            if self._context.clock.left() <= 0:
                self._note(f"the time was over: {name} was left out, and what comes after it")
                break
            self._say(name)
            try:
                self._results.sections += await SECTIONS[name](self._context)
            except (
                ContenderError,
                LoadError,
                OSError,
                OutOfTimeError,
                RuntimeError,
                ServerError,
            ) as error:
                self._note(f"{name}: not finished: {type(error).__name__}: {error}")
        self._results.seconds = self._context.clock.elapsed()

    def _note(self, note: str) -> None:
        self._results.notes.append(note)
        self._say(note)

    def _say(self, what: str) -> None:
        print(f"{self._context.clock.elapsed():5.0f} s  {what}", file=sys.stderr, flush=True)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="less of everything, in about a minute"
    )
    add_inputs(parser)
    names = partial(read_names, parser)
    parser.add_argument(
        "--only", metavar="NAME,...", help=f"these sections, of {', '.join(SECTIONS)}"
    )
    parser.add_argument(
        "--contenders", metavar="NAME,...", help=f"these, of {', '.join(CONTENDERS)}"
    )
    parser.add_argument("--workers", metavar="N,...", help="numbers of workers [1,2]")
    parser.add_argument(
        "--reloads", type=int, metavar="N", help="how many; this may take longer than ten minutes"
    )
    file = Path("runs/bench-service.json")
    parser.add_argument("--json", type=Path, metavar="FILE", default=file, help=f"[{file}]")
    arguments = parser.parse_args()
    check_files(parser, (arguments.text, arguments.model))
    arguments.only = names("--only", arguments.only, tuple(SECTIONS))
    arguments.contenders = names("--contenders", arguments.contenders, CONTENDERS)
    arguments.workers = tuple(
        map(int, names("--workers", arguments.workers, tuple(map(str, range(1, 65)))))
    )
    return arguments


def scale_of(arguments: argparse.Namespace) -> Scale:
    """How much to measure."""
    scale = QUICK if arguments.quick else FULL
    chosen: dict[str, Any] = {
        "sections": arguments.only,
        "contenders": arguments.contenders,
        "worker_counts": arguments.workers,
        "reloads": arguments.reloads,
    }
    scale = replace(scale, **{name: value for name, value in chosen.items() if value})
    # Each takes up to a second on a busy machine, of the model and of the rules.
    return (
        replace(scale, total_seconds=scale.total_seconds + 2 * arguments.reloads)
        if arguments.reloads
        else scale
    )


def main() -> None:
    """Measures, prints, writes."""
    import uvloop

    arguments = read_arguments()
    scale = scale_of(arguments)
    text = arguments.text.name if arguments.text else "made up here"
    options: dict[str, Any] = {"quick": arguments.quick, "model": str(arguments.model or "")}
    results = Results(machine=machine.describe(), text=text, options=options)
    with tempfile.TemporaryDirectory(prefix="teddy-bench-") as folder:
        model_file = Path(folder) / "bench.teddy"
        # A copy: servers that are started one after another must all have the same.
        shutil.copyfile(arguments.model or SHIPPED_MODEL, model_file)
        context = Context(
            scale=scale,
            clock=Clock(scale.total_seconds),
            source=Source(arguments.text),
            model_file=model_file,
            folder=Path(folder),
            note=print,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Bench(context, results).run())
    print_report(results, Console(width=None if sys.stdout.isatty() else 120))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.json, (json.dumps(results.fields(), indent=1) + "\n").encode())
    print(f"Written to {arguments.json}")


if __name__ == "__main__":
    main()
