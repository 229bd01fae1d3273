"""The service's settings: environment variables `TEDDY_*`, read once, at the entry point."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from teddy.model.system.processes import available_cores
from teddy.service.errors import SettingsError
from teddy.service.setting_values import (
    MODEL_NAME,
    as_variable,
    parse_digest,
    parse_model,
    parse_rules,
    split_list,
)

PREFIX = "TEDDY_"
_OF_TRAINING = "TEDDY_TRAIN_"
ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")

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
    workers: Positive = Field(
        default=1, description="Number of worker processes; each loads the models."
    )

    models: Annotated[dict[str, Path], NoDecode] = Field(
        default_factory=dict,
        description="Models to serve, as `NAME=FILE,...`, or by the names of those that ship, "
        "`en,de`; the first is the default model. If this and `TEDDY_MODELS_DIR` are not set, `en` "
        "is served.",
    )
    models_dir: Path | None = Field(
        default=None,
        description="Directory of model files. Each is served under its file name; new files are "
        "found while Teddy runs.",
    )
    default_model: str | None = Field(
        default=None,
        pattern=f"^{MODEL_NAME.pattern}$",
        description="Name of the default model. If it is not set: the first of `TEDDY_MODELS`, or "
        "the model in `TEDDY_MODELS_DIR` that was the default until now, or the first by name.",
    )
    model_digests: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        description="Pinned models, as `NAME=SHA256,...`. Any other file under such a name is "
        "refused.",
    )
    rules: Annotated[dict[str, Path], NoDecode] = Field(
        default={},
        description="[Rules](rules.md): `FILE` for all models, `NAME=FILE,...` for some.",
    )
    reload_poll_seconds: float = Field(
        default=2.0,
        ge=0,
        description="How often Teddy looks for changed model files. 0: only when asked to reload.",
    )
    precision: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="`fp32`, `bf16`, `int8`, or `auto`: the faster of fp32 and bf16 that passes "
        "the model's canary. With `int8`, results depend a little on the batch.",
    )
    threads: int = Field(
        default=1,
        ge=0,
        description="Threads of the network in each worker. 0: the cores, shared among the "
        "workers. More than one makes short texts wait.",
    )

    batch_words: Positive = Field(
        default=2048, description="Largest batch, in words, padding included."
    )
    queue_words: Positive = Field(
        default=65536, description="Most words that may wait in a worker; above this, 503."
    )
    client_queue_share: float = Field(
        default=0.75,
        gt=0,
        le=1,
        description="Largest share of the queue that one client may fill; above this, 429.",
    )
    inference_threads: Positive = Field(
        default=1, description="Batches that run at the same time in each worker."
    )
    request_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        description="Time for an answer; after this, 504. A client may ask for less with the "
        "header `X-Request-Timeout`.",
    )

    max_body_bytes: Positive = Field(
        default=16 * 2**20, description="Largest request body as sent; above this, 413."
    )
    max_decompressed_bytes: Positive = Field(
        default=64 * 2**20,
        description="Largest request body after gzip or zstd is undone; above this, 413.",
    )
    max_held_bytes: Positive = Field(
        default=256 * 2**20,
        description="Most bytes of request bodies in a worker's memory; above this, 503. Bodies "
        "that arrive in one piece are not counted, nor the first 64 KiB of a stream's lines.",
    )
    max_text_characters: Positive = Field(
        default=2**20,
        description="Most characters in the texts of one request, or in a line of a stream; "
        "above this, 413. A text takes up to 200 times as many bytes of memory.",
    )
    max_texts: Positive = Field(
        default=1024, description="Most texts in one batch request; above this, 413."
    )
    max_connections: Positive = Field(
        default=1024,
        description="Most connections of one worker. A new one then takes the place of an idle "
        "one; if none is idle, it gets 503.",
    )
    address_connection_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="Largest share of a worker's connections that one address may have; above "
        "this, 429. Trusted proxies may have all.",
    )
    max_header_bytes: Positive = Field(
        default=16384, description="Largest head of a request; above this, 431."
    )
    header_timeout_seconds: float = Field(
        default=10.0, gt=0, description="Time for the head of a request; after this, 408."
    )
    body_timeout_seconds: float = Field(
        default=20.0,
        gt=0,
        description="Longest pause between two pieces of a request body; after this, 408.",
    )
    min_body_bytes_per_second: Positive = Field(
        default=1024,
        description="Slowest average speed of a request body once `TEDDY_BODY_TIMEOUT_SECONDS` "
        "have passed; below this, 408.",
    )
    keep_alive_seconds: Positive = Field(
        default=75,
        description="How long an idle connection stays open: longer than proxies keep theirs, "
        "such as nginx for 60 s.",
    )
    drain_seconds: float = Field(
        default=1.0,
        ge=0,
        description="After SIGTERM: how long requests are still accepted while `/health/ready` "
        "answers 503.",
    )
    shutdown_grace_seconds: Positive = Field(
        default=30, description="After SIGTERM: time for accepted requests to finish."
    )

    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        default=(),
        description="API keys, as `KEY,...`. `admin:KEY` is a key that may reload models.",
    )
    api_keys_file: Path | None = Field(
        default=None,
        description="File with a line `ROLE SHA256` for each API key; ROLE is `tag` or `admin`. "
        "`teddy key` makes such lines.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Allow Teddy to listen on addresses other than loopback when no API key is "
        "set.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Origins whose web pages may call the service from a browser, as `URL,...`.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Prefix` are believed: "
        "addresses or networks, as `CIDR,...`.",
    )
    root_path: str = Field(
        default="",
        description="Path under which a proxy serves Teddy, such as `/teddy`, for the links of "
        "`/` and `/docs`. The proxy may remove it from paths or not.",
    )
    page: bool = Field(default=True, description="Serve a page at `/` to try the models.")
    metrics: bool = Field(
        default=True, description="Count what happens and serve it at `/metrics`."
    )
    drift_window_texts: int = Field(
        default=1000,
        ge=0,
        description="Number of newest texts, of all workers together, that drift compares with "
        "the model's reference. 0: drift is off.",
    )
    drift_texts_per_second: float = Field(
        default=50.0,
        gt=0,
        description="Most texts a second that each worker counts for drift; other texts pass.",
    )
    feedback_dir: Path | None = Field(
        default=None,
        description="Directory for the corrections of `POST /v1/feedback`. If it is not set, no "
        "text is ever stored.",
    )
    feedback_file_bytes: Positive = Field(
        default=16 * 2**20, description="Size at which a new file of corrections is started."
    )
    feedback_max_bytes: Positive = Field(
        default=2**30,
        description="Largest size of all corrections together; above this, 507.",
    )
    feedback_remember_bytes: int = Field(
        default=16 * 2**20,
        ge=0,
        description="Memory for each worker's newest answers, which clients can correct by "
        "request id. 0: only by text.",
    )

    redact_key: SecretStr | None = Field(
        default=None, description="Key of redaction; `TEDDY_REDACT_KEY_FILE` is safer."
    )
    redact_key_file: Path | None = Field(
        default=None, description="File with a key on each line: the first is used, all restore."
    )
    redact_thresholds: Path | None = Field(
        default=None, description="JSON of redaction's thresholds: see `teddy evaluate --recall`."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info",
        description="Lowest level that is logged. Each request is one line at `info`.",
    )
    traces: bool = Field(
        default=False,
        description="Send OpenTelemetry spans. Needs the extra `otel`; the `OTEL_*` variables set "
        "where they go.",
    )

    @field_validator("root_path")
    @classmethod
    def _check_root_path(cls, path: str) -> str:
        if path and not ROOT_PATH.fullmatch(path):
            raise ValueError("it must be a path such as /teddy, without a slash at its end")
        return path

    @field_validator("models", mode="before")
    @classmethod
    def _split_models(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        if len(dict(named := [*map(parse_model, split_list(value))])) < len(named):
            raise ValueError("two models have the same name")
        return dict(named)

    @field_validator("model_digests", "rules", mode="before")
    @classmethod
    def _split_named(cls, value: object, info: ValidationInfo) -> object:
        parse: Any = {"rules": parse_rules}.get(str(info.field_name), parse_digest)
        return dict(map(parse, split_list(value))) if isinstance(value, str) else value

    @field_validator("api_keys", "cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split_lists(cls, value: object) -> object:
        return split_list(value) if isinstance(value, str) else value

    def torch_threads(self) -> int:
        """Return the threads of the network; workers times threads are at most the cores."""
        return self.threads or max(1, available_cores() // self.workers)

    def as_environment(self) -> dict[str, str]:
        """Return the variables that give worker processes these settings, keys included."""
        return {
            f"{PREFIX}{name.upper()}": as_variable(value)
            for name, value in self
            if value is not None
        }


def read_settings(**options: Any) -> Settings:
    """Read the settings of the environment; `options` that are not None override them.

    Raises SettingsError, which names the variable or option, and its fault.
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
    """Return variables that look like settings but are not: most likely misspelt.

    Variables of training jobs do not count.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    ours = [
        name
        for name in environ
        if name.upper().startswith(PREFIX) and not name.upper().startswith(_OF_TRAINING)
    ]
    return sorted(name for name in ours if name.upper() not in known)
