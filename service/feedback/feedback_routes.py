"""The endpoint for corrections: see docs/feedback.md."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, ValidationError

from teddy.model.tags.spans import Span
from teddy.model.text.words import Text, n_characters
from teddy.service.api.answers import as_json
from teddy.service.api.context import make_context, service_of
from teddy.service.api.reading import read_json, refuse, refuse_query
from teddy.service.api.routes import TAGGING_PROBLEMS, tag_texts
from teddy.service.errors import (
    DeadlineError,
    FeedbackOffError,
    UnknownAnswerError,
    UnknownModelError,
)
from teddy.service.feedback.corrections import (
    AnswerCorrection,
    CorrectionResponse,
    TextCorrection,
)
from teddy.service.feedback.rows import Correction, as_text, read_spans
from teddy.service.feedback.scores import total
from teddy.service.feedback.state import Feedback
from teddy.service.given import UNIT_OF_WORDS
from teddy.service.http.body import read_body
from teddy.service.http.json_scan import JsonLimits
from teddy.service.http.openapi import body_of, problems
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.schemas import EntitiesRequest, ModelReference

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Found:
    """What is corrected: a text, and what was found in it by which version of which model."""

    text: Text
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
    refuse_query(request)
    service, feedback = service_of(request), feedback_of(request)
    context = make_context(request)
    refuse_early = partial(service.tagging.refuse_early, context=context)
    limits = replace(service.body_limits, json=JsonLimits.of_correction(service.settings))
    body = await read_body(request, limits, refuse_early)
    asked = await service.tagging.run(len(body), read_request, body)
    if isinstance(asked, AnswerCorrection):
        async with feedback.guess(context.client):
            found, wanted = await of_answer(request, asked, context)
    else:
        found, wanted = await of_text(request, asked, context)
    size = n_characters(found.text)
    text, (right, predicted) = await service.tagging.run(
        size, as_text, found.text, wanted, found.entities
    )
    outcomes = await feedback.store(
        Correction(
            text=text,
            wanted=right,
            found=predicted,
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
    by_id = "request_id" in read_json(_Kind, body).model_fields_set
    return read_json(AnswerCorrection, body) if by_id else read_json(TextCorrection, body)


async def of_text(
    request: Request, asked: TextCorrection, context: RequestContext
) -> tuple[Found, list[Span]]:
    """Return what the model finds in a text, and what should be found.

    Raises whatever tagging raises, and ValidationError for entities that do not fit.
    """
    wanted = EntitiesRequest(text=asked.text, model=asked.model)
    model, (tagged,) = await tag_texts(request, wanted, (asked.text,), context)
    entities = [Span(entity.start, entity.end, entity.label) for entity in tagged.entities]
    found = Found(asked.text, entities, model.name, model.version)
    return found, await spans_of(request, asked, found)


async def of_answer(
    request: Request, asked: AnswerCorrection, context: RequestContext
) -> tuple[Found, list[Span]]:
    """Return what was found in a text of an earlier answer to this caller, and what should be.

    Raises DeadlineError, and UnknownAnswerError, whatever it is that does not fit: a client must
    not learn what is in a text by asking.
    """
    with suppress(ValidationError, UnknownModelError, IndexError):
        try:
            async with asyncio.timeout_at(context.deadline):
                answer = await feedback_of(request).recall(asked.request_id, context.client)
        except TimeoutError:
            raise DeadlineError("Its time was over before the answer was found.") from None
        if answer is not None and (asked.index is not None or len(answer.texts) == 1):
            index = asked.index or 0
            entities = answer.found[index]
            found = Found(answer.texts[index], entities, answer.model, answer.version)
            return found, await spans_of(request, asked, found)
    raise UnknownAnswerError(
        "This fits no answer to you that is remembered. Either there is none under this "
        "request_id: it is too old, too long, was asked for with 'labels' or as a stream, or its "
        "id was used for other texts too. Or 'index', an offset or its unit, a text or a label is "
        "not one of that answer's. Send the text instead."
    )


async def spans_of(
    request: Request, asked: TextCorrection | AnswerCorrection, found: Found
) -> list[Span]:
    """Return the right entities, counted as those found.

    Raises ValidationError and UnknownModelError.
    """
    service = service_of(request)
    labels = service.models.get(found.model).predictor.labels
    size = len(asked.entities) + n_characters(found.text)
    unit = asked.offset_unit or "character"
    if asked.names_unit and not isinstance(found.text, str):
        refuse([(("offset_unit",), UNIT_OF_WORDS)])
    return await service.tagging.run(size, read_spans, asked.entities, found.text, unit, labels)
