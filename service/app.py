"""The app: the layers around the endpoints, and the parts that they share, from start to stop.

From outside to inside:

    RequestMiddleware (id, log, metrics) -> CORS, if set -> AuthMiddleware (keys)
      -> endpoints -> Tagging -> Batcher
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from teddy.model.errors import TeddyError
from teddy.service.api import explain_routes, routes, stream
from teddy.service.api.context import Scrapes, Service
from teddy.service.errors import ServiceError, SettingsError
from teddy.service.feedback import feedback_routes
from teddy.service.feedback.state import Feedback
from teddy.service.http.body import BodyLimits
from teddy.service.http.callers import Keys, parse_networks
from teddy.service.http.middleware import AuthMiddleware, RequestMiddleware
from teddy.service.http.openapi import DocumentedApp, add_docs_page
from teddy.service.http.problems import (
    REASONS,
    add_problem_handlers,
    answer_to,
    failure,
    of_preflight,
)
from teddy.service.http.security import check_origins, with_cors
from teddy.service.inference.batcher import Batcher
from teddy.service.inference.models import Load, Models, ServedModel
from teddy.service.inference.tagging import Tagging
from teddy.service.observability.drift import Drift
from teddy.service.observability.log import count_lost_lines
from teddy.service.observability.metrics import Metrics
from teddy.service.observability.tracing import Tracer
from teddy.service.page.page_routes import add_page
from teddy.service.process.control import Drain
from teddy.service.redaction import redact_routes
from teddy.service.redaction.secret import Secret
from teddy.service.redaction.thresholds import read_thresholds
from teddy.service.setting_values import as_variable
from teddy.service.settings import Settings

BEAT_SECONDS = 0.1

OnReady = Callable[[], None]
OnLoadFailure = Callable[[TeddyError], None]
log = structlog.get_logger("service.app")


async def event_loop_monitor(metrics: Metrics, models: Callable[[], Iterable[ServedModel]]) -> None:
    """Count for ever, ten times a second.

    The lag is the time that a request would wait before the event loop takes it up.
    """
    loop, padding = asyncio.get_running_loop(), PaddingCount(metrics)
    while True:
        due = loop.time() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        metrics.loop_lag.observe(max(0.0, loop.time() - due))
        padding.update(models())
        metrics.flush()


class PaddingCount:
    """Passes on how much padding the models' taggers have counted since the last call."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._seen: dict[str, int] = {}

    def update(self, models: Iterable[ServedModel]) -> None:
        """Count what is new; of a new model, not what loading it took.

        A model that has gone is forgotten.
        """
        totals = {model.version: model.predictor.tagger.padding_words for model in models}
        if new := sum(total - self._seen.get(version, total) for version, total in totals.items()):
            self._metrics.padding_words.inc(new)
        self._seen = totals


