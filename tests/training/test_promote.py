"""Promotion: what is served changes in one step, only for the better; a real server follows."""

import fcntl
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
import torch

from teddy.model.file.bundle import read_version
from teddy.model.predictor import load
from teddy.service.inference.model_files import models_in
from teddy.service.setting_values import MODEL_NAME as SERVICES_NAME
from teddy.training.export.publish import write_model
from teddy.training.learning.checkpoint import Checkpoint, load_checkpoint
from teddy.training.promotion.folder import MODEL_NAME, Promotion, Promotions, ServedFolder
from teddy.training.promotion.promote import _is_better, _is_enough

ROOT = Path(__file__).parents[2]
DEV = ("--format", "conll")
Shell = Callable[..., tuple[int, str, str]]


def without_rows(checkpoint: Checkpoint, n_tags: int) -> Checkpoint:
    """The first tags of a tagger; the recipe then says that the corpus has persons only."""
    weights = dict(checkpoint.weights)
    for name in [
        each for each in weights if each.startswith(("emission", "crf")) and weights[each].dim()
    ]:
        rows = weights[name][:n_tags]
        weights[name] = rows[:, :n_tags] if name.startswith("crf.transition") else rows
    recipe = checkpoint.recipe.replace('labels = ["PER", "LOC"]', 'labels = ["PER"]')
    assert recipe != checkpoint.recipe
    return replace(checkpoint, labels=("PER",), weights=weights, recipe=recipe)


