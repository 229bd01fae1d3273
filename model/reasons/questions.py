"""Questions to a network: how probable are these spans, and how else may these words be read.

    questions --tagger.batches--> emissions --Chain--> answers

A question costs what tagging its words costs, and its answer does not depend on the others.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from teddy.model.network.paths import Chain
from teddy.model.tagger import Tagger, TaggingBatch, avoid_lost_threads
from teddy.model.tags.spans import Span
from teddy.model.tags.tag_set import TagSet


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
        """The number of its words: what it costs to answer."""
        return len(self.words)


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

    Raises KeyError for a label that the tagger does not have.
    """
    avoid_lost_threads()
    answers = [Answer([], [])] * len(questions)
    for batch in tagger.batches([question.words for question in questions]):
        asked = [questions[member] for member in batch.members]
        for member, answer in zip(batch.members, _answers(tagger, batch, asked), strict=True):
            answers[member] = answer
    return answers


def _answers(tagger: Tagger, batch: TaggingBatch, asked: Sequence[Question]) -> Iterator[Answer]:
    with torch.inference_mode():
        emissions = tagger.emissions(batch)
        chain = Chain(emissions, batch.lengths, tagger.potentials)
        probabilities = iter(_probabilities(chain, asked, tagger.tag_set))
        curious = [row for row, question in enumerate(asked) if question.n_readings]
        readings = iter(_readings(tagger, emissions[curious], batch.lengths[curious], asked))
    for question in asked:
        yield Answer(
            [next(probabilities) for _ in question.spans],
            next(readings)[: question.n_readings] if question.n_readings else [],
        )


def _probabilities(chain: Chain, asked: Sequence[Question], tag_set: TagSet) -> list[float]:
    """Return the probabilities of all spans of some questions, one after another."""
    spans = [(row, span) for row, question in enumerate(asked) for span in question.spans]
    if not spans:
        return []
    spelt = {
        label: [tag_set.index(f"{prefix}-{label}") for prefix in "BIES"]
        for label in {span.label for _, span in spans}
    }
    logs = chain.log_span(
        torch.tensor([row for row, _ in spans]),
        torch.tensor([span.start for _, span in spans]),
        torch.tensor([span.end for _, span in spans]),
        torch.tensor([spelt[span.label] for _, span in spans]),
    )
    # The last digit may pass one. (And weights that are no numbers give one, as in `Tagger`.)
    found: list[float] = torch.fmin(logs.exp(), torch.ones(())).tolist()
    return found


def _readings(
    tagger: Tagger, emissions: Tensor, lengths: Tensor, asked: Sequence[Question]
) -> Iterator[list[Reading]]:
    """Yield the best readings of each row, as many as any question wants."""
    if not len(lengths):
        return
    most = max(question.n_readings for question in asked)
    tags, logs = Chain(emissions, lengths, tagger.potentials).best_paths(most)
    rows, starts, ends, labels = tagger.tag_set.decode_rows(tags.flatten(0, 1).numpy())
    names = tagger.tag_set.labels
    found = zip(starts.tolist(), ends.tolist(), labels.tolist(), strict=True)
    spans = [Span(start, end, names[label]) for start, end, label in found]
    bounds = np.searchsorted(rows, np.arange(tags.shape[0] * most + 1)).tolist()
    for row, probabilities in enumerate(logs.exp().tolist()):
        yield [
            Reading(spans[bounds[path] : bounds[path + 1]], min(1.0, probability))
            for path, probability in enumerate(probabilities, start=row * most)
            if probability > 0
        ]
