"""The same app as a Ray Serve deployment (extra `ray`).

    serve run teddy.service.ray_app:app replicas=2

From outside to inside: Ray's proxy -> its router -> a replica, which is one process with its own
models and batcher -> the app of `teddy.service.app`, unchanged. `docs/ray.md` says what Ray does
there instead of `teddy serve`, and what it costs.

Ray takes a request's body from the network as fast as it arrives and keeps it until it is read.
That does no harm where a body is read as fast, but a stream is read as fast as its lines are
tagged. So here a stream may have as many bytes as any other body; they are counted as they arrive,
not as they are read.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Response
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector
from pydantic import BaseModel, ConfigDict, Field
from ray import serve
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teddy.model.errors import TeddyError
from teddy.service.api.context import Service
from teddy.service.app import create_app
from teddy.service.commands import bound_threads
from teddy.service.errors import BodyTooLargeError, SettingsError
from teddy.service.http.callers import Keys
from teddy.service.inference.model_files import model_loader
from teddy.service.observability.log import configure_logs
from teddy.service.settings import Settings, read_settings

STREAM = "/v1/entities/stream"

SCRAPE_SECONDS = 5.0
"""How long a scrape waits for all replicas before it fails."""
Positive = Annotated[int, Field(gt=0)]


class UploadLimit:
    """Middleware: reading a stream of more than `max_bytes` ends in BodyTooLargeError."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI app does."""
        if scope["type"] != "http" or scope["path"] != STREAM:
            await self._app(scope, receive, send)
            return
        async with counted(receive, self._max_bytes) as bounded_receive:
            await self._app(scope, bounded_receive, send)


@asynccontextmanager
async def counted(receive: Receive, max_bytes: int) -> AsyncIterator[Receive]:
    """Yield `receive`, but read ahead; after `max_bytes` an error takes the messages' place."""
    messages: asyncio.Queue[Message | Exception] = asyncio.Queue()

    async def next_message() -> Message:
        message = await messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    taking = asyncio.create_task(take(receive, messages, max_bytes))
    try:
        yield next_message
    finally:
        taking.cancel()


async def take(
    receive: Receive, messages: "asyncio.Queue[Message | Exception]", max_bytes: int
) -> None:
    """Move all messages to the queue, until the client has gone."""
    n_bytes = 0
    try:
        while (message := await receive())["type"] == "http.request":
            was_within = n_bytes <= max_bytes
            n_bytes += len(message.get("body", b""))
            if n_bytes <= max_bytes:
                messages.put_nowait(message)
            elif was_within:
                messages.put_nowait(
                    BodyTooLargeError(f"A stream may have {max_bytes} bytes here; begin another.")
                )
        messages.put_nowait(message)
    except Exception as error:
        messages.put_nowait(error)  # for the next reader: raised here, it would not be seen


class Scale(BaseModel):
    """The arguments of `serve run teddy.service.ray_app:app NAME=VALUE ...`.

    Everything else is a setting, `TEDDY_*`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    replicas: Positive = Field(default=1, description="Replicas; with `max_replicas`, the fewest.")
    max_replicas: Positive | None = Field(
        default=None, description="Most replicas, if Ray is to scale with the load."
    )
    target_ongoing_requests: float = Field(
        default=32,
        gt=0,
        description="Requests being answered for each replica that Ray scales towards.",
    )
    upscale_delay_seconds: float = Field(
        default=5, ge=0, description="How long there must be too many before one is added."
    )
    downscale_delay_seconds: float = Field(
        default=300, ge=0, description="How long fewer, before one is removed."
    )
    max_ongoing_requests: Positive = Field(
        default=128,
        description="Requests that a replica is given at a time; enough to fill its batches.",
    )
    max_queued_requests: Positive = Field(
        default=512,
        description="Requests that wait in each proxy for a replica; beyond, Ray answers 503.",
    )
    cpus: float = Field(
        default=1,
        gt=0,
        description="Cores that Ray reserves for a replica; threads of the network.",
    )
    surge_percent: int = Field(
        default=25,
        ge=0,
        le=100,
        description="Replicas, at least one, started before old ones stop; 0: stop first.",
    )
    health_period_seconds: float = Field(
        default=2, gt=0, description="How often Ray asks a replica for its health."
    )

    def options(self, settings: Settings) -> dict[str, Any]:
        """Return the deployment's options, as Ray names them."""
        return {
            "max_ongoing_requests": self.max_ongoing_requests,
            "max_queued_requests": self.max_queued_requests,
            "backpressure_config": {"status_code": 503, "retry_after_s": 1},
            "ray_actor_options": {"num_cpus": self.cpus},
            "max_surge_percent": self.surge_percent,
            "health_check_period_s": self.health_period_seconds,
            "graceful_shutdown_timeout_s": settings.shutdown_grace_seconds,
            "graceful_shutdown_wait_loop_s": max(settings.drain_seconds, 0.1),
            "max_constructor_retry_count": 3,  # a model that is refused once is refused again
            "logging_config": {"enable_access_log": False},  # Teddy has its own
        } | self._number()

    def _number(self) -> dict[str, Any]:
        if self.max_replicas is None:
            return {"num_replicas": self.replicas}
        scaling = {
            "min_replicas": self.replicas,
            "max_replicas": self.max_replicas,
            "target_ongoing_requests": self.target_ongoing_requests,
            "upscale_delay_s": self.upscale_delay_seconds,
            "downscale_delay_s": self.downscale_delay_seconds,
        }
        return {"autoscaling_config": scaling}


