"""Questions to a network: how probable are these spans, and how else may these words be read.

    questions --Tagger.batches, lattice--> all paths of tags --> answers

The answer to a question does not depend on the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from teddy.model.network.alternatives import Lattice, best_paths, probabilities_of
from teddy.model.tagger import Tagger, TaggingBatch, avoid_lost_threads
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet

QUESTION_WORDS = 16
"""What a question costs beside its words: what is made of a short one takes as long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Words that the network reads together, and what is asked of them.

    HIDDEN_WORD stands for a word that it may not see. `spans`, in words and perhaps overlapping,
    are to get their probabilities; `n_readings` of the most probable readings are wanted.
    """

    words: Sequence[str]
    spans: Sequence[Span] = ()
    n_readings: int = 0

    @property
    def n_words(self) -> int:
        """What it costs to answer, in words to tag: its own, again for readings, and a fixed part.

        A batch of names that stand alone, counted by their words, would take many times its due.
        """
        return len(self.words) * (2 if self.n_readings else 1) + QUESTION_WORDS


@dataclass(frozen=True, slots=True)
class Reading:
    """One way to tag all words, and its probability; `spans` in words and in order."""

    spans: list[Span]
    probability: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The probability of each span of a question, and its best readings, best first."""

    probabilities: list[float]
    readings: list[Reading]


def ask(tagger: Tagger, questions: Sequence[Question]) -> list[Answer]:
    """Answer questions of at least one word each, in order, in batches of like lengths.

    Raises ValueError for a label that the tagger does not have.
    """
    avoid_lost_threads()
    answers = [Answer([], [])] * len(questions)
    for batch in tagger.batches([question.words for question in questions]):
        asked = [questions[member] for member in batch.members]
        for member, answer in zip(batch.members, _answers(tagger, batch, asked), strict=True):
            answers[member] = answer
    return answers


def _answers(tagger: Tagger, batch: TaggingBatch, asked: Sequence[Question]) -> Iterator[Answer]:
    lattice = tagger.lattice(batch)
    probabilities = iter(_probabilities(lattice, asked, tagger.tag_set))
    curious = [row for row, question in enumerate(asked) if question.n_readings]
    part = replace(lattice, emissions=lattice.emissions[curious], lengths=lattice.lengths[curious])
    readings = iter(_readings(part, asked, tagger.tag_set))
    for question in asked:
        yield Answer(
            [next(probabilities) for _ in question.spans],
            next(readings)[: question.n_readings] if question.n_readings else [],
        )


def _probabilities(lattice: Lattice, asked: Sequence[Question], tag_set: TagSet) -> list[float]:
    """Return the probabilities of all spans of some questions, one after another."""
    spans = [(row, span) for row, question in enumerate(asked) for span in question.spans]
    if not spans:
        return []
    found: list[float] = probabilities_of(
        lattice,
        np.array([row for row, _ in spans]),
        np.array([span.start for _, span in spans]),
        np.array([span.end for _, span in spans]),
        np.array([tag_set.labels.index(span.label) for _, span in spans]),
    ).tolist()
    return found


def _readings(
    lattice: Lattice, asked: Sequence[Question], tag_set: TagSet
) -> Iterator[list[Reading]]:
    """Yield the best readings of each row, as many as any question wants."""
    if not len(lattice.lengths):
        return
    most = max(question.n_readings for question in asked)
    tags, of_paths = best_paths(lattice, most)
    rows, starts, ends, labels = tag_set.decode_rows(tags.reshape(-1, tags.shape[2]))
    found = zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True)
    spans = [Span(start, end, tag_set.labels[label]) for start, end, label in found]
    bounds = np.searchsorted(rows, np.arange(len(tags) * most + 1)).tolist()
    for row, probabilities in enumerate(of_paths.tolist()):
        yield [
            Reading(spans[bounds[path] : bounds[path + 1]], probability)
            for path, probability in enumerate(probabilities, start=row * most)
            if probability > 0
        ]
