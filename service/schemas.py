"""What clients send and get, as pydantic models; OpenAPI is made from these."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from teddy.model.tags.search import MOST_READINGS
from teddy.model.text.offsets import OffsetUnit
from teddy.model.text.sentences import SentenceMode
from teddy.model.text.words import Text
from teddy.service.given import (
    EITHER,
    MOST_LABELS,
    UNIT_OF_WORDS,
    Given,
    GivenText,
    Name,
    ThresholdIn,
    read_threshold,
)


def as_whole(value: object) -> object:
    """Return `2.0` as 2, which it is in JSON Schema and in JavaScript."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Place = Annotated[int, Field(ge=0, lt=2**53), BeforeValidator(as_whole)]


class TextOptions(BaseModel):
    """What may be asked for of any text."""

    # null is as good as nothing, for programs that write all of their fields
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: Name | None = Field(
        default=None, description="A model's name; the default model if left out."
    )
    labels: Annotated[list[Name], Field(max_length=MOST_LABELS, fail_fast=True)] | None = Field(
        default=None, description="Only entities with these labels; all if left out."
    )
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = Field(
        default=0.0, description="Only entities with at least this score."
    )
    threshold: ThresholdIn | None = Field(
        default=None,
        description="Every span of at least this probability, also those that are not part of the "
        "best reading: a number, or one for each label (0.5 for the others). Of spans that "
        "overlap, those are taken whose scores have the largest sum.",
    )
    offset_unit: OffsetUnit | None = Field(
        default="character",
        description="What `start` and `end` count: Unicode code points (Python), UTF-16 units "
        "(JavaScript, Java, C#) or bytes of UTF-8 (Go, Rust).",
    )
    sentences: SentenceMode | None = Field(
        default=None,
        description="How a text is cut into sentences, which no entity crosses: `document`, by its "
        "stops, lines and gaps; `lines`, each line is one. As the model's recipe says if left out.",
    )

    @property
    def names_unit(self) -> bool:
        """Whether `offset_unit` is set, which must not be for words."""
        return "offset_unit" in self.model_fields_set and self.offset_unit is not None

    @property
    def n_readings(self) -> int:
        """How many readings are wanted beside the entities."""
        return 0


class _Options(TextOptions):
    n_best: Annotated[int, Field(ge=0, le=MOST_READINGS), BeforeValidator(as_whole)] | None = Field(
        default=0,
        description="How many readings of each sentence to give as well: all of its entities, of "
        "every label, with the probability of just these. 0: none.",
    )
    tokens: bool | None = Field(
        default=False, description="Whether to give every word with its tag as well."
    )

    @property
    def n_readings(self) -> int:
        """How many readings are wanted."""
        return self.n_best or 0


class EntitiesRequest(_Options, Given):
    """One text to tag."""

    model_config = ConfigDict(json_schema_extra=EITHER)


class BatchRequest(_Options):
    """Several texts to tag with the same options."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"offset_unit": {"type": "null"}}},
                {"properties": {"texts": {"items": {"type": "string"}}}},
            ]
        }
    )

    texts: list[GivenText] = Field(
        fail_fast=True, examples=[["Ada met Grace.", {"words": ["In", "Oslo", "."]}]]
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.names_unit and not all(isinstance(each, str) for each in self.texts):
            raise PydanticCustomError("offset_unit", UNIT_OF_WORDS)
        return self

    @property
    def given(self) -> list[Text]:
        """The texts, or the words of each."""
        return [each if isinstance(each, str) else each.words for each in self.texts]


class StreamOptions(_Options):
    """Options of a stream, in its query string."""

    # a query string holds only strings
    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    threshold: Annotated[
        ThresholdIn | None,
        BeforeValidator(read_threshold),
        WithJsonSchema({"type": "string", "examples": ["0.05", "PER:0.02,LOC:0.1"]}),
    ] = Field(
        default=None,
        description="As for one text; thresholds by label are written `PER:0.02,LOC:0.1`.",
    )

    @field_validator("labels")
    @classmethod
    def _drop_empty(cls, labels: list[str] | None) -> list[str] | None:
        """Read `labels=` as no label at all, which a query string could not express otherwise."""
        return None if labels is None else [label for label in labels if label]


LineId = Annotated[str, Field(max_length=256)] | Annotated[int, Field(ge=-(2**63), lt=2**63)]


class Identified(BaseModel):
    """A line with an id, by which its sender recognises it."""

    model_config = ConfigDict(strict=True)

    id: LineId | None = Field(
        default=None, description="Whatever it is, the answer to the line has it too."
    )


class StreamLine(Given, Identified):
    """A line of a stream: one text."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, json_schema_extra=EITHER)


