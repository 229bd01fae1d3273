"""The endpoints for entities, models and health.

Bodies are read and answers written here and not by FastAPI: that is faster, every fault in a body
is treated alike, and long bodies are kept off the event loop.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import ValidationError

from teddy.model.text.words import Text, n_characters
from teddy.service.api.answers import answer_batch, answer_text, as_json
from teddy.service.api.context import Service, make_context, service_of
from teddy.service.api.reading import read_again, refuse_query
from teddy.service.errors import ShuttingDownError, TextTooLongError, TooManyTextsError
from teddy.service.http.body import read_body
from teddy.service.http.callers import Caller
from teddy.service.http.middleware import request_id
from teddy.service.http.openapi import body_of, problems
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.inference.models import ServedModel
from teddy.service.inference.rules_files import RulesResponse, rules_of
from teddy.service.observability.worker_metrics import WORKER
from teddy.service.schemas import (
    BatchRequest,
    BatchResponse,
    EntitiesRequest,
    EntitiesResponse,
    Health,
    ModelDetails,
    ModelsResponse,
    ReloadResponse,
    TextOptions,
)

if TYPE_CHECKING:
    from teddy.model.text.documents import Tagged

Asked = TypeVar("Asked", EntitiesRequest, BatchRequest)
TAGGING_PROBLEMS = (400, 401, 404, 408, 413, 415, 422, 429, 500, 503, 504)

router = APIRouter()

models_router = APIRouter(tags=["models"])


@router.post(
    "/v1/entities",
    response_model=EntitiesResponse,
    responses=problems(*TAGGING_PROBLEMS),
    openapi_extra=body_of(EntitiesRequest),
    tags=["entities"],
)
async def tag_text(request: Request) -> Response:
    """Tag one text."""
    return await _tag_body(request, EntitiesRequest, answer_text)


@router.post(
    "/v1/entities/batch",
    response_model=BatchResponse,
    responses=problems(*TAGGING_PROBLEMS),
    openapi_extra=body_of(BatchRequest),
    tags=["entities"],
)
async def tag_batch(request: Request) -> Response:
    """Tag several texts, in order. This is faster than one request for each."""
    return await _tag_body(request, BatchRequest, answer_batch)


ENDPOINTS = {"/v1/entities": tag_text, "/v1/entities/batch": tag_batch}
"""By path: AuthMiddleware calls these itself (service/http/middleware.py)."""


async def _tag_body(
    request: Request,
    kind: type[Asked],
    answer: "Callable[[Asked, Sequence[Text], ServedModel, Sequence[Tagged]], Response]",
) -> Response:
    """Read a body of that class, tag its texts and answer."""
    if request.scope["query_string"]:
        refuse_query(request)
    service: Service = request.app.state.service
    run = service.tagging.run
    context = make_context(request)
    refuse_early = partial(service.tagging.refuse_early, context=context)
    body = await read_body(request, service.body_limits, refuse_early)
    try:
        asked = await run(len(body), kind.model_validate_json, body)
    except ValidationError as error:
        asked = await run(len(body), read_again, kind, body, error)
    del body  # it may be all white space, and large
    texts = (asked.given,) if isinstance(asked, EntitiesRequest) else asked.given
    if len(texts) > service.settings.max_texts:
        raise TooManyTextsError(
            f"{len(texts)} texts; at most {service.settings.max_texts} in one batch."
        )
    model, tagged = await tag_texts(request, asked, texts, context)
    if service.feedback is not None:
        # An answer with only some labels cannot be corrected: the client may not think of the
        # others, and the network would learn that the text has none. And what a threshold adds is
        # not what the model takes for right.
        is_plain = asked.labels is None and asked.threshold is None
        known = (texts, tagged) if is_plain else ((), ())
        service.feedback.remember(request_id(request.scope), context.client, model, *known)
    return await run(sum(map(n_characters, texts)), answer, asked, texts, model, tagged)


@router.get("/health/live", response_model=Health, tags=["health"])
async def live() -> Response:
    """Answer while the process runs."""
    return as_json(Health(status="live"))


@router.get("/health/ready", response_model=Health, responses=problems(503), tags=["health"])
async def ready(request: Request) -> Response:
    """Answer whether the models are loaded and the service is not about to stop."""
    service_of(request).models.check_ready()
    if request.app.state.drain.begun:
        raise ShuttingDownError("Shutting down.", retry_after_seconds=1)
    return as_json(Health(status="ready"))


@router.get("/metrics", response_class=PlainTextResponse, tags=["health"])
async def metrics(request: Request) -> Response:
    """Answer with the metrics that Prometheus scrapes."""
    counted = service_of(request).metrics
    if not counted.enabled:
        raise HTTPException(404, "Nothing is counted here: TEDDY_METRICS is false.")
    scrapes, asked = request.app.state.scrapes, asyncio.get_running_loop().time()
    async with scrapes.lock:
        # One for all that asked before it was begun: a crowd would take all the time there is.
        if scrapes.begun < asked:
            scrapes.begun = asyncio.get_running_loop().time()
            # In a thread: with many workers it takes as long as several requests.
            scrapes.last = await asyncio.to_thread(counted.exposition)
    return Response(scrapes.last, media_type="text/plain; version=0.0.4; charset=utf-8")


async def tag_texts(
    request: Request,
    asked: TextOptions,
    texts: Sequence[Text],
    context: RequestContext,
    *,
    observed: bool = True,
) -> "tuple[ServedModel, list[Tagged]]":
    """Return the requested model and the entities of each text.

    Raises UnknownModelError, UnknownLabelError, TextTooLongError, and as `Tagging.tag`, which says
    what `observed` is.
    """
    service: Service = request.app.state.service
    model = service.models.get(asked.model)
    if asked.labels:
        model.check_labels(asked.labels)
    most = service.settings.max_text_characters
    if (characters := sum(map(n_characters, texts))) > most:
        raise TextTooLongError(
            f"{characters} characters; at most {most} in one request. Send less text in each."
        )
    asks = asked.threshold is not None or asked.n_readings
    search = model.search(asked.threshold, asked.n_readings) if asks else None
    tagged = await service.tagging.tag(
        model, texts, context, asked.sentences, search, observed=observed
    )
    request.scope["words"] = sum(each.n_words for each in tagged)
    request.scope["model"] = model
    return model, tagged


@models_router.get("/v1/models", response_model=ModelsResponse, responses=problems(401, 503))
async def list_models(request: Request) -> Response:
    """List the models that are served."""
    models = service_of(request).models.all()
    return as_json(ModelsResponse(models=[model.summary for model in models]))


@models_router.get(
    "/v1/models/{name}", response_model=ModelDetails, responses=problems(401, 404, 503)
)
async def show_model(request: Request, name: str) -> Response:
    """Describe one model: what it was made from and its scores."""
    return as_json(service_of(request).models.get(name).details)


@models_router.get(
    "/v1/models/{name}/rules", response_model=RulesResponse, responses=problems(401, 404, 503)
)
async def show_rules(request: Request, name: str) -> Response:
    """List the rules that are in force beside a model."""
    return as_json(rules_of(service_of(request).models.get(name)))


@models_router.post(
    "/v1/models/{name}/reload",
    response_model=ReloadResponse,
    responses=problems(401, 403, 404, 409, 422, 503),
)
async def reload_model(request: Request, name: str) -> Response:
    """Load a model's file again now, without waiting for the next check; needs an admin key.

    It replaces the old model between two batches, if its bytes differ; so do its rules. If one is
    refused, the old one goes on serving. The other worker processes follow a little later.
    """
    caller: Caller = request.scope["caller"]
    caller.check_admin()
    service = service_of(request)
    started = perf_counter()
    before = {model.name: model.version for model in service.models.all()}.get(name)
    model = await service.models.reload(name)
    tell_other_workers()
    answer = ReloadResponse(
        name=model.name,
        version=model.version,
        previous_version=before,
        seconds=round(perf_counter() - started, 3),
        changed=model.version != before,
    )
    return as_json(answer)


def tell_other_workers() -> None:
    """In a worker process, ask the supervisor to let every worker check the files now.

    Only the supervisor sets the variable that is checked here: another parent process might end
    at this signal.
    """
    if WORKER in os.environ:
        os.kill(os.getppid(), signal.SIGHUP)
