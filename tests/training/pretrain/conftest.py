"""A made-up text of a few hundred sentences, and what is made of it."""

import random
from pathlib import Path

import pytest

from teddy.training.pretrain.encoded import EncodedCorpus
from teddy.training.pretrain.prepare import prepare
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.recipe.sections import PretrainConfig

ANIMALS = ("bear", "fox", "heron", "otter")
PLACES = ("river", "wood", "old mill", "harbour")
PATTERNS = (
    "The {animal} sleeps near the {place} all day long.",
    "In the {place} a young {animal} looks for its mother.",
    "Does the {animal} know that the {animal} lives in the {place}?",
    "It rains.",
    "Nobody at the {place} saw the {animal}, but its tracks were everywhere.",
)

RECIPE = """
name = "tiny-encoder"
seed = 5

[pretrain]
name = "animals"
licence = "CC0"
source = "the tests"
text = ["text/*"]
held_out_every = 12
words = 12000
batch_words = 200
learning_rate = 0.01
warmup_steps = 5
evaluation_words = 50
evaluation_steps = 20
checkpoint_steps = 8
mixed_precision = "fp32"

[pieces]
vocabulary = 330

[features]
shape_rows = 32
affix_rows = 256
word_rows = 40

[network]
normalise = true
embedding_width = 16
hidden_width = 12
layers = 2
"""


def write_text(path: Path, n_paragraphs: int, seed: int) -> None:
    """Writes paragraphs of one to four sentences made from the patterns."""
    draw = random.Random(seed)  # noqa: S311
    with path.open("w", encoding="utf-8") as file:
        for _ in range(n_paragraphs):
            sentences = [
                draw.choice(PATTERNS).format(animal=draw.choice(ANIMALS), place=draw.choice(PLACES))
                for _ in range(draw.randint(1, 4))
            ]
            file.write(" ".join(sentences) + "\n")


@pytest.fixture(scope="session")
def text_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `text/` and `tiny-encoder.toml`. Read it; write elsewhere."""
    directory = tmp_path_factory.mktemp("text-data")
    (directory / "text").mkdir()
    write_text(directory / "text" / "a.txt", 120, seed=1)
    write_text(directory / "text" / "b.txt", 60, seed=2)
    (directory / "tiny-encoder.toml").write_text(RECIPE)
    return directory


@pytest.fixture(scope="session")
def text_recipe(text_data: Path) -> Recipe:
    return load_recipe(text_data / "tiny-encoder.toml", purpose="pretrain")


@pytest.fixture(scope="session")
def config(text_recipe: Recipe) -> PretrainConfig:
    assert text_recipe.pretrain is not None
    return text_recipe.pretrain


@pytest.fixture(scope="session")
def corpus(
    text_recipe: Recipe,
    config: PretrainConfig,
    text_data: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> EncodedCorpus:
    """The made-up text, encoded."""
    folder = tmp_path_factory.mktemp("encoded") / "corpus"
    parts = text_recipe.pieces, text_recipe.features, text_recipe.tokeniser
    prepare(config, *parts, text_data, folder, lambda _: None)
    return EncodedCorpus(folder)
