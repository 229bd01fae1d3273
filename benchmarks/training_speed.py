"""The speed of a recipe: words per second, and the time until dev F1 is within 1 % of its best.

    python benchmarks/training_speed.py RECIPE --data DIR [--threads 1,2] [--set KEY=VALUE]...
                                        [--json FILE]

Each run is `teddy train`, as a user starts it, in a folder of its own that is removed again;
`--threads 1,2` makes two of them, one after the other, and a GPU is used where there is one (keep
it out with `--set training.device=cpu`). Times count from the first update. `--set
training.evaluations_per_epoch=4` makes the second figure finer."""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SHARE = 0.99
POLL_SECONDS = 0.1


class Follower:
    """Reads the rows of a growing file of JSON lines, each with the moment it was first seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.rows: list[tuple[float, dict[str, Any]]] = []

    def look(self) -> None:
        """Takes up the whole lines that were added since."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        now = time.monotonic()
        self.rows += [(now, json.loads(line)) for line in whole.splitlines()]


def summarise(
    rows: list[tuple[float, dict[str, Any]]], timings: list[dict[str, Any]]
) -> dict[str, float]:
    """Figures of a run from its rows, each with its moment in seconds, and from its timings."""
    started = next(moment for moment, row in rows if row["kind"] == "update")
    updates = [row for row in timings if row["kind"] == "updates"]
    scores = [(moment - started, row["f1"]) for moment, row in rows if row["kind"] == "evaluation"]
    best = max(f1 for _, f1 in scores)
    return {
        "words_per_second": sum(row["words"] for row in updates)
        / sum(row["seconds"] for row in updates),
        "best_f1": best,
        "seconds_to_99_percent": next(seconds for seconds, f1 in scores if f1 >= SHARE * best),
        "seconds": rows[-1][0] - started,
    }


def train(recipe: Path, data: Path, settings: list[str], output: Path) -> dict[str, float]:
    """Trains once and says how it went. Raises CalledProcessError when the training fails."""
    words = [argument for setting in settings for argument in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "teddy",
        "train",
        str(recipe),
        "--data",
        str(data),
        "--output",
        str(output),
        *words,
    ]
    follower, timings = Follower(output / "metrics.jsonl"), Follower(output / "timings.jsonl")
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
    ):
        while process.poll() is None:
            follower.look()
            time.sleep(POLL_SECONDS)
        follower.look()
        timings.look()
        if process.returncode:
            log.seek(0)
            sys.stderr.buffer.write(log.read()[-2000:])
            raise subprocess.CalledProcessError(process.returncode, command)
    return summarise(follower.rows, [row for _, row in timings.rows])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--threads", default="1,2", help="of the CPU, one run for each")
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    figures = {}
    print(f"{'threads':>7} {'words/s':>9} {'to 99 %':>9} {'in all':>9} {'best dev F1':>12}")
    for threads in map(int, arguments.threads.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            settings = [*arguments.settings, f"training.threads={threads}"]
            row = train(arguments.recipe, arguments.data, settings, Path(folder) / "run")
        figures[threads] = row
        cells = (
            row["words_per_second"],
            row["seconds_to_99_percent"],
            row["seconds"],
            100 * row["best_f1"],
        )
        print("{:7} {:9,.0f} {:7.0f} s {:7.0f} s {:12.2f}".format(threads, *cells), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
