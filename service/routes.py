"""The endpoints.

Bodies are read and answers written by pydantic directly: that is quicker than FastAPI's own way, all that can be wrong
with a body is treated alike, and long ones are kept off the event loop. `service/openapi.py` tells the documentation.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from service.answers import answer_batch, answer_text, as_json
from service.body import read_body
from service.errors import ClientDepartedError, DeadlineError, TooManyTextsError
from service.metrics import Metrics
from service.models import Models, ServedModel
from service.openapi import body_of, problems
from service.schemas import (
    BatchRequest,
    BatchResponse,
    EntitiesRequest,
    EntitiesResponse,
    Health,
    ModelDetails,
    ModelsResponse,
)
from service.settings import Settings
from service.tagging import Tagging

if TYPE_CHECKING:
    from model.documents import Tagged

Result = TypeVar("Result")

TAGGING_PROBLEMS = (404, 413, 415, 422, 500, 503, 504)

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Service:
    """What the endpoints work with; one for each app."""

    settings: Settings
    metrics: Metrics
    models: Models
    tagging: Tagging


def service_of(request: Request) -> Service:
    """The service of the app that was asked."""
    service: Service = request.app.state.service
    return service


@router.post(
    "/v1/entities",
    response_model=EntitiesResponse,
    responses=problems(*TAGGING_PROBLEMS),
    openapi_extra=body_of(EntitiesRequest),
    tags=["entities"],
)
async def tag_text(request: Request) -> Response:
    """Tag one text."""
    tagging = service_of(request).tagging
    body = await read_body(request)
    asked = await tagging.run(len(body), EntitiesRequest.model_validate_json, body)
    model, tagged = await tag(request, asked, [asked.text])
    return await tagging.run(len(asked.text), answer_text, asked, model, tagged)


@router.post(
    "/v1/entities/batch",
    response_model=BatchResponse,
    responses=problems(*TAGGING_PROBLEMS),
    openapi_extra=body_of(BatchRequest),
    tags=["entities"],
)
async def tag_batch(request: Request) -> Response:
    """Tag several texts, in order. Quicker than one request for each."""
    service = service_of(request)
    body = await read_body(request)
    asked = await service.tagging.run(len(body), BatchRequest.model_validate_json, body)
    if len(asked.texts) > service.settings.max_texts:
        raise TooManyTextsError(f"{len(asked.texts)} texts; at most {service.settings.max_texts} in one batch.")
    model, tagged = await tag(request, asked, asked.texts)
    return await service.tagging.run(sum(map(len, asked.texts)), answer_batch, asked, model, tagged)


@router.get("/v1/models", response_model=ModelsResponse, responses=problems(503), tags=["models"])
async def list_models(request: Request) -> Response:
    """The models that are served."""
    models = service_of(request).models.all()
    return as_json(ModelsResponse(models=[model.summary for model in models]))


@router.get("/v1/models/{name}", response_model=ModelDetails, responses=problems(404, 503), tags=["models"])
async def show_model(request: Request, name: str) -> Response:
    """One model: what it was made from and how well it does."""
    return as_json(service_of(request).models.get(name).details)


@router.get("/health/live", response_model=Health, tags=["health"])
async def live() -> Response:
    """Whether the process answers."""
    return as_json(Health(status="live"))


@router.get("/health/ready", response_model=Health, responses=problems(503), tags=["health"])
async def ready(request: Request) -> Response:
    """Whether the models are loaded."""
    service_of(request).models.check_ready()
    return as_json(Health(status="ready"))


@router.get("/metrics", response_class=PlainTextResponse, tags=["health"])
async def metrics(request: Request) -> Response:
    """What Prometheus scrapes."""
    return Response(service_of(request).metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


async def tag(
    request: Request, asked: EntitiesRequest | BatchRequest, texts: Sequence[str]
) -> "tuple[ServedModel, list[Tagged]]":
    """The model that was asked for and what it finds, within the deadline and while the client is there."""
    service = service_of(request)
    model = service.models.get(asked.model)
    model.check_labels(asked.labels)
    limit = service.settings.request_timeout_seconds
    try:
        async with asyncio.timeout(limit):
            tagged = await unless_departed(request, service.tagging.tag(model, texts))
    except TimeoutError as error:
        raise DeadlineError(f"No answer within {limit:g} seconds; a shorter text takes less.") from error
    request.scope["words"] = sum(each.n_words for each in tagged)
    return model, tagged


async def unless_departed(request: Request, work: Awaitable[Result]) -> Result:
    """The result of `work`, which is cancelled when the client goes; then raises ClientDepartedError."""
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(departure(request))
    watch.add_done_callback(lambda _: task.cancel())
    try:
        return await task
    except asyncio.CancelledError:
        if watch.done() and not watch.cancelled():
            raise ClientDepartedError("The client left before its answer was there.") from None
        raise
    finally:
        watch.cancel()


async def departure(request: Request) -> None:
    """Return when the client has gone; the request's body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
