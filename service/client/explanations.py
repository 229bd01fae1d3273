"""What a client gives back where reasons are asked for; see docs/explain.md."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

from teddy.service.client.results import Json, ModelVersion


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the model read it; `known` if it has learnt it as a whole."""

    start: int
    end: int
    text: str
    known: bool


@dataclass(frozen=True, slots=True)
class Guess:
    """An entity of a reading."""

    start: int
    end: int
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class SentenceReading:
    """All entities of one way to read a sentence, and its probability."""

    probability: float
    entities: Sequence[Guess]


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """A sentence, or a part of a long one, and its most probable readings, the best first."""

    start: int
    end: int
    words: Sequence[ReadWord]
    readings: Sequence[SentenceReading]

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return one sentence of an answer."""
        words = tuple(
            ReadWord(each["start"], each["end"], each["text"], each["known"])
            for each in found["words"]
        )
        readings = tuple(
            SentenceReading(
                reading["probability"],
                tuple(
                    Guess(each["start"], each["end"], each["label"], each["text"])
                    for each in reading["entities"]
                ),
            )
            for reading in found["readings"]
        )
        return cls(found["start"], found["end"], words, readings)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEntity:
    """An entity with its reasons: each field means what it does in the service's answer."""

    start: int
    end: int
    label: str
    score: float
    text: str
    source: str | None
    sentence: int | None
    probability: float | None
    left_only: float | None
    right_only: float | None
    alone: float | None
    without: Sequence[float]
    gives: Sequence[float]

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return one entity of an answer."""
        known = {each.name: found[each.name] for each in fields(cls)}
        return cls(**known | {name: tuple(found[name]) for name in ("without", "gives")})


@dataclass(frozen=True, slots=True)
class Explanation:
    """The entities of a text with their reasons, and its sentences as the network read them."""

    entities: Sequence[ExplainedEntity]
    sentences: Sequence[ReadSentence]
    model: ModelVersion

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return the answer to a request for reasons."""
        return cls(
            tuple(map(ExplainedEntity.read, found["entities"])),
            tuple(map(ReadSentence.read, found["sentences"])),
            ModelVersion.read(found["model"]),
        )
