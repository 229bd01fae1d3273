"""An explanation: entities with their reasons, and sentences with the ways to read them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from teddy.model.text.documents import Entity
from teddy.model.text.offsets import OffsetUnit, convert_offsets
from teddy.model.text.words import Text

DIGITS = 4
"""Of a probability in JSON: it is not known better."""

_CONTEXTS = ("probability", "left_only", "right_only", "alone")
_Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReadWord:
    """A word as the model read it; `known`: it has an embedding of its own, not only its pieces."""

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
    entities: list[Guess]


@dataclass(frozen=True, slots=True)
class ReadSentence:
    """What the network read together: a sentence, or a part of one that is too long.

    The parts of a long sentence overlap. `readings` are the most probable ones, the best first.
    """

    start: int
    end: int
    words: list[ReadWord]
    readings: list[SentenceReading]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedEntity:
    """An entity with its reasons.

    `sentence` is the place of its sentence in the explanation, and `probability` what the network
    gives it there; `without` has one for each word of the sentence, without that word; `left_only`,
    `right_only` and `alone` are those of less context. All are None (`without` empty) where the
    network cannot have found it: for another label than its own, or across sentences.
    """

    entity: Entity
    sentence: int | None
    probability: float | None
    without: list[float]
    left_only: float | None
    right_only: float | None
    alone: float | None

    @property
    def gives(self) -> list[float]:
        """What each word of the sentence gives the entity: its probability less that without."""
        return [(self.probability or 0.0) - each for each in self.without]


@dataclass(frozen=True, slots=True)
class Explanation:
    """The entities of a text with their reasons, and its sentences as the network read them."""

    text: Text = field(repr=False)
    entities: list[ExplainedEntity]
    sentences: list[ReadSentence]

    def as_dict(self, unit: OffsetUnit = "character") -> dict[str, Any]:
        """Return the fields of an answer, with offsets in `unit`, and in words if those were given.

        Numbers are rounded; what a word gives is the difference of two rounded ones.
        """
        inner = [word for sentence in self.sentences for word in sentence.words]
        ranged: list[ReadWord | Entity] = [*inner, *(each.entity for each in self.entities)]
        known = sorted({at for each in ranged for at in (each.start, each.end)})
        text = self.text
        offsets = convert_offsets(text, known, unit) if isinstance(text, str) else known
        places = dict(zip(known, offsets, strict=True))
        return {
            "entities": [_entity_fields(each, places) for each in self.entities],
            "sentences": [_sentence_fields(each, places) for each in self.sentences],
        }


def _at(each: Entity | Guess | ReadWord | ReadSentence, places: Mapping[int, int]) -> _Fields:
    return {"start": places[each.start], "end": places[each.end]}


def _entity_fields(explained: ExplainedEntity, places: Mapping[int, int]) -> _Fields:
    entity = explained.entity
    without = [round(each, DIGITS) for each in explained.without]
    fields: _Fields = {
        **_at(entity, places),
        "label": entity.label,
        "score": round(entity.score, DIGITS),
        "text": entity.text,
        # the rule that found it, where rules are in use
        "source": getattr(entity, "source", None),
        "sentence": explained.sentence,
    }
    for name in _CONTEXTS:
        value = getattr(explained, name)
        fields[name] = None if value is None else round(value, DIGITS)
    whole = fields["probability"] or 0.0
    gives = [round(whole - each, DIGITS) for each in without]
    return {**fields, "without": without, "gives": gives}


def _sentence_fields(sentence: ReadSentence, places: Mapping[int, int]) -> _Fields:
    words = [
        _at(word, places) | {"text": word.text, "known": word.known} for word in sentence.words
    ]
    readings = [
        {
            "probability": round(reading.probability, DIGITS),
            "entities": [
                _at(each, places) | {"label": each.label, "text": each.text}
                for each in reading.entities
            ],
        }
        for reading in sentence.readings
    ]
    return {**_at(sentence, places), "words": words, "readings": readings}
