"""Training runs in a real MLflow with a SQLite store; by `make mlflow`, where it is installed."""

import json
import shutil
import socket
import tomllib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")

from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient

from teddy.model.errors import DivergedError, JobInterrupted, TrainingError
from teddy.model.predictor import load
from teddy.training.job import tracking
from teddy.training.job.mlflow_model import _load_pyfunc
from teddy.training.job.mlflow_run import flattened
from teddy.training.job.record import Record
from teddy.training.job.tracking import is_sent, tracked

Shell = Callable[..., tuple[int, str, str]]

# MLflow's own store is not written for the SQLAlchemy of today.
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:sqlalchemy.exc.SADeprecationWarning"
)


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One store for all tests, since a new one takes seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs/mlflow.db"


@pytest.fixture
def output(tiny_run: Path, tmp_path: Path) -> Path:
    """What a finished run has left."""
    return shutil.copytree(tiny_run, tmp_path / "run")


def show(output: Path, uri: str, rows: list[Any], error: BaseException | None = None) -> str:
    """Have rows tracked in a block that ends as told; return the id of MLflow's run."""
    with (
        suppress(DivergedError, JobInterrupted, KeyboardInterrupt),
        tracked(output, uri) as (watch,),
    ):
        for row in rows:
            watch(row)
        if error is not None:
            raise error
    return str(json.loads((output / "mlflow.json").read_text())["run_id"])


def history(client: MlflowClient, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run_id, name))


def of(rows: list[dict[str, Any]], kind: str, key: str) -> list[tuple[int, float]]:
    return [(row["step"], row[key]) for row in rows if row["kind"] == kind]


def test_a_run_is_kept_whole(output: Path, uri: str) -> None:
    rows = Record(output).rows()
    run_id = show(output, uri, rows)
    client = MlflowClient(uri)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "tiny")
    assert run.data.params["training.learning_rate"] == "0.02"
    assert run.data.params["corpus.0.train"] == '["train.conll"]'
    assert run.data.tags["teddy.version"]
    for kind, key, name in (
        ("update", "loss", "loss"),
        ("update", "learning_rate", "learning_rate"),
        ("evaluation", "f1", "dev_f1"),
        ("evaluation", "loss", "dev_loss"),
    ):
        assert history(client, run_id, name) == of(rows, kind, key)
    kept = {each.path for each in client.list_artifacts(run_id)}
    assert {"recipe.toml", "metrics.jsonl", "curves.png", "report"} <= kept
    assert not any("misaligned" in path for path in kept)  # it quotes texts


def test_the_model_is_registered_and_can_be_loaded_again(output: Path, uri: str) -> None:
    run_id = show(output, uri, Record(output).rows())
    (version,) = MlflowClient(uri).search_model_versions(f"run_id='{run_id}'")
    directory = Path(
        download_artifacts(f"models:/{version.name}/{version.version}", tracking_uri=uri)
    )
    assert (directory / "tiny.teddy").read_bytes() == (output / "tiny.teddy").read_bytes()
    described = json.loads((directory / "MLmodel").read_text())  # all JSON is YAML
    flavor = described["flavors"]["python_function"]
    assert (flavor["loader_module"], flavor["data"]) == (
        "teddy.training.job.mlflow_model",
        "tiny.teddy",
    )
    text = "Anna Berg went to Oslo ."
    (found,) = _load_pyfunc(str(directory / flavor["data"])).predict([text])
    assert found == [
        {
            "text": each.text,
            "label": each.label,
            "start": each.start,
            "end": each.end,
            "score": each.score,
        }
        for each in load(output / "tiny.teddy").tag([text])[0]
    ]


def test_a_run_that_is_resumed_goes_on_in_the_same_run_and_shows_nothing_twice(
    output: Path, uri: str
) -> None:
    rows = Record(output).rows()
    run_id = show(output, uri, rows[:40], JobInterrupted("SIGTERM"))
    client = MlflowClient(uri)
    assert client.get_run(run_id).info.status == "KILLED"
    assert show(output, uri, rows[20:]) == run_id
    assert client.get_run(run_id).info.status == "FINISHED"
    assert history(client, run_id, "loss") == of(rows, "update", "loss")
    assert history(client, run_id, "dev_f1") == of(rows, "evaluation", "f1")


