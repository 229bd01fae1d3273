"""Bulk tagging against the engine in memory, and its memory at several sizes.

    python -m benchmarks.bulk_tagging --text FILE [--megabytes 1 100] [--rounds 3] [--processes 2]

FILE has a text on each line, as many megabytes as the largest size. The engine is so many
processes, each running `Predictor.tag` on its part of the same texts in memory, one thread each;
bulk tagging is `teddy tag --processes`. They take turns, so that a machine shared with others is
shared fairly. Words are what stands between blanks, for both. Loading the model is counted for
neither. Memory is the sum over all processes of what each has for itself and its share of the rest
(PSS), its most, once a second."""

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from contextlib import suppress
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.load.processes import descendants

ROOT = Path(__file__).parents[1]
WATCHED_EVERY_SECONDS = 1.0
N_FILES = 4
"""Small ones are one shard each, and a process without a shard is not started."""


def engine_words_per_second(texts: Path, n_processes: int) -> float:
    """Return the words per second of several processes that tag lines held in memory."""
    files = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(texts.iterdir())]
    lines = [line for file in files for line in file.splitlines()]
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(n_processes + 1)
    parts = [lines[number::n_processes] for number in range(n_processes)]
    processes = [context.Process(target=_tag, args=(part, barrier)) for part in parts]
    for process in processes:
        process.start()
    barrier.wait()
    began_at = time.monotonic()
    for process in processes:
        process.join()
    return sum(len(line.split()) for line in lines) / (time.monotonic() - began_at)


def _tag(lines: list[str], barrier: Barrier) -> None:
    from teddy.service.bulk.workers import ModelChoice, load_model

    predictor = load_model(ModelChoice(path=None, precision="auto"))
    barrier.wait()
    for _ in predictor.tag_documents(lines):
        pass


def bulk_run(texts: Path, n_processes: int) -> tuple[float, float, float]:
    """Return words/s without and with the start of all processes, and the peak memory in MB."""
    with TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "teddy",
            "tag",
            "--input",
            str(texts),
            "--output",
            f"{folder}/out/",
        ]
        command += ["--processes", str(n_processes), "--json"]
        began_at = time.monotonic()
        job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        most = 0.0
        while job.poll() is None:
            most = max(most, sum(map(_pss_megabytes, descendants(job.pid))))
            time.sleep(WATCHED_EVERY_SECONDS)
        seconds = time.monotonic() - began_at
        summary = json.loads(job.communicate()[0])
    return summary["words_per_second"], summary["words"] / seconds, most


def _pss_megabytes(pid: int) -> float:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def cut_to(text: Path, megabytes: float, folder: Path) -> Path:
    """Write the first `megabytes` of a file into enough files for every process to have one."""
    folder.mkdir()
    with text.open("rb") as source:
        for number in range(N_FILES):
            left = megabytes * 1e6 / N_FILES
            with (folder / f"{number}.txt").open("wb") as output:
                while left > 0 and (line := source.readline()):
                    left -= output.write(line)
            if left > 0:
                sys.exit(f"{text} has less than {megabytes:g} MB")
    return folder


def main() -> None:
    """Measure, and print Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument(
        "--megabytes",
        type=float,
        nargs="+",
        default=[1, 100, 1000],
        help="sizes to watch memory at",
    )
    parser.add_argument(
        "--rate-megabytes", type=float, default=50, help="size at which the rates are compared"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        part = cut_to(options.text, options.rate_megabytes, Path(folder) / "part")
        ratios = []
        print(
            "| turn | engine, words/s | bulk, words/s | with its start | ratio |\n"
            "|---:|---:|---:|---:|---:|"
        )
        for turn in range(1, options.rounds + 1):
            engine = engine_words_per_second(part, options.processes)
            bulk, with_start, _ = bulk_run(part, options.processes)
            ratios.append(bulk / engine)
            print(
                f"| {turn} | {engine:,.0f} | {bulk:,.0f} | {with_start:,.0f} | {ratios[-1]:.3f} |",
                flush=True,
            )
        if ratios:
            print(f"\nmedian ratio {median(ratios):.3f}\n")
        print("| MB | words/s | most PSS, MB |\n|---:|---:|---:|")
        for size in options.megabytes:
            bulk, _, most = bulk_run(
                cut_to(options.text, size, Path(folder) / f"{size:g}"), options.processes
            )
            print(f"| {size:g} | {bulk:,.0f} | {most:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
