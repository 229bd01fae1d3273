"""A training run as MLflow keeps it. The one module that imports MLflow, and only to track a run.

parameters  the resolved recipe, a value for each of its keys in full
metrics     of updates and evaluations, at their steps
tags        the version of Teddy, the commit, the machine
artefacts   recipe.toml, metrics.jsonl, curves.png, report/ ...
model       a tagger's model file, with a version in the registry under the recipe's name
"""

import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import mlflow
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from teddy.model.errors import TrainingError
from teddy.model.system.files import write_atomically
from teddy.model.system.processes import available_cores
from teddy.training.job.catalogue import ROW_METRICS
from teddy.training.job.log import without_password

EXPERIMENT = "teddy"
"""Where MLFLOW_EXPERIMENT_NAME names no other."""

_LEFT = ("recipe.toml", "metrics.jsonl", "timings.jsonl", "curves.png", "report")
"""What a run leaves that is kept with it, as far as it is there."""
_ALWAYS_THERE = {"update": "loss", "evaluation": "dev_f1", "held_out": "words"}
_ROWS_AT_ONCE = 100  # MLflow takes 1000 metrics at once
_PARAMETERS_AT_ONCE = 100
_LONGEST_PARAMETER = 6000


class MlflowRun:
    """The MLflow run of an output directory, by the id in its `mlflow.json`; for one thread."""

    def __init__(self, output: Path, uri: str) -> None:
        """Connect to nothing yet.

        Raises TrainingError for a URI that MLflow can do nothing with.
        """
        self.place = without_password(uri)
        self._output = output
        self._uri = uri
        stores = r"(https?|sqlite|mysql|postgresql|mssql|databricks)(\+\w+)?:|databricks$"
        if not re.match(stores, uri):
            known = "neither http(s)://HOST:PORT nor a database such as sqlite:///FILE"
            raise TrainingError(f"--mlflow {self.place}: {known}")
        self._client: MlflowClient | None = None
        self._run: Run | None = None
        self._last_steps: dict[str, int] = {}

    def connect(self) -> MlflowClient:
        """Open the store; a new SQLite file is made, which takes seconds."""
        if self._client is None:
            if self._uri.startswith("sqlite:///"):
                _database_file(self._uri).parent.mkdir(parents=True, exist_ok=True)
            # a client of its own URI asks this one when it registers a model
            mlflow.set_tracking_uri(self._uri)
            self._client = MlflowClient()
        return self._client

    def send(self, rows: Sequence[tuple[int, Mapping[str, object]]]) -> None:
        """Send rows with the times, in milliseconds since 1970, at which they were made.

        A run that was resumed makes some rows again: those that are there already are left out.
        """
        client, run = self.connect(), self._begin()
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            chunk = rows[first : first + _ROWS_AT_ONCE]
            metrics = [
                metric for time, row in chunk if self._is_new(row) for metric in _metrics(time, row)
            ]
            if metrics:
                client.log_batch(run.info.run_id, metrics=metrics)

    def finish(self, status: str) -> None:
        """End the run as FINISHED, FAILED or KILLED, and keep what it left.

        One that made no row and was none before is nothing to MLflow, nor is one that had finished.
        """
        run = self._run or self._earlier()
        if run is None or run.info.status == "FINISHED":
            return
        client = self.connect()
        if status != "KILLED":  # what is killed has no time, and is hoped to be resumed
            self._keep_what_is_left(client, run)
        if status == "FINISHED":
            self._keep_model(client, run)
        client.set_terminated(run.info.run_id, status)

    def _begin(self) -> Run:
        """Return the run: that of an earlier process if `mlflow.json` knows one, else a new one."""
        if self._run is None:
            earlier = self._earlier()
            if earlier is None:
                self._run = self._create()
            else:
                client, run_id = self.connect(), earlier.info.run_id
                for kind, key in _ALWAYS_THERE.items():
                    is_there = key in earlier.data.metrics
                    history = client.get_metric_history(run_id, key) if is_there else []
                    self._last_steps[kind] = max((each.step for each in history), default=0)
                client.update_run(run_id, "RUNNING")
                self._run = client.get_run(run_id)
        return self._run

    def _earlier(self) -> Run | None:
        try:
            note = json.loads((self._output / "mlflow.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        if (note["uri"], note["recipe"]) != (self.place, self._recipe_digest()):
            return None
        try:
            return self.connect().get_run(note["run_id"])
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":  # deleted there
                return None
            raise

    def _create(self) -> Run:
        client = self.connect()
        recipe = tomllib.loads((self._output / "recipe.toml").read_text(encoding="utf-8"))
        run = client.create_run(self._experiment(client), run_name=recipe["name"], tags=_tags())
        parameters = [Param(key, value[:_LONGEST_PARAMETER]) for key, value in flattened(recipe)]
        for first in range(0, len(parameters), _PARAMETERS_AT_ONCE):
            chunk = parameters[first : first + _PARAMETERS_AT_ONCE]
            client.log_batch(run.info.run_id, params=chunk)
        note = {"uri": self.place, "run_id": run.info.run_id, "recipe": self._recipe_digest()}
        write_atomically(self._output / "mlflow.json", json.dumps(note, indent=1) + "\n")
        return run

    def _experiment(self, client: MlflowClient) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        beside = None
        if self._uri.startswith("sqlite:///"):
            beside = (_database_file(self._uri).parent / "mlflow-artifacts").resolve().as_uri()
        return str(client.create_experiment(name, artifact_location=beside))

    def _is_new(self, row: Mapping[str, object]) -> bool:
        step = row["step"]
        return isinstance(step, int) and step > self._last_steps.get(str(row["kind"]), 0)

    def _recipe_digest(self) -> str:
        return hashlib.sha256((self._output / "recipe.toml").read_bytes()).hexdigest()

    def _keep_what_is_left(self, client: MlflowClient, run: Run) -> None:
        for name in _LEFT:
            path = self._output / name
            if path.is_dir():
                client.log_artifacts(run.info.run_id, str(path), name)
            elif path.exists():
                client.log_artifact(run.info.run_id, str(path))

    def _keep_model(self, client: MlflowClient, run: Run) -> None:
        """Log the result: a model file as a registered model, an encoder file as an artefact."""
        name = run.info.run_name  # the recipe's
        model_file = self._output / f"{name}.teddy"
        encoder_file = self._output / f"{name}.encoder"
        if encoder_file.exists():
            client.log_artifact(run.info.run_id, str(encoder_file))
        if model_file.exists() and not client.search_model_versions(f"run_id='{run.info.run_id}'"):
            _register(client, run, name, model_file)


def flattened(table: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of nested tables with their keys in full, such as ``corpus.0.weight``.

    Arrays of plain values are one value. What MLflow takes in no key becomes `_`.
    """
    if isinstance(table, list) and any(isinstance(each, dict) for each in table):
        table = dict(enumerate(table))
    if isinstance(table, dict):
        for key, value in table.items():
            yield from flattened(value, f"{path}.{key}" if path else str(key))
    else:
        value = table if isinstance(table, str) else json.dumps(table, ensure_ascii=False)
        yield re.sub(r"[^\w./ -]", "_", path), value


def _metrics(time_milliseconds: int, row: Mapping[str, object]) -> Iterator[Metric]:
    step = int(str(row["step"]))
    for key, name in ROW_METRICS[str(row["kind"])].items():
        value = row.get(key)
        if isinstance(value, int | float):
            yield Metric(name, float(value), time_milliseconds, step)


def _tags() -> dict[str, str]:
    tags = {
        "teddy.version": version("teddy"),
        "torch.version": version("torch"),
        "machine": f"{platform.node()}, {platform.machine()}, {available_cores()} cores",
        "mlflow.source.name": "teddy",
    }
    commit = _commit()
    return tags | ({"mlflow.source.git.commit": commit} if commit else {})


def _commit() -> str:
    """Return the commit that is checked out where the run is started; empty where there is none."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "rev-parse", "--verify", "HEAD"]
    done = subprocess.run(  # noqa: S603 - no input
        command, capture_output=True, text=True, check=False, timeout=10
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def _database_file(uri: str) -> Path:
    return Path(uri.removeprefix("sqlite:///"))


def _register(client: MlflowClient, run: Run, name: str, model_file: Path) -> None:
    """Log the model file as an MLflow model of the run, and register it as the next version."""
    logged = client.create_logged_model(run.info.experiment_id, name, source_run_id=run.info.run_id)
    with tempfile.TemporaryDirectory() as directory:
        shutil.copy(model_file, directory)
        _describe(Path(directory), model_file.name, run.info.run_id, logged.model_id)
        client.log_model_artifacts(logged.model_id, directory)
    client.finalize_logged_model(logged.model_id, "READY")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    client.create_model_version(name, logged.model_uri, run.info.run_id, model_id=logged.model_id)


def _describe(directory: Path, model_file: str, run_id: str, model_id: str) -> None:
    """Write MLflow's description of a model: its loader, signature and requirements.

    MLflow's own class for signatures wants pandas, its schemas do not; and of YAML, JSON is a part.
    """
    from mlflow.models import Model
    from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema

    kinds = {"text": "string", "label": "string", "start": "long", "end": "long", "score": "double"}
    entity = Object([Property(name, DataType[kind]) for name, kind in kinds.items()])
    takes = Schema([ColSpec(DataType.string)])  # without a name, so that a list of texts will do
    gives = Schema([ColSpec(Array(entity))])
    python = platform.python_version()
    described = Model(run_id=run_id, model_uuid=model_id, model_id=model_id)
    described.add_flavor(
        "python_function",
        loader_module="teddy.training.job.mlflow_model",
        data=model_file,
        python_version=python,
    )
    signature = {"inputs": takes.to_json(), "outputs": gives.to_json(), "params": None}
    content = described.to_dict() | {"signature": signature}
    (directory / "MLmodel").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (directory / "requirements.txt").write_text(f"teddy=={version('teddy')}\n", encoding="utf-8")