class ModelReference(BaseModel):
    """The model that answered; its version changes with every byte of its file."""

    name: str
    version: str


class EntityOut(BaseModel):
    """An entity: `text` is from `start` up to `end`, in the unit that was asked for."""

    start: int
    end: int
    label: str
    score: float = Field(
        ge=0, le=1, description="The probability that this very stretch has this label."
    )
    text: str
    source: str | None = Field(
        default=None,
        description="Where rules are in force: `model`, or the name of the rule that it is from.",
    )
    id: str | None = Field(
        default=None, description="The id of the dictionary's entry, if it is from one with ids."
    )


class TokenOut(BaseModel):
    """A word and its tag (`O`, or `B-`, `I-`, `E-`, `S-` and a label)."""

    start: int
    end: int
    tag: str
    score: float = Field(ge=0, le=1)


class ReadingOut(BaseModel):
    """One way to read a sentence: all of its entities."""

    probability: float = Field(ge=0, le=1, description="That these are all, and nothing else is.")
    entities: list[EntityOut]


class SentenceOut(BaseModel):
    """The most probable readings of a sentence, the best first."""

    start: int
    end: int
    readings: list[ReadingOut]


class TextResult(BaseModel):
    """The entities in one text."""

    entities: list[EntityOut]
    tokens: list[TokenOut] | None = Field(default=None, description="Only if asked for.")
    sentences: list[SentenceOut] | None = Field(
        default=None, description="Only if `n_best` asks for readings."
    )


class EntitiesResponse(BaseModel):
    """The entities in the text, and the model that found them."""

    model: ModelReference
    entities: list[EntityOut]
    tokens: list[TokenOut] | None = Field(default=None, description="Only if asked for.")
    sentences: list[SentenceOut] | None = Field(
        default=None, description="Only if `n_best` asks for readings."
    )


class BatchResponse(BaseModel):
    """One result for each text, in order."""

    model: ModelReference
    results: list[TextResult]


class StreamResult(TextResult, Identified):
    """The entities in the text of one line."""


class ModelSummary(ModelReference):
    """A model that is served."""

    default: bool = Field(description="Whether it answers when a request names no model.")
    language: str
    labels: list[str]
    precision: str = Field(description="How its network computes here: fp32, bf16 or int8.")
    loaded: str = Field(description="When this process loaded it: UTC, ISO 8601.")
    refused: str | None = Field(
        default=None,
        description="Why the last file that should have replaced it was refused, if it was.",
    )


class ModelDetails(ModelSummary):
    """A model, how it was made, and its scores."""

    created: str
    n_parameters: int
    network: dict[str, Any]
    scores: dict[str, Any] = Field(description="Measured on the development data.")
    training_data: list[dict[str, Any]] = Field(
        description="The corpora it learned from, with their licences."
    )


class ReloadResponse(ModelReference):
    """The result of a reload: the model that is served now."""

    previous_version: str | None = Field(
        default=None, description="What was served before; left out if nothing was under this name."
    )
    seconds: float = Field(description="How long it took.")
    changed: bool = Field(description="Whether it is another model than before.")


class ModelsResponse(BaseModel):
    """The models that are served, the default first."""

    models: list[ModelSummary]


class Health(BaseModel):
    """An answer to a probe."""

    status: str


class FieldError(BaseModel):
    """One fault of a request: where, and what; never the value."""

    loc: list[str | int]
    msg: str


class Problem(BaseModel):
    """An error, as RFC 9457 defines it."""

    type: str = Field(
        description="The kind of problem; it does not change.",
        examples=["urn:teddy:problem:queue-full"],
    )
    title: str = Field(examples=["Queue full"])
    status: int = Field(examples=[503])
    detail: str
    request_id: str = Field(
        description="The same as the answer's X-Request-ID; the log has it too."
    )
    errors: list[FieldError] | None = Field(
        default=None, description="Each fault of a request that is not valid."
    )


class LineProblem(BaseModel):
    """The fault of a line, as a problem."""

    type: str = Field(examples=["urn:teddy:problem:invalid-request"])
    title: str = Field(examples=["Invalid request"])
    status: int = Field(description="What this text alone would have got.", examples=[422])
    detail: str


class StreamError(Identified):
    """The answer to a line without a result; if `final`, the stream ends with it."""

    error: LineProblem
    final: Literal[True] | None = Field(
        default=None, description="The stream ends here; lines without an answer were not read."
    )
