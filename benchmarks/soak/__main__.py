"""Hours of mixed traffic in minutes: `make soak`.

    python -m benchmarks.soak [--minutes 10] [--workers 1] [--tiny N] [--model FILE] [--json FILE]

Good requests and bad ones, batches, streams, compressed bodies, clients that leave and clients that
crawl, all at once, while the model is replaced every few seconds. Every answer is looked at,
answers are counted here and by the service, and memory is compared with what it was after the first
tenth of the time. Exit status 1 if anything is not right."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.soak.report import print_report
from benchmarks.soak.run import soak
from teddy.model.system.files import write_atomically


def main() -> None:
    """Soaks, prints, writes."""
    import uvloop

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="[10]")
    parser.add_argument("--workers", type=int, default=1, help="[1]")
    parser.add_argument(
        "--tiny", type=int, default=0, metavar="N", help="requests of one word, in the end [0]"
    )
    parser.add_argument(
        "--model", type=Path, metavar="FILE", help="a model file; the one that ships by default"
    )
    file = Path("runs/soak.json")
    parser.add_argument("--json", type=Path, metavar="FILE", default=file, help=f"[{file}]")
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="teddy-soak-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        seconds = 60 * arguments.minutes
        found = runner.run(
            soak(arguments.model, arguments.workers, seconds, arguments.tiny, Path(folder))
        )
    print_report(found, Console(width=None if sys.stdout.isatty() else 120))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(arguments.json, (json.dumps(found.fields(), indent=1) + "\n").encode())
    sys.exit(0 if found.is_right else 1)


if __name__ == "__main__":
    main()
