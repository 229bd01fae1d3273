"""The endpoint for reasons: see docs/explain.md."""

import json
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response

from teddy.model.text.offsets import character_offsets
from teddy.model.text.words import n_characters
from teddy.service.api.context import Service, make_context, service_of
from teddy.service.api.explain_schemas import ExplainRequest, ExplainResponse
from teddy.service.api.reading import read_json, refuse, refuse_query
from teddy.service.api.routes import TAGGING_PROBLEMS, tag_texts
from teddy.service.errors import TextTooLongError
from teddy.service.http.body import read_body
from teddy.service.http.openapi import body_of, problems
from teddy.service.inference.fair_queue import RequestContext
from teddy.service.inference.models import ServedModel
from teddy.service.inference.tagging import CHARACTERS_A_WORD

if TYPE_CHECKING:
    from teddy.model.reasons.explanation import Explanation
    from teddy.model.reasons.plan import Plan

router = APIRouter()
write_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


@router.post(
    "/v1/explain",
    response_model=ExplainResponse,
    responses=problems(*TAGGING_PROBLEMS),
    openapi_extra=body_of(ExplainRequest),
    tags=["entities"],
)
async def explain(request: Request) -> Response:
    """Give the reasons for each entity of a text: what it would be without each word, and so on.

    It reads each sentence about as often as it has words, and counts so for the limits.
    """
    refuse_query(request)
    service, context = service_of(request), make_context(request)
    refuse_early = partial(service.tagging.refuse_early, context=context)
    body = await read_body(request, service.body_limits, refuse_early)
    asked = await service.tagging.run(len(body), read_json, ExplainRequest, body)
    most_characters = service.settings.max_text_characters
    most = most_characters // CHARACTERS_A_WORD
    if (characters := n_characters(asked.given)) > most_characters // 2:
        # refused without tagging it: each word is read twice at least
        raise TextTooLongError(
            f"{characters} characters; at most {most_characters // 2} to explain in one request."
        )
    model, plan = await make_plan(request, service, asked, context)
    if plan.cost > most:
        raise TextTooLongError(
            f"To explain this takes as long as to tag {plan.cost} words; at most {most} in one "
            "request. Send fewer sentences in each."
        )
    request.scope["words"] += plan.cost
    answers = await (await service.tagging.answer(model, plan, context))
    size = plan.cost * CHARACTERS_A_WORD
    explanation = await service.tagging.run(size, plan.explain, answers)
    return await service.tagging.run(size, answer, asked, model, explanation)


async def make_plan(
    request: Request, service: Service, asked: ExplainRequest, context: RequestContext
) -> "tuple[ServedModel, Plan]":
    """Return the model that is asked for, and what it must be asked.

    Raises as `tag_texts`, and TextError for spans that are none of the text.
    """
    text, run = asked.given, service.tagging.run
    size, least = n_characters(text), asked.min_score or 0.0
    model, (tagged,) = await tag_texts(request, asked, [text], context, observed=False)
    document = await run(size, model.predictor.cut_by(asked.sentences), text)
    if asked.spans is not None:
        spans = await run(size, read_spans, asked)
        return model, await run(size, model.predictor.reasons.plan, document, None, spans)
    entities = [
        entity
        for entity in tagged.entities
        if entity.score >= least and (asked.labels is None or entity.label in asked.labels)
    ]
    return model, await run(size, model.predictor.reasons.plan, document, entities)


def read_spans(asked: ExplainRequest) -> list[tuple[int, int, str]]:
    """Return the spans that are asked about, in characters or, of words, in words.

    Raises ValidationError for one that does not begin and end between characters of the text.
    """
    text, spans = asked.given, asked.spans or []
    wanted = sorted({at for span in spans for at in (span.start, span.end)})
    found: Sequence[int | None] = wanted
    if isinstance(text, str):
        found = character_offsets(text, wanted, asked.offset_unit or "character")
    places = dict(zip(wanted, found, strict=True))
    read: list[tuple[int, int, str]] = []
    for position, span in enumerate(spans):
        start, end = places[span.start], places[span.end]
        if start is None or end is None:
            refuse([(("spans", position), "is not within the text")])
        read.append((start, end, span.label))
    return read


def answer(asked: ExplainRequest, model: ServedModel, explanation: "Explanation") -> Response:
    """Return an explanation as JSON.

    It is written in pieces, as other long answers are, so that Python's lock is free between them.
    """
    parts = [f'{{"model":{write_json({"name": model.name, "version": model.version})}']
    for name, rows in explanation.as_dict(asked.offset_unit or "character").items():
        parts.append(f'"{name}":[{",".join(map(write_json, rows))}]')
    return Response(f"{','.join(parts)}}}".encode(), media_type="application/json")
