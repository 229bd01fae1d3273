"""What must be asked for the reasons of each entity of a text.

    document, entities --Plan--> questions --ask--> answers --Plan.explain--> Explanation

Everything is asked anew of the network, nothing is estimated from inside it. For each word of an
entity's sentence, once more without it: a word around the entity is left out, as if it had not been
written; a word of the entity itself cannot be, so the unknown word is put in its place. Then what
is left of the sentence with the entity as its end, as its beginning, and alone. A sentence of n
words so costs about n of its kind.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from teddy.model.errors import TextError
from teddy.model.features.rows import HIDDEN_WORD, WordFeatures
from teddy.model.reasons.explanation import (
    ExplainedEntity,
    Explanation,
    Guess,
    ReadSentence,
    ReadWord,
    SentenceReading,
)
from teddy.model.reasons.questions import QUESTION_WORDS, Answer, Question, ask
from teddy.model.tagger import Tagger
from teddy.model.tags.spans import Span
from teddy.model.text.documents import Document, Entity
from teddy.model.text.windows import Window

N_READINGS = 3

NO_SCORE = -1.0
"""Of a span that was not found: in its explanation it has the network's probability instead."""

_WHOLE, _LEFT, _RIGHT, _ALONE = "probability", "left_only", "right_only", "alone"
_Slot = str | int
"""What an answer says of an entity: one of these, or the place of a word that is left out."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the network can have found an entity: a window, and a span in its words."""

    window: int
    span: Span


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question, and for each of its spans the entity that it is about, and what it says of it."""

    question: Question
    targets: Sequence[tuple[int, _Slot]]


class Plan:
    """What must be asked to explain some entities of a document."""

    def __init__(
        self,
        document: Document,
        entities: Sequence[Entity],
        labels: Sequence[str],
        features: WordFeatures,
    ) -> None:
        """`labels` and `features` are those of the model."""
        self.document = document
        self.entities = entities
        self._features = features
        self._windows = document.windows
        self._places = [
            _find(document, each) if each.label in labels else None for each in entities
        ]
        self._of_window: dict[int, list[int]] = {}
        for number, place in enumerate(self._places):
            if place is not None:
                self._of_window.setdefault(place.window, []).append(number)

    @property
    def cost(self) -> int:
        """At most what the questions cost, in words to read; they need not be made to know it."""
        total = 2 * self._windows.n_words + QUESTION_WORDS * len(self._windows)
        for window, members in self._of_window.items():
            n_words = self._windows.ends[window] - self._windows.starts[window]
            n_inside = sum(self._span(member).end - self._span(member).start for member in members)
            n_questions = n_words + min(n_words, n_inside) + 3 * len(members)
            total += n_questions * (n_words + QUESTION_WORDS)
        return total

    @property
    def questions(self) -> list[Question]:
        """All questions. To answer one does not need the others."""
        return [each.question for each in self._asked]

    def explain(self, answers: Iterable[Answer]) -> Explanation:
        """Put the answers together: one for each question, in order."""
        found: list[dict[_Slot, float]] = [{} for _ in self.entities]
        sentences: list[ReadSentence] = []
        for asked, answer in zip(self._asked, answers, strict=True):
            for (entity, slot), each in zip(asked.targets, answer.probabilities, strict=True):
                found[entity][slot] = each
            if asked.question.n_readings:
                window = self._windows[len(sentences)]
                sentences.append(self._sentence(window, answer))
        entities = [self._explained(number, values) for number, values in enumerate(found)]
        return Explanation(self.document.text, entities, sentences)

    @cached_property
    def _asked(self) -> list[_Asked]:
        return [
            asked
            for number, window in enumerate(self._windows)
            for asked in self._of(window.words, self._of_window.get(number, ()))
        ]

    def _of(self, words: list[str], members: Sequence[int]) -> Iterator[_Asked]:
        """Yield what is asked of one window, about its `members` among the entities."""
        spans = {member: self._span(member) for member in members}
        yield _asked(words, [(member, _WHOLE, span) for member, span in spans.items()], N_READINGS)
        for place in range(len(words) if members else 0):
            around = [
                (member, place, _without(span, place))
                for member, span in spans.items()
                if not span.start <= place < span.end
            ]
            inside = [
                (member, place, span)
                for member, span in spans.items()
                if span.start <= place < span.end
            ]
            before, after = words[:place], words[place + 1 :]
            if around:
                yield _asked([*before, *after], around)
            if inside:
                yield _asked([*before, HIDDEN_WORD, *after], inside)
        for member, span in spans.items():
            moved = Span(0, span.end - span.start, span.label)
            yield _asked(words[: span.end], [(member, _LEFT, span)])
            yield _asked(words[span.start :], [(member, _RIGHT, moved)])
            yield _asked(words[span.start : span.end], [(member, _ALONE, moved)])

    def _span(self, member: int) -> Span:
        place = self._places[member]
        if place is None:
            raise ValueError("a word without a place is no member of a window")
        return place.span

    def _explained(self, number: int, values: Mapping[_Slot, float]) -> ExplainedEntity:
        place = self._places[number]
        window = None if place is None else self._windows[place.window]
        entity = self.entities[number]
        if entity.score == NO_SCORE:
            entity = replace(entity, score=values[_WHOLE])
        return ExplainedEntity(
            entity=entity,
            sentence=None if place is None else place.window,
            probability=values.get(_WHOLE),
            without=[values[i] for i in range(window.n_words)] if window else [],
            left_only=values.get(_LEFT),
            right_only=values.get(_RIGHT),
            alone=values.get(_ALONE),
        )

    def _sentence(self, window: Window, answer: Answer) -> ReadSentence:
        starts, ends = self.document.offsets
        quote = self.document.quote
        words = [
            ReadWord(start, end, quote(start, end), self._features.knows(word))
            for start, end, word in zip(
                starts[window.start : window.end],
                ends[window.start : window.end],
                window.words,
                strict=True,
            )
        ]
        readings = [
            SentenceReading(
                reading.probability,
                [
                    Guess(start, end, span.label, quote(start, end))
                    for span in reading.spans
                    for start, end in [(words[span.start].start, words[span.end - 1].end)]
                ],
            )
            for reading in answer.readings
        ]
        return ReadSentence(words[0].start, words[-1].end, words, readings)


class Reasons:
    """Plans what a tagger with these labels must be asked, and asks it."""

    def __init__(self, tagger: Tagger, labels: Sequence[str]) -> None:
        self._tagger = tagger
        self._labels = labels

    def plan(
        self,
        document: Document,
        entities: Sequence[Entity] | None,
        spans: Sequence[tuple[int, int, str]] = (),
    ) -> Plan:
        """Return what must be asked to explain entities of a document or, if None, spans of it.

        Raises TextError, with the position in `spans`, for one of another label, not of whole
        words, or across two sentences.
        """
        if entities is None:
            entities = chosen(document, spans, self._labels)
        return Plan(document, entities, self._labels, self._tagger.features)

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """Ask the network: one answer for each question, which does not depend on the others."""
        return ask(self._tagger, questions)


def _asked(
    words: Sequence[str], about: Sequence[tuple[int, _Slot, Span]], n_readings: int = 0
) -> _Asked:
    spans = [span for _, _, span in about]
    question = Question(words=words, spans=spans, n_readings=n_readings)
    return _Asked(question, [(entity, slot) for entity, slot, _ in about])


def _without(span: Span, place: int) -> Span:
    """Return the span when a word outside it is left out."""
    moved = int(place < span.start)
    return Span(span.start - moved, span.end - moved, span.label)


def _find(document: Document, entity: Entity) -> _Place | None:
    """Return the place of an entity; None if it is not of whole words, or not in one window.

    It is the window that keeps its first word, as in `assemble`.
    """
    starts, ends = document.offsets
    first, last = bisect_left(starts, entity.start), bisect_left(ends, entity.end)
    if first >= len(starts) or starts[first] != entity.start or first > last:
        return None
    if last >= len(ends) or ends[last] != entity.end:
        return None
    windows = document.windows
    window = bisect_right(windows.keep_ends, first)
    start = windows.starts[window]
    if last >= windows.ends[window]:
        return None
    return _Place(window, Span(first - start, last + 1 - start, entity.label))


def chosen(
    document: Document, spans: Sequence[tuple[int, int, str]], labels: Sequence[str]
) -> list[Entity]:
    """Return spans of a document as entities without a score, for `Plan`.

    Raises TextError, with the position in `spans`, for one of another label than the model's, not
    of whole words, or across two sentences.
    """
    entities: list[Entity] = []
    for position, (start, end, label) in enumerate(spans):
        if label not in labels:
            raise TextError(f"spans[{position}]: the model's labels are {', '.join(labels)}")
        entity = Entity(start, end, label, NO_SCORE, document.quote(start, end))
        if _find(document, entity) is None:
            raise TextError(
                f"spans[{position}]: [{start}, {end}) does not begin and end with words of one "
                "sentence"
            )
        entities.append(entity)
    return entities
