"""Teachers of the same labels: what they say of sentences, from the shelf, from memory or asked."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from teddy.training.data.raw_text import Words
from teddy.training.learning.readings import (
    Ask,
    KnownSentences,
    Readings,
    expectations_of,
    mean_reading,
)
from teddy.training.learning.teacher import AnyTeacher, Expectations, mean_expectations, placed

_NOTE_SECONDS = 30.0

Note = Callable[[str], None]
Shard = tuple[Sequence[Words], Sequence[int]]
"""Sentences whose readings are one file, and the numbers of those that are wanted."""
Shards = Callable[[], Iterable[Shard]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tutor:
    """A teacher of one student."""

    name: str
    teacher: AnyTeacher
    places: list[int]
    """Of its tags, among the student's."""
    ask: Ask
    folder: Path
    """Where its readings are kept."""


class Panel:
    """The teachers, which speak as one: what they say is the mean of what each says."""

    def __init__(
        self,
        tutors: Sequence[Tutor],
        n_tags: int,
        device: torch.device,
        readings: Readings | None,
        note: Note,
    ) -> None:
        """Teach a student of `n_tags` tags; without `readings`, all is asked for each time."""
        self.tutors = tutors
        self.known = torch.zeros(n_tags, dtype=torch.bool, device=device)
        """The student's tags that the teachers know, bool [K]."""
        self.known[tutors[0].places] = True
        self._n_tags = n_tags
        self._device = device
        self._readings = readings
        self._note = note
        self._at_hand: list[KnownSentences] = []

    def read(self, shards: Shards) -> None:
        """Have each teacher read what is not on the shelf."""
        if self._readings is None:
            return
        # First what no other process is reading, then what the others have not finished.
        for wait in (False, True):
            for tutor in self.tutors:
                self._read(self._readings, tutor, shards, wait=wait)

    def _read(self, readings: Readings, tutor: Tutor, shards: Shards, *, wait: bool) -> None:
        began = noted = time.monotonic()
        n_words = 0
        for sentences, _ in shards():
            if sentences and readings.make(tutor.folder, sentences, tutor.ask, wait=wait):
                n_words += sum(map(len, sentences))
            now = time.monotonic()
            if n_words and now - noted >= _NOTE_SECONDS:
                speed = n_words / (now - began)
                self._note(f"{tutor.name} has read {n_words:,} words ({speed:,.0f} a second)")
                noted = now

    def take(self, shards: Shards) -> KnownSentences:
        """Return what is wanted of what the teachers say, in memory; they have read it."""
        known = KnownSentences()
        if self._readings is not None:
            for sentences, wanted in shards():
                if sentences:
                    said = [
                        self._readings.get(tutor.folder, sentences, tutor.ask)
                        for tutor in self.tutors
                    ]
                    mean = mean_reading(said, [tutor.places for tutor in self.tutors])
                    known.add(sentences, mean, wanted)
        return known

    def remember(self, *known: KnownSentences) -> None:
        """Answer from these, before teachers are asked."""
        self._at_hand = list(known)

    def expectations(self, sentences: Sequence[Words]) -> Expectations:
        """Return what the teachers expect of the student's tags.

        `sentences` are words; none is empty. What is not at hand is asked for.
        """
        found = [
            next(filter(None, (known.find(words) for known in self._at_hand)), None)
            for words in sentences
        ]
        rows = [row for row, each in enumerate(found) if each is not None]
        rest = [row for row, each in enumerate(found) if each is None]
        if not rows:
            return self._ask(sentences)
        said = expectations_of([each for each in found if each is not None]).to(self._device)
        said = placed(said, self.tutors[0].places, self._n_tags)
        if not rest:
            return said
        asked = self._ask([sentences[row] for row in rest])
        return _merged([(rows, said), (rest, asked)], len(sentences))

    def _ask(self, sentences: Sequence[Words]) -> Expectations:
        return mean_expectations(
            [placed(each.ask(sentences), each.places, self._n_tags) for each in self.tutors]
        )


def _merged(parts: Sequence[tuple[list[int], Expectations]], n_rows: int) -> Expectations:
    """Return several batches as one, each at its rows."""
    width = max(part.unary.shape[1] for _, part in parts)
    like: Tensor = parts[0][1].unary
    unary = like.new_zeros(n_rows, width, like.shape[2])
    pairs = like.new_zeros(n_rows, like.shape[2], like.shape[2])
    for rows, part in parts:
        unary[rows, : part.unary.shape[1]] = part.unary
        pairs[rows] = part.pairs
    return Expectations(unary=unary, pairs=pairs)
