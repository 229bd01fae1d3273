"""How fast a model file tags, in each precision: words per second on many texts, milliseconds for one.

    python tests/benchmarks/throughput.py [--model FILE] [--text FILE] [--threads 1] [--json FILE]

All figures are of one process and one run. The precisions take turns, round by round, so that a machine that slows
down slows all of them; what is printed are medians, and ratios to fp32. The text is cut at line ends; without one,
sentences made up here are used, whose few distinct words flatter the word cache: give a real text for figures worth
quoting.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

ROUNDS = 7
NAMES = ("Teddy Roosevelt", "Maria Oliveira", "Jonas Falk", "Ida Holm")
PLACES = ("Lisbon", "New Haven", "Geneva", "Port Ellen")
PATTERNS = (
    "{name} flew from {place} to {other} on Monday, and nobody at the airport had heard of it.",
    "In {place}, the committee met {name} for the third time in 40 days.",
    "The bears are on sale!",
    "She asked whether {name} would stay in {place}; he said he would not, since the ferry to {other} leaves at 10:30.",
)


def made_up_texts(n_texts: int) -> list[str]:
    """Sentences from the patterns above, always the same."""
    draw = random.Random(1)  # noqa: S311
    return [
        draw.choice(PATTERNS).format(name=draw.choice(NAMES), place=draw.choice(PLACES), other=draw.choice(PLACES))
        for _ in range(n_texts)
    ]


def seconds(call: Callable[[], object]) -> float:
    """The wall-clock time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", type=Path, help="a model file; the one that ships by default")
    parser.add_argument("--text", type=Path, help="a UTF-8 text file, one text a line")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    import torch

    import model
    from model.precision import candidates
    from model.text import tokenise

    torch.set_num_threads(arguments.threads)
    lines = arguments.text.read_text(encoding="utf-8").splitlines() if arguments.text else []
    texts = [line for line in lines if line.strip()][:4000] or made_up_texts(2000)
    n_words = sum(len(tokenise(text)) for text in texts)
    loaded = {precision: model.load(arguments.model, precision=precision) for precision in {"fp32", *candidates()}}
    many: dict[str, list[float]] = {precision: [] for precision in loaded}
    single: dict[str, list[float]] = {precision: [] for precision in loaded}
    for predictor in loaded.values():
        predictor.tag(texts)
    for _ in range(ROUNDS):
        for precision, predictor in loaded.items():
            many[precision].append(n_words / seconds(lambda each=predictor: each.tag(texts)))  # type: ignore[misc]
            single[precision] += [seconds(lambda each=predictor, one=text: each.tag([one])) for text in texts[:50]]  # type: ignore[misc]
    figures = {
        precision: {
            "words_per_second": statistics.median(many[precision]),
            "ratio_to_fp32": statistics.median(many[precision]) / statistics.median(many["fp32"]),
            "one_text_p50_ms": 1000 * statistics.median(single[precision]),
            "one_text_p95_ms": 1000 * statistics.quantiles(single[precision], n=20)[18],
        }
        for precision in sorted(loaded)
    }
    print(f"{len(texts)} texts, {n_words} words, {arguments.threads} thread(s), {ROUNDS} rounds; medians")
    print(f"{'':6} {'words/s':>10} {'x fp32':>7} {'one text p50':>13} {'p95':>9}")
    for precision, row in figures.items():
        print(
            f"{precision:6} {row['words_per_second']:10,.0f} {row['ratio_to_fp32']:7.2f} "
            f"{row['one_text_p50_ms']:10.2f} ms {row['one_text_p95_ms']:6.2f} ms"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
