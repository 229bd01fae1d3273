"""What drift says of texts that the model was made for, and of others: the tables of docs/drift.md.

    python -m benchmarks.drift --data DATA [--recipe FILE] [--model FILE] [--chinese FILE]

Of the recipe's dev sentences every other one makes the reference, of a copy of the model; the rest
are live texts, which the network has not learned from. Lower-cased texts are the same; code is
Python's own; Chinese is a file with a word a line. It is measured twice: by the library, and by a
server of two workers."""

import argparse
import asyncio
import json
import random
import sysconfig
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.load.server import Server
from teddy.model.file.bundle import extra_files, read_bundle, seal
from teddy.model.network.torchscript import from_archive, to_archive
from teddy.model.predictor import SHIPPED_MODEL, Predictor, load
from teddy.service.inference.models import ServedModel
from teddy.service.observability.drift_gauges import DriftComparison, compare
from teddy.service.observability.drift_windows import DriftWindows
from teddy.training.data.corpora import Corpus, load_corpora
from teddy.training.evaluation.measurements import measure_reference
from teddy.training.recipe.recipe import ExportConfig, load_recipe

NAME = "en"
WINDOW = 1000
FEW = 500
CODE_LINES = 30
BATCH = 100
PATIENCE_SECONDS = 60.0


def main() -> None:
    """Measures, and prints both tables in Markdown."""
    arguments = parse()
    recipe = load_recipe(arguments.recipe)
    corpora = load_corpora(recipe, arguments.data)
    draw = random.Random(1)  # noqa: S311
    dev = [sentence.text for corpus in corpora for sentence in corpus.dev]
    draw.shuffle(dev)
    reference, held_out = dev[::2], dev[1::2]
    others = {
        "Chinese": chinese(
            arguments.chinese or arguments.data / "uner-chinese-gsdsimp/zh_gsdsimp-ud-dev.iob2"
        ),
        "lower-cased": [text.lower() for text in held_out[:FEW]],
        "code": code(draw),
    }
    with TemporaryDirectory() as folder:
        file = Path(folder) / "half.teddy"
        write_copy(arguments.model, file, reference, recipe.export)
        print_table(
            "By the library",
            by_library(load(file), held_out, seen_texts(corpora, draw), corpora, others),
        )
        served = asyncio.run(by_server(file, held_out, others))
    print_table("By a server", served)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        required=True,
        help="the directory that the recipe's files are relative to",
    )
    parser.add_argument(
        "--recipe", type=Path, default=Path("training/recipes/en.toml"), metavar="FILE"
    )
    parser.add_argument(
        "--model",
        type=Path,
        default=SHIPPED_MODEL,
        metavar="FILE",
        help="the one that ships by default",
    )
    parser.add_argument(
        "--chinese", type=Path, metavar="FILE", help="the word in the second column, tabs between"
    )
    return parser.parse_args()


def write_copy(source: Path, target: Path, texts: Sequence[str], windows: ExportConfig) -> None:
    """The model with another reference."""
    bundle = read_bundle(source)
    model = load(source, precision="fp32")
    reference = measure_reference(model.tagger, texts, model.tokeniser, windows)
    manifest = replace(bundle.manifest, reference=reference)
    extras = extra_files(manifest, bundle.pieces, bundle.words, bundle.card, bundle.lexicon)
    target.write_bytes(seal(to_archive(from_archive(bundle.archive), extras)))


def seen_texts(corpora: Sequence[Corpus], draw: random.Random) -> list[str]:
    """Sentences that the network learned from, of each corpus as many as there are in dev."""
    train = {corpus.name: [sentence.text for sentence in corpus.train] for corpus in corpora}
    texts: list[str] = []
    for corpus in corpora:
        own = train[corpus.name] or train[corpus.name.removesuffix("-dev")]
        texts += draw.sample(own, min(len(own), len(corpus.dev)))
    draw.shuffle(texts)
    return texts


def chinese(file: Path) -> list[str]:
    """The sentences of a file of words."""
    blocks = file.read_text(encoding="utf-8").split("\n\n")
    rows = [
        [line.split("\t") for line in block.splitlines() if line[:1] not in ("#", "")]
        for block in blocks
    ]
    return ["".join(row[1] for row in block) for block in rows if block][:FEW]


def code(draw: random.Random) -> list[str]:
    """Stretches of Python's standard library."""
    stretches: list[str] = []
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        lines = file.read_text(encoding="utf-8", errors="ignore").splitlines()
        stretches += [
            "\n".join(lines[i : i + CODE_LINES]) for i in range(0, len(lines), CODE_LINES)
        ]
    return draw.sample([stretch for stretch in stretches if stretch.strip()], FEW)