class Replica:
    """One process of the deployment.

    It is healthy when its models are loaded; Ray sends it no request before.
    """

    _app: FastAPI

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._refusals: list[TeddyError] = []
        self._settled = asyncio.Event()

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app. Ray calls this once, in the replica, so only the settings are pickled."""
        bound_threads(self._settings)
        configure_logs(self._settings.log_level)
        app = create_app(
            self._settings,
            model_loader(self._settings),
            on_ready=self._settled.set,
            on_load_failure=self._refuse,
            on_waiting=self._settled.set,
        )
        app.router.routes.insert(0, APIRoute("/metrics", metrics_of_all, include_in_schema=False))
        app.add_middleware(UploadLimit, max_bytes=self._settings.max_body_bytes)
        self._app = app
        return app

    def _refuse(self, error: TeddyError) -> None:
        self._refusals.append(error)
        self._settled.set()

    async def check_health(self) -> None:
        """Raise what keeps the models from being served.

        Ray never uses a replica whose first check fails.
        """
        await self._settled.wait()
        if self._refusals:
            raise self._refusals[0]
        self._service.models.check_ready()

    def exposition(self) -> tuple[str, bytes]:
        """Return the replica's name and its metrics, for the replica that collects those of all."""
        return serve.get_replica_context().replica_tag, self._service.metrics.exposition()

    @property
    def _service(self) -> Service:
        service: Service = self._app.state.service
        return service


def app(scale: Scale) -> serve.Application:
    """Return the deployment, with the settings of the environment. Raises SettingsError.

    Ray's proxies may listen on any address, which is not known here: without keys, that must be
    allowed explicitly.
    """
    settings = read_settings(workers=1)
    if not (Keys.read(settings).required or settings.allow_anonymous):
        raise SettingsError(
            "a cluster without keys: set TEDDY_API_KEYS_FILE, or TEDDY_ALLOW_ANONYMOUS=true"
        )
    deployment = serve.deployment(serve.ingress()(Replica), name="teddy", **scale.options(settings))
    return deployment.bind(settings)


async def metrics_of_all() -> Response:
    """Answer with the metrics of every replica, each with a label `replica`."""
    context = serve.get_replica_context()
    handle = serve.get_deployment_handle(context.deployment, context.app_name)
    answers = await handle.broadcast("exposition").results_async(
        timeout_s=SCRAPE_SECONDS, return_exceptions=True
    )
    merged = merge([answer for answer in answers if not isinstance(answer, BaseException)])
    return Response(merged, media_type="text/plain; version=0.0.4; charset=utf-8")


def merge(expositions: Iterable[tuple[str, bytes]]) -> bytes:
    """Merge expositions into one, each sample with the name of its replica."""
    families: dict[str, Metric] = {}
    for replica, exposition in expositions:
        for family in text_string_to_metric_families(exposition.decode()):
            merged = families.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                merged.add_sample(sample.name, sample.labels | {"replica": replica}, sample.value)
    registry = CollectorRegistry()
    registry.register(Collected(families.values()))
    return generate_latest(registry)


class Collected(Collector):
    """Metrics that have been collected already."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics."""
        return self._metrics
