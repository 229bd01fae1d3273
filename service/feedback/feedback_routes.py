"""The endpoint for corrections: see docs/feedback.md."""

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from teddy.model.tags.spans import Span
from teddy.service.api.answers import as_json
from teddy.service.api.context import make_context, service_of
from teddy.service.api.routes import TAGGING_PROBLEMS, tag_texts
from teddy.service.errors import DeadlineError, FeedbackOffError
from teddy.service.feedback.answers import RememberedAnswer
from teddy.service.feedback.rows import Correction, read_spans, refuse
from teddy.service.feedback.scores import total
from teddy.service.feedback.state import Feedback
from teddy.service.http.body import read_body
from teddy.service.http.json_scan import JsonLimits
from teddy.service.http.openapi import body_of, problems
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.schemas import (
    AnswerCorrection,
    CorrectionResponse,
    EntitiesRequest,
    ModelReference,
    TextCorrection,
)

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Found:
    """What is corrected: a text, and what was found in it by which version of which model."""

    text: str
    entities: Sequence[Span]
    model: str
    version: str


class _Kind(BaseModel):
    """Of a request no more than what tells the two kinds apart."""

    model_config = ConfigDict(extra="ignore")

    request_id: Any = None


@router.post(
    "/v1/feedback",
    status_code=201,
    response_model=CorrectionResponse,
    responses=problems(*TAGGING_PROBLEMS, 507),
    openapi_extra=body_of(TextCorrection, AnswerCorrection),
    tags=["feedback"],
)
async def correct(request: Request) -> Response:
    """Say what should be found in a text, or should have been in an earlier answer.

    It is stored, to be trained on.
    """
    service, feedback = service_of(request), feedback_of(request)
    context = make_context(request)
    refuse_early = partial(service.tagging.refuse_early, context=context)
    limits = replace(service.body_limits, json=JsonLimits.of_correction(service.settings))
    body = await read_body(request, limits, refuse_early)
    asked = await service.tagging.run(len(body), read_request, body)
    found = await find(request, asked, context)
    labels = service.models.get(found.model).predictor.manifest.labels
    size = len(body) + len(found.text)
    wanted = await service.tagging.run(
        size, read_spans, asked.entities, found.text, asked.offset_unit, labels
    )
    outcomes = await feedback.store(
        Correction(
            text=found.text,
            wanted=wanted,
            found=found.entities,
            model=found.model,
            version=found.version,
            by=request.scope["caller"].name,
            request_id=asked.request_id if isinstance(asked, AnswerCorrection) else None,
        )
    )
    model = ModelReference(name=found.model, version=found.version)
    answer = as_json(CorrectionResponse(model=model, **asdict(total(outcomes))))
    answer.status_code = 201
    return answer


def feedback_of(request: Request) -> Feedback:
    """Raise FeedbackOffError where corrections are not wanted."""
    feedback = service_of(request).feedback
    if feedback is None:
        raise FeedbackOffError(
            "No corrections are taken here. To take them, set TEDDY_FEEDBACK_DIR to a directory."
        )
    return feedback


def read_request(body: bytes) -> TextCorrection | AnswerCorrection:
    """Return a body as the kind of correction that its fields say it is.

    Raises ValidationError, about that kind alone.
    """
    by_id = "request_id" in _Kind.model_validate_json(body).model_fields_set
    return (
        AnswerCorrection.model_validate_json(body)
        if by_id
        else TextCorrection.model_validate_json(body)
    )


async def find(
    request: Request, asked: TextCorrection | AnswerCorrection, context: RequestContext
) -> Found:
    """Return the text and entities to correct: of the request, or of an earlier answer.

    Raises whatever tagging raises, UnknownAnswerError, and ValidationError for an index that is not
    one.
    """
    if isinstance(asked, AnswerCorrection):
        answer = await recall(request, asked.request_id, context)
        index = index_of(asked, len(answer.texts))
        return Found(answer.texts[index], answer.found[index], answer.model, answer.version)
    wanted = EntitiesRequest(text=asked.text, model=asked.model)
    model, (tagged,) = await tag_texts(request, wanted, (asked.text,), context)
    entities = [Span(entity.start, entity.end, entity.label) for entity in tagged.entities]
    return Found(asked.text, entities, model.name, model.version)


async def recall(request: Request, request_id: str, context: RequestContext) -> RememberedAnswer:
    """Return an earlier answer to this caller. Raises UnknownAnswerError and DeadlineError."""
    try:
        async with asyncio.timeout_at(context.deadline):
            return await feedback_of(request).recall(request_id, request.scope["caller"].name)
    except TimeoutError:
        raise DeadlineError("Its time was over before the answer was found.") from None


def index_of(asked: AnswerCorrection, n_texts: int) -> int:
    """Which of the answer's texts is meant.

    Raises ValidationError for none of them, and for several.
    """
    if asked.index is None and n_texts != 1:
        refuse([(("index",), f"is needed: the request had {n_texts} texts")])
    index = asked.index or 0
    if index >= n_texts:
        refuse([(("index",), f"must be less than the number of texts, {n_texts}")])
    return index
