"""What was found in a text, as the client asked to have it.

Entities and tokens are written as JSON here, in the form that `service/schemas.py` describes: a
fifth of the time that building those models and serialising them takes, and a long answer never
keeps Python's lock for all of itself.
"""

from collections.abc import Iterable, Sequence
from itertools import chain
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING

from fastapi import Response
from pydantic import BaseModel

from teddy.model.text.offsets import OffsetUnit, convert_offsets
from teddy.service.inference.models import ServedModel
from teddy.service.schemas import BatchRequest, EntitiesRequest, StreamOptions

if TYPE_CHECKING:
    from teddy.model.text.documents import Entity, Tagged, Token

SCORE_DIGITS = 4  # a calibrated probability is not known better, and answers stay short

Options = EntitiesRequest | BatchRequest | StreamOptions


def answer_text(asked: EntitiesRequest, model: ServedModel, tagged: "Sequence[Tagged]") -> Response:
    """The answer to a request for one text."""
    return json_response(f"{{{model_json(model)},{result_json(asked.text, tagged[0], asked)}}}")


def answer_batch(asked: BatchRequest, model: ServedModel, tagged: "Sequence[Tagged]") -> Response:
    """The answer to a request for several texts."""
    results = (
        f"{{{result_json(text, each, asked)}}}"
        for text, each in zip(asked.texts, tagged, strict=True)
    )
    return json_response(f'{{{model_json(model)},"results":[{",".join(results)}]}}')


def as_json(content: BaseModel) -> Response:
    """Any other answer, without the fields that are None."""
    return Response(
        content.__pydantic_serializer__.to_json(content, exclude_none=True),
        media_type="application/json",
    )


def json_response(content: str) -> Response:
    """An answer that is JSON already."""
    return Response(content.encode(), media_type="application/json")


def model_json(model: ServedModel) -> str:
    """The field `model` of an answer."""
    return f'"model":{{"name":{quoted(model.name)},"version":{quoted(model.version)}}}'


def result_json(text: str, tagged: "Tagged", asked: Options) -> str:
    """The fields of a TextResult: the entities that pass the filters of `asked`, and the tokens if it wants them."""
    found = [entity for entity in tagged.entities if is_wanted(entity, asked)]
    entities = f'"entities":[{",".join(entities_json(text, found, asked.offset_unit))}]'
    if not asked.tokens:
        return entities
    return f'{entities},"tokens":[{",".join(tokens_json(text, tagged.tokens, asked.offset_unit))}]'


def is_wanted(entity: "Entity", asked: Options) -> bool:
    """Whether an entity has one of the labels asked for and a score that suffices."""
    return entity.score >= asked.min_score and (
        asked.labels is None or entity.label in asked.labels
    )


def entities_json(text: str, entities: "Sequence[Entity]", unit: OffsetUnit) -> Iterable[str]:
    """Each as an EntityOut."""
    for entity, (start, end) in zip(entities, convert_ranges(text, entities, unit), strict=True):
        yield (
            f'{{"start":{start},"end":{end},"label":{quoted(entity.label)},'
            f'"score":{round(entity.score, SCORE_DIGITS)},"text":{quoted(entity.text)}}}'
        )


def tokens_json(text: str, tokens: "Sequence[Token]", unit: OffsetUnit) -> Iterable[str]:
    """Every word with its tag, each as a TokenOut."""
    for token, (start, end) in zip(tokens, convert_ranges(text, tokens, unit), strict=True):
        score = round(token.score, SCORE_DIGITS)
        yield f'{{"start":{start},"end":{end},"tag":{quoted(token.tag)},"score":{score}}}'


def convert_ranges(
    text: str, ranges: "Sequence[Entity | Token]", unit: OffsetUnit
) -> list[tuple[int, int]]:
    """The half-open ranges, in order and disjoint, in `unit`."""
    if unit == "character":
        return [(each.start, each.end) for each in ranges]
    offsets = convert_offsets(
        text, chain.from_iterable((each.start, each.end) for each in ranges), unit
    )
    return list(zip(offsets[::2], offsets[1::2], strict=True))