Row = Mapping[str, float | None]
"""PSI by feature; None where too little was seen."""


def by_library(
    predictor: Predictor,
    held_out: Sequence[str],
    seen: Sequence[str],
    corpora: Sequence[Corpus],
    others: Mapping[str, Sequence[str]],
) -> Iterator[tuple[str, Row]]:
    """Windows of texts, one after another; each begins empty."""
    for n_texts in (200, FEW, WINDOW, len(held_out)):
        yield f"held out, {n_texts:,}", window_of(predictor, held_out[:n_texts])
    yield f"learned from, {len(seen):,}", window_of(predictor, seen)
    for corpus in corpora:
        if corpus.dev:
            texts = [sentence.text for sentence in corpus.dev]
            yield f"{corpus.name} alone, {len(texts):,}", window_of(predictor, texts)
    for name, strange in others.items():
        yield f"{name}, {FEW}", window_of(predictor, strange)
        yield (
            f"{name}, {FEW} after {WINDOW:,} held out",
            window_of(predictor, [*held_out[:WINDOW], *strange], WINDOW),
        )


def window_of(predictor: Predictor, texts: Sequence[str], most_texts: int | None = None) -> Row:
    """Return the divergence when these texts fill the window; all of them unless it is smaller."""
    windows = DriftWindows(most_texts or 10 * len(texts), lambda: [NAME])
    documents = [predictor.prepare(text) for text in texts]
    model = ServedModel(NAME, predictor, default=True)
    windows.count(model, list(zip(documents, predictor.tag_documents(texts), strict=True)))
    return {each.feature: psi_of(each) for each in compare(windows.as_documents())}


def psi_of(comparison: DriftComparison) -> float | None:
    """As it is exposed."""
    return comparison.psi if comparison.is_telling else None


async def by_server(
    file: Path, held_out: Sequence[str], others: Mapping[str, Sequence[str]]
) -> list[tuple[str, Row]]:
    """Send a server of two workers a window of held-out texts, then others; again for each kind."""
    rows: list[tuple[str, Row]] = []
    settings = {"drift_texts_per_second": 100_000, "drift_window_texts": WINDOW, "workers": 2}
    with TemporaryDirectory() as folder:
        for name, texts in others.items():
            with Server.teddy(
                Path(folder) / "log", "--model", f"{NAME}={file}", settings=settings
            ) as server:
                await server.all_ready(2)
                rows.append(
                    (f"held out, {WINDOW:,}", await asked(server, held_out[:WINDOW], WINDOW))
                )
                rows.append((f"then {name}, {FEW}", await asked(server, texts, WINDOW + FEW)))
                server.stop()
    return rows


async def asked(server: Server, texts: Sequence[str], n_seen: int) -> Row:
    """Send texts, and return what the server's metrics say once it has seen `n_seen` in all."""
    for start in range(0, len(texts), BATCH):
        await asyncio.to_thread(
            post, f"{server.address}/v1/entities/batch", texts[start : start + BATCH]
        )
    end = time.monotonic() + PATIENCE_SECONDS
    while (metrics := await server.metrics())["teddy_drift_texts_total[outcome=seen]"] < n_seen:
        if time.monotonic() > end:
            raise SystemExit("the server did not look at all texts")
        await asyncio.sleep(0.1)
    await asyncio.sleep(1)  # the other worker's document may be a moment behind its counter
    metrics = await server.metrics()
    return {
        name.split("[")[1].removeprefix("feature=").rstrip("]"): value
        for name, value in metrics.items()
        if name.startswith("teddy_drift_psi[")
    }


def post(address: str, texts: Sequence[str]) -> None:
    """Send texts; each request is a connection of its own, so that all workers get some."""
    body = json.dumps({"texts": texts}).encode()
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    urllib.request.urlopen(request).close()


def print_table(title: str, rows: Iterator[tuple[str, Row]] | Sequence[tuple[str, Row]]) -> None:
    """In Markdown."""
    listed = list(rows)
    features = list(dict.fromkeys(feature for _, row in listed for feature in row))
    print(f"\n{title}\n\n| texts | {' | '.join(f'`{each}`' for each in features)} |")
    print(f"|---|{'---:|' * len(features)}")
    for name, row in listed:
        cells = (row.get(feature) for feature in features)
        print(
            f"| {name} | {' | '.join('' if each is None else f'{each:.3f}' for each in cells)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
