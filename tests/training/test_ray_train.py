"""Training on a real Ray cluster of two nodes: `make ray` installs Ray and runs this file."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, sleep

import pytest
import torch

if find_spec("ray") is None:
    pytest.skip("the extra `ray` is not installed: `make ray` does it", allow_module_level=True)

from tests.ray_cluster import nodes, title  # it imports Ray, with care

# isort: split
from benchmarks.load.processes import descendants
from teddy.model.errors import TrainingError
from teddy.training.learning.checkpoint import load_checkpoint
from teddy.training.learning.distributed.ray_train import train_on_ray
from teddy.training.recipe.recipe import Recipe, load_recipe
from teddy.training.run import train
from tests.training.processes import tensors

# What Ray warns of is its own use of itself.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings(r"ignore::DeprecationWarning:ray\..*")]

PATIENCE_SECONDS = 240.0
WORKER = "ray::RayTrainWorker"


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with TemporaryDirectory(prefix="ray") as directory, nodes(Path(directory)):
        yield


@pytest.fixture(scope="module")
def recipe(tiny_data: Path) -> Recipe:
    return load_recipe(tiny_data / "tiny.toml", ["training.parts=2"])


@pytest.fixture(scope="module")
def alone(recipe: Recipe, tiny_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a run of one undisturbed process."""
    output = tmp_path_factory.mktemp("alone")
    train(recipe, tiny_data, output)
    return output


def workers() -> list[int]:
    return [pid for pid in descendants(os.getpid()) if title(pid).startswith(WORKER)]


def wait_for_rows(output: Path, count: int, running: "Future[Path]") -> None:
    deadline = monotonic() + PATIENCE_SECONDS
    path = output / "metrics.jsonl"
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert not running.done(), running.result()
        assert monotonic() < deadline
        sleep(0.02)


def assert_same_end(output: Path, other: Path) -> None:
    ends = [load_checkpoint(each / "best.checkpoint") for each in (output, other)]
    ours, theirs = (tensors({"weights": each.weights, "progress": each.progress}) for each in ends)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if not torch.equal(ours[name], theirs[name])] == []


@pytest.mark.parametrize("victim", [0, 1])
def test_a_run_on_a_cluster_with_a_killed_worker_has_the_weights_of_an_undisturbed_process(
    recipe: Recipe, tiny_data: Path, alone: Path, tmp_path: Path, victim: int
) -> None:
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(train_on_ray, recipe, tiny_data, tmp_path, n_workers=2)
        wait_for_rows(tmp_path, 15, running)
        before = workers()
        assert len(before) == 2
        os.kill(before[victim], signal.SIGKILL)
        assert running.result(PATIENCE_SECONDS) == tmp_path / "tiny.teddy"
    assert (tmp_path / "tiny.teddy").exists()
    starts = (tmp_path / "timings.jsonl").read_text().count('"kind": "start"')
    assert starts == 2
    assert_same_end(tmp_path, alone)


def test_what_is_wrong_with_the_data_is_told_and_not_tried_again(
    recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(TrainingError, match=r"train\.conll"):
        train_on_ray(recipe, tmp_path, tmp_path / "run", n_workers=2)


def test_a_run_that_is_there_is_resumed_only_when_that_is_wanted(
    recipe: Recipe, tiny_stopped_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "last.checkpoint").write_bytes((tiny_stopped_run / "last.checkpoint").read_bytes())
    with pytest.raises(TrainingError, match="--resume"):
        train_on_ray(recipe, tmp_path, tmp_path, n_workers=2)
