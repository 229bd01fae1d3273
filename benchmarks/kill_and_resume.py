"""Kill training runs at random moments with SIGKILL, resume them, compare with an undisturbed run.

    python -m benchmarks.kill_and_resume [--moments 20] [--seed 1]

The moments are drawn evenly from the whole life of the process: while it imports, prepares, learns,
evaluates, writes checkpoints, measures and exports. Compared are, to the last bit, metrics.jsonl,
all of both checkpoints, and the tensors of the result. Exits with 1 when anything differs."""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from teddy.training.job.record import Record
from tests.conftest import RECIPE, write_corpus
from tests.training.pretraining import PRETRAINING
from tests.training.runs import differences

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "train": (
        "training.epochs=12",
        "training.evaluations_per_epoch=2",
        "training.patience=4",
        "training.checkpoint_seconds=0.1",
        "training.word_dropout=0.2",
    ),
    "pretrain": (
        "pretrain.words=30000",
        "pretrain.evaluation_steps=11",
        "pretrain.checkpoint_steps=7",
        "pretrain.layer_dropout=0.1",
        "pretrain.mixed_precision=fp32",
    ),
}


_HEAD = "| killed after, s | at step | end |\n|---|---|---|"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """One run that was killed after `seconds`, at a `step`, and what differs at its end."""

    seconds: float
    step: int
    differences: list[str]

    def __str__(self) -> str:
        verdict = "the same" if not self.differences else f"DIFFERS: {', '.join(self.differences)}"
        return f"| {self.seconds:.2f} | {self.step} | {verdict} |"


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--moments", type=int, default=20, help="for each of `teddy train` and `teddy pretrain`"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    wanted = parser.parse_args()
    draw = random.Random(wanted.seed)  # noqa: S311
    n_different = 0
    with tempfile.TemporaryDirectory() as folder:
        _write_data(Path(folder))
        for command in SETTINGS:
            n_different += _try(command, Path(folder), wanted.moments, draw)
    sys.exit(n_different > 0)


def _try(command: str, data: Path, n_moments: int, draw: random.Random) -> int:
    whole = data / f"{command}-whole"
    started = time.monotonic()
    _run(command, data, whole)
    life_seconds = time.monotonic() - started
    n_steps = _step(whole)
    print(f"\n## teddy {command}: {n_steps} steps in {life_seconds:.1f} s\n\n{_HEAD}")
    kills = []
    for number in range(n_moments):
        kills.append(
            _kill(command, data, whole, draw.uniform(0, life_seconds), data / f"{command}-{number}")
        )
        print(kills[-1], flush=True)
    n_different = sum(bool(kill.differences) for kill in kills)
    print(f"\n{n_moments - n_different} of {n_moments} ended as the run that was not killed")
    return n_different


def _kill(command: str, data: Path, whole: Path, seconds: float, output: Path) -> Kill:
    process = _start(command, data, output)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    step = _step(output)
    _run(command, data, output)
    return Kill(seconds=seconds, step=step, differences=differences(output, whole))


def _run(command: str, data: Path, output: Path) -> None:
    code = _start(command, data, output).wait()
    if code:
        raise SystemExit(f"teddy {command} ended with {code}")


def _start(command: str, data: Path, output: Path) -> "subprocess.Popen[bytes]":
    settings = [word for each in SETTINGS[command] for word in ("--set", each)]
    arguments = [
        command,
        str(data / f"{command}.toml"),
        "--data",
        str(data),
        "--output",
        str(output),
        "--resume",
    ]
    return subprocess.Popen(
        [sys.executable, "-m", "teddy", *arguments, *settings],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _step(output: Path) -> int:
    return max(
        (row["step"] for row in Record(output).rows() if isinstance(row["step"], int)), default=0
    )


def _write_data(folder: Path) -> None:
    write_corpus(folder / "train.conll", 200, seed=1)
    write_corpus(folder / "dev.conll", 40, seed=2)
    (folder / "train.toml").write_text(RECIPE)
    draw = random.Random(1)  # noqa: S311
    animals, places = ("bear", "fox", "heron"), ("river", "wood", "harbour")
    lines = (
        f"The {draw.choice(animals)} sleeps near the {draw.choice(places)} all day long.\n"
        for _ in range(600)
    )
    (folder / "text.txt").write_text("".join(lines))
    (folder / "pretrain.toml").write_text(PRETRAINING)


if __name__ == "__main__":
    main()
