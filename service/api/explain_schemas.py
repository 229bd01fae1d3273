"""What is sent to and got from `POST /v1/explain`; see docs/explain.md."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from teddy.service.given import EITHER, Given, Name
from teddy.service.schemas import ModelReference, Place, TextOptions

MOST_SPANS = 64

Probability = Annotated[float, Field(ge=0, le=1)]
_LESS = "What the probability would be if the sentence {}."


class AskedSpan(BaseModel):
    """A span to explain, whether the model finds it or not."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    start: Place
    end: Place
    label: Name = Field(description="One of the model's.")


class ExplainRequest(TextOptions, Given):
    """One text to explain."""

    model_config = ConfigDict(json_schema_extra=EITHER)

    spans: Annotated[list[AskedSpan], Field(max_length=MOST_SPANS, fail_fast=True)] | None = Field(
        default=None,
        description="Explain these instead of the entities that are found: each of whole words "
        "of one sentence. They may overlap.",
    )


class WordOut(BaseModel):
    """A word of a sentence."""

    start: int
    end: int
    text: str
    known: bool = Field(
        description="Whether the model has learnt this word as a whole; another is read by its "
        "pieces and its looks."
    )


class ReadEntity(BaseModel):
    """An entity of a reading."""

    start: int
    end: int
    label: str
    text: str


class ReadingOut(BaseModel):
    """One way to read a sentence: all of its entities, none for none."""

    probability: Probability = Field(description="That just these are the sentence's entities.")
    entities: list[ReadEntity]


class SentenceOut(BaseModel):
    """A sentence, or a part of a long one, as the network read it. Parts overlap."""

    start: int
    end: int
    words: list[WordOut]
    readings: list[ReadingOut] = Field(description="The three most probable, the best first.")


class ExplainedOut(BaseModel):
    """An entity with its reasons."""

    start: int
    end: int
    label: str
    score: Probability
    text: str
    source: str | None = Field(description="The rule that found it; null: the network.")
    sentence: int | None = Field(
        description="The place of its sentence in `sentences`. Null, as the probabilities are, "
        "where a rule found what the network cannot find."
    )
    probability: Probability | None = Field(description="What the network gives it.")
    left_only: Probability | None = Field(description=_LESS.format("ended with the entity"))
    right_only: Probability | None = Field(description=_LESS.format("began with the entity"))
    alone: Probability | None = Field(description=_LESS.format("were the entity alone"))
    without: list[Probability] = Field(
        description="For each word of the sentence, what the probability would be without it: a "
        "word around the entity is left out, one of its own is hidden."
    )
    gives: list[float] = Field(
        description="What each word gives the entity: `probability` less `without`."
    )


class ExplainResponse(BaseModel):
    """The entities of a text with their reasons, and its sentences."""

    model: ModelReference
    entities: list[ExplainedOut]
    sentences: list[SentenceOut]