class App(DocumentedApp):
    """FastAPI inside the middleware: this is the whole app, not only FastAPI's own stack."""

    prefix = ""
    """Under which a proxy serves the app, whether the proxy removes it from paths or not."""
    outermost: ASGIApp
    """The first layer that is called. The innermost is `answer`."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or run a lifespan, as an ASGI app does."""
        scope["app"] = self
        if self.prefix and scope["type"] == "http":
            scope["root_path"] = self.prefix
            if scope["path"] == self.prefix:
                scope["path"] += "/"
            if not scope["path"].startswith(f"{self.prefix}/"):
                scope["path"] = self.prefix + scope["path"]
        await (self.outermost if scope["type"] == "http" else self.answer)(scope, receive, send)

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request with FastAPI alone, HEAD as GET; the server leaves out the body."""
        if scope.get("method") != "HEAD":
            await super().__call__(scope, receive, send)
            return

        async def send_to_head(message: Message) -> None:
            scope["method"] = "HEAD"
            await send(message)

        scope["method"] = "GET"
        try:
            await super().__call__(scope, receive, send_to_head)
        finally:
            scope["method"] = "HEAD"


class Life:
    """The app between its start and its end: models are loaded and watched, batches run.

    `app.state.loading` is a task that ends when the models are loaded or refused.
    """

    def __init__(
        self,
        service: Service,
        batcher: Batcher[Any, Any],
        tracer: Tracer | None,
        on_ready: OnReady,
        on_load_failure: OnLoadFailure,
        on_waiting: Callable[[], None],
    ) -> None:
        self._service = service
        self._batcher = batcher
        self._tracer = tracer
        self._on_ready = on_ready
        self._on_load_failure = on_load_failure
        self._on_waiting = on_waiting
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def __call__(self, app: FastAPI) -> AsyncIterator[None]:
        """Run the lifespan of an app."""
        async with self._batcher:
            app.state.loading = self._begin(self._load())
            yield
            await end(self._tasks)
        self._service.metrics.flush()
        self._service.tagging.close()
        if self._service.feedback:
            await asyncio.to_thread(self._service.feedback.close)
        if self._tracer:
            await asyncio.to_thread(self._tracer.close)

    def _begin(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.append(task)
        return task

    async def _load(self) -> None:
        models = self._service.models
        self._begin(models.watch())
        try:
            await models.load(self._on_waiting)
        except TeddyError as error:
            log.error("a model was refused", reason=str(error))
            self._on_load_failure(error)
            return
        except Exception as error:  # an unforeseen one: else it would load for ever
            log.error("a model cannot be loaded", exc_info=error)
            self._on_load_failure(ServiceError(f"a model cannot be loaded: {type(error).__name__}"))
            return
        log.info("ready", models=[model.name for model in models.all()])
        self._service.metrics.ready()
        self._on_ready()
        self._begin(event_loop_monitor(self._service.metrics, models.all))


def create_app(
    settings: Settings,
    load: Load,
    *,
    on_ready: OnReady = lambda: None,
    on_load_failure: OnLoadFailure = lambda _: None,
    on_waiting: Callable[[], None] = lambda: None,
) -> FastAPI:
    """Return the service as an ASGI app.

    It answers from its start, and is ready when `load` has loaded its models.

    `on_ready` is called then, `on_load_failure` instead if a model is refused: then the app never
    becomes ready. `on_waiting` is called first if there is no model yet. Raises SettingsError for
    settings that cannot work: a file of keys, an address, an origin, traces without the extra.
    """
    check_origins(settings.cors_origins)
    tracer, metrics = make_tracer(settings), make_metrics(settings)
    batcher = make_batcher(settings, metrics)
    models = Models(settings, load, metrics)
    tagging = Tagging(batcher, metrics, Drift(settings, metrics, models.names))
    service = make_service(settings, metrics, models, tagging)
    app = App(
        title="Teddy",
        version=version("teddy"),
        summary="Entities in texts.",
        description="Offsets are half-open: `text[start:end]` is the entity's text. "
        "Errors are problems (RFC 9457).",
        lifespan=Life(service, batcher, tracer, on_ready, on_load_failure, on_waiting),
        openapi_url=None,  # see service/http/openapi.py
        redirect_slashes=False,
    )
    app.state.service, app.state.drain, app.prefix = service, Drain(), settings.root_path
    app.state.scrapes = Scrapes()
    for part in (routes, explain_routes, stream, redact_routes, feedback_routes):
        app.include_router(part.router)
    app.include_router(routes.models_router)
    add_docs_page(app)
    if settings.page:
        add_page(app, service)
    add_problem_handlers(app)
    auth = AuthMiddleware(
        app.answer,
        endpoints=routes.ENDPOINTS,
        keys=service.keys,
        drain=app.state.drain,
        budget=service.body_limits.budget,
        on_error=answer_to,
    )
    app.outermost = RequestMiddleware(
        with_cors(auth, settings.cors_origins, of_preflight),
        metrics,
        tracer,
        failure,
        service.trusted_proxies,
    )
    return app


def make_metrics(settings: Settings) -> Metrics:
    """Return the metrics of this app, and of the lines that its log loses."""
    metrics = Metrics(enabled=settings.metrics)
    metrics.queue_capacity.set(settings.queue_words)
    for reason in REASONS:
        metrics.refused.labels(reason)
    metrics.build_info.labels(version("teddy")).set(1)
    count_lost_lines(metrics.lost_log_lines.inc)
    return metrics


def make_service(settings: Settings, metrics: Metrics, models: Models, tagging: Tagging) -> Service:
    """Return the parts that the endpoints share. Raises SettingsError."""
    return Service(
        settings=settings,
        metrics=metrics,
        models=models,
        tagging=tagging,
        keys=Keys.read(settings),
        body_limits=BodyLimits.of(settings),
        trusted_proxies=parse_networks(settings.trusted_proxies),
        feedback=Feedback.of(settings, metrics, models),
        secret=Secret.read(settings.redact_key_file, as_variable(settings.redact_key or "")),
        redact_thresholds=read_thresholds(settings.redact_thresholds),
    )


def make_batcher(settings: Settings, metrics: Metrics) -> Batcher[Any, Any]:
    """Return the batcher, with the limits in the settings."""
    return Batcher(
        batch_words=settings.batch_words,
        queue_words=settings.queue_words,
        client_share=settings.client_queue_share,
        threads=settings.inference_threads,
        metrics=metrics,
    )


async def end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel the tasks that still run, and wait for them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def make_tracer(settings: Settings) -> Tracer | None:
    """Return the tracer that the settings ask for.

    Raises SettingsError without the extra, or if it cannot follow `OTEL_*`.
    """
    if not settings.traces:
        return None
    try:
        from teddy.service.observability.open_telemetry import OpenTelemetryTracer
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        raise SettingsError(
            "TEDDY_TRACES: OpenTelemetry is not installed: pip install 'teddy[otel]'"
        ) from error
    return OpenTelemetryTracer()
