"""What a client gives back, and how it is read from JSON.

Fields that it does not know are passed over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Entity:
    """A labelled span of a text, `[start, end)` in the unit asked for, with its probability.

    Where the service has rules, `source` is `model` or the name of the rule that it is from, and
    `id` that of a dictionary's entry.
    """

    start: int
    end: int
    label: str
    score: float
    text: str
    source: str | None = None
    id: str | None = None

    @classmethod
    def read(cls, found: Json) -> Self:
        """One entity of an answer."""
        named = {name: found[name] for name in ("start", "end", "label", "score", "text")}
        return cls(**named, source=found.get("source"), id=found.get("id"))


@dataclass(frozen=True, slots=True)
class Token:
    """A word, its tag (`O`, or `B-`, `I-`, `E-`, `S-` and a label) and the tag's probability."""

    start: int
    end: int
    tag: str
    score: float

    @classmethod
    def read(cls, found: Json) -> Self:
        """One token of an answer."""
        return cls(found["start"], found["end"], found["tag"], found["score"])


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to read a sentence: all of its entities, and the probability of just these."""

    probability: float
    entities: Sequence[Entity]


@dataclass(frozen=True, slots=True)
class Sentence:
    """The most probable readings of a sentence `[start, end)`, the best first."""

    start: int
    end: int
    readings: Sequence[Reading]

    @classmethod
    def read(cls, found: Json) -> Self:
        """One sentence of an answer."""
        readings = (
            Reading(each["probability"], tuple(map(Entity.read, each["entities"])))
            for each in found["readings"]
        )
        return cls(found["start"], found["end"], tuple(readings))


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """The model that answered; its version changes with every byte of its file."""

    name: str
    version: str

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return the model of an answer."""
        return cls(found["name"], found["version"])


@dataclass(frozen=True, slots=True)
class AnswerReference:
    """An answer of the service, by the id of its request, and which of its texts."""

    request_id: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class Result:
    """What was found in one text. `tokens` is None unless they were asked for.

    `answer` is where it can be corrected; None for one of a stream.
    """

    entities: Sequence[Entity]
    tokens: Sequence[Token] | None
    model: ModelVersion
    answer: AnswerReference | None = field(default=None, compare=False)
    sentences: Sequence[Sentence] | None = None
    """The readings of each sentence, if they were asked for."""

    @classmethod
    def read(cls, found: Json, model: ModelVersion, answer: AnswerReference | None = None) -> Self:
        """One result of an answer."""
        tokens = found.get("tokens")
        return cls(
            tuple(map(Entity.read, found["entities"])),
            None if tokens is None else tuple(map(Token.read, tokens)),
            model,
            answer,
            None if "sentences" not in found else tuple(map(Sentence.read, found["sentences"])),
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """A stream's answer to a text that it could not tag.

    Each field means what it means in TeddyServiceError.
    """

    status: int
    kind: str
    detail: str

    @classmethod
    def read(cls, problem: Json) -> Self:
        """Return the error of a line."""
        return cls(problem["status"], kind_of(problem), problem["detail"])


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """A model that is served; `default` answers when none is named."""

    name: str
    version: str
    default: bool
    language: str
    labels: Sequence[str]
    precision: str

    @classmethod
    def read(cls, found: Json) -> Self:
        """One model of a list."""
        known = {
            name: found[name] for name in ("name", "version", "default", "language", "precision")
        }
        return cls(labels=tuple(found["labels"]), **known)


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A model, and all that is published of how it was made and how well it does."""

    summary: ModelSummary
    published: Json

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return the answer about one model."""
        return cls(ModelSummary.read(found), found)


@dataclass(frozen=True, slots=True)
class Reload:
    """The result of a reload: the version that is served now, and whether it has changed."""

    model: ModelVersion
    changed: bool

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return the answer to a reload."""
        return cls(ModelVersion.read(found), found["changed"])


@dataclass(frozen=True, slots=True)
class Corrected:
    """A stored correction: the numbers of right, spurious and missed entities of the model."""

    model: ModelVersion
    correct: int
    spurious: int
    missed: int

    @classmethod
    def read(cls, found: Json) -> Self:
        """Return the answer to a correction."""
        return cls(
            ModelVersion.read(found["model"]), found["correct"], found["spurious"], found["missed"]
        )


def kind_of(problem: Json) -> str:
    """Return the last part of a problem's type: `queue-full`."""
    return str(problem["type"]).rpartition(":")[2]
