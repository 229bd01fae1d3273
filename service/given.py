"""A text as clients may give it: a string, or the words that it is cut into already."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from teddy.model.tags.search import LEAST_THRESHOLD
from teddy.model.text.words import Text

AS_TEXT, AS_WORDS = "<text>", "<words>"
AS_NUMBER, AS_LABELS = "<number>", "<labels>"
FIELD_KINDS = (AS_TEXT, AS_WORDS, AS_NUMBER, AS_LABELS)
"""What a field of several kinds is taken for; pydantic names it in the place of a fault."""
Name = Annotated[str, Field(max_length=64)]
MOST_LABELS = 1024
UNIT_OF_WORDS = "'offset_unit' must be left out: with 'words', 'start' and 'end' count words"
Words = Annotated[
    list[Annotated[str, Field(min_length=1)]],
    Field(
        fail_fast=True,
        description="A text as words: one sentence, each word with one tag. `start` and `end` "
        "count words, so that `offset_unit` must be left out.",
        examples=[["Ada", "met", "Grace", "in", "Oslo", "."]],
    ),
]


class Given(BaseModel):
    """A text, or its words."""

    text: str | None = Field(
        default=None,
        description="Never cut; an empty one has no entities.",
        examples=["Ada met Grace in Oslo."],
    )
    words: Words | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.words is None:
            if self.text is None:
                raise PydanticCustomError("given", "must have 'text' or 'words'")
        elif self.text is not None:
            raise PydanticCustomError("given", "must have only one of 'text' and 'words'")
        elif self.names_unit:
            raise PydanticCustomError("offset_unit", UNIT_OF_WORDS)
        return self

    @property
    def names_unit(self) -> bool:
        """Whether a unit of offsets is set; a line of a stream has none of its own."""
        return False

    @property
    def given(self) -> Text:
        """The text, or its words."""
        return (self.text or "") if self.words is None else self.words


EITHER: JsonDict = {
    "oneOf": [
        {
            "required": ["text"],
            "properties": {"text": {"type": "string"}, "words": {"type": "null"}},
        },
        {
            "required": ["words"],
            "properties": {
                "words": {"type": "array"},
                "text": {"type": "null"},
                "offset_unit": {"type": "null"},
            },
        },
    ]
}
"""For OpenAPI, which fields go together: what validators check."""


class GivenWords(BaseModel):
    """A text of a batch that is given as words."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    words: Words


def _kind_of(item: object) -> str | None:
    return AS_TEXT if isinstance(item, str) else AS_WORDS if isinstance(item, dict) else None


GivenText = Annotated[
    Annotated[str, Tag(AS_TEXT)] | Annotated[GivenWords, Tag(AS_WORDS)],
    # by its kind: otherwise one fault would be reported for each of the kinds
    Discriminator(
        _kind_of,
        custom_error_type="text",
        custom_error_message="must be a string, or an object with 'words'",
    ),
]


Probability = Annotated[
    float, Field(ge=LEAST_THRESHOLD, le=1, allow_inf_nan=False, examples=[0.05])
]
ThresholdIn = Annotated[
    Annotated[Probability, Tag(AS_NUMBER)]
    | Annotated[dict[Name, Probability], Field(max_length=MOST_LABELS), Tag(AS_LABELS)],
    Discriminator(lambda value: AS_LABELS if isinstance(value, dict) else AS_NUMBER),
]


def read_threshold(value: object) -> object:
    """Return `PER:0.02,LOC:0.1`, as a query has it, as a dictionary."""
    if not isinstance(value, str) or ":" not in value:
        return value
    return dict(part.rpartition(":")[::2] for part in value.split(","))
