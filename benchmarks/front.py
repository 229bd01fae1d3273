"""The front of speed against accuracy: words/s and dev F1 of several model files, and their plot.

    python benchmarks/front.py NAME=MODEL... --text FILE [--plot FILE.png] [--json FILE]

The models take turns, round by round, each round on the next part of the text, so that a machine
that slows down slows all of them and no cache is flattered. F1 is what the file says of itself: it
was measured on dev when it was exported."""

import argparse
import json
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from teddy.model.predictor import Predictor

ROUNDS = 5
TEXTS_PER_ROUND = 600
SINGLE_WORDS, SINGLE_TEXTS = 25, 60


@dataclass(frozen=True, slots=True)
class Row:
    """One model: medians over the rounds."""

    name: str
    network: str
    pieces: int
    precision: str
    f1: float
    """Strict, on dev, 0 to 1."""
    words_per_second: float
    """White-space words, from text to entities."""
    one_text_ms: float


def describe(predictor: "Predictor") -> str:
    """The shape of a network in a few words."""
    shape = predictor.manifest.network
    joined = " summed" if shape.combine == "sum" else ""
    return f"{shape.layers} x {shape.cell} of {shape.hidden_width}{joined}, {shape.decoder}"


def on_the_front(rows: list[Row]) -> Iterator[Row]:
    """Those than which no other is both faster and better, fastest first."""
    best = 0.0
    for row in sorted(rows, key=lambda each: -each.words_per_second):
        if row.f1 > best:
            best = row.f1
            yield row


def measure(predictors: dict[str, "Predictor"], texts: list[str]) -> list[Row]:
    """Times every model on the same texts."""
    speeds: dict[str, list[float]] = {name: [] for name in predictors}
    singles: dict[str, list[float]] = {name: [] for name in predictors}
    words = " ".join(texts).split()
    for number in range(ROUNDS):
        part = texts[number * TEXTS_PER_ROUND : (number + 1) * TEXTS_PER_ROUND]
        n_words = sum(len(text.split()) for text in part)
        short = [
            " ".join(words[first : first + SINGLE_WORDS])
            for first in range(
                number * SINGLE_WORDS * SINGLE_TEXTS,
                (number + 1) * SINGLE_WORDS * SINGLE_TEXTS,
                SINGLE_WORDS,
            )
        ]
        for name, predictor in predictors.items():
            predictor.tag(part[:20])
            started = time.perf_counter()
            predictor.tag(part)
            speeds[name].append(n_words / (time.perf_counter() - started))
            for text in short:
                started = time.perf_counter()
                predictor.tag([text])
                singles[name].append(time.perf_counter() - started)
    return [
        Row(
            name=name,
            network=describe(predictor),
            pieces=predictor.tagger.features.pieces.n_pieces,
            precision=predictor.precision,
            f1=predictor.manifest.scores["dev"]["micro"]["f1"],
            words_per_second=statistics.median(speeds[name]),
            one_text_ms=1000 * statistics.median(singles[name]),
        )
        for name, predictor in predictors.items()
    ]


def plot(rows: list[Row], path: Path) -> None:
    """Draws each model as a point, and the front as a line."""
    from teddy.training.report.figures import BLUE, GREY, new_figure, save_figure

    figure = new_figure(8, 4.5)
    axes = figure.subplots()
    front = list(on_the_front(rows))
    axes.plot(
        [row.words_per_second for row in front],
        [100 * row.f1 for row in front],
        color=BLUE,
        linewidth=1,
        zorder=1,
    )
    for number, row in enumerate(sorted(rows, key=lambda each: (each.words_per_second, each.f1))):
        colour = BLUE if row in front else GREY
        place = (row.words_per_second, 100 * row.f1)
        axes.scatter(*place, color=colour, s=28, zorder=2)
        # Above and below in turn, since neighbours may stand close together.
        beside = (5, -11) if number % 2 else (5, 4)
        axes.annotate(
            row.name, place, xytext=beside, textcoords="offset points", fontsize=8, color=colour
        )
    axes.set_xlabel("words per second, one core, from text to entities")
    axes.set_ylabel("dev F1 (strict)")
    axes.set_xlim(0, 1.12 * max(row.words_per_second for row in rows))
    axes.margins(y=0.15)
    axes.grid(alpha=0.25)
    save_figure(figure, path)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", metavar="NAME=MODEL")
    parser.add_argument(
        "--text", type=Path, required=True, help="a UTF-8 text file, one text a line"
    )
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"

    import teddy

    texts = [
        line for line in arguments.text.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    if len(texts) < ROUNDS * TEXTS_PER_ROUND:
        parser.error(
            f"{arguments.text} has {len(texts)} texts; {ROUNDS * TEXTS_PER_ROUND} are needed"
        )
    named = dict(each.split("=", 1) for each in arguments.models)
    rows = measure(
        {name: teddy.load(path, precision=arguments.precision) for name, path in named.items()},
        texts,
    )
    print(
        "| model | network | pieces | dev F1 | words/s | one text of 25 words |\n"
        "|---|---|---:|---:|---:|---:|"
    )
    for row in sorted(rows, key=lambda each: -each.words_per_second):
        cells = (
            row.network,
            f"{row.pieces:,}",
            f"{100 * row.f1:.2f}",
            f"{row.words_per_second:,.0f}",
            f"{row.one_text_ms:.2f} ms",
        )
        print(f"| {row.name} | {' | '.join(cells)} |")
    if arguments.plot:
        plot(rows, arguments.plot)
    if arguments.json:
        arguments.json.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")


if __name__ == "__main__":
    main()
