"""What tests share: a made-up corpus, and a tiny model that was really trained on it, exported and
loaded."""

import os

# Before torch is imported: the suite runs beside other work, and tiny networks gain nothing from
# threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from teddy import cli
from teddy.model.predictor import Predictor, load
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train

# A shell ignores Ctrl-C for what it starts in the background, and so would all that tests start and
# then interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says nothing on a shared machine.
settings.register_profile("teddy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("teddy")

PEOPLE = ("Anna Berg", "Otto Lind", "Mira", "Jonas Falk", "Teddy Marsh", "Ida Holm")
PLACES = ("Oslo", "New Haven", "Lund", "Port Ellen", "Ghent")
PATTERNS = (
    "{person} went to {place} .",
    "In {place} , {person} met {other} .",
    "The bears of {place} sleep .",
    "Nobody was there .",
    "{person} and {other} like apples .",
    "Who saw {person} in {place} today ?",
)


def write_corpus(path: Path, n_sentences: int, seed: int) -> None:
    """Writes sentences made from the patterns, two columns and BIO tags."""
    draw = random.Random(seed)  # noqa: S311
    lines: list[str] = []
    for _ in range(n_sentences):
        for slot in draw.choice(PATTERNS).split():
            label, names = ("LOC", PLACES) if "place" in slot else ("PER", PEOPLE)
            words = draw.choice(names).split() if slot.startswith("{") else [slot]
            tags = (
                [f"{'I' if i else 'B'}-{label}" for i in range(len(words))]
                if slot.startswith("{")
                else ["O"]
            )
            lines += [f"{word} {tag}" for word, tag in zip(words, tags, strict=True)]
        lines.append("")
    path.write_text("\n".join(lines) + "\n")


RECIPE = """
name = "tiny"
language = "en"
labels = ["PER", "LOC"]
seed = 3

[[corpus]]
name = "made-up"
licence = "CC0"
source = "the tests"
train = ["train.conll"]
dev = ["dev.conll"]

[pieces]
vocabulary = 330

[features]
shape_rows = 32
affix_rows = 256

[network]
embedding_width = 16
hidden_width = 12
layers = 2
embedding_dropout = 0.1
layer_dropout = 0.1

[training]
epochs = 6
batch_words = 120
learning_rate = 0.02
feature_dropout = 0.1
average_decay = 0.9
patience = 8
mixed_precision = "fp32"
threads = 1

[export]
window_words = 24
window_overlap = 8
canary = ["Anna Berg went to Oslo.", "Nobody was there."]
"""


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with `train.conll`, `dev.conll` and `tiny.toml`. Read it; write elsewhere."""
    directory = tmp_path_factory.mktemp("tiny-data")
    write_corpus(directory / "train.conll", 200, seed=1)
    write_corpus(directory / "dev.conll", 40, seed=2)
    (directory / "tiny.toml").write_text(RECIPE)
    return directory


@pytest.fixture(scope="session")
def tiny_recipe(tiny_data: Path) -> Recipe:
    """The recipe that the tiny model is trained with."""
    return load_recipe(tiny_data / "tiny.toml")


@pytest.fixture(scope="session")
def tiny_run(
    tiny_data: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output directory of a finished run. Read it; write elsewhere."""
    output = tmp_path_factory.mktemp("tiny-run")
    train(tiny_recipe, tiny_data, output)
    return output


@pytest.fixture(scope="session")
def tiny_stopped_run(
    tiny_data: Path, tiny_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output directory of a run that was stopped before it wrote its model file. Read it."""
    output = tmp_path_factory.mktemp("tiny-stopped-run")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("teddy.training.run.write_model", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tiny_recipe, tiny_data, output)
    return output


@pytest.fixture(scope="session")
def tiny_model(tiny_run: Path) -> Path:
    """A model file that finds the names of the made-up corpus."""
    return tiny_run / "tiny.teddy"


@pytest.fixture(scope="session")
def tiny_predictor(tiny_model: Path) -> Predictor:
    """The tiny model, loaded in full precision."""
    return load(tiny_model, precision="fp32")


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command line; gives the exit code, standard output and standard error."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = cli.run([str(argument) for argument in arguments])
        return (code, *capfd.readouterr())

    return run
