"""What clients send to have texts redacted and restored, and get, as pydantic models."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from teddy.model.text.offsets import OffsetUnit
from teddy.model.text.sentences import SentenceMode
from teddy.service.given import MOST_LABELS, Name, ThresholdIn, read_threshold
from teddy.service.redaction.formats import FormatName
from teddy.service.redaction.operators import Operator, OperatorName, Scope
from teddy.service.schemas import (
    Identified,
    ModelReference,
    as_whole,
)

_EXAMPLE = {"PER": "pseudonym", "LOC": {"operator": "mask", "keep_last": 2}, "*": "replace"}


class OperatorIn(BaseModel):
    """An operator with its options, which are for `mask`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    operator: OperatorName
    character: Annotated[str, Field(pattern=r"^[A-Za-z0-9█•*#]$")] = Field(
        default="█", description="The mark in the place of each character."
    )
    keep_last: Annotated[int, Field(ge=0, le=1000), BeforeValidator(as_whole)] = Field(
        default=0, description="How many characters at the end stay; at least one does not."
    )


Operators = Annotated[dict[Name, OperatorName | OperatorIn], Field(max_length=MOST_LABELS)]


class _RedactOptions(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    model: Name | None = Field(
        default=None, description="A model's name; the default model if left out."
    )
    operators: Operators | None = Field(
        default=None,
        description="What to do with the names of each label; `*` is every other label. "
        "`replace` if left out. `hash` and `encrypt` need a key of the service.",
        examples=[_EXAMPLE],
    )
    scope: Scope | None = Field(
        default="text",
        description="`text`: numbers and pseudonyms are consistent within a text. `key`: in all "
        "texts under the service's key.",
    )
    format: FormatName | None = Field(
        default="text", description="What the text is; all but its words stays as it is."
    )
    fields: Annotated[list[str], Field(max_length=1024)] | None = Field(
        default=None,
        description="Only these keys of JSON or columns of CSV, which the first row names; all if "
        "left out.",
    )
    threshold: ThresholdIn | None = Field(
        default=None,
        description="As for entities. If left out: the service's thresholds for redaction, or the "
        "best reading where it has none.",
    )
    sentences: SentenceMode | None = Field(default=None, description="As for entities.")
    offset_unit: OffsetUnit | None = Field(
        default="character", description="What the offsets of the items count."
    )

    @property
    def names_unit(self) -> bool:
        """Whether words are refused: they are no document."""
        return True

    def chosen(self) -> Mapping[str, Operator]:
        """Return the operators by label."""
        return {
            label: Operator(name=each.operator, character=each.character, keep_last=each.keep_last)
            if isinstance(each, OperatorIn)
            else Operator(name=each)
            for label, each in (self.operators or {}).items()
        }


class RedactRequest(_RedactOptions):
    """One text to redact."""

    text: str = Field(examples=["Ada met Grace in Oslo."])


class RedactBatchRequest(_RedactOptions):
    """Several texts to redact with the same options, each by itself."""

    texts: list[str] = Field(examples=[["Ada met Grace in Oslo.", "Grace left."]])


def _read_operators(value: object) -> object:
    """Read `PER:pseudonym,*:mask:X:2`, as a query has it."""
    if not isinstance(value, str):
        return value
    parts = (part.partition(":") for part in value.split(",") if part)
    try:
        parsed = {label: Operator.parse(operator) for label, _, operator in parts}
    except ValueError:
        raise ValueError("it must be operators by label: PER:mask:X:2,*:keep") from None
    return {
        label: {"operator": each.name, "character": each.character, "keep_last": each.keep_last}
        for label, each in parsed.items()
    }


class RedactStreamOptions(_RedactOptions):
    """Options of a stream, in its query string."""

    # a query string holds only strings
    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)

    operators: Annotated[
        Operators | None,
        BeforeValidator(_read_operators),
        WithJsonSchema({"type": "string", "examples": ["PER:pseudonym,LOC:mask:X:2,*:replace"]}),
    ] = Field(default=None, description="Operators by label; `mask:X:2` is a mark and what stays.")
    threshold: Annotated[
        ThresholdIn | None,
        BeforeValidator(read_threshold),
        WithJsonSchema({"type": "string", "examples": ["0.05", "PER:0.02,LOC:0.1"]}),
    ] = Field(default=None, description="As for one text; by label: `PER:0.02,LOC:0.1`.")


class ItemOut(BaseModel):
    """A name that was found, `[start, end)`, and what stands there now; never the name itself."""

    start: int
    end: int
    new_start: int
    new_end: int
    label: str
    operator: OperatorName
    score: float = Field(ge=0, le=1)


class RedactResult(BaseModel):
    """A redacted text, and what was done, in order."""

    text: str
    items: list[ItemOut]


class RedactResponse(RedactResult):
    """A redacted text, and the model that found the names."""

    model: ModelReference


class RedactBatchResponse(BaseModel):
    """One result for each text, in order."""

    model: ModelReference
    results: list[RedactResult]


class RedactedLine(RedactResult, Identified):
    """The redacted text of a line."""


class RestoreRequest(BaseModel):
    """A text whose encrypted names are to come back, in the format in which it was redacted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    text: str
    format: FormatName | None = "text"


class RestoreResponse(BaseModel):
    """The text with its names; `unreadable` are of another key, or were changed."""

    text: str
    restored: int
    unreadable: int
