"""Memory does not grow with a corpus: ten times the text takes next to nothing more."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAD = """
import resource, sys
from pathlib import Path
from teddy.training.recipe.recipe import load_recipe

folder = Path(sys.argv[1])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def words(n):
    return (f"w{i % 5000}" for i in range(n))
"""

TRAIN = """
from teddy.training.data.source import StoredCorpora
from teddy.training.data.corpora import open_corpora

for n_words in (6_000, 60_000):
    with (folder / "train.conll").open("w") as file:
        for i, word in enumerate(words(n_words)):
            file.write(f"{word} O\\n" if i % 15 else f"{word} B-PER\\n\\n")
    recipe = load_recipe(folder / "recipe.toml", ["training.shuffle_window_words=5000"])
    corpora, _ = open_corpora(recipe, folder, folder / f"{n_words}")
    source = StoredCorpora(corpora, 5_000, 600, 1)
    n_read = sum(len(sentence.words) for batch in source.epoch(0).batches() for sentence in batch)
    assert n_read + sum(len(sentence.words) for sentence in corpora[0].dev) == n_words
    print(peak())
"""

PRETRAIN = """
from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.encoded import TrainingText
from teddy.training.pretrain.prepare import prepare

for n_words in (6_000, 60_000):
    with (folder / "text.txt").open("w") as file:
        for i, word in enumerate(words(n_words)):
            file.write(f"{word} " if i % 15 else f"{word}.\\n")
    settings = ["pretrain.shuffle_window_words=5000"]
    recipe = load_recipe(folder / "recipe.toml", settings, purpose="pretrain")
    parts, encoded = (recipe.pretrain, recipe.pieces, recipe.features), folder / f"{n_words}"
    parts = (*parts, recipe.tokeniser)
    prepare(*parts, folder, encoded, lambda _: None, most_types=3000, chunk_words=5_000)
    options = {"shortest": 2, "batch_words": 600, "window_words": 5_000, "seed": 1}
    text = TrainingText(EncodedCorpus(encoded), **options)
    n_read = sum(text.batch(0, i).size for i in range(text.n_batches(0)))
    assert n_read == text.epoch_words > n_words
    print(peak())
"""

RECIPE = """
name = "flat"
labels = ["PER"]
[[corpus]]
name = "a"
licence = "CC0"
train = ["train.conll"]
holdout = 0.01
[pretrain]
name = "a"
licence = "CC0"
text = ["text.txt"]
[pieces]
vocabulary = 300
"""


@pytest.mark.parametrize("program", [TRAIN, PRETRAIN], ids=["train", "pretrain"])
def test_ten_times_the_text_needs_hardly_more_memory(program: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    answer = subprocess.run(
        [sys.executable, "-c", HEAD + program, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=True,
        text=True,
    )
    small, large = map(int, answer.stdout.split())
    # As objects in memory, the sentences of the large corpus would take 9 MB.
    assert large - small < 5_000_000
