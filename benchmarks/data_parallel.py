"""How much faster two processes train than one, on the same batches: words per second, in turns.

    python -m benchmarks.data_parallel RECIPE --data DIR [--batch-words N,N]
                                       [--processes 1,2] [--rounds 3]

Each turn is torchrun with so many processes of one thread each, which make `--updates` updates of
the recipe and leave nothing on disk. The first ten are not counted, nor is any evaluation. What
differs between turns is the machine: the ratio of a round is of turns that follow each other, and
the table has the medians of all rounds."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

WARM_UP = 10


def turn(
    recipe: Path, data: Path, n_processes: int, batch_words: int, updates: int, settings: list[str]
) -> float:
    """Words per second of one group of processes. Raises CalledProcessError when it fails."""
    launcher = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        f"--nproc-per-node={n_processes}",
    ]
    changes = [*settings, f"training.batch_words={batch_words}", "training.threads=1"]
    order = [str(recipe), str(data), str(updates), *changes]
    command = [*launcher, "-m", "benchmarks.data_parallel", "--turn", *order]
    environ = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1])["words_per_second"])


def train(recipe_file: str, data: str, updates: str, *settings: str) -> None:
    """One process of a turn; the first prints the figure."""
    from itertools import islice

    from teddy.training.commands import launched
    from teddy.training.learning.distributed.process_group import join_group
    from teddy.training.learning.torch_setup import set_threads
    from teddy.training.recipe.recipe import load_recipe
    from teddy.training.run_setup import set_up_run

    recipe = load_recipe(recipe_file, settings)
    set_threads(1)
    with join_group(**launched(os.environ)) as group, TemporaryDirectory() as output:
        trainer = set_up_run(recipe, Path(data), Path(output), None, None, group).trainer
        trainer.features.bag(
            sorted(
                {word for corpus in trainer.corpora for each in corpus.train for word in each.words}
            )
        )
        n_words = [
            sum(len(each.words) for each in batch)
            for batch in islice(trainer.source.epoch(0).batches(), int(updates))
        ]
        rows = trainer.run()
        for _ in range(WARM_UP):
            next(rows)
        started = time.perf_counter()
        counted = sum(row["kind"] == "update" for row in islice(rows, len(n_words) - WARM_UP))
        seconds = time.perf_counter() - started
        if group.is_first:
            print(
                json.dumps(
                    {"words_per_second": sum(n_words[WARM_UP : WARM_UP + counted]) / seconds}
                )
            )


def numbers(text: str) -> list[int]:
    """Of `1,2`."""
    return [int(each) for each in text.split(",")]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batch-words", type=numbers, default=[600, 2400])
    parser.add_argument("--processes", type=numbers, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--updates", type=int, default=80, help="of each turn; they must be within an epoch"
    )
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    arguments = parser.parse_args()
    print(f"{'batch':>6} {'processes':>9} {'words/s':>9} {'against the first':>17}")
    for batch_words in arguments.batch_words:
        rates: dict[int, list[float]] = {n: [] for n in arguments.processes}
        for _ in range(arguments.rounds):
            for n in arguments.processes:
                rate = turn(
                    arguments.recipe,
                    arguments.data,
                    n,
                    batch_words,
                    arguments.updates,
                    arguments.settings,
                )
                rates[n].append(rate)
        first = rates[arguments.processes[0]]
        for n, found in rates.items():
            ratio = statistics.median(rate / base for rate, base in zip(found, first, strict=True))
            print(
                f"{batch_words:6} {n:9} {statistics.median(found):9,.0f} {ratio:17.2f}", flush=True
            )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--turn"]:
        train(*sys.argv[2:])
    else:
        main()
