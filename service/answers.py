"""What was found in a text, as the client asked to have it."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING

from fastapi import Response
from pydantic import BaseModel

from model.offsets import OffsetUnit, convert_offsets
from service.models import ServedModel
from service.schemas import (
    BatchRequest,
    BatchResponse,
    EntitiesRequest,
    EntitiesResponse,
    EntityOut,
    TextResult,
    TokenOut,
)

if TYPE_CHECKING:
    from model.documents import Entity, Tagged, Token

SCORE_DIGITS = 4  # a calibrated probability is not known better, and answers stay short


def answer_text(asked: EntitiesRequest, model: ServedModel, tagged: "Sequence[Tagged]") -> Response:
    """The answer to a request for one text."""
    result = make_result(asked.text, tagged[0], asked)
    return as_json(EntitiesResponse(model=model.reference, entities=result.entities, tokens=result.tokens))


def answer_batch(asked: BatchRequest, model: ServedModel, tagged: "Sequence[Tagged]") -> Response:
    """The answer to a request for several texts."""
    results = [make_result(text, each, asked) for text, each in zip(asked.texts, tagged, strict=True)]
    return as_json(BatchResponse(model=model.reference, results=results))


def as_json(content: BaseModel) -> Response:
    """Any answer, without the fields that are None."""
    return Response(content.__pydantic_serializer__.to_json(content, exclude_none=True), media_type="application/json")


def make_result(text: str, tagged: "Tagged", asked: EntitiesRequest | BatchRequest) -> TextResult:
    """The entities that pass the filters of `asked`, and the tokens if it wants them, in its unit."""
    found = [entity for entity in tagged.entities if is_wanted(entity, asked)]
    entities = [
        EntityOut(start=start, end=end, label=entity.label, score=round(entity.score, SCORE_DIGITS), text=entity.text)
        for entity, (start, end) in zip(found, convert_ranges(text, found, asked.offset_unit), strict=True)
    ]
    return TextResult(
        entities=entities, tokens=make_tokens(text, tagged.tokens, asked.offset_unit) if asked.tokens else None
    )


def is_wanted(entity: "Entity", asked: EntitiesRequest | BatchRequest) -> bool:
    """Whether an entity has one of the labels asked for and a score that suffices."""
    return entity.score >= asked.min_score and (asked.labels is None or entity.label in asked.labels)


def make_tokens(text: str, tokens: "Sequence[Token]", unit: OffsetUnit) -> list[TokenOut]:
    """Every word with its tag."""
    return [
        TokenOut(start=start, end=end, tag=token.tag, score=round(token.score, SCORE_DIGITS))
        for token, (start, end) in zip(tokens, convert_ranges(text, tokens, unit), strict=True)
    ]


def convert_ranges(text: str, ranges: "Sequence[Entity | Token]", unit: OffsetUnit) -> list[tuple[int, int]]:
    """The half-open ranges, in order and disjoint, in `unit`."""
    offsets = convert_offsets(text, chain.from_iterable((each.start, each.end) for each in ranges), unit)
    return list(zip(offsets[::2], offsets[1::2], strict=True))
