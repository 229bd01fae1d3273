"""The main road in real processes, from a corpus to entities over HTTP; and what those meet who
stray from it."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from teddy import cli

ROOT = Path(__file__).parents[1]
TEXT = "Anna Berg went to Port Ellen."
NAMES = [(0, 9, "PER", "Anna Berg"), (18, 28, "LOC", "Port Ellen")]


def environment() -> dict[str, str]:
    """Without settings of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TEDDY_")}
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def teddy(directory: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs the command in a directory, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "teddy", *map(str, arguments)],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def serving(directory: Path, model_file: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server that is ready, and its address."""
    with (directory / "server.log").open("w") as log:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "teddy",
                "serve",
                "--port",
                "0",
                "--model",
                f"tiny={model_file}",
            ],
            cwd=directory,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    # A server that never gets ready would keep the tests waiting for its first line.
    patience = threading.Timer(120, process.kill)
    patience.start()
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert address, said + (directory / "server.log").read_text()
        yield process, address[0]
    finally:
        patience.cancel()
        process.kill()
        process.communicate()


def get(url: str) -> str:
    with urlopen(url, timeout=60) as answer:
        return str(answer.read().decode())


def post(url: str, body: object) -> Any:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        return json.load(answer)


def names(entities: list[dict[str, Any]]) -> list[tuple[int, int, str, str]]:
    return [(each["start"], each["end"], each["label"], each["text"]) for each in entities]


def test_from_a_corpus_to_entities_over_http(tiny_data: Path, tmp_path: Path) -> None:
    checked = teddy(tmp_path, "check", tiny_data / "tiny.toml", "--data", tiny_data)
    assert checked.returncode == 0, checked.stderr
    assert "made-up" in checked.stdout

    trained = teddy(
        tmp_path, "train", tiny_data / "tiny.toml", "--data", tiny_data, "--output", "run"
    )
    assert trained.returncode == 0, trained.stderr
    assert "Traceback" not in trained.stderr
    model_file = tmp_path / trained.stdout.strip()
    assert model_file == tmp_path / "run" / "tiny.teddy"

    evaluated = teddy(
        tmp_path, "evaluate", model_file, tiny_data / "dev.conll", "--report", "report", "--json"
    )
    assert evaluated.returncode == 0, evaluated.stderr
    score = json.loads(evaluated.stdout)["strict"]["micro"]["f1"]
    assert score > 0.9
    assert (tmp_path / "report" / "report.md").is_file()

    inspected = teddy(tmp_path, "inspect", model_file, "--json")
    assert inspected.returncode == 0, inspected.stderr
    manifest = json.loads(inspected.stdout)
    assert manifest["labels"] == ["PER", "LOC"]
    assert manifest["training_data"][0]["licence"] == "CC0"
    assert manifest["scores"]["dev"]["micro"]["f1"] == pytest.approx(score, abs=0.02)

    tagged = teddy(tmp_path, "tag", "--model", model_file, "--json", TEXT)
    assert tagged.returncode == 0, tagged.stderr
    assert names(json.loads(tagged.stdout)["entities"]) == NAMES

    with serving(tmp_path, model_file) as (process, address):
        assert "ready" in get(f"{address}/health/ready")
        answer = post(f"{address}/v1/entities", {"text": TEXT})
        assert names(answer["entities"]) == NAMES
        assert answer["model"]["name"] == "tiny"
        assert re.fullmatch("[0-9a-f]{12}", answer["model"]["version"])
        batch = post(f"{address}/v1/entities/batch", {"texts": [TEXT, "", "Nobody was there."]})
        assert [names(each["entities"]) for each in batch["results"]] == [NAMES, [], []]
        metrics = get(f"{address}/metrics")
        assert re.search(
            r'^teddy_\w*entities\w*\{[^}]*"PER"[^}]*\} [1-9]', metrics, re.MULTILINE
        ), metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    log = (tmp_path / "server.log").read_text()
    assert "Traceback" not in log
    assert "Anna" not in log, "texts are never logged"


# Those who stray: one line that says what and where, exit code 2, never a traceback.


BAD_CORPORA: dict[str, tuple[bytes, str]] = {
    "a line with a column missing": (b"Anna B-PER\nsleeps\n\n", r"train\.conll:2: "),
    "a tag that is none": (b"Anna B-PER\nsleeps X-PER\n\n", r"train\.conll:2: .*X-PER"),
    "a label that the recipe lacks": (b"Anna B-PER\nOslo B-CITY\n\n", r"train\.conll:2: .*CITY"),
    "an empty file": (b"", r"train\.conll: "),
    "a binary file": (bytes(range(256)) * 8, r"train\.conll"),
}


@pytest.mark.parametrize(("content", "expected"), BAD_CORPORA.values(), ids=BAD_CORPORA)
def test_a_bad_corpus_is_refused_in_one_line(
    content: bytes,
    expected: str,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "train.conll").write_bytes(content)
    (tmp_path / "dev.conll").write_bytes((tiny_data / "dev.conll").read_bytes())
    recipe, output = tiny_data / "tiny.toml", tmp_path / "run"
    code = cli.run(["train", str(recipe), "--data", str(tmp_path), "--output", str(output)])
    assert_one_line(code, capsys.readouterr().err, expected)


def assert_one_line(code: int, said: str, expected: str) -> None:
    assert code == 2
    assert said.startswith("teddy: error: ")
    assert said.count("\n") == 1, said
    assert re.search(expected, said), said


def unknown_key(recipe: str) -> str:
    return recipe.replace("epochs =", "epoch =")


def bad_value(recipe: str) -> str:
    return recipe.replace("epochs = 6", 'epochs = "many"')


def no_toml(recipe: str) -> str:
    return recipe.replace("labels = [", "labels = ")


@pytest.mark.parametrize("change", [unknown_key, bad_value, no_toml])
def test_a_bad_recipe_is_refused_in_one_line(
    change: Callable[[str], str],
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = (tiny_data / "tiny.toml").read_text()
    bad = change(good)
    line = next(
        i
        for i, pair in enumerate(zip(good.split("\n"), bad.split("\n"), strict=True), 1)
        if pair[0] != pair[1]
    )
    (tmp_path / "bad.toml").write_text(bad)
    code = cli.run(["train", str(tmp_path / "bad.toml"), "--data", str(tiny_data)])
    assert_one_line(code, capsys.readouterr().err, rf"bad\.toml:{line}: ")


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def tampered(content: bytes) -> bytes:
    return content.replace(b'"language": "en"', b'"language": "de"')


def foreign(_: bytes) -> bytes:
    return b"once upon a time"


@pytest.mark.parametrize("change", [truncated, tampered, foreign])
@pytest.mark.parametrize("command", ["tag", "inspect", "evaluate"])
def test_a_bad_model_file_is_refused_in_one_line(
    change: Callable[[bytes], bytes],
    command: str,
    tiny_model: Path,
    tiny_data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / "bad.teddy"
    bad.write_bytes(change(tiny_model.read_bytes()))
    assert bad.read_bytes() != tiny_model.read_bytes()
    arguments = {
        "tag": ["tag", "--model", str(bad), TEXT],
        "inspect": ["inspect", str(bad)],
        "evaluate": ["evaluate", str(bad), str(tiny_data / "dev.conll")],
    }
    assert_one_line(cli.run(arguments[command]), capsys.readouterr().err, r"bad\.teddy: ")


def test_a_second_run_in_the_place_of_another_is_refused_in_one_line(
    tiny_run: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = shutil.copytree(tiny_run, tmp_path / "run")
    code = cli.run(
        [
            "train",
            str(tiny_data / "tiny.toml"),
            "--data",
            str(tiny_data),
            "--output",
            str(output),
            "--set",
            "seed=8",
        ]
    )
    assert_one_line(code, capsys.readouterr().err, "holds a run of another recipe")


def test_an_unfinished_checkpoint_is_exported_with_data_and_refused_without(
    tiny_stopped_run: Path, tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["export", str(tiny_stopped_run / "last.checkpoint"), str(tmp_path / "early.teddy")]
    assert_one_line(cli.run(arguments), capsys.readouterr().err, "give --data")
    assert cli.run([*arguments, "--data", str(tiny_data)]) == 0
    assert (tmp_path / "early.teddy").is_file()


def test_a_real_process_ends_with_2_and_no_traceback(tiny_data: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text(unknown_key((tiny_data / "tiny.toml").read_text()))
    done = teddy(tmp_path, "train", "bad.toml", "--data", tiny_data)
    assert_one_line(
        done.returncode, done.stderr, r"^teddy: error: bad\.toml:\d+: training\.epoch: "
    )
    assert done.stdout == ""
    assert [each.name for each in tmp_path.iterdir()] == ["bad.toml"]
