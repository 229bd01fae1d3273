"""The endpoints of models: what is served, and from a newer file."""

import os
import signal
from time import perf_counter

from fastapi import APIRouter, Request, Response

from teddy.service.answers import as_json
from teddy.service.context import service_of
from teddy.service.keys import Caller
from teddy.service.openapi import problems
from teddy.service.schemas import ModelDetails, ModelsResponse, ReloadResponse
from teddy.service.worker_metrics import WORKER

router = APIRouter(tags=["models"])


@router.get("/v1/models", response_model=ModelsResponse, responses=problems(401, 503))
async def list_models(request: Request) -> Response:
    """The models that are served."""
    models = service_of(request).models.all()
    return as_json(ModelsResponse(models=[model.summary for model in models]))


@router.get("/v1/models/{name}", response_model=ModelDetails, responses=problems(401, 404, 503))
async def show_model(request: Request, name: str) -> Response:
    """One model: what it was made from and how well it does."""
    return as_json(service_of(request).models.get(name).details)


@router.post(
    "/v1/models/{name}/reload", response_model=ReloadResponse, responses=problems(401, 403, 404, 409, 422, 503)
)
async def reload_model(request: Request, name: str) -> Response:
    """Load a model's file again, without waiting until somebody looks at it; needs an admin key.

    It replaces the old model between two batches, if its bytes are others. If it is refused, the old model goes on
    serving. The other worker processes follow by themselves, a little later.
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
    """In a worker process: ask the supervisor to let every worker look at the files now.

    Whether it is one says the variable that the supervisor alone sets: any other parent might end by this signal.
    """
    if WORKER in os.environ:
        os.kill(os.getppid(), signal.SIGHUP)
