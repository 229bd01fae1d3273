"""What clients send as corrections, and get for them, as pydantic models."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from teddy.model.text.offsets import OffsetUnit
from teddy.service.given import Name
from teddy.service.schemas import ModelReference, Place


class RightEntity(BaseModel):
    """An entity that is in a text, as an answer has it or as a person marked it."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    start: Place
    end: Place
    label: Name = Field(description="One of the model's.")
    text: str | None = Field(default=None, description="If given, it must be what stands there.")
    score: float | None = Field(
        default=None, description="Passed over: it is there so that answers can be sent back."
    )
    source: str | None = Field(default=None, description="Passed over, as `score`.")
    id: str | None = Field(default=None, description="Passed over, as `score`.")


class _Correction(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    entities: Annotated[list[RightEntity], Field(fail_fast=True)] = Field(
        description="All entities of the text, of every label, in any order, without overlap. "
        "An empty list means that the text has none."
    )
    offset_unit: OffsetUnit | None = Field(
        default="character", description="What `start` and `end` count."
    )

    @property
    def names_unit(self) -> bool:
        """Whether `offset_unit` is set, which must not be for words."""
        return "offset_unit" in self.model_fields_set and self.offset_unit is not None


class TextCorrection(_Correction):
    """The entities that should be found in a text; they are compared with what the model finds."""

    text: str = Field(examples=["Ada met Grace in Oslo."])
    model: Name | None = Field(
        default=None, description="A model's name; the default model if left out."
    )


class AnswerCorrection(_Correction):
    """The entities that should have been found in a text of an earlier request."""

    request_id: str = Field(
        pattern=r"^[A-Za-z0-9._~:/+=@-]{1,128}$", description="The answer's `X-Request-ID`."
    )
    index: Place | None = Field(
        default=None,
        description="Which text of a batch, from 0; not needed where there was but one.",
    )


class CorrectionResponse(BaseModel):
    """A stored correction, and its comparison: entities found, found wrongly, and missed."""

    model: ModelReference
    correct: int
    spurious: int
    missed: int