@pytest.fixture(scope="module")
def models(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """`good`, its `twin` of another version, `persons` with one label; `blind` finds nothing."""
    good = load_checkpoint(tiny_run / "best.checkpoint")
    blind = {**good.weights, "emission.bias": torch.eye(9)[0] * 1e3}
    made = {
        "good": good,
        "twin": replace(good, recipe=good.recipe.replace('language = "en"', 'language = "nb"')),
        "persons": without_rows(good, 5),
        "blind": replace(good, weights=blind),
    }
    directory = tmp_path_factory.mktemp("models")
    for name, checkpoint in made.items():
        write_model(checkpoint, directory / f"{name}.teddy")
    return {name: directory / f"{name}.teddy" for name in made}


@pytest.fixture(scope="module")
def version(models: dict[str, Path]) -> dict[str, str]:
    found = {name: read_version(path) for name, path in models.items()}
    assert len(set(found.values())) == len(found)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> ServedFolder:
    return ServedFolder(tmp_path / "served")


@pytest.fixture
def promote(
    shell: Shell, models: dict[str, Path], folder: ServedFolder
) -> Callable[..., dict[str, Any]]:
    """Promote a model, or a file, with the exit code `code`; return what --json prints."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        given = [models.get(str(each), each) for each in arguments]
        found, output, errors = shell("promote", *given, "--to", folder.path, "--json")
        assert found == code, errors
        return dict(json.loads(output)) if output else {"error": errors}

    return run


def better(data: Path) -> tuple[str | Path, ...]:
    return "--if-better", data / "dev.conll"


# What is served.


def test_the_first_model_is_promoted_and_a_server_would_find_it_and_nothing_else(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str], tiny_data: Path
) -> None:
    outcome = promote("good", *better(tiny_data))
    assert (outcome["status"], outcome["version"], outcome["previous"]) == (
        "promoted",
        version["good"],
        None,
    )
    assert outcome["f1"] > 0.8
    assert models_in(folder.path) == ({"tiny": folder.path / "tiny.teddy"}, {})
    assert load(folder.path / "tiny.teddy").version == version["good"]


def test_a_better_model_replaces_the_served_one_which_is_kept(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str], tiny_data: Path
) -> None:
    promote("blind")
    outcome = promote("good", *better(tiny_data))
    assert outcome["f1"] > outcome["previous_f1"] == 0.0
    assert folder.served("tiny") == version["good"]
    assert folder.versions("tiny").keys() == {version["good"], version["blind"]}
    assert [each.version for each in folder.history.of("tiny")] == [
        version["blind"],
        version["good"],
    ]


@pytest.mark.parametrize("other", ["twin", "blind"])
def test_a_model_that_is_no_better_is_not_promoted_which_is_another_exit_code(
    other: str,
    promote: Callable[..., Any],
    folder: ServedFolder,
    version: dict[str, str],
    tiny_data: Path,
) -> None:
    promote("good")
    before = (folder.path / "tiny.teddy").stat()
    assert promote(other, *better(tiny_data), code=1)["status"] == "not better"
    assert (folder.path / "tiny.teddy").stat() == before
    assert folder.versions("tiny").keys() == {version["good"]}


@pytest.mark.parametrize(
    ("gain", "margin", "is_better"),
    [
        (0.0, 0.0, False),
        (1e-6, 0.0, True),
        (-0.1, 0.0, False),
        (0.3 - 0.1, 0.2, True),
        (0.19, 0.2, False),
    ],
)
def test_better_is_better_by_the_margin_and_never_merely_equal(
    gain: float, margin: float, is_better: bool
) -> None:
    assert _is_better(gain, margin) is is_better


def test_a_model_that_finds_nothing_or_too_little_is_not_promoted_not_even_as_the_first(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str], tiny_data: Path
) -> None:
    outcome = promote("blind", *better(tiny_data), code=1)
    assert (outcome["status"], outcome["f1"]) == ("too low", 0.0)
    assert promote("good", *better(tiny_data), "--at-least", "100", code=1)["status"] == "too low"
    assert folder.names() == []
    promote("persons")
    assert promote("good", *better(tiny_data), "--at-least", "100", code=1)["status"] == "too low"
    assert folder.served("tiny") == version["persons"]
    assert promote("good", *better(tiny_data), "--at-least", "50")["status"] == "promoted"
    assert "--if-better" in promote("good", "--at-least", "50", code=2)["error"]


@pytest.mark.parametrize(
    ("f1", "at_least", "is_enough"),
    [
        (0.0, 0.0, False),
        (1e-6, 0.0, True),
        (0.3 - 0.1, 0.2, True),
        (0.19, 0.2, False),
        (1, 1, True),
    ],
)
def test_the_floor_itself_is_enough_and_nothing_is_not(
    f1: float, at_least: float, is_enough: bool
) -> None:
    assert _is_enough(f1, at_least) is is_enough


def test_the_same_model_again_changes_nothing_and_says_so(
    promote: Callable[..., Any], folder: ServedFolder, tiny_data: Path
) -> None:
    promote("good")
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*.*")}
    assert promote("good", *better(tiny_data))["status"] == "already served"
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*.*")} == before


def test_labels_that_a_model_lacks_count_as_missed_and_are_named(
    promote: Callable[..., Any], tiny_data: Path
) -> None:
    promote("persons")
    outcome = promote("good", *better(tiny_data))
    assert outcome["f1"] > outcome["previous_f1"] > 0
    assert outcome["notes"] == ["the served model does not know LOC: it misses those entities"]


def test_a_label_that_the_data_do_not_have_tells_against_no_model(
    promote: Callable[..., Any], tiny_data: Path, tmp_path: Path
) -> None:
    """A model that has learnt one more is not worse on data from before."""
    promote("blind")
    old = tmp_path / "old.conll"
    text = (tiny_data / "dev.conll").read_text()
    assert text.count("B-LOC") > 10  # which the model finds
    old.write_text(re.sub("[BI]-LOC", "O", text))
    outcome = promote("good", "--if-better", old)
    assert outcome["f1"] > 0.95


def test_a_file_that_is_no_whole_model_is_refused_and_what_is_served_stays(
    promote: Callable[..., Any],
    models: dict[str, Path],
    folder: ServedFolder,
    version: dict[str, str],
    tmp_path: Path,
) -> None:
    promote("good")
    torn = tmp_path / "torn.teddy"
    torn.write_bytes(models["twin"].read_bytes()[:-1000])
    assert str(torn) in promote(torn, code=2)["error"]
    assert promote("good", "--name", "../elsewhere", code=2)["error"].count("\n") == 1
    assert folder.served("tiny") == version["good"]


def test_a_name_is_one_that_the_service_takes() -> None:
    assert MODEL_NAME.pattern == SERVICES_NAME.pattern


# The way back.


def test_rolling_back_goes_from_each_version_to_the_one_before_it(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str]
) -> None:
    for name in ("blind", "twin", "good"):
        promote(name)
    for name in ("twin", "blind"):
        assert promote("--rollback")["version"] == version[name] == folder.served("tiny")
    assert "no version of tiny before" in promote("--rollback", code=2)["error"]
    assert folder.served("tiny") == version["blind"]


def test_a_version_is_named_by_how_it_begins(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str]
) -> None:
    promote("blind")
    promote("good")
    assert promote("--rollback", version["blind"][:6])["status"] == "rolled back"
    assert promote("--rollback", version["blind"])["status"] == "already served"
    assert version["good"] in promote("--rollback", "nothing", code=2)["error"]
    assert folder.served("tiny") == version["blind"]


def test_what_was_put_there_by_hand_is_kept_too(
    promote: Callable[..., Any],
    models: dict[str, Path],
    folder: ServedFolder,
    version: dict[str, str],
) -> None:
    folder.path.mkdir()
    shutil.copy(models["blind"], folder.path / "tiny.teddy")
    promote("good")
    assert [each.action for each in folder.history.of("tiny")] == ["found", "promoted"]
    assert promote("--rollback")["version"] == version["blind"]


def test_who_overwrites_the_served_file_in_place_spoils_no_version(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str]
) -> None:
    promote("good")
    (folder.path / "tiny.teddy").write_bytes(b"not a model")
    assert promote("--rollback")["version"] == version["good"] == folder.served("tiny")


def test_only_the_newest_versions_are_kept(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str]
) -> None:
    for name in ("blind", "twin", "good"):
        promote(name, "--keep", "1")
    assert folder.versions("tiny").keys() == {version["good"], version["twin"]}


def test_names_do_not_see_each_others_versions(
    promote: Callable[..., Any], folder: ServedFolder
) -> None:
    promote("good", "--name", "tiny-news")
    promote("blind", "--name", "tiny")
    assert len(folder.versions("tiny")) == len(folder.versions("tiny-news")) == 1
    assert "--name" in promote("--rollback", code=2)["error"]


# The history.


def test_a_list_shows_which_version_is_served(
    shell: Shell, promote: Callable[..., Any], folder: ServedFolder
) -> None:
    promote("blind")
    promote("good")
    code, output, _ = shell("promote", "--list", "--to", folder.path)
    assert code == 0
    assert [line[0] for line in output.splitlines()] == ["*", " "]


def test_a_promotion_that_was_killed_before_it_was_written_down_is_found_by_the_next(
    promote: Callable[..., Any],
    folder: ServedFolder,
    version: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    promote("blind")
    with monkeypatch.context() as patch:
        patch.setattr(Promotions, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        promote("twin", code=130)
    assert folder.served("tiny") == version["twin"]
    promote("good")
    assert [each.version for each in folder.history.of("tiny")] == [
        version[n] for n in ("blind", "twin", "good")
    ]
    assert promote("--rollback")["version"] == version["twin"]


def test_a_line_that_was_torn_hides_no_other(tmp_path: Path) -> None:
    history = Promotions(tmp_path / "promotions.jsonl")
    one = Promotion(time="2025-01-01T00:00:00+00:00", action="promoted", name="a", version="1" * 12)
    history.append(one)
    with (tmp_path / "promotions.jsonl").open("a") as file:
        file.write('{"time": "2025-0')
    history.append(replace(one, version="2" * 12))
    assert [each.version[0] for each in history.of("a")] == ["1", "2"]


# Real processes.


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEDDY_")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@contextmanager
def process(*arguments: str | Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """A `teddy` process, which does not outlive the block."""
    with subprocess.Popen(
        [sys.executable, "-m", "teddy", *map(str, arguments)],
        env=environment() | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        patience = threading.Timer(120, started.kill)
        patience.start()
        try:
            yield started
        finally:
            patience.cancel()
            started.kill()


def test_of_two_promotions_at_once_one_waits_for_the_other(
    models: dict[str, Path], folder: ServedFolder, version: dict[str, str]
) -> None:
    with (
        folder.locked(lambda _: None),
        process("promote", models["good"], "--to", folder.path) as second,
    ):
        assert second.stderr is not None
        assert "waiting for another promotion" in second.stderr.readline()
        assert folder.served("tiny") is None
        descriptor = os.open(folder.path / "promotions.lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
        # The second goes on when the first is gone, which is when its file is closed.
        release_all(folder)
        assert second.wait() == 0
    assert folder.served("tiny") == version["good"]


def release_all(folder: ServedFolder) -> None:
    """Let go of the lock that this process holds."""
    for number in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{number}") == str(folder.path / "promotions.lock"):
                fcntl.flock(int(number), fcntl.LOCK_UN)
        except OSError:
            continue


def served_version(address: str) -> str:
    with urlopen(f"{address}/v1/models/tiny", timeout=30) as answer:
        return str(json.load(answer)["version"])


def wait_for(address: str, wanted: str) -> None:
    deadline = time.monotonic() + 60
    while served_version(address) != wanted:
        assert time.monotonic() < deadline, "the server does not follow"
        time.sleep(0.05)


def test_a_server_changes_to_what_is_promoted_and_back_by_itself(
    promote: Callable[..., Any], folder: ServedFolder, version: dict[str, str]
) -> None:
    promote("blind")
    polling = {"TEDDY_MODELS_DIR": str(folder.path), "TEDDY_RELOAD_POLL_SECONDS": "0.05"}
    with process("serve", "--port", "0", **polling) as server:
        assert server.stdout is not None
        said = re.search(r"http://127\.0\.0\.1:\d+", server.stdout.readline())
        assert said
        address = said[0]
        assert served_version(address) == version["blind"]
        promote("good")
        wait_for(address, version["good"])
        promote("--rollback")
        wait_for(address, version["blind"])
