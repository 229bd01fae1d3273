"""The app: middleware, endpoints, and the life of what they share.

From outside to inside:

    Access (id, log, metrics) -> BodyLimit -> problems -> endpoints -> Tagging -> Batcher -> the network
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

import structlog
from fastapi import FastAPI

from model.errors import TeddyError
from service.access import Access
from service.batcher import Batcher
from service.body import BodyLimit
from service.docs_page import add_docs_page
from service.metrics import Metrics
from service.models import Load, Models
from service.openapi import DocumentedApp
from service.problems import add_problem_handlers, failure
from service.routes import Service, router
from service.settings import Settings
from service.tagging import Tagging

OnReady = Callable[[], None]
OnLoadFailure = Callable[[TeddyError], None]

log = structlog.get_logger("service.app")


def create_app(
    settings: Settings, load: Load, *, on_ready: OnReady = lambda: None, on_load_failure: OnLoadFailure = lambda _: None
) -> FastAPI:
    """The service as an ASGI app. It answers from its start, and is ready when `load` has loaded its models.

    `on_ready` is called then, `on_load_failure` instead if a model is refused: then the app never becomes ready.
    """
    metrics = Metrics()
    metrics.build_info.labels(version("teddy")).set(1)
    models = Models(settings.models, load, metrics)

    async def load_models() -> None:
        try:
            await models.load()
        except TeddyError as error:
            log.error("a model was refused", reason=str(error))
            on_load_failure(error)
        else:
            log.info("ready", models=[model.name for model in models.all()])
            on_ready()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher: Batcher[Any, Any] = Batcher(
            batch_words=settings.batch_words,
            queue_words=settings.queue_words,
            threads=settings.inference_threads,
            metrics=metrics,
        )
        async with batcher:
            tagging = Tagging(batcher, metrics)
            app.state.service = Service(settings, metrics, models, tagging)
            loading = app.state.loading = asyncio.create_task(load_models())
            yield
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        tagging.close()

    app = DocumentedApp(
        title="Teddy",
        version=version("teddy"),
        summary="Entities in texts.",
        description="Offsets are half-open: `text[start:end]` is the entity's text. Errors are problems (RFC 9457).",
        lifespan=lifespan,
        docs_url=None,  # see service/docs_page.py
        redoc_url=None,
    )
    app.include_router(router)
    add_docs_page(app)
    add_problem_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    app.add_middleware(Access, metrics=metrics, on_failure=failure)  # added last, so outermost
    return app
