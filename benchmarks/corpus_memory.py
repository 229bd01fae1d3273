"""The memory, disk and time that corpora of different sizes take to prepare and to read.

    python benchmarks/corpus_memory.py TEXT --megabytes 1,100 [--only train|pretrain] [--folder DIR]

Each corpus is made of TEXT (UTF-8, a paragraph a line), over and over until it is large enough;
each time round, every word that has a capital or a digit is another one, so that new words keep
coming, as in a real text. To train on it, words with a capital are entities. Each size is measured
in a process of its own: it prepares a run as `teddy train` or `teddy pretrain` does, makes some
updates of a small network, and reads all batches of an epoch. `peak` is the most memory that the
process ever had, by the kernel's count, at the end of each of these stages."""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MEGABYTE = 1_000_000
UPDATES = 100
_CHANGING = re.compile(r"\b\w*[A-Z0-9]\w*")

RECIPE = """
name = "memory"
labels = ["NAME"]

[[corpus]]
name = "text"
licence = "-"
train = ["train.conll"]
dev = ["dev.conll"]

[pretrain]
name = "text"
licence = "-"
text = ["text.txt"]

[features]
word_rows = 20_000

[network]
layers = 1
hidden_width = 64
"""


def paragraphs(text: Path) -> Iterator[str]:
    """The text without end, changed each time round."""
    for times in count():
        with text.open(encoding="utf-8") as file:
            for line in file:
                yield _CHANGING.sub(rf"\g<0>{'x' * (times % 7)}{times}", line) if times else line


def write_text(text: Path, n_bytes: int, folder: Path) -> None:
    """Writes text.txt."""
    with (folder / "text.txt").open("w", encoding="utf-8") as file:
        for paragraph in paragraphs(text):
            n_bytes -= file.write(paragraph)
            if n_bytes <= 0:
                return


def write_columns(text: Path, n_bytes: int, folder: Path) -> None:
    """Writes train.conll, and dev.conll of a few sentences."""
    with (folder / "train.conll").open("w", encoding="utf-8") as file:
        for columns in map(to_columns, paragraphs(text)):
            n_bytes -= file.write(columns)
            if n_bytes <= 0:
                break
    with (folder / "dev.conll").open("w", encoding="utf-8") as file:
        file.writelines(map(to_columns, islice(paragraphs(text), 20)))


def to_columns(paragraph: str) -> str:
    """A paragraph as sentences of columns, cut at full stops."""
    lines = []
    for word in paragraph.split():
        lines.append(f"{word} {'B-NAME' if word[:1].isupper() else 'O'}\n")
        if word.endswith("."):
            lines.append("\n")
    return "".join([*lines, "\n"])


class Stages:
    """Seconds and peak memory of one stage after another."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self.rows: dict[str, dict[str, float]] = {}

    def end(self, name: str) -> None:
        """Ends a stage."""
        now = time.monotonic()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MEGABYTE
        self.rows[name] = {"seconds": round(now - self._started, 1), "peak_megabytes": round(peak)}
        self._started = now


def run_train(folder: Path) -> dict[str, Any]:
    """Prepares a run, makes some updates, reads an epoch."""
    from teddy.training.recipe.recipe import load_recipe
    from teddy.training.run_setup import set_up_run

    stages = Stages()
    recipe = load_recipe(folder / "recipe.toml", [f"training.epochs={10_000}"])
    stages.end("import")
    preparation = set_up_run(recipe, folder, folder / "run", None, None)
    stages.end("prepare")
    for _ in islice(preparation.trainer.run(), UPDATES):
        pass
    stages.end("updates")
    n_batches = n_words = 0
    for batch in preparation.trainer.source.epoch(1).batches():
        n_batches += 1
        n_words += sum(len(sentence.words) for sentence in batch)
    stages.end("epoch")
    return {
        "words": n_words,
        "batches": n_batches,
        "disk": _size(folder / "run"),
        "stages": stages.rows,
    }


def run_pretrain(folder: Path) -> dict[str, Any]:
    """Prepares a run, makes some updates, reads an epoch."""
    import torch

    from teddy.model.features.pieces import Pieces
    from teddy.model.features.rows import WordFeatures
    from teddy.training.pretrain.encoded import EncodedCorpus
    from teddy.training.pretrain.objectives import PretrainingNetwork
    from teddy.training.pretrain.prepare import prepare
    from teddy.training.pretrain.pretrainer import Pretrainer
    from teddy.training.recipe.recipe import load_recipe

    stages = Stages()
    recipe = load_recipe(folder / "recipe.toml", purpose="pretrain")
    config = recipe.pretrain
    assert config is not None
    stages.end("import")
    prepare(
        config,
        recipe.pieces,
        recipe.features,
        recipe.tokeniser,
        folder,
        folder / "run",
        lambda note: print(note, file=sys.stderr),
    )
    stages.end("prepare")
    corpus = EncodedCorpus(folder / "run")
    features = WordFeatures(Pieces(corpus.pieces), recipe.features, corpus.words, corpus.lexicon)
    network = PretrainingNetwork(recipe.network, features.n_rows, config)
    pretrainer = Pretrainer(network, features, corpus, config, seed=1, device=torch.device("cpu"))
    for _ in islice(pretrainer.run(), UPDATES):
        pass
    stages.end("updates")
    n_words = 0
    for number in range(pretrainer.text.n_batches(1)):
        n_words += pretrainer.text.batch(1, number).size
    stages.end("epoch")
    return {
        "words": n_words,
        "batches": pretrainer.text.n_batches(1),
        "distinct": corpus.n_types,
        "disk": _size(folder / "run"),
        "stages": stages.rows,
    }


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def measure(kind: str, text: Path, megabytes: int, place: Path | None) -> dict[str, Any]:
    """The figures of one size, from a process of its own."""
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder = Path(name)
        (folder / "recipe.toml").write_text(RECIPE)
        (write_columns if kind == "train" else write_text)(text, megabytes * MEGABYTE, folder)
        command = [sys.executable, __file__, "--child", kind, str(folder)]
        answer = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
        figures: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
        return figures


def main() -> None:
    """Measures and prints."""
    sys.path.insert(0, str(ROOT))
    if sys.argv[1:2] == ["--child"]:
        kind, folder = sys.argv[2], Path(sys.argv[3])
        print(json.dumps((run_train if kind == "train" else run_pretrain)(folder)))
        return
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("text", type=Path)
    parser.add_argument("--megabytes", default="1,100")
    parser.add_argument("--only", choices=("train", "pretrain"))
    parser.add_argument(
        "--folder", type=Path, help="where to put the corpora; three times their size is needed"
    )
    parser.add_argument("--json", type=Path, help="write the figures here too")
    arguments = parser.parse_args()
    rows = []
    for kind in ("train", "pretrain") if arguments.only is None else (arguments.only,):
        for megabytes in map(int, arguments.megabytes.split(",")):
            row = {"kind": kind, "megabytes": megabytes} | measure(
                kind, arguments.text, megabytes, arguments.folder
            )
            print(json.dumps(row), flush=True)
            rows.append(row)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
