"""The service's settings: environment variables `TEDDY_*`, read once, at the entry point."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from teddy.model.system.processes import available_cores
from teddy.service.errors import SettingsError

PREFIX = "TEDDY_"
_OF_TRAINING = "TEDDY_TRAIN_"
DIGEST = re.compile(r"[0-9A-Fa-f]{64}")
MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Positive = Annotated[int, Field(gt=0)]


class Settings(BaseSettings):
    """Every setting, with its default. docs/settings.md is made from this class."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, frozen=True, extra="forbid"
    )

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one."
    )
    workers: Positive = Field(default=1, description="Processes that serve; each loads the models.")

    models: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="What to serve, as `NAME=FILE,...`, the default model first. Without any, here and in "
        "`TEDDY_MODELS_DIR`: the model that ships.",
    )
    models_dir: Path | None = Field(
        default=None,
        description="A directory whose model files are served by their stems, and watched for new ones.",
    )
    model_digests: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Pinned models, as `NAME=SHA256,...`: another file under that name is refused.",
    )
    reload_poll_seconds: float = Field(
        default=2.0,
        ge=0,
        description="How often model files are looked at for a change; 0: only when asked to reload.",
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="`fp32`, `bf16`, `int8` (results then depend a little on the batch), or `auto`: the faster of the "
        "first two that keeps the model's canary.",
    )
    threads: int = Field(
        default=1,
        ge=0,
        description="Threads of the network in each worker; 0: the cores, shared among the workers. More than one "
        "makes short texts wait.",
    )

    batch_words: Positive = Field(
        default=2048, description="Most words, with padding, in one batch."
    )
    queue_words: Positive = Field(
        default=65536, description="Most words that may wait in a worker; beyond, 503."
    )
    client_queue_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Most of the queue that one client may fill; beyond, 429.",
    )
    inference_threads: Positive = Field(
        default=1, description="Batches that run at the same time in each worker."
    )
    request_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time for one answer; after it, 504. A client may ask for less by the header `X-Request-Timeout`.",
    )

    max_body_bytes: Positive = Field(
        default=16 * 2**20, description="Largest request body as sent; beyond, 413."
    )
    max_decompressed_bytes: Positive = Field(
        default=64 * 2**20, description="Largest request body after gzip or zstd; beyond, 413."
    )
    max_held_bytes: Positive = Field(
        default=256 * 2**20,
        description="Most bytes of bodies that are in a worker's memory, not counting those of one piece; beyond, 503.",
    )
    max_text_characters: Positive = Field(
        default=16 * 2**20, description="Longest text; beyond, 413."
    )
    max_texts: Positive = Field(
        default=1024, description="Most texts in one batch request; beyond, 413."
    )
    max_connections: Positive = Field(
        default=1024, description="Most connections of one worker; beyond, 503."
    )
    max_header_bytes: Positive = Field(
        default=16384, description="Largest head of a request; beyond, 431."
    )
    header_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Time for a request's head; after it, 408."
    )
    body_timeout_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Longest pause between two pieces of a request's body; after it, 408.",
    )
    min_body_bytes_per_second: Positive = Field(
        default=1024,
        description="Slowest body, on average once `TEDDY_BODY_TIMEOUT_SECONDS` have passed; below, 408.",
    )
    keep_alive_seconds: Positive = Field(
        default=5, description="How long an idle connection is kept."
    )
    drain_seconds: float = Field(
        default=1.0,
        ge=0,
        description="After SIGTERM, time between not being ready any more and closing the door.",
    )
    shutdown_grace_seconds: Positive = Field(
        default=30, description="Time for accepted requests to finish after SIGTERM."
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="Keys that clients must show, as `KEY,...`; `admin:KEY` is one that may reload models.",
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="A file with a line `ROLE SHA256` for each key; ROLE is `tag` or `admin`.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Whether to listen on an address that is not loopback without any key.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose pages may call the service from a browser, as `URL,...`.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Addresses or networks whose `X-Forwarded-For` says who the client is, as `CIDR,...`.",
    )

    metrics: bool = Field(
        default=True, description="Whether to count what happens, and answer `/metrics` with it."
    )
    drift_window_texts: int = Field(
        default=1000,
        ge=0,
        description="Newest texts, of all workers together, that are compared with what a model was made for "
        "(docs/drift.md); 0: none are.",
    )
    drift_texts_per_second: float = Field(
        default=50.0,
        gt=0,
        description="Most texts a second that a worker looks at for that; the others pass unseen.",
    )
    feedback_dir: Path | None = Field(
        default=None,
        description="Where `POST /v1/feedback` stores corrected texts. Without it, no text is ever stored.",
    )
    feedback_file_bytes: Positive = Field(
        default=16 * 2**20, description="Size at which a new file of corrections is begun."
    )
    feedback_max_bytes: Positive = Field(
        default=2**30,
        description="Size of all corrections together; beyond, more are refused with 507.",
    )
    feedback_remember_bytes: int = Field(
        default=16 * 2**20,
        ge=0,
        description="Size of a worker's newest answers that can be corrected by request id; 0: only by text.",
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Least level that is logged; each request is one line at `info`.",
    )
    traces: bool = Field(
        default=False,
        description="Whether to send OpenTelemetry spans (extra `otel`; `OTEL_*` variables say where).",
    )

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        named = [parse_model(item) for item in split_list(value)]
        if len(dict(named)) < len(named):
            raise ValueError("two models have the same name")
        return dict(named)

    @field_validator("model_digests", mode="before")
    @classmethod
    def _split_digests(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return dict(parse_digest(item) for item in split_list(value))

    @field_validator("api_keys", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return split_list(value) if isinstance(value, str) else value

    def torch_threads(self) -> int:
        """Threads for the network, such that workers times threads are at most the cores."""
        return self.threads or max(1, available_cores() // self.workers)

    def as_environment(self) -> dict[str, str]:
        """The variables that give these settings again, for worker processes.

        Keys are among them.
        """
        return {
            f"{PREFIX}{name.upper()}": as_variable(value)
            for name, value in self
            if value is not None
        }


def as_variable(value: object) -> str:
    """A setting's value as its variable has it."""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, Mapping):
        return ",".join(f"{name}={each}" for name, each in value.items())
    if isinstance(value, tuple):
        return ",".join(map(as_variable, value))
    return str(value)


def split_list(value: str) -> list[str]:
    """The parts between commas, without the empty ones."""
    return [item.strip() for item in value.split(",") if item.strip()]


def read_settings(**options: Any) -> Settings:
    """The environment's settings, overridden by those `options` that are not None.

    Raises SettingsError, naming the variable or option, its fault, and nothing else.
    """
    try:
        return Settings(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        option = "--model" if name == "models" else f"--{name}"
        place = option if options.get(name) is not None else f"{PREFIX}{name.upper()}"
        raise SettingsError(f"{place}: {first['msg'].removeprefix('Value error, ')}") from error


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none: most likely misspelt.

    Those of training jobs do not count.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    ours = [
        name
        for name in environ
        if name.upper().startswith(PREFIX) and not name.upper().startswith(_OF_TRAINING)
    ]
    return sorted(name for name in ours if name.upper() not in known)


def parse_model(item: str) -> tuple[str, Path]:
    """`NAME=FILE`, or `FILE` alone, which is named by its stem.

    Raises ValueError for a name that is not plain.
    """
    name, equals, file = item.strip().rpartition("=")
    path = Path(file)
    name = name if equals else path.stem
    if not MODEL_NAME.fullmatch(name) or not file:
        raise ValueError(
            f"{item!r} is not NAME=FILE, with a name of up to 64 letters, digits, '.', '_' and '-'"
        )
    return name, path


def parse_digest(item: str) -> tuple[str, str]:
    """`NAME=SHA256`. Raises ValueError for anything else."""
    name, _, digest = item.partition("=")
    if not MODEL_NAME.fullmatch(name) or not DIGEST.fullmatch(digest):
        raise ValueError(f"{item!r} is not NAME=SHA256, with 64 hexadecimal digits")
    return name, digest.lower()
