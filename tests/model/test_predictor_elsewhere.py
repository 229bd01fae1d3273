"""A predictor in other processes: after a fork, in pools, pickled; and models by their names."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from teddy.model.errors import ModelFileError
from teddy.model.file.bundle import extra_files, read_bundle, seal
from teddy.model.network.torchscript import from_archive, to_archive
from teddy.model.predictor import SHIPPED_MODEL, Predictor, load, make_predictor

TEXT = "Anna Berg went to Oslo. In New Haven, Teddy Marsh met Otto Lind. "

FORKED = """
import os, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import torch, teddy

def same(_=None):
    return tagger.tag([text]) == expected and torch.get_num_threads() == 1

def in_fork(*, tags_first):
    pid = os.fork()
    if pid == 0:  # a fork of a fork, whose parent has tagged or has not
        here = not tags_first or same()
        other = os.fork()
        if other == 0:
            os._exit(not same())
        os._exit(not here or os.waitpid(other, 0)[1])
    return [os.waitpid(pid, 0)[1] == 0]

def in_pool():
    with get_context("fork").Pool(2) as pool:
        return pool.map(same, range(4))

def in_executor():
    with ProcessPoolExecutor(2, mp_context=get_context("fork")) as pool:
        return list(pool.map(same, range(4)))

def with_argument(method):
    with get_context(method).Pool(1) as pool:
        return [pool.apply(tagger.tag, ([text],)) == expected]

if __name__ == "__main__":
    torch.set_num_threads(4)
    text = sys.argv[2] * 500
    tagger = teddy.load(sys.argv[1])
    expected = tagger.tag([text])
    assert torch.get_num_threads() == 4
    assert all(eval(sys.argv[3])), sys.argv[3]
    assert tagger.tag([text]) == expected and torch.get_num_threads() == 4
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "call",
    [
        "in_fork(tags_first=True)",
        "in_fork(tags_first=False)",
        "in_pool()",
        "in_executor()",
        "with_argument('fork')",
        "with_argument('spawn')",
        "with_argument('forkserver')",
    ],
)
def test_a_loaded_model_tags_in_other_processes_too(
    tiny_model: Path, tmp_path: Path, call: str
) -> None:
    """With several threads in the parent, which a fork does not have."""
    program = tmp_path / "program.py"
    program.write_text(FORKED)
    command = [sys.executable, str(program), str(tiny_model), TEXT, call]
    root = Path(__file__).parents[2]
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(root)}, check=True, timeout=180)


@pytest.mark.parametrize("again", [lambda it: pickle.loads(pickle.dumps(it)), copy.deepcopy])  # noqa: S301
def test_a_pickled_model_is_loaded_again_from_its_file(
    tiny_predictor: Predictor, again: Callable[[Predictor], Predictor]
) -> None:
    found = again(tiny_predictor)
    assert len(pickle.dumps(tiny_predictor)) < 1000
    assert (found.version, found.precision) == (tiny_predictor.version, tiny_predictor.precision)
    assert found.tag([TEXT]) == tiny_predictor.tag([TEXT])


def test_a_pickled_model_whose_file_is_another_now_or_gone_is_refused(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.teddy").write_bytes(tiny_model.read_bytes())
    monkeypatch.chdir(tmp_path)
    loaded = load("m.teddy")
    pickled = pickle.dumps(loaded)
    monkeypatch.chdir("/")  # a path that was relative still leads there
    assert pickle.loads(pickled).version == loaded.version  # noqa: S301
    bundle = read_bundle(tiny_model)
    extras = extra_files(replace(bundle.manifest, name="second"), bundle.pieces, bundle.words)
    (tmp_path / "m.teddy").write_bytes(seal(to_archive(from_archive(bundle.archive), extras)))
    with pytest.raises(ModelFileError, match=rf"m\.teddy: version \w+ now; {loaded.version} was"):
        pickle.loads(pickled)  # noqa: S301
    (tmp_path / "m.teddy").unlink()
    with pytest.raises(ModelFileError, match="cannot be read: No such file"):
        pickle.loads(pickled)  # noqa: S301


def test_a_model_without_a_file_says_why_it_cannot_be_pickled(tiny_model: Path) -> None:
    made = make_predictor(read_bundle(tiny_model), "fp32")
    with pytest.raises(pickle.PicklingError, match=r"^a Predictor that was not loaded from a file"):
        pickle.dumps(made)


def test_a_model_that_ships_is_loaded_by_its_name(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = read_bundle(SHIPPED_MODEL).version
    assert load("en", precision="fp32").version == load(Path("en")).version == shipped
    (tmp_path / "en").write_bytes(tiny_model.read_bytes())  # a file of this name goes first
    assert load("en").version == read_bundle(tiny_model).version


@pytest.mark.parametrize("name", ["fr", "EN", "en-large"])
def test_a_name_that_no_model_has_is_refused_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ModelFileError, match=r"no such file, and no model of that .* is de, en$"):
        load(name)


@pytest.mark.parametrize("path", ["fr.teddy", "models/fr", "en.onnx"])
def test_a_path_that_leads_nowhere_is_told_as_one(path: str) -> None:
    with pytest.raises(ModelFileError, match=rf"^{path}: cannot be read: No such file"):
        load(path)