def test_a_finished_run_that_is_started_again_changes_nothing(output: Path, uri: str) -> None:
    run_id = show(output, uri, Record(output).rows())
    client = MlflowClient(uri)
    before = client.get_run(run_id).to_dictionary()
    assert show(output, uri, []) == run_id
    assert client.get_run(run_id).to_dictionary() == before
    assert len(client.search_model_versions(f"run_id='{run_id}'")) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [
        pytest.param(DivergedError("step 3"), "FAILED", id="diverged"),
        pytest.param(KeyboardInterrupt(), "KILLED", id="Ctrl-C"),
    ],
)
def test_a_run_that_breaks_off_ends_with_the_right_status(
    error: BaseException, status: str, output: Path, uri: str
) -> None:
    client = MlflowClient(uri)
    run_id = show(output, uri, Record(output).rows()[:3], error)
    assert client.get_run(run_id).info.status == status
    assert client.search_model_versions(f"run_id='{run_id}'") == []


def test_another_recipe_in_the_same_directory_is_another_run(output: Path, uri: str) -> None:
    first = show(output, uri, Record(output).rows()[:3], DivergedError("step 3"))
    recipe = (output / "recipe.toml").read_text()
    (output / "recipe.toml").write_text(
        recipe.replace("learning_rate = 0.02", "learning_rate = 0.01")
    )
    assert show(output, uri, Record(output).rows()[:3]) != first


def test_nothing_is_tracked_of_a_run_that_never_began(output: Path, uri: str) -> None:
    with pytest.raises(DivergedError), tracked(output, uri):
        raise DivergedError("at once")
    assert not (output / "mlflow.json").exists()


def test_a_server_that_is_away_costs_no_run_and_is_told_once(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(tracking, "END_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # where no process listens in a moment
    with tracked(output, f"http://somebody:secret@127.0.0.1:{port}") as (watch,):
        for row in Record(output).rows():
            watch(row)
    told = capsys.readouterr().err
    assert told.count("does not take what is tracked") == 1
    assert "secret" not in told


@pytest.mark.parametrize("uri", ["ftp://there", "runs", ""])
def test_a_uri_that_mlflow_can_do_nothing_with_is_refused_at_once(uri: str, output: Path) -> None:
    with pytest.raises(TrainingError, match="neither http"), tracked(output, uri):
        pytest.fail("the training has begun")


def test_without_a_uri_nothing_is_tracked(output: Path) -> None:
    with tracked(output, None) as watchers:
        assert watchers == ()


def test_a_training_run_is_tracked_from_the_command_line(
    shell: Shell, tiny_data: Path, uri: str, tmp_path: Path
) -> None:
    options = ("--data", tiny_data, "--output", tmp_path / "run", "--set", "training.epochs=1")
    code, _, told = shell("train", tiny_data / "tiny.toml", *options, "--mlflow", uri)
    assert code == 0
    assert "does not take" not in told
    run_id = json.loads((tmp_path / "run" / "mlflow.json").read_text())["run_id"]
    client = MlflowClient(uri)
    assert client.get_run(run_id).info.status == "FINISHED"
    assert history(client, run_id, "dev_f1") == of(
        Record(tmp_path / "run").rows(), "evaluation", "f1"
    )


# What is sent.


def test_updates_are_sent_with_three_digits_of_precision() -> None:
    sent = [step for step in range(1, 12_000) if is_sent(step)]
    assert sent == [*range(1, 1000), *range(1000, 10_000, 10), *range(10_000, 12_000, 100)]


def test_a_flattened_recipe_has_every_value_under_its_full_key(output: Path) -> None:
    def value_at(table: Any, key: str) -> Any:
        for part in key.split("."):
            table = table[int(part)] if isinstance(table, list) else table[part]
        return table

    def leaves(table: Any) -> int:
        if isinstance(table, Mapping):
            return sum(map(leaves, table.values()))
        if isinstance(table, list) and any(isinstance(each, Mapping) for each in table):
            return sum(map(leaves, table))
        return 1

    recipe = tomllib.loads((output / "recipe.toml").read_text())
    flat = dict(flattened(recipe))
    assert len(flat) == leaves(recipe)
    for key, text in flat.items():
        value = value_at(recipe, key)
        assert text == value if isinstance(value, str) else json.loads(text) == value
